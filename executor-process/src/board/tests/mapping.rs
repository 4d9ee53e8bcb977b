//! The memory itself: what is accepted as a board, and what a worker that runs wild can do to its parent.

use std::os::fd::{AsFd, OwnedFd};

use proptest::prelude::*;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::*;

fn refusal(fd: OwnedFd) -> &'static str {
    match WorkerBoard::map(fd) {
        Err(MapError::Foreign { reason }) => reason,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn descriptor_that_is_no_board_is_refused() {
    let empty = memfd_create(c"test", MemfdFlags::CLOEXEC).expect("a memfd");
    assert_eq!(refusal(empty), "another size");

    let (_board, fd) = Board::create().expect("a memfd");
    let size = rustix::fs::fstat(&fd).expect("stat").st_size;
    let unsealed = memfd_create(c"test", MemfdFlags::CLOEXEC).expect("a memfd");
    ftruncate(&unsealed, size as u64).expect("room");
    assert_eq!(refusal(unsealed), "not sealed");

    let sealed = memfd_create(c"test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("a memfd");
    ftruncate(&sealed, size as u64).expect("room");
    let seals = rustix::fs::fcntl_get_seals(&fd).expect("seals");
    rustix::fs::fcntl_add_seals(&sealed, seals).expect("sealing");
    assert_eq!(refusal(sealed), "another mark");

    let (read, _write) = rustix::pipe::pipe().expect("a pipe");
    assert_eq!(refusal(read), "another size");
}

#[test]
fn neither_side_can_take_the_memory_away_from_the_other() {
    let (_board, fd) = Board::create().expect("a memfd");
    assert!(ftruncate(&fd, 0).is_err());
    assert!(ftruncate(&fd, 1 << 30).is_err());
}

#[test]
fn memory_is_given_back() {
    let mapped = || {
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("smaps");
        maps.lines().filter(|line| line.contains("executor-board")).count()
    };
    // Other tests of this process have boards, too: more than they ever have at once.
    for _ in 0..20_000 {
        drop(pair());
    }
    assert!(mapped() < 1000, "{} mappings", mapped());
}

#[test]
fn both_sides_can_cross_threads() {
    fn is<T: Send + Sync>() {}
    is::<Board>();
    is::<WorkerBoard>();
}

proptest! {
    /// The worker overwrites its whole board with whatever bytes; the parent goes on with all that it may do.
    #[test]
    fn garbage_in_the_mapping_never_makes_the_parent_panic(
        seed in any::<[u64; 8]>(),
        slot in 0..WINDOW,
        bits in 0..1u64 << 39,
    ) {
        let (board, fd) = Board::create().expect("a memfd");
        let before = board.offer(slot);
        let noise: Vec<u8> = (0..16 * 1024u64)
            .flat_map(|n| (seed[(n % 8) as usize] ^ n.wrapping_mul(seed[(n / 8 % 8) as usize] | 1)).to_le_bytes())
            .collect();
        rustix::io::pwrite(fd.as_fd(), &noise, 0).expect("a write to a memfd");
        for tickets in [Some(before), Ticket::from_bits(bits)].into_iter().flatten() {
            let _ = board.state(tickets);
            let _ = board.revoke(tickets);
            let _ = board.request_cancel(tickets);
            prop_assert!(board.progress(tickets).is_none_or(|value| !value.is_nan()));
        }
        let _ = board.offer(slot);
    }
}
