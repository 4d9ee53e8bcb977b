use proptest::prelude::*;

use super::*;

const CAPACITY: usize = RING_BYTES - 8;

/// Bytes that differ from place to place of the stream.
fn stream(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|n| (n * 31 + n / 251) as u8).collect()
}

#[test]
fn committed_frames_are_recovered_from_wherever_the_socket_stopped() {
    let (board, _, mut journal) = pair();
    let bytes = stream(0, 100);
    assert!(journal.append(&bytes[..37]));
    assert!(journal.append(&bytes[37..]));
    assert_eq!(journal.pending(), bytes);
    for received in 0..=100 {
        assert_eq!(board.recover(received), Ok(bytes[received as usize..].to_vec()), "{received} received");
    }
    assert_eq!(board.recover(101), Ok(vec![]), "part of a large frame came after the journal");
}

#[test]
fn untouched_board_has_nothing_to_recover() {
    let (board, ..) = pair();
    assert_eq!(board.recover(0), Ok(vec![]));
}

#[test]
fn full_ring_takes_no_more_until_flushed_and_is_recovered_whole() {
    let (board, _, mut journal) = pair();
    let bytes = stream(0, CAPACITY);
    assert!(journal.append(&stream(0, CAPACITY)));
    assert!(!journal.append(b"x"), "no room");
    assert_eq!(journal.pending(), bytes);
    assert_eq!(board.recover(0), Ok(bytes.clone()));
    journal.flushed(1);
    assert!(!journal.append(b"xy"), "room for one");
    assert!(journal.append(b"x"));
    assert_eq!(board.recover(1).map(|bytes| bytes.len()), Ok(CAPACITY));
    assert!(journal.append(b""));
}

#[test]
fn frame_larger_than_the_ring_is_refused_and_skipped() {
    let (board, _, mut journal) = pair();
    assert!(!journal.holds(CAPACITY + 1));
    assert!(journal.holds(CAPACITY));
    assert!(journal.append(b"before"));
    assert!(!journal.append(&stream(0, CAPACITY + 1)));
    journal.flushed(6);
    assert!(!journal.append(&stream(0, CAPACITY + 1)));
    journal.skip(CAPACITY + 1);
    assert!(journal.append(b"after"));
    let received = 6 + CAPACITY as u64 + 1;
    assert_eq!(board.recover(received), Ok(b"after".to_vec()));
    assert_eq!(board.recover(received + 2), Ok(b"ter".to_vec()));
}

#[test]
fn bytes_beyond_what_was_committed_or_announced_are_seen() {
    let (board, _, mut journal) = pair();
    assert!(board.has_announced(0) && !board.has_announced(1));
    assert!(journal.append(b"before"));
    assert!(board.has_announced(6) && !board.has_announced(7), "whether it is flushed or not");
    journal.flushed(6);
    let large = CAPACITY + 1;
    journal.announce(large);
    let end = 6 + large as u64;
    assert!(board.has_announced(7) && board.has_announced(end) && !board.has_announced(end + 1));
    journal.skip(large);
    assert!(journal.append(b"after"));
    assert!(board.has_announced(end + 5) && !board.has_announced(end + 6));
}

#[test]
#[should_panic(expected = "before those that precede it")]
fn frame_that_overtakes_pending_bytes_is_a_bug() {
    let (_, _, mut journal) = pair();
    assert!(journal.append(b"pending"));
    journal.skip(100_000);
}

#[test]
#[should_panic(expected = "more bytes flushed than were pending")]
fn flushing_more_than_is_pending_is_a_bug() {
    let (_, _, mut journal) = pair();
    assert!(journal.append(b"pending"));
    journal.flushed(8);
}

#[test]
fn position_that_cannot_be_right_is_an_error_and_allocates_nothing() {
    let (board, ..) = pair();
    for committed in [CAPACITY as u64 + 1, u64::MAX, u64::MAX - 7] {
        Word::store(board.memory.committed(), committed, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(board.recover(0), Err(RecoverError { committed, received: 0 }));
        assert_eq!(board.recover(committed), Ok(vec![]));
        assert_eq!(board.recover(committed - 9).map(|bytes| bytes.len()), Ok(9));
    }
    let text = board.recover(0).expect_err("damaged").to_string();
    assert!(text.contains("18446744073709551608"), "{text}");
}

#[derive(Clone, Debug)]
enum Operation {
    Append(usize),
    Flush(usize),
    /// The worker dies, its socket having delivered all that was flushed and so many permille of the rest.
    Die(usize),
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (0usize..200).prop_map(Operation::Append),
        2 => (0usize..40_000).prop_map(Operation::Append),
        1 => (RING_BYTES - 20..RING_BYTES + 20).prop_map(Operation::Append),
        4 => (0usize..100_000).prop_map(Operation::Flush),
        2 => (0usize..=1000).prop_map(Operation::Die),
    ]
}

proptest! {
    #[test]
    fn every_committed_byte_is_either_flushed_or_recovered(operations in prop::collection::vec(operation(), 1..60)) {
        let (board, _, mut journal) = pair();
        let (mut committed, mut flushed) = (0, 0);
        for operation in operations {
            match operation {
                Operation::Append(n) => {
                    let frame = stream(committed, n);
                    if !journal.append(&frame) {
                        prop_assert!(committed + n - flushed > CAPACITY, "there was room");
                        let pending = journal.pending().len();
                        prop_assert_eq!(journal.pending(), stream(flushed, committed - flushed));
                        journal.flushed(pending);
                        if !journal.append(&frame) {
                            prop_assert!(!journal.holds(n));
                            journal.skip(n);
                            flushed = committed + n;
                        } else {
                            flushed = committed;
                        }
                    }
                    committed += n;
                }
                Operation::Flush(n) => {
                    let n = n.min(journal.pending().len());
                    prop_assert_eq!(&journal.pending()[..n], stream(flushed, n));
                    journal.flushed(n);
                    flushed += n;
                }
                Operation::Die(permille) => {
                    let received = flushed + (committed - flushed) * permille / 1000;
                    prop_assert_eq!(board.recover(received as u64), Ok(stream(received, committed - received)));
                }
            }
        }
    }
}
