//! A worker that writes whatever it likes to its board, at any moment, against all that its parent does.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use executor_core::wire;
use proptest::prelude::*;

use super::super::*;
use crate::board::{Board, Dozer, Memory, RING_BYTES, Ticket, WINDOW, WorkerBoard};
use crate::ring::{Lane, Need};

const LIMIT: usize = 200_000;

/// What the worker may write, word by word.
#[derive(Clone, Debug)]
enum Scribble {
    /// A position: of the frames or the answers, written or read.
    Position(u8, u64),
    /// The same, by so much from what it is.
    Shift(u8, i64),
    Frame(usize, u64),
    Answer(usize, u64),
    /// The beginning of a frame where the parent reads next, as if it had been published.
    Header(u32, u64),
    Doze(u8, u32),
    Claim(usize, u32),
    Progress(usize, u64),
}

/// What the parent does.
#[derive(Clone, Debug)]
enum Call {
    Send(usize),
    Receive,
    Listen(bool),
    Offer(usize),
    Ask(usize),
    Revoke(usize),
    Cancel(usize),
}

#[derive(Clone, Debug)]
enum Step {
    Worker(Scribble),
    /// What a worker does that is as it should be.
    Answer(Vec<u8>),
    Parent(Call),
}

fn position() -> impl Strategy<Value = u64> {
    prop_oneof![0..300_000u64, (0..300_000u64).prop_map(|n| n.wrapping_neg()), any::<u64>()]
}

fn step() -> impl Strategy<Value = Step> {
    let words = RING_BYTES / 8;
    let scribble = prop_oneof![
        (0..4u8, position()).prop_map(|(which, to)| Scribble::Position(which, to)),
        (0..4u8, -200_000..200_000i64).prop_map(|(which, by)| Scribble::Shift(which, by)),
        (0..words, any::<u64>()).prop_map(|(at, to)| Scribble::Frame(at, to)),
        (0..words, any::<u64>()).prop_map(|(at, to)| Scribble::Answer(at, to)),
        (prop_oneof![0..100u32, 0..LIMIT as u32 + 10, any::<u32>()], 0..RING_BYTES as u64)
            .prop_map(|(length, ahead)| Scribble::Header(length, ahead)),
        (0..4u8, prop_oneof![0..4u32, any::<u32>()]).prop_map(|(who, to)| Scribble::Doze(who, to)),
        (0..WINDOW, any::<u32>()).prop_map(|(slot, to)| Scribble::Claim(slot, to)),
        (0..WINDOW, any::<u64>()).prop_map(|(slot, to)| Scribble::Progress(slot, to)),
    ];
    let call = prop_oneof![
        3 => prop_oneof![0..100usize, 0..LIMIT].prop_map(Call::Send),
        4 => Just(Call::Receive),
        1 => any::<bool>().prop_map(Call::Listen),
        1 => (0..WINDOW).prop_map(Call::Offer),
        1 => any::<usize>().prop_map(Call::Ask),
        1 => any::<usize>().prop_map(Call::Revoke),
        1 => any::<usize>().prop_map(Call::Cancel),
    ];
    prop_oneof![
        2 => scribble.prop_map(Step::Worker),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Step::Answer),
        4 => call.prop_map(Step::Parent),
    ]
}

struct Parent {
    board: Board,
    end: ParentEnd,
    out: OutBuf,
    reader: FrameReader,
    tickets: Vec<Ticket>,
    /// It has noticed, and does nothing more with this worker but to end it and to ask what had begun.
    has_given_up: bool,
}

impl Parent {
    fn does(&mut self, call: &Call) {
        let one = |n: &usize| self.tickets.get(n % self.tickets.len().max(1)).copied();
        match call {
            Call::Send(len) => {
                if self.has_given_up || self.out.len() > 1 << 20 {
                    return;
                }
                self.out.push(&vec![7; *len], LIMIT).expect("within the limit");
                let before = self.out.len();
                match self.end.send(&mut self.out) {
                    Ok(Sent::All) => assert!(self.out.is_empty()),
                    Ok(Sent::Full) => assert!(!self.out.is_empty() && self.out.len() <= before),
                    Err(_) => self.has_given_up = true,
                }
            }
            Call::Receive => self.receive(),
            Call::Listen(asks) => self.end.listen(if *asks { Need::Anything } else { Need::Nothing }),
            Call::Offer(slot) => self.tickets.push(self.board.offer(*slot)),
            Call::Ask(n) => {
                if let Some(ticket) = one(n) {
                    let _ = self.board.state(ticket);
                    assert!(self.board.progress(ticket).is_none_or(|value| !value.is_nan()));
                }
            }
            Call::Revoke(n) => {
                let _ = one(n).map(|ticket| self.board.revoke(ticket));
            }
            Call::Cancel(n) => {
                let _ = one(n).map(|ticket| self.board.request_cancel(ticket));
            }
        }
    }

    /// As the pool does.
    fn receive(&mut self) {
        if self.has_given_up || !self.end.has_answers() {
            return;
        }
        let room = self.reader.spare().len();
        assert!(room <= LIMIT + HEADER + 2 * RING_BYTES, "a buffer of {room} bytes");
        match self.end.recv(&mut self.reader) {
            Ok(len) => assert!((1..=RING_BYTES).contains(&len) && len <= room),
            Err(_) => self.has_given_up = true,
        }
        loop {
            match self.reader.next_frame() {
                Ok(Some(body)) => {
                    assert!(body.len() <= LIMIT);
                    self.has_given_up |= wire::FromWorker::decode(body).is_err();
                }
                Ok(None) => break,
                Err(_) => {
                    self.has_given_up = true;
                    break;
                }
            }
        }
    }
}

fn scribble(board: &WorkerBoard, scribble: &Scribble) {
    use crate::board::{FromWorker, ToWorker};
    let memory = board.memory();
    let (frames, answers) = (ToWorker(Arc::clone(memory)), FromWorker(Arc::clone(memory)));
    let position = |which| match which {
        0 => frames.written(),
        1 => frames.read(),
        2 => answers.written(),
        _ => answers.read(),
    };
    match *scribble {
        Scribble::Position(which, to) => position(which).store(to, Relaxed),
        Scribble::Shift(which, by) => {
            let word = position(which);
            word.store(word.load(Relaxed).wrapping_add_signed(by), Relaxed);
        }
        Scribble::Frame(at, to) => frames.data()[at].store(to, Relaxed),
        Scribble::Answer(at, to) => answers.data()[at].store(to, Relaxed),
        Scribble::Header(length, ahead) => {
            let from = answers.read().load(Relaxed);
            let words = answers.data().len() as u64;
            answers.data()[(from / 8 % words) as usize].store(u64::from(length), Relaxed);
            answers.written().store(from.wrapping_add(ahead), Relaxed);
        }
        Scribble::Doze(who, to) => {
            let who = match who {
                0 => Dozer::WorkerInput,
                1 => Dozer::WorkerRoom,
                2 => Dozer::ParentInput,
                _ => Dozer::ParentRoom,
            };
            memory.doze(who).store(to, Relaxed);
        }
        Scribble::Claim(slot, to) => memory.claims()[slot].store(to, Relaxed),
        Scribble::Progress(slot, to) => memory.progress()[slot].store(to, Relaxed),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Each call of the parent's returns, with something sane or an error, and its buffers stay as small as its limits say.
    #[test]
    fn whatever_a_worker_writes_its_parent_goes_on(steps in prop::collection::vec(step(), 1..80)) {
        let (board, fd) = Board::create().expect("a memfd");
        let end = ParentEnd::new(&board);
        let worker = WorkerBoard::map(fd).expect("the board that was just made");
        let bell = Bell::new(&worker, bell().expect("an eventfd"));
        let mut output = WorkerOutput::new(&worker, bell);
        let mut parent = Parent {
            board,
            end,
            out: OutBuf::new(),
            reader: FrameReader::new(LIMIT),
            tickets: Vec::new(),
            has_given_up: false,
        };
        // Small answers of a worker that is not read from at all must not wait for room here.
        let mut room = RING_BYTES / 2;
        for step in &steps {
            match step {
                Step::Worker(what) => scribble(&worker, what),
                Step::Answer(body) => {
                    let mut frame = OutBuf::new();
                    frame.push(body, LIMIT).expect("within the limit");
                    let position = crate::board::FromWorker(Arc::clone(worker.memory())).read().load(Relaxed);
                    // Its own end may notice, too; what it must not do here is to sleep for room that never comes.
                    if frame.len() <= room && position < RING_BYTES as u64 / 2 {
                        room -= frame.len();
                        let _ = output.send(frame.as_slice());
                    }
                }
                Step::Parent(call) => parent.does(call),
            }
        }
    }
}
