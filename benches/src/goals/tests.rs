use super::*;
use crate::subject::{Family, Side};
use crate::subjects;

fn series(subject: &str, workload: Workload, metric: Metric, value: f64) -> Series {
    let (family, side) = (Family::Processes, Side::Peer);
    Series { subject: subject.to_owned(), family, side, workload, metric, values: vec![value] }
}

#[test]
fn every_goal_is_about_what_its_subjects_measure() {
    let all = subjects::all();
    let has = |subject: &str, workload: Workload| {
        all.iter().any(|it| it.name() == subject && it.workloads().contains(&workload))
    };
    for goal in GOALS {
        assert!(goal.workload.metrics().contains(&goal.metric), "{}", goal.workload);
        assert!(has(goal.subject, goal.workload), "{}: {}", goal.subject, goal.workload);
        if let AtLeast(_, reference) | AtMost(_, reference) = goal.wanted {
            assert!(has(reference, goal.workload), "{reference}: {}", goal.workload);
        }
    }
}

#[test]
fn rates_are_to_be_high_and_times_to_be_low() {
    let of_roundtrip = |ours: f64| {
        let metric = Metric::P50Us;
        let limit = series("limit-futex", Workload::Roundtrip, metric, 2.0);
        table(&[series(PROCESS, Workload::Roundtrip, metric, ours), limit])
    };
    assert!(of_roundtrip(6.0).contains("3.00x      <= 3x  limit-futex\n"), "{}", of_roundtrip(6.0));
    assert!(of_roundtrip(6.1).contains("limit-futex  MISSED\n"), "{}", of_roundtrip(6.1));

    let of_payload = |ours: f64| {
        let metric = Metric::GibPerSecond;
        let peer = series(PYTHON, Workload::Payload, metric, 0.5);
        table(&[series(PROCESS, Workload::Payload, metric, ours), peer])
    };
    assert!(!of_payload(2.0).contains("MISSED"), "{}", of_payload(2.0));
    assert!(of_payload(1.9).contains("MISSED"), "{}", of_payload(1.9));
}

#[test]
fn a_goal_without_a_reference_is_compared_with_its_figure() {
    let of_idle = |ours| table(&[series(PROCESS, Workload::Idle, Metric::CpuPercent, ours)]);
    assert!(!of_idle(0.0).contains("MISSED"), "{}", of_idle(0.0));
    assert!(of_idle(0.2).contains("<= 0.1  -  MISSED"), "{}", of_idle(0.2));
}

#[test]
fn goals_whose_reference_was_not_measured_are_left_out() {
    assert_eq!(table(&[series(PROCESS, Workload::Payload, Metric::GibPerSecond, 2.0)]), "");
}
