//! Two books at the ends of one lane, as parent and worker have them. Both are in this process, and so is the cache.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use executor_core::attachment::{Attachment, Local};
use executor_core::wire::{Item, Packed};
use executor_core::{Blob, Parcel};
use rustix::fs::MemfdFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::book::{Book, Note, UnpackError};
use crate::ipc::handle::Descriptors;
use crate::transport::Lane;

const LEN: usize = 300_000;

/// Once for all tests.
fn install() {
    static INSTALLED: OnceLock<super::Installed> = OnceLock::new();
    INSTALLED.get_or_init(super::install);
}

struct Pair {
    parent: Arc<Book>,
    worker: Arc<Book>,
    /// The worker's end of the socket.
    socket: Arc<OwnedFd>,
    /// How often the parent was alerted.
    alerts: Arc<AtomicUsize>,
}

impl Pair {
    fn new() -> Self {
        install();
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        let (a, socket) = (Arc::new(a), Arc::new(b));
        let alerts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&alerts);
        let parent = Book::new(Lane::of_parent(a), true, move || {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let worker = Book::new(Lane::of_worker(Arc::clone(&socket)), false, || {});
        Self { parent, worker, socket, alerts }
    }

    fn to_worker(&self, attachments: &[Attachment]) -> Parcel<'static> {
        carry(&self.parent, &self.worker, attachments)
    }

    fn to_parent(&self, attachments: &[Attachment]) -> Parcel<'static> {
        carry(&self.worker, &self.parent, attachments)
    }
}

fn carry(from: &Book, to: &Arc<Book>, attachments: &[Attachment]) -> Parcel<'static> {
    let packing = from.packing(None, attachments);
    to.unpack(packing.of(b"value")).unwrap().into_owned()
}

fn items(book: &Book, blob: &Blob) -> Vec<u8> {
    book.packing(None, &[Attachment::Blob(blob.clone())]).items
}

fn first(parcel: &Parcel<'_>) -> Blob {
    match &parcel.attachments[0] {
        Attachment::Blob(blob) => blob.clone(),
        other => panic!("a blob was expected, not {other:?}"),
    }
}

fn tell(from: &Book, to: &Book) -> Vec<Note> {
    let notes = from.take_notes();
    for note in &notes {
        match *note {
            Note::Release(name, count) => to.on_release(name, count).unwrap(),
            Note::Withdraw(name) => to.on_withdraw(name),
        }
    }
    notes
}

fn blob(byte: u8) -> Blob {
    install();
    Blob::from(vec![byte; LEN])
}

#[test]
fn a_blob_is_read_where_it_was_written_and_released_when_it_is_dropped() {
    let pair = Pair::new();
    let blob = Attachment::Blob(blob(7));
    let parcel = pair.to_worker(&[blob]);
    assert_eq!(pair.parent.held_by_peer(), 1);
    let there = first(&parcel);
    drop(parcel);
    assert!(*there == [7; LEN][..]);
    assert!(tell(&pair.worker, &pair.parent).iter().all(|note| matches!(note, Note::Withdraw(_))));
    drop(there);
    assert!(pair.worker.has_notes());
    assert!(tell(&pair.worker, &pair.parent).contains(&Note::Release(0, 1)));
    assert_eq!(pair.parent.held_by_peer(), 0);
}

#[test]
fn a_segment_is_granted_once() {
    let pair = Pair::new();
    let blob = blob(1);
    let sizes: Vec<_> = (0..3)
        .map(|_| {
            let items = items(&pair.parent, &blob);
            drop(pair.worker.unpack(Packed { bytes: &[], attached: &items, is_bulk: false }).unwrap());
            items[0]
        })
        .collect();
    assert_ne!(sizes[0], sizes[1], "the first time it is new");
    assert_eq!(sizes[1], sizes[2]);
    // Three messages, of which each has a reference.
    assert!(tell(&pair.worker, &pair.parent).contains(&Note::Release(0, 3)));
}

#[test]
fn what_is_small_goes_in_the_list() {
    let pair = Pair::new();
    let small = Attachment::Blob(Blob::from(vec![5; 1000]));
    let parcel = pair.to_worker(&[small]);
    assert!(*first(&parcel) == [5; 1000][..]);
    assert_eq!(pair.parent.held_by_peer(), 0);
}

#[test]
fn a_blob_that_comes_back_is_the_owner_s_own() {
    let pair = Pair::new();
    let blob = blob(3);
    let there = pair.to_worker(&[Attachment::Blob(blob.clone())]);
    let back = first(&pair.to_parent(&there.attachments));
    assert!(std::ptr::eq(back.as_ptr(), blob.as_ptr()));
    // The reference is released after the message that gives it back.
    drop(there);
    tell(&pair.worker, &pair.parent);
    drop(blob);
    assert!(*back == [3; LEN][..]);
    assert_eq!(pair.parent.held_by_peer(), 0);
}

#[test]
fn a_blob_of_one_worker_goes_on_to_another() {
    let (one, other) = (Pair::new(), Pair::new());
    let made = Attachment::Blob(blob(9));
    let at_parent = one.to_parent(&[made]);
    let there = other.to_worker(&at_parent.attachments);
    drop(at_parent);
    assert_eq!(one.alerts.load(Ordering::SeqCst), 0, "the other worker has it");
    assert!(*first(&there) == [9; LEN][..]);
    drop(there);
    tell(&other.worker, &other.parent);
    assert_eq!(one.alerts.load(Ordering::SeqCst), 1);
    assert!(tell(&one.parent, &one.worker).contains(&Note::Release(0, 1)));
    assert_eq!(one.worker.held_by_peer(), 0);
}

#[test]
fn the_death_of_a_worker_releases_what_it_had_and_leaves_what_it_gave() {
    let pair = Pair::new();
    let _there = pair.to_worker(&[Attachment::Blob(blob(1))]);
    let here = first(&pair.to_parent(&[Attachment::Blob(blob(2))]));
    pair.parent.close();
    assert_eq!(pair.parent.held_by_peer(), 0);
    assert!(*here == [2; LEN][..]);
    drop(here);
    assert_eq!(pair.alerts.load(Ordering::SeqCst), 0, "there is nobody to tell");
}

#[test]
fn memory_that_was_released_is_used_again() {
    // A class of its own, so that other tests do not take it.
    const OWN: usize = 33 << 20;
    let make = |byte| {
        install();
        let mut bytes = executor_core::BlobMut::new(OWN);
        bytes.fill(byte);
        bytes.freeze()
    };
    let first = make(1);
    let address = first.as_ptr();
    drop(first);
    let second = make(2);
    assert!(std::ptr::eq(second.as_ptr(), address));
    let third = make(3);
    assert!(!std::ptr::eq(third.as_ptr(), address), "it is in use");
    assert!(second.iter().all(|byte| *byte == 2) && third.iter().all(|byte| *byte == 3));
}

#[test]
fn descriptors_travel_in_order_with_their_message() {
    let pair = Pair::new();
    let file = |text: &str| {
        let fd = rustix::fs::memfd_create(c"test", MemfdFlags::CLOEXEC).unwrap();
        rustix::io::pwrite(&fd, text.as_bytes(), 0).unwrap();
        fd
    };
    let read = |fd: &OwnedFd| {
        let mut bytes = [0; 3];
        rustix::io::pread(fd, &mut bytes[..], 0).unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    let local = |texts: &[&str]| {
        let fds = texts.iter().map(|text| file(text)).collect();
        Attachment::Local(Arc::new(Descriptors::new("Test", fds)) as Arc<dyn Local>)
    };
    let parcel = pair.to_worker(&[local(&["one", "two"]), Attachment::Blob(blob(1)), local(&["six"])]);
    let texts: Vec<Vec<String>> = [0, 2]
        .map(|at| match &parcel.attachments[at] {
            Attachment::Local(local) => {
                let any: &dyn std::any::Any = &**local;
                any.downcast_ref::<Descriptors>().unwrap().fds().iter().map(read).collect()
            }
            other => panic!("{other:?}"),
        })
        .into();
    assert_eq!(texts, [vec!["one", "two"], vec!["six"]]);
}

#[test]
fn more_descriptors_than_the_socket_takes_wait_in_the_queue() {
    let pair = Pair::new();
    let fd = Arc::new(Descriptors::new(
        "Test",
        vec![rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap()],
    ));
    let many: Vec<_> = (0..800).map(|_| Attachment::Local(Arc::clone(&fd) as Arc<dyn Local>)).collect();
    let packing = pair.parent.packing(None, &many);
    let worker = Arc::clone(&pair.worker);
    let thread = std::thread::spawn(move || {
        worker.unpack(packing.of(&[])).map(|parcel| parcel.attachments.len()).map_err(|it| it.to_string())
    });
    while !thread.is_finished() {
        // As the reaper does when the socket is writable.
        pair.parent.on_lane().unwrap();
        std::thread::yield_now();
    }
    assert_eq!(thread.join().unwrap(), Ok(800));
}

#[track_caller]
fn is_nonsense(book: &Arc<Book>, items: &[Item<'_>], is_bulk: bool) {
    let mut attached = Vec::new();
    items.iter().for_each(|item| item.write(&mut attached));
    let result = book.unpack(Packed { bytes: &[], attached: &attached, is_bulk });
    assert!(matches!(result, Err(UnpackError::Nonsense(_))), "{result:?}");
}

#[test]
fn the_parent_believes_nothing() {
    let pair = Pair::new();
    let parent = &pair.parent;
    is_nonsense(parent, &[Item::Granted { id: 7, len: 1, is_new: false }], false);
    is_nonsense(parent, &[Item::Granted { id: 7, len: 1, is_new: true }], false);
    is_nonsense(parent, &[Item::Returned { id: 0, len: LEN as u64 }], false);
    is_nonsense(parent, &[Item::Local(1)], false);
    assert!(parent.unpack(Packed { bytes: &[], attached: &[77, 1], is_bulk: false }).is_err());
    assert!(parent.on_release(0, 1).is_err());

    let there = pair.to_worker(&[Attachment::Blob(blob(1))]);
    is_nonsense(parent, &[Item::Returned { id: 0, len: LEN as u64 + 1 }], false);
    assert!(parent.on_release(0, 2).is_err(), "it has one reference");
    drop(there);

    let here = pair.to_parent(&[Attachment::Blob(blob(2))]);
    is_nonsense(parent, &[Item::Granted { id: 0, len: 1 << 40, is_new: false }], false);
    drop(here);
}

#[test]
fn a_descriptor_that_is_no_sealed_memory_is_refused() {
    let open = |allow: bool| {
        let flags = if allow { MemfdFlags::ALLOW_SEALING } else { MemfdFlags::empty() };
        let fd = rustix::fs::memfd_create(c"test", flags | MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&fd, 1 << 20).unwrap();
        fd
    };
    let pipe = rustix::pipe::pipe().unwrap().0;
    for fd in [open(true), open(false), pipe] {
        let pair = Pair::new();
        Lane::of_worker(Arc::clone(&pair.socket)).send(fd.as_fd()).unwrap();
        is_nonsense(&pair.parent, &[Item::Granted { id: 0, len: 10, is_new: true }], true);
    }
}

#[test]
fn bytes_in_the_lane_and_descriptors_that_nobody_wants_are_errors() {
    let pair = Pair::new();
    rustix::io::write(&*pair.socket, b"x").unwrap();
    assert!(pair.parent.on_lane().is_err());

    let pair = Pair::new();
    let mut lane = Lane::of_worker(Arc::clone(&pair.socket));
    let flood = (0..5000).try_for_each(|_| {
        lane.send(pair.socket.as_fd())?;
        pair.parent.on_lane().map(drop)
    });
    assert!(flood.is_err());
}

#[test]
fn a_value_in_bulk_is_the_last_of_what_came() {
    let pair = Pair::new();
    let (value, part) = (blob(1), blob(2));
    let packing = pair.parent.packing(Some(&value), &[Attachment::Blob(part)]);
    let parcel = pair.worker.unpack(packing.of(&value)).unwrap();
    assert!(*parcel.bytes == [1; LEN][..] && parcel.attachments.len() == 1);
    is_nonsense(&pair.parent, &[Item::Local(0)], true);
}

#[test]
fn segments_that_are_gone_are_withdrawn() {
    let pair = Pair::new();
    // Larger than what is kept.
    let len = super::cache::KEEP + 1;
    let memory = super::cache::allocator().allocate(len).unwrap();
    let blob = Blob::from_memory(memory.freeze(len));
    drop(pair.to_worker(&[Attachment::Blob(blob)]));
    let notes = tell(&pair.worker, &pair.parent);
    assert!(notes.contains(&Note::Release(0, 1)), "{notes:?}");
    let notes = tell(&pair.parent, &pair.worker);
    assert!(notes.contains(&Note::Withdraw(0)), "{notes:?}");
    is_nonsense(&pair.worker, &[Item::Granted { id: 0, len: 1, is_new: false }], false);
}
