//! Both ends of a channel in one process.

use std::sync::atomic::Ordering::Relaxed;

use super::super::*;
use crate::board::{Board, Dozer, FromWorker, RING_BYTES, WorkerBoard};
use crate::ring::{Lane, Need};

struct Ends {
    parent: ParentEnd,
    input: WorkerInput,
    output: WorkerOutput,
    bell: Bell,
    rung: std::os::fd::OwnedFd,
    board: WorkerBoard,
}

fn ends() -> Ends {
    let (board, fd) = Board::create().expect("a memfd");
    let parent = ParentEnd::new(&board);
    let board = WorkerBoard::map(fd).expect("the board that was just made");
    let rung = bell().expect("an eventfd");
    let bell = Bell::new(&board, rung.try_clone().expect("a descriptor"));
    let input = WorkerInput::new(&board, bell.clone());
    let output = WorkerOutput::new(&board, bell.clone());
    Ends { parent, input, output, bell, rung, board }
}

fn out(bodies: &[&[u8]]) -> OutBuf {
    let mut out = OutBuf::new();
    for body in bodies {
        out.push(body, 1 << 30).expect("within the limit");
    }
    out
}

/// Whether the bell has rung since it was last asked.
fn has_rung(ends: &Ends) -> bool {
    rustix::io::read(&ends.rung, &mut [0; 8][..]).is_ok()
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

#[test]
fn frames_cross_both_ways() {
    let mut ends = ends();
    assert_eq!(ends.parent.send(&mut out(&[b"one", b"", b"three"])), Ok(Sent::All));
    let mut reader = FrameReader::new(100);
    assert!(matches!(ends.input.recv(&mut reader), Ok(20)));
    for body in [&b"one"[..], b"", b"three"] {
        assert_eq!(reader.next_frame(), Ok(Some(body)));
    }
    assert!(matches!(ends.input.try_recv(&mut reader), Ok(0)), "nothing more");

    assert!(!ends.parent.has_answers());
    ends.output.send(out(&[b"four"]).as_slice()).expect("room");
    assert!(ends.parent.has_answers());
    assert_eq!(ends.parent.recv(&mut reader), Ok(8));
    assert_eq!(reader.next_frame(), Ok(Some(&b"four"[..])));
    assert!(!ends.parent.has_answers() && !has_rung(&ends), "nobody had asked");
}

/// What takes the place of a journal: an answer is published before anybody is told, and nothing has to be told for it.
#[test]
fn an_answer_is_there_without_the_worker_that_has_published_it() {
    let Ends { mut parent, mut output, input, bell, board, .. } = ends();
    output.send(out(&[b"the last words"]).as_slice()).expect("room");
    drop((input, output, bell, board));
    let mut reader = FrameReader::new(100);
    assert_eq!(parent.recv(&mut reader), Ok(18));
    assert_eq!(reader.next_frame(), Ok(Some(&b"the last words"[..])));
    assert_eq!(parent.recv(&mut reader), Ok(0));
    assert_eq!(reader.finish(), Ok(()));
}

#[test]
fn the_bell_rings_once_for_what_the_parent_asked() {
    let ends = ends();
    let rings = |asked, reason| {
        ends.parent.listen(asked);
        ends.bell.tell(reason).expect("an open bell");
        let first = has_rung(&ends);
        ends.bell.tell(reason).expect("an open bell");
        assert!(!has_rung(&ends), "it was told already, or had not asked");
        first
    };
    assert!(!rings(Need::Nothing, Need::Idle));
    assert!(!rings(Need::Nothing, Need::Anything));
    assert!(rings(Need::Idle, Need::Idle));
    assert!(!rings(Need::Idle, Need::Anything));
    assert!(rings(Need::Anything, Need::Anything));
    assert!(rings(Need::Anything, Need::Idle));
}

#[test]
fn a_full_ring_keeps_the_rest_and_rings_when_there_is_room() {
    let mut ends = ends();
    let body = bytes(3_000_000);
    let mut out = out(&[&body]);
    let mut reader = FrameReader::new(body.len());
    let mut turns = 0;
    while ends.parent.send(&mut out) == Ok(Sent::Full) {
        assert!(!out.is_empty() && !has_rung(&ends), "there is no room");
        assert!(ends.input.recv(&mut reader).expect("an open bell") > 0);
        assert!(has_rung(&ends), "there is room");
        turns += 1;
    }
    assert!(turns > 20);
    while ends.input.try_recv(&mut reader).expect("an open bell") > 0 {}
    assert_eq!(reader.next_frame(), Ok(Some(&body[..])));
    assert!(!has_rung(&ends), "nobody waits for room any more");
}

/// The worker sleeps for room in each of many turns, and is woken in each.
#[test]
fn an_answer_larger_than_the_ring_goes_through() {
    let Ends { mut parent, mut output, .. } = ends();
    let body = bytes(20 * RING_BYTES);
    let frame = out(&[&body]);
    let worker = std::thread::spawn(move || output.send(frame.as_slice()));
    let mut reader = FrameReader::new(body.len());
    while (reader.received() as usize) < HEADER + body.len() {
        if parent.recv(&mut reader).expect("undamaged") == 0 {
            std::thread::yield_now();
        }
    }
    assert_eq!(reader.next_frame(), Ok(Some(&body[..])));
    worker.join().expect("the worker").expect("an open bell");
}

/// A frame that fits into the ring waits until it fits as a whole, so that a death leaves no part of it.
#[test]
fn an_answer_that_fits_is_there_whole_or_not_at_all() {
    let Ends { mut parent, mut output, board, .. } = ends();
    let first = out(&[&bytes(100_000)]);
    let second = out(&[&bytes(60_000)]);
    output.send(first.as_slice()).expect("room");
    let worker = std::thread::spawn(move || output.send(second.as_slice()));
    // It asks for room once it has found that there is none.
    while board.memory().doze(Dozer::WorkerRoom).load(Relaxed) == 0 {
        std::thread::yield_now();
    }
    assert_eq!(FromWorker(std::sync::Arc::clone(board.memory())).written().load(Relaxed), 100_004);
    let mut reader = FrameReader::new(1 << 20);
    for body in [100_000, 60_000] {
        loop {
            if let Some(frame) = reader.next_frame().expect("frames") {
                assert_eq!(frame, bytes(body));
                break;
            }
            parent.recv(&mut reader).expect("undamaged");
        }
    }
    worker.join().expect("the worker").expect("an open bell");
}

#[test]
fn a_worker_that_sleeps_is_woken_for_each_frame() {
    let Ends { mut parent, mut input, mut output, .. } = ends();
    let echo = std::thread::spawn(move || {
        let mut reader = FrameReader::new(100);
        for _ in 0..200 {
            input.recv(&mut reader).expect("an open bell");
            while let Some(body) = reader.next_frame().expect("frames") {
                output.send(out(&[body]).as_slice()).expect("room");
            }
        }
    });
    let mut reader = FrameReader::new(100);
    for n in 0..200u64 {
        assert_eq!(parent.send(&mut out(&[&n.to_le_bytes()])), Ok(Sent::All));
        while parent.recv(&mut reader).expect("undamaged") == 0 {
            std::thread::yield_now();
        }
        assert_eq!(reader.next_frame(), Ok(Some(&n.to_le_bytes()[..])));
    }
    echo.join().expect("the worker");
}

#[test]
fn a_worker_without_its_bell_says_so() {
    let (board, fd) = Board::create().expect("a memfd");
    let parent = ParentEnd::new(&board);
    let board = WorkerBoard::map(fd).expect("the board that was just made");
    // As if the task had closed the number, and it was given to something that cannot be written to.
    let (read, _write) = rustix::pipe::pipe().expect("a pipe");
    let bell = Bell::new(&board, read);
    bell.tell(Need::Idle).expect("nobody has asked");
    parent.listen(Need::Anything);
    let error = bell.tell(Need::Idle).expect_err("it cannot be rung");
    assert!(matches!(error, LinkError::Bell(_)), "{error}");
    assert!(error.to_string().contains("descriptor"), "{error}");
}
