//! What comes through the socket is checked, whoever has written it.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use proptest::prelude::*;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::super::message::Message;
use super::super::{PipeReader, PipeWriter, RecvError, pipe};

fn send_raw(writer: &PipeWriter<impl Sized>, bytes: &[u8], descriptors: &[OwnedFd]) {
    let fds: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    }
    let iov = [std::io::IoSlice::new(bytes)];
    rustix::net::sendmsg(writer.end.fd(), &iov, &mut control, SendFlags::empty()).expect("sent");
}

/// The packet of a message, without what follows it.
fn packet_of(value: &Vec<u32>) -> Vec<u8> {
    Message::encode(value).expect("encoded").packet().to_vec()
}

fn assert_next_is_whole(reader: &PipeReader<Vec<u32>>, writer: &PipeWriter<Vec<u32>>) {
    writer.send(vec![1, 2]).expect("a receiver");
    assert_eq!(reader.recv().expect("the next message"), [1, 2]);
}

#[test]
fn a_message_that_was_cut_off_is_told_from_the_end() {
    let (reader, writer) = pipe::<Vec<u32>>().expect("a pipe");
    let whole = packet_of(&(0..1000).collect());
    for length in [1, 10, 24, 100, whole.len() - 1] {
        send_raw(&writer, &whole[..length], &[]);
        let error = reader.recv().expect_err("cut off");
        assert!(matches!(error, RecvError::Truncated { .. }), "{length} bytes: {error:?}");
    }
    // Its memfd did not come along.
    send_raw(&writer, &packet_of(&(0..100_000).collect()), &[]);
    assert!(matches!(reader.recv(), Err(RecvError::Truncated { .. })));
    assert_next_is_whole(&reader, &writer);
    drop(writer);
    assert!(matches!(reader.recv(), Err(RecvError::Closed)));
}

#[test]
fn what_follows_a_message_has_to_be_sealed_memory_of_its_length() {
    let (reader, writer) = pipe::<Vec<u32>>().expect("a pipe");
    let packet = packet_of(&(0..100_000).collect());
    let memory = |flags| rustix::fs::memfd_create(c"test", flags).expect("a memfd");
    let unsealed = memory(rustix::fs::MemfdFlags::CLOEXEC);
    // One that would make whoever reads it wait.
    let (pipe_reader, _pipe_writer) = std::io::pipe().expect("a pipe");
    for fd in [unsealed, pipe_reader.into()] {
        send_raw(&writer, &packet, &[fd]);
        assert!(matches!(reader.recv(), Err(RecvError::Foreign { .. })));
    }
    let short = memory(rustix::fs::MemfdFlags::ALLOW_SEALING);
    rustix::fs::fcntl_add_seals(&short, rustix::fs::SealFlags::SHRINK | rustix::fs::SealFlags::GROW)
        .expect("sealed");
    send_raw(&writer, &packet, &[short]);
    assert!(matches!(reader.recv(), Err(RecvError::Truncated { .. })));
    assert_next_is_whole(&reader, &writer);
}

#[test]
fn a_packet_longer_than_any_is_lost_alone() {
    let (reader, writer) = pipe::<Vec<u32>>().expect("a pipe");
    send_raw(&writer, &[7; 100_000], &[]);
    assert!(matches!(reader.recv(), Err(RecvError::Foreign { .. })));
    assert_next_is_whole(&reader, &writer);
}

#[test]
fn descriptors_that_nobody_asked_for_are_closed_and_an_error() {
    let (reader, writer) = pipe::<Vec<u32>>().expect("a pipe");
    let (pipe_reader, pipe_writer) = std::io::pipe().expect("a pipe");
    send_raw(&writer, &packet_of(&vec![1]), &[pipe_writer.into()]);
    assert!(matches!(reader.recv(), Err(RecvError::Foreign { .. })));
    // Nobody has the writing end any more.
    assert_eq!(rustix::io::read(&pipe_reader, &mut [0; 1]), Ok(0));
    assert_next_is_whole(&reader, &writer);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn garbage_is_an_error_and_lost_alone(
        mut bytes in proptest::collection::vec(any::<u8>(), 1..300),
        like_ours in any::<bool>(),
        changes in proptest::collection::vec((0usize..64, any::<u8>()), 0..4),
    ) {
        let (reader, writer) = pipe::<Vec<u32>>().expect("a pipe");
        if like_ours {
            bytes = packet_of(&(0..30).collect());
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
        }
        send_raw(&writer, &bytes, &[]);
        match reader.recv() {
            Ok(_) => prop_assert!(like_ours, "a value out of random bytes"),
            Err(error) => prop_assert!(!matches!(error, RecvError::Closed | RecvError::Empty), "{}", error),
        }
        writer.send(vec![1, 2]).expect("a receiver");
        prop_assert_eq!(reader.recv().expect("the next message"), vec![1, 2]);
    }
}
