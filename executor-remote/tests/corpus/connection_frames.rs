//! What the fuzzer does with the bytes of a peer; also what the ordinary tests do with the corpus.

use executor_remote::connection::frame::{FrameError, Header, Inbox};

/// The longest message that is taken.
const LIMIT: usize = 256 * 1024;

/// Receives the input: its first byte says in pieces of how many bytes, its second the limit for a first attempt at a message, the rest
/// is the stream.
pub fn run(input: &[u8]) {
    let Some((&[step, first], stream)) = input.split_first_chunk() else { return };
    let mut inbox = Inbox::new(LIMIT);
    let mut said = Vec::new();
    for piece in stream.chunks(1 + 16 * usize::from(step)) {
        inbox.spare().extend_from_slice(piece);
        inbox.settle();
        assert!(inbox.memory() <= 2 * stream.len() + (2 << 20), "more than what came");
        if !take(&mut inbox, usize::from(first), &mut said) {
            // For ever.
            assert!(!take(&mut inbox, usize::from(first), &mut said));
            return;
        }
    }
    // What was understood says the same when it is said again in one piece, in the short form.
    let stream: Vec<u8> = said.iter().flat_map(|message| framed(message)).collect();
    let mut inbox = Inbox::new(LIMIT);
    inbox.spare().extend_from_slice(&stream);
    let mut again = Vec::new();
    assert!(take(&mut inbox, usize::from(first), &mut again) && inbox.is_between_messages());
    assert!(again == said);
}

/// False if there is something that no peer says.
fn take(inbox: &mut Inbox, first: usize, said: &mut Vec<Vec<u8>>) -> bool {
    loop {
        // A smaller limit changes nothing but whether the message is given.
        let next = match inbox.next(first) {
            Err(FrameError::TooLong { len, max }) => {
                assert!(len > max as u64 && max == first);
                inbox.next(usize::MAX)
            }
            other => other,
        };
        match next {
            Ok(Some(message)) => {
                assert!(inbox.bytes(&message).len() <= LIMIT);
                said.push(inbox.into_vec(message));
            }
            Ok(None) => return true,
            Err(FrameError::TooLong { len, max }) => {
                assert!(max == LIMIT && len > LIMIT as u64);
                return false;
            }
            Err(FrameError::BadLength { len }) => {
                assert!(len < -1);
                return false;
            }
            Err(other) => panic!("{other}"),
        }
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    [Header::new(message.len()).as_bytes(), message].concat()
}
