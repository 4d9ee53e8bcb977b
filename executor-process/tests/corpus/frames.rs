//! What the fuzzer does with its input; also what the ordinary tests do with the corpus.

use executor_core::wire::FromWorker;
use executor_process::board::{Board, WorkerBoard};
use executor_process::transport::{Bell, FrameReader, HEADER, ParentEnd, WorkerOutput, bell};

/// The largest body that the parent takes.
pub const LIMIT: usize = 64 * 1024;

/// Publishes the input as a worker would: its first byte says in pieces of how many bytes, the rest is the stream. The parent
/// takes in what there is after each piece, until there is something that no worker says.
pub fn run(input: &[u8]) {
    let Some((step, stream)) = input.split_first() else { return };
    let (board, fd) = Board::create().expect("a memfd");
    let mut parent = ParentEnd::new(&board);
    let worker = WorkerBoard::map(fd).expect("the board that was just made");
    let bell = Bell::new(&worker, bell().expect("an eventfd"));
    let mut output = WorkerOutput::new(&worker, bell);
    let mut reader = FrameReader::new(LIMIT);
    for piece in stream.chunks(1 + 16 * usize::from(*step)) {
        output.send(piece).expect("an open bell");
        while parent.recv(&mut reader).expect("undamaged positions") > 0 {
            if !take_frames(&mut reader) {
                return;
            }
        }
    }
    assert_eq!(reader.received(), stream.len() as u64);
}

/// False if there is something that no worker says.
fn take_frames(reader: &mut FrameReader) -> bool {
    assert!(reader.spare().len() <= HEADER + LIMIT + 64 * 1024, "as much as the limit says");
    loop {
        match reader.next_frame() {
            Ok(Some(body)) => {
                assert!(body.len() <= LIMIT);
                let Ok(frame) = FromWorker::decode(body) else { return false };
                // What was understood can be said again, and is understood then.
                let mut again = Vec::new();
                frame.encode(&mut again);
                let said = FromWorker::decode(&again[HEADER..]).expect("a frame of our own");
                assert_eq!(format!("{said:?}"), format!("{frame:?}"));
            }
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}
