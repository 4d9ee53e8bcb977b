//! Both sides of a board in one process: two mappings of one memfd.

mod claims;
mod journal;
#[cfg(loom)]
mod loom;
mod mapping;

use super::*;

/// A parent's and a worker's side of one board.
fn pair() -> (Board, WorkerBoard, Journal) {
    let (board, fd) = Board::create().expect("a memfd");
    let (worker, journal) = WorkerBoard::map(fd).expect("the board that was just made");
    (board, worker, journal)
}
