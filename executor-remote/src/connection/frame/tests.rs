use super::*;

const LIMIT: usize = 8 << 20;

fn long_header(len: u64) -> Vec<u8> {
    [&[0xff; 4][..], &len.to_be_bytes()].concat()
}

fn framed(message: &[u8]) -> Vec<u8> {
    [Header::new(message.len()).as_bytes(), message].concat()
}

/// Gives `bytes` to the inbox as a socket would, in pieces of `step` bytes, and takes what is complete after each.
fn receive(inbox: &mut Inbox, bytes: &[u8], step: usize) -> Result<Vec<Vec<u8>>, FrameError> {
    let mut taken = Vec::new();
    for piece in bytes.chunks(step) {
        inbox.spare().extend_from_slice(piece);
        inbox.settle();
        while let Some(message) = inbox.next(usize::MAX)? {
            taken.push(inbox.into_vec(message));
        }
    }
    Ok(taken)
}

#[test]
fn the_header_is_that_of_the_specification() {
    assert_eq!(Header::new(0).as_bytes(), [0, 0, 0, 0]);
    assert_eq!(Header::new(17).as_bytes(), [0, 0, 0, 0x11]);
    assert_eq!(Header::new(0x7fff_ffff).as_bytes(), [0x7f, 0xff, 0xff, 0xff]);
    assert_eq!(Header::new(0x8000_0000).as_bytes(), long_header(0x8000_0000));
}

#[test]
fn the_vectors_of_the_specification_are_cut() {
    let hex = "00000009 2357454c434f4d4523 00000009 234641494c55524523 00000000 \
        00000011 80049506000000000000008c026869942e";
    let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    let stream: Vec<u8> = digits.chunks(2).map(byte).collect();
    let taken = receive(&mut Inbox::new(256), &stream, stream.len()).unwrap();
    let hi = b"\x80\x04\x95\x06\0\0\0\0\0\0\0\x8c\x02hi\x94.".to_vec(); // send("hi")
    assert_eq!(taken, [b"#WELCOME#".to_vec(), b"#FAILURE#".to_vec(), Vec::new(), hi]);
    assert_eq!(taken.iter().flat_map(|message| framed(message)).collect::<Vec<_>>(), stream);
}

#[test]
fn messages_are_cut_wherever_the_stream_was_cut() {
    let lengths = [0, 1, 3, 8_192, LARGEST_BUFFER, LARGEST_BUFFER + 1, 0, 3 << 20, 2];
    let messages: Vec<Vec<u8>> = lengths.iter().map(|len| (0..*len).map(|n| n as u8).collect()).collect();
    let stream: Vec<u8> = messages.iter().flat_map(|message| framed(message)).collect();
    for step in [7, 1000, 8_192, 65_536, stream.len()] {
        let mut inbox = Inbox::new(LIMIT);
        assert_eq!(receive(&mut inbox, &stream, step).unwrap(), messages, "in pieces of {step}");
        assert!(inbox.is_between_messages());
    }
}

#[test]
fn the_long_form_is_taken_for_short_messages_too() {
    let mut stream = long_header(2);
    stream.extend_from_slice(b"hi");
    stream.extend_from_slice(&long_header(0));
    for step in 1..stream.len() {
        assert_eq!(receive(&mut Inbox::new(LIMIT), &stream, step).unwrap(), [b"hi".to_vec(), Vec::new()]);
    }
}

#[test]
fn a_negative_length_is_an_error_for_ever() {
    for header in [[0xff, 0xff, 0xff, 0xfe], [0x80, 0, 0, 0]] {
        let mut inbox = Inbox::new(LIMIT);
        let len = i32::from_be_bytes(header);
        assert_eq!(receive(&mut inbox, &header, 4).unwrap_err(), FrameError::BadLength { len });
        assert_eq!(receive(&mut inbox, &framed(b"more"), 4).unwrap_err(), FrameError::BadLength { len });
    }
}

#[test]
fn a_message_over_the_limit_can_still_be_taken_with_a_larger_one() {
    let mut inbox = Inbox::new(100);
    inbox.spare().extend_from_slice(&framed(&[7; 50]));
    assert_eq!(inbox.next(49).unwrap_err(), FrameError::TooLong { len: 50, max: 49 });
    let message = inbox.next(50).unwrap().unwrap();
    assert_eq!(inbox.bytes(&message), [7; 50]);

    inbox.spare().extend_from_slice(&framed(&[7; 101]));
    assert_eq!(inbox.next(usize::MAX).unwrap_err(), FrameError::TooLong { len: 101, max: 100 });
}

#[test]
fn a_long_message_that_has_begun_keeps_its_limit() {
    let mut inbox = Inbox::new(LIMIT);
    let stream = framed(&vec![1; 100_000]);
    assert!(receive(&mut inbox, &stream[..50_000], 10_000).unwrap().is_empty());
    assert_eq!(inbox.next(99_999).unwrap_err(), FrameError::TooLong { len: 100_000, max: 99_999 });
    assert_eq!(receive(&mut inbox, &stream[50_000..], 10_000).unwrap(), [vec![1; 100_000]]);
}

#[test]
fn memory_follows_what_came_and_not_what_was_announced() {
    for header in [vec![0x7f, 0xff, 0xff, 0xff], long_header(1 << 40), long_header(u64::MAX)] {
        let mut inbox = Inbox::new(usize::MAX);
        let outcome = receive(&mut inbox, &[header, vec![0; 1000]].concat(), 100);
        assert!(outcome.is_ok_and(|taken| taken.is_empty()));
        assert!(inbox.memory() <= 2 * FIRST_PIECE, "{} bytes", inbox.memory());
        assert!(!inbox.is_between_messages());
    }
}

#[test]
fn the_stream_may_end_between_messages_only() {
    let stream = framed(b"hi");
    for len in 0..=stream.len() {
        let mut inbox = Inbox::new(LIMIT);
        let taken = receive(&mut inbox, &stream[..len], 1).unwrap();
        assert_eq!(inbox.is_between_messages(), len == 0 || !taken.is_empty(), "after {len} bytes");
    }
}

#[test]
fn raw_bytes_before_the_messages_are_taken_first() {
    let mut inbox = Inbox::new(LIMIT);
    inbox.spare().extend_from_slice(b"hello\0\0\0\x01x");
    assert_eq!(inbox.take_raw(3), b"hel");
    assert_eq!(inbox.take_raw(2), b"lo");
    let message = inbox.next(1).unwrap().unwrap();
    assert_eq!(inbox.bytes(&message), b"x");
    assert_eq!(inbox.take_raw(5), b"");
}
