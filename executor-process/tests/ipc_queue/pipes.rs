//! Pipes between processes.

use executor_process::ipc::{self, RecvError, SendError};

use crate::support::{Child, Random};

pub const TESTS: crate::harness::Tests = &[
    ("a_pipe_ends_when_the_sending_process_is_killed", end),
    ("sending_into_a_pipe_whose_receiver_was_killed_is_an_error", nobody),
    ("killed_senders_leave_whole_messages_or_none", killed_senders),
    ("several_senders_and_receivers_share_a_pipe", shared_pipe),
    ("a_message_with_handles_is_lost_alone_when_no_descriptor_is_left", no_descriptors),
];

fn end() {
    let (reader, writer) = ipc::pipe::<u32>().expect("a pipe");
    let child = Child::run(|| {
        for n in 0.. {
            writer.send(n).expect("a receiver");
        }
    });
    drop(writer);
    for n in 0..100 {
        assert_eq!(reader.recv().expect("a message"), n);
    }
    child.kill();
    let mut next = 100;
    let error = loop {
        match reader.recv() {
            Ok(n) => {
                assert_eq!(n, next);
                next += 1;
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(error, RecvError::Closed), "{error}");
    child.wait();
}

fn nobody() {
    let (here, there) = ipc::duplex::<u32, u32>().expect("a pipe");
    let child = Child::run(|| {
        there.send(1).expect("a receiver");
        while there.recv().is_ok() {}
    });
    drop(there);
    assert_eq!(here.recv().expect("a message"), 1);
    child.kill();
    child.wait();
    assert!(matches!(here.send(2), Err(SendError::Closed(2))));
    assert!(matches!(here.recv(), Err(RecvError::Closed)));
}

fn killed_senders() {
    let (reader, writer) = ipc::pipe::<Vec<u8>>().expect("a pipe");
    let mut random = Random::new(13);
    for victim in 0..100u8 {
        let child = Child::run(|| {
            for n in 0.. {
                writer.send(vec![victim; [10, 200_000][n % 2]]).expect("a receiver");
            }
        });
        for _ in 0..random.below(10) {
            reader.recv().expect("a message");
        }
        child.kill();
        child.wait();
        loop {
            match reader.try_recv() {
                Ok(message) => assert!(message.iter().all(|byte| *byte == message[0]), "a whole message"),
                Err(error) => {
                    assert!(matches!(error, RecvError::Empty), "{error}");
                    break;
                }
            }
        }
    }
}

fn shared_pipe() {
    const EACH: u64 = 3000;
    let (reader, writer) = ipc::pipe::<(u64, Vec<u8>)>().expect("a pipe");
    let (sums, sums_writer) = ipc::pipe::<(u64, u64)>().expect("a pipe");
    let senders: Vec<_> = (0..3)
        .map(|_| {
            Child::run(|| {
                for n in 0..EACH {
                    let length = if n % 100 == 0 { 50_000 } else { 5 };
                    writer.send((n, vec![n as u8; length])).expect("a receiver");
                }
            })
        })
        .collect();
    drop(writer);
    let receivers: Vec<_> = (0..2)
        .map(|_| {
            Child::run(|| {
                let (mut count, mut sum) = (0, 0);
                while let Ok((n, bytes)) = reader.recv() {
                    assert!(bytes.iter().all(|byte| *byte == n as u8));
                    (count, sum) = (count + 1, sum + n);
                }
                sums_writer.send((count, sum)).expect("a receiver");
            })
        })
        .collect();
    drop(sums_writer);
    let (one, other) = (sums.recv().expect("a sum"), sums.recv().expect("a sum"));
    assert_eq!((one.0 + other.0, one.1 + other.1), (3 * EACH, 3 * (0..EACH).sum::<u64>()));
    for child in senders.into_iter().chain(receivers) {
        assert_eq!(child.wait(), 0);
    }
}

fn no_descriptors() {
    let (reader, writer) = ipc::pipe::<Vec<ipc::Queue<u8>>>().expect("a pipe");
    let child = Child::run(|| {
        // As many as are open now, and two more.
        let limit = std::fs::read_dir("/proc/self/fd").expect("procfs").count() as u64 + 1;
        let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
        // SAFETY: reads the variable.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
        let error = reader.recv().expect_err("no descriptors are left");
        assert!(matches!(error, RecvError::NoDescriptors), "{error}");
        assert_eq!(reader.recv().expect("the next message").len(), 0);
        // What cannot be made says why.
        while let Ok(file) = std::fs::File::open("/dev/null") {
            std::mem::forget(file);
        }
        let error = ipc::Queue::<u8>::unbounded().expect_err("no descriptors are left");
        assert!(error.to_string().contains("ulimit -n"), "{error}");
        assert!(ipc::pipe::<u8>().is_err());
    });
    let queues: Vec<_> = (0..5).map(|_| ipc::Queue::unbounded().expect("a queue")).collect();
    writer.send(queues).expect("a receiver");
    writer.send(Vec::new()).expect("a receiver");
    assert_eq!(child.wait(), 0);
}
