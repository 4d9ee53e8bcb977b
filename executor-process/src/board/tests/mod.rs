//! Both sides of a board in one process: two mappings of one memfd.

mod claims;
#[cfg(loom)]
mod loom;
mod mapping;

use super::*;

/// A parent's and a worker's side of one board.
fn pair() -> (Board, WorkerBoard) {
    let (board, fd) = Board::create().expect("a memfd");
    (board, WorkerBoard::map(fd).expect("the board that was just made"))
}
