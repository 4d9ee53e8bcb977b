use std::os::fd::OwnedFd;

use executor_core::attachment;
use rustix::fs::{ftruncate, memfd_create};

use super::*;
use crate::ipc::handle;

const THING: &Kind = &Kind { name: "Thing", code: 77 };
const OTHER: &Kind = &Kind { name: "Other", code: 78 };

fn duplicate(region: &Region) -> Arc<Descriptors> {
    Arc::new(Descriptors::new("Thing", vec![region.fd().try_clone_to_owned().expect("a descriptor")]))
}

fn refusal(fd: OwnedFd) -> &'static str {
    match Region::open(&Arc::new(Descriptors::new("Thing", vec![fd])), THING) {
        Err(IpcError::Foreign { what: "Thing", reason }) => reason,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn a_region_that_comes_twice_is_mapped_once() {
    let region = Region::create(THING, 64).expect("memory");
    region.at::<AtomicU32>(4).store(7, Ordering::Relaxed);
    let again = Region::open(&duplicate(&region), THING).expect("the same");
    assert!(Arc::ptr_eq(&region, &again));
    // As in another process: the entry is not found.
    let key = region.key;
    registry().remove(&key);
    let other = Region::open(&duplicate(&region), THING).expect("another mapping");
    assert!(!Arc::ptr_eq(&region, &other));
    assert_eq!(other.at::<AtomicU32>(4).load(Ordering::Relaxed), 7);
    // The older one leaves the entry of the newer alone.
    drop((region, again));
    assert!(Arc::ptr_eq(&other, &Region::open(&duplicate(&other), THING).expect("the same")));
    drop(other);
    assert!(!registry().contains_key(&key));
}

#[test]
fn a_descriptor_of_something_else_is_refused() {
    let region = Region::create(OTHER, 64).expect("memory");
    assert_eq!(refusal(region.fd().try_clone_to_owned().expect("a descriptor")), "another kind");
    registry().remove(&region.key);
    assert_eq!(refusal(region.fd().try_clone_to_owned().expect("a descriptor")), "another kind");

    let (read, _write) = rustix::pipe::pipe().expect("a pipe");
    assert_eq!(refusal(read), "no sealed memory");
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let small = memfd_create(c"test", flags).expect("a memfd");
    rustix::fs::fcntl_add_seals(&small, SEALS).expect("seals");
    assert_eq!(refusal(small), "another size");
    let zero = memfd_create(c"test", flags).expect("a memfd");
    ftruncate(&zero, 4096).expect("room");
    assert_eq!(refusal(zero.try_clone().expect("a descriptor")), "no sealed memory");
    rustix::fs::fcntl_add_seals(&zero, SEALS).expect("seals");
    assert_eq!(refusal(zero), "another mark");
    let none = Arc::new(Descriptors::new("Thing", Vec::new()));
    assert!(matches!(Region::open(&none, THING), Err(IpcError::Foreign { .. })));
}

#[test]
fn nobody_can_take_the_memory_away() {
    let region = Region::create(THING, 64).expect("memory");
    assert!(ftruncate(region.fd(), 0).is_err());
    assert!(ftruncate(region.fd(), 1 << 20).is_err());
}

#[test]
fn too_much_is_an_error() {
    for bytes in [usize::MAX, usize::MAX - 4096, i64::MAX as usize - 64] {
        assert!(matches!(Region::create(THING, bytes), Err(IpcError::TooLarge { .. })));
    }
    let error =
        Region::create(THING, i64::MAX as usize - BODY).expect_err("as much as there is address space");
    assert!(matches!(error, IpcError::System { .. }), "{error:?}");
}

#[test]
#[should_panic(expected = "2 words at 60 of a Thing of 64 bytes")]
fn what_is_outside_of_the_body_is_not_given_out() {
    let region = Region::create(THING, 64).expect("memory");
    let _ = region.slice::<AtomicU32>(60, 2);
}

#[test]
fn memory_is_given_back_unless_it_is_pinned() {
    let maps = || {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
        maps.lines().filter(|line| line.contains("executor-Pinned")).count()
    };
    let kind = &const { Kind { name: "Pinned", code: 79 } };
    for _ in 0..100 {
        let region = Region::create(kind, 64).expect("memory");
        region.pin_by_lock(true);
        region.pin_by_lock(false);
    }
    assert_eq!(maps(), 0);
    let region = Region::create(kind, 64).expect("memory");
    region.pin_by_lock(true);
    drop(region);
    assert_eq!(maps(), 1);
}

struct Handle(Arc<Region>);

impl serde::Serialize for Handle {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        handle::serialize(&self.0, &5u8, serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Handle {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (region, meta) = handle::deserialize::<u8, D>(THING, deserializer)?;
        assert_eq!(meta, 5);
        Ok(Self(region))
    }
}

#[test]
fn a_handle_travels_as_an_attachment_and_not_otherwise() {
    let handle = Handle(Region::create(THING, 64).expect("memory"));
    let encode = || serde_json::to_vec(&(1u8, &handle, &handle));
    let error = encode().expect_err("nothing can be attached").to_string();
    assert!(error.contains("a Thing exists on this machine only"), "{error}");
    let (bytes, attached) = attachment::collect(encode);
    let bytes = bytes.expect("a message");
    assert_eq!(attached.len(), 1);
    let decode = || serde_json::from_slice::<(u8, Handle, Handle)>(&bytes);
    let Err(error) = decode() else { panic!("nothing is attached") };
    assert!(error.to_string().contains("no descriptors came with a Thing"), "{error}");
    let (_, one, two) = attachment::provide(attached, decode).expect("a message");
    assert!(Arc::ptr_eq(&one.0, &handle.0) && Arc::ptr_eq(&two.0, &handle.0));
}
