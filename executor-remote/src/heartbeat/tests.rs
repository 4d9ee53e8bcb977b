use proptest::prelude::*;

use super::*;

const INTERVAL: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(10);

fn at(start: Instant, millis: u64) -> Instant {
    start + Duration::from_millis(millis)
}

fn watched() -> (Liveness, Instant) {
    let start = Instant::now();
    (Liveness::new(INTERVAL, TIMEOUT, start), start)
}

#[test]
fn a_busy_connection_carries_no_pings() {
    let (mut live, start) = watched();
    for second in 1..1000 {
        let now = at(start, second * 1000);
        live.on_bytes(now);
        assert_eq!(live.poll(now), Beat::Nothing);
    }
}

#[test]
fn a_silent_peer_is_pinged_each_interval_and_dies_at_the_timeout() {
    let (mut live, start) = watched();
    let mut seen = Vec::new();
    loop {
        let now = live.next_deadline();
        let beat = live.poll(now);
        seen.push(((now - start).as_secs(), beat));
        if beat == Beat::Dead {
            break;
        }
        assert_eq!(live.poll(now), Beat::Nothing, "one ping for each time that is due");
    }
    let pings = [2, 4, 6, 8].map(|second| (second, Beat::SendPing));
    assert_eq!(seen[..4], pings);
    assert_eq!(seen[4..], [(10, Beat::Dead)]);
}

#[test]
fn an_answer_starts_the_clock_anew() {
    let (mut live, start) = watched();
    assert_eq!(live.poll(at(start, 2000)), Beat::SendPing);
    live.on_bytes(at(start, 9999));
    assert_eq!(live.poll(at(start, 10_000)), Beat::Nothing);
    assert_eq!(live.next_deadline(), at(start, 11_999));
}

#[test]
fn death_is_final() {
    let (mut live, start) = watched();
    assert_eq!(live.poll(at(start, 2000)), Beat::SendPing);
    assert_eq!(live.poll(at(start, 10_000)), Beat::Dead);
    live.on_bytes(at(start, 10_001));
    assert_eq!(live.poll(at(start, 10_002)), Beat::Dead);
}

#[test]
fn a_peer_is_not_blamed_for_our_own_absence() {
    let (mut live, start) = watched();
    // This process was stopped for an hour.
    let back = at(start, 3_600_000);
    assert_eq!(live.poll(back), Beat::SendPing);
    assert_eq!(live.poll(at(back, 7999)), Beat::SendPing);
    assert_eq!(live.poll(at(back, 8000)), Beat::Dead);
}

#[test]
fn a_timeout_below_twice_the_interval_is_raised_to_it() {
    let start = Instant::now();
    let mut live = Liveness::new(INTERVAL, Duration::ZERO, start);
    assert_eq!(live.poll(at(start, 2000)), Beat::SendPing);
    assert_eq!(live.poll(at(start, 3999)), Beat::Nothing);
    assert_eq!(live.poll(at(start, 4000)), Beat::Dead);
}

#[test]
fn endless_spans_do_not_overflow() {
    let start = Instant::now();
    let mut live = Liveness::new(Duration::MAX, Duration::MAX, start);
    assert_eq!(live.poll(at(start, 1_000_000)), Beat::Nothing);
    assert!(live.next_deadline() > start);
}

proptest! {
    /// Polled at whatever times: never dead unless a ping went unanswered for the patience, and
    /// nothing to do before the announced deadline.
    #[test]
    fn deadlines_are_exact_and_death_needs_an_unanswered_ping(
        steps in prop::collection::vec((0u64..6000, any::<bool>()), 1..200)
    ) {
        let (mut live, start) = watched();
        let mut now = start;
        let mut asked: Option<Instant> = None;
        for (millis, heard) in steps {
            now += Duration::from_millis(millis);
            if heard {
                live.on_bytes(now);
                asked = None;
            }
            let due = live.next_deadline();
            match live.poll(now) {
                Beat::Nothing => prop_assert!(now < due),
                Beat::SendPing => {
                    prop_assert!(now >= due);
                    asked.get_or_insert(now);
                }
                Beat::Dead => {
                    let first = asked.expect("a ping before death");
                    prop_assert!(now - first >= TIMEOUT - INTERVAL);
                    break;
                }
            }
        }
    }
}
