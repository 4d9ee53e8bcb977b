//! What is left when there is nothing to be had, and when all is over.

use executor_process::ipc::{IpcError, Lock, SharedMemory};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::support::{Child, Signals, eventually, files_in_shm};

crate::tests![
    no_descriptor_left_is_an_error_that_says_so,
    memory_is_shared_with_and_without_name,
    a_name_is_gone_when_its_creator_was_killed,
    a_name_that_exists_or_cannot_be_one_is_an_error,
    no_room_in_shm_is_an_error_and_leaves_nothing,
    no_shm_at_all_is_an_error_and_anonymous_memory_needs_none,
];

fn name() -> String {
    format!("executor-test-{}", std::process::id())
}

fn memory_is_shared_with_and_without_name() {
    let (name, anonymous) = (name(), SharedMemory::new(1000).expect("memory"));
    let named = SharedMemory::create(&name, 1000).expect("memory");
    assert!(files_in_shm().contains(&name));
    let bytes: Vec<u8> = (0..100).collect();
    Child::start(|| {
        anonymous.write(3, &bytes);
        let opened = SharedMemory::open(&name).expect("the name");
        assert_eq!((opened.len(), opened.name()), (1000, Some(&*name)));
        opened.write(5, &bytes);
        // A copy of the creator's handle is not the creator's.
        drop(named.clone());
    })
    .join();
    for (memory, offset) in [(&anonymous, 3), (&named, 5)] {
        let mut copy = [0; 102];
        memory.read(offset - 1, &mut copy);
        assert_eq!((copy[0], &copy[1..101], copy[101]), (0, &bytes[..], 0));
        // SAFETY: nobody writes any more.
        assert_eq!(unsafe { memory.as_slice() }[offset..][..100], bytes);
    }
    let beyond = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| anonymous.write(999, &[1, 2])));
    assert!(beyond.is_err());
    drop(named);
    assert!(!files_in_shm().contains(&name));
}

fn a_name_is_gone_when_its_creator_was_killed() {
    let (name, signals) = (name(), Signals::new());
    let creator = Child::start(|| {
        let _memory = SharedMemory::create(&name, 1 << 20).expect("memory");
        signals.send(0);
        loop {
            std::thread::park();
        }
    });
    signals.next();
    let opened = SharedMemory::open(&name).expect("the name");
    creator.kill();
    eventually("the name is gone", || !files_in_shm().contains(&name));
    opened.write(0, &[1]);
}

fn a_name_that_exists_or_cannot_be_one_is_an_error() {
    let name = name();
    let _memory = SharedMemory::create(&name, 10).expect("memory");
    let error = SharedMemory::create(&name, 10).expect_err("it exists").to_string();
    assert!(error.contains("the name exists"), "{error}");
    SharedMemory::unlink(&name).expect("it exists");
    assert!(SharedMemory::unlink(&name).is_err());
    let error = SharedMemory::open(&name).expect_err("it is gone").to_string();
    assert!(error.contains("there is no such name"), "{error}");
    for name in ["", ".", "..", "a/b", "/a", "a\0b", &"x".repeat(256)] {
        assert!(matches!(SharedMemory::create(name, 10), Err(IpcError::Name { .. })), "{name:?}");
    }
}

/// Gives this process a mount of its own.
fn mount_tmpfs(at: &std::ffi::CStr, options: &std::ffi::CStr) {
    // SAFETY: strings that are terminated; the process is the test's own.
    unsafe {
        assert_eq!(libc::unshare(libc::CLONE_NEWNS), 0, "mounts of one's own, as root");
        let private = libc::MS_REC | libc::MS_PRIVATE;
        assert_eq!(
            libc::mount(c"none".as_ptr(), c"/".as_ptr(), std::ptr::null(), private, std::ptr::null()),
            0
        );
        let options = options.as_ptr().cast();
        assert_eq!(libc::mount(c"tmpfs".as_ptr(), at.as_ptr(), c"tmpfs".as_ptr(), 0, options), 0);
    }
}

fn no_room_in_shm_is_an_error_and_leaves_nothing() {
    Child::start(|| {
        mount_tmpfs(c"/dev/shm", c"size=64k");
        let error = SharedMemory::create("large", 1 << 20).expect_err("there is no room");
        assert!(error.to_string().contains("find the room in /dev/shm"), "{error}");
        assert!(files_in_shm().is_empty());
        let small = SharedMemory::create("small", 4096).expect("there is room");
        small.write(0, &[1; 4096]);
    })
    .join();
}

fn no_shm_at_all_is_an_error_and_anonymous_memory_needs_none() {
    Child::start(|| {
        mount_tmpfs(c"/dev", c"");
        let error = SharedMemory::create("name", 10).expect_err("there is no folder").to_string();
        assert!(error.contains("no /dev/shm"), "{error}");
        SharedMemory::new(10).expect("no folder is needed").write(0, &[1]);
    })
    .join();
}

fn no_descriptor_left_is_an_error_that_says_so() {
    Child::start(|| {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = Some(0);
        let lock = Lock::new().expect("a lock");
        setrlimit(Resource::Nofile, limit).expect("a limit may be lowered");
        let error = Lock::new().expect_err("no descriptor may be opened");
        assert!(matches!(error, IpcError::System { what: "Lock", .. }));
        let text = error.to_string();
        assert!(text.contains("cannot make the memory of a Lock") && text.contains("ulimit -n"), "{text}");
        // What there is goes on.
        drop(lock.clone().lock().expect("nobody died"));
    })
    .join();
}
