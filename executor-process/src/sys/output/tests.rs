use std::io;

use super::sections::Sections;
use super::tail::TAIL_BYTES;
use super::*;
use crate::board::Ticket;

const NONCE: Nonce = *b"0123456789abcdef";

fn ticket(bits: u64) -> Ticket {
    Ticket::from_bits(bits).expect("a ticket's number")
}

fn begin(ticket: u64) -> Vec<u8> {
    Mark { edge: Edge::Begin, ticket }.encode(&NONCE).to_vec()
}

fn end(ticket: u64) -> Vec<u8> {
    Mark { edge: Edge::End, ticket }.encode(&NONCE).to_vec()
}

fn captured(bytes: &[u8]) -> Captured {
    Captured { bytes: bytes.to_vec(), dropped: 0 }
}

#[test]
fn tail_keeps_the_last_lines() {
    let mut tail = Tail::default();
    for n in 0..5000 {
        tail.push(format!("line {n}\n").as_bytes());
    }
    assert_eq!(tail.last_lines(2), "line 4998\nline 4999");
    let all = tail.last_lines(usize::MAX);
    assert!(all.len() <= TAIL_BYTES);
    assert!(all.starts_with("line "), "the line that lost its beginning is left out");
}

#[test]
fn tail_of_one_endless_line_is_its_end() {
    let mut tail = Tail::default();
    tail.push(&[b'x'; 3 * TAIL_BYTES]);
    assert_eq!(tail.last_lines(20).len(), TAIL_BYTES);
}

#[test]
fn tail_shows_what_is_not_utf8() {
    let mut tail = Tail::default();
    tail.push(b"bad \xff byte\n\n");
    assert_eq!(tail.last_lines(20), "bad \u{fffd} byte");
    assert_eq!(Tail::default().last_lines(20), "");
}

#[test]
fn sections_are_cut_the_same_whatever_the_chunks() {
    let near = [b"x 0123".as_slice(), &NONCE[..15], b"?", &NONCE, b"?no mark. ", &NONCE[..7]].concat();
    let stream =
        [b"before ".as_slice(), &begin(7), &near, &end(7), b" between ", &begin(8), &end(8), b"after"]
            .concat();
    for size in 1..stream.len() {
        let mut sections = Sections::new(NONCE, 1000);
        let mut outside = Vec::new();
        for chunk in stream.chunks(size) {
            sections.push(chunk, &mut |bytes, captured| {
                if !captured {
                    outside.extend_from_slice(bytes);
                }
            });
        }
        assert_eq!(String::from_utf8_lossy(&outside), "before  between after", "chunks of {size}");
        assert_eq!(sections.take(7), Some(captured(&near)), "chunks of {size}");
        assert_eq!(sections.take(8), Some(captured(b"")));
        assert_eq!(sections.take(7), None, "a section is taken once");
    }
}

#[test]
fn section_beyond_the_limit_is_counted() {
    let mut sections = Sections::new(NONCE, 4);
    sections.push(&[begin(1), b"abc".to_vec(), b"defgh".to_vec(), end(1)].concat(), &mut |_, _| {});
    assert_eq!(sections.take(1), Some(Captured { bytes: b"abcd".to_vec(), dropped: 4 }));
}

#[test]
fn invented_sections_do_not_pile_up() {
    let mut sections = Sections::new(NONCE, 4);
    for n in 0..3 * crate::board::WINDOW as u64 {
        sections.push(&begin(n), &mut |_, _| {});
    }
    assert_eq!(sections.take(0), None);
    assert!(sections.take(3 * crate::board::WINDOW as u64 - 2).is_some());
}

#[test]
fn pipe_is_read_forwarded_and_kept() {
    let (read, write) = rustix::pipe::pipe().expect("a pipe");
    let mut output = OutputPipe::new(read, None).expect("a pipe");
    let mut forwarded = Vec::new();
    assert!(output.read_some(&mut forwarded).expect("nothing there yet"));
    rustix::io::write(&write, b"one\ntwo\n").expect("room in the pipe");
    assert!(output.read_some(&mut forwarded).expect("bytes there"));
    assert_eq!(forwarded, b"one\ntwo\n");
    rustix::io::write(&write, b"three\n").expect("room in the pipe");
    output.read_rest(&mut io::sink()).expect("bytes there");
    assert_eq!(output.tail().last_lines(2), "two\nthree");
    drop(write);
    assert!(!output.read_some(&mut forwarded).expect("the end"));
}

#[test]
fn take_reads_as_far_as_the_end_of_the_section() {
    let (read, write) = rustix::pipe::pipe().expect("a pipe");
    let mut output = OutputPipe::new(read, Some((NONCE, 100_000))).expect("a pipe");
    let long = vec![b'x'; 40_000];
    for part in [begin(5), long.clone(), end(5), begin(6), b"last words".to_vec(), NONCE[..3].to_vec()] {
        rustix::io::write(&write, &part).expect("room in the pipe");
    }
    let mut forwarded = Vec::new();
    assert_eq!(output.take(ticket(5), &mut forwarded).expect("readable"), captured(&long));
    assert_eq!(output.take(ticket(9), &mut forwarded).expect("readable"), captured(b""), "never marked");
    output.read_rest(&mut forwarded).expect("readable");
    assert_eq!(output.take_unfinished(ticket(6)), captured(b"last words012"));
    assert!(output.tail().last_lines(1).ends_with("last words012"), "captured output can be quoted, too");
    assert_eq!(forwarded, b"");
}
