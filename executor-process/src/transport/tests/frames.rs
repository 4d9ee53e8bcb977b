use proptest::prelude::*;

use super::super::{FrameError, FrameReader, HEADER, OutBuf};

const LIMIT: usize = 300_000;

fn framed(bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut out = OutBuf::new();
    for body in bodies {
        out.push(body, LIMIT).expect("within the limit");
    }
    out.as_slice().to_vec()
}

fn pull(reader: &mut FrameReader, into: &mut Vec<Vec<u8>>) {
    while let Some(body) = reader.next_frame().expect("frames within the limit") {
        into.push(body.to_vec());
    }
}

/// Puts `bytes` in as a socket would: at most so many as there is room for. Returns how many.
fn read_into(reader: &mut FrameReader, bytes: &[u8]) -> usize {
    let spare = reader.spare();
    assert!(!spare.is_empty(), "a read of nothing would look like the end of the stream");
    let n = spare.len().min(bytes.len());
    spare[..n].copy_from_slice(&bytes[..n]);
    reader.filled(n);
    n
}

fn bodies() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let size = prop_oneof![8 => 0usize..40, 2 => 0usize..5_000, 1 => 60_000usize..LIMIT];
    prop::collection::vec((any::<u8>(), size).prop_map(|(byte, size)| vec![byte; size]), 0..12)
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_frames(
        bodies in bodies(),
        chunks in prop::collection::vec(prop_oneof![1usize..10, 1usize..3000, 1usize..200_000], 1..20),
        feed in any::<bool>(),
    ) {
        let stream = framed(&bodies);
        let (mut reader, mut got) = (FrameReader::new(LIMIT), Vec::new());
        let (mut rest, mut chunks) = (&stream[..], chunks.iter().cycle());
        while !rest.is_empty() {
            let n = rest.len().min(*chunks.next().expect("an endless cycle"));
            let n = if feed { reader.feed(&rest[..n]); n } else { read_into(&mut reader, &rest[..n]) };
            rest = &rest[n..];
            pull(&mut reader, &mut got);
            prop_assert_eq!(reader.received() as usize, stream.len() - rest.len());
        }
        prop_assert_eq!(got, bodies);
        prop_assert_eq!(reader.finish(), Ok(()));
        prop_assert!(reader.is_between_frames());
    }

    #[test]
    fn frames_may_wait_in_the_reader(bodies in bodies(), chunk in 1usize..100_000) {
        let stream = framed(&bodies);
        let (mut reader, mut got) = (FrameReader::new(LIMIT), Vec::new());
        for chunk in stream.chunks(chunk) {
            reader.feed(chunk);
        }
        pull(&mut reader, &mut got);
        prop_assert_eq!(got, bodies);
    }

    #[test]
    fn stream_cut_within_a_frame_is_truncated(bodies in bodies(), cut in any::<prop::sample::Index>()) {
        let stream = framed(&bodies);
        prop_assume!(!stream.is_empty());
        let cut = cut.index(stream.len());
        let (mut reader, mut got) = (FrameReader::new(LIMIT), Vec::new());
        reader.feed(&stream[..cut]);
        pull(&mut reader, &mut got);
        let whole: usize = got.iter().map(|body| HEADER + body.len()).sum();
        match reader.finish() {
            Ok(()) => prop_assert_eq!(whole, cut),
            Err(FrameError::Truncated { have, need }) => {
                prop_assert_eq!(have as usize, cut - whole);
                prop_assert!(need > have);
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    #[test]
    fn random_bytes_end_in_frames_or_an_error_and_bounded_memory(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut reader = FrameReader::new(1000);
        reader.feed(&bytes);
        while let Ok(Some(body)) = reader.next_frame() {
            prop_assert!(body.len() <= 1000);
        }
        let _ = reader.finish();
        prop_assert!(reader.spare().len() <= 64 * 1024);
    }

    #[test]
    fn out_buffer_gives_every_byte_once_whatever_the_socket_takes(
        bodies in bodies(),
        takes in prop::collection::vec(0usize..100_000, 1..20),
    ) {
        let (mut out, mut sent) = (OutBuf::new(), Vec::new());
        let mut takes = takes.iter().cycle();
        let mut take = |out: &mut OutBuf| {
            let n = out.len().min(*takes.next().expect("an endless cycle"));
            sent.extend_from_slice(&out.as_slice()[..n]);
            out.consume(n);
        };
        for body in &bodies {
            out.push(body, LIMIT).expect("within the limit");
            take(&mut out);
        }
        sent.extend_from_slice(out.as_slice());
        prop_assert_eq!(sent, framed(&bodies));
    }
}

#[test]
fn frame_above_the_limit_is_refused_by_its_length_alone() {
    let mut reader = FrameReader::new(100);
    reader.feed(&u32::MAX.to_le_bytes());
    let refusal = FrameError::TooLarge { size: u64::from(u32::MAX), limit: 100 };
    assert_eq!(reader.next_frame(), Err(refusal));
    assert_eq!(reader.next_frame(), Err(refusal), "and stays refused");
    assert_eq!(reader.finish(), Err(refusal));
    assert!(reader.spare().len() <= 64 * 1024, "nothing is allocated for it");
    assert_eq!(refusal.to_string(), "a frame of 4294967295 bytes exceeds the limit of 100 bytes");
}

#[test]
fn frame_of_exactly_the_limit_passes() {
    let mut reader = FrameReader::new(100);
    reader.feed(&framed(&[vec![7; 100]]));
    assert_eq!(reader.next_frame(), Ok(Some(&[7; 100][..])));
    reader.feed(&framed(&[vec![7; 101]]));
    assert_eq!(reader.next_frame(), Err(FrameError::TooLarge { size: 101, limit: 100 }));
}

#[test]
fn end_within_a_length_field_is_truncated() {
    let mut reader = FrameReader::new(100);
    reader.feed(&[1, 0]);
    assert_eq!(reader.next_frame(), Ok(None));
    assert_eq!(reader.finish(), Err(FrameError::Truncated { have: 2, need: 4 }));
    reader.feed(&[0, 0]);
    assert_eq!(reader.finish(), Err(FrameError::Truncated { have: 4, need: 5 }));
}

#[test]
fn large_frame_is_read_into_one_buffer_of_its_size() {
    const SIZE: usize = 20 << 20;
    let stream = {
        let mut out = OutBuf::new();
        out.push(&vec![1; SIZE], SIZE).expect("within the limit");
        out.as_slice().to_vec()
    };
    let mut reader = FrameReader::new(SIZE);
    let mut rest = &stream[read_into(&mut reader, &stream[..100])..];
    assert_eq!(reader.next_frame(), Ok(None));
    let place = reader.spare().as_ptr_range();
    assert_eq!(place.end as usize - place.start as usize, SIZE + HEADER - 100, "exactly what is missing");
    while !rest.is_empty() {
        rest = &rest[read_into(&mut reader, &rest[..rest.len().min(200_000)])..];
        if !rest.is_empty() {
            assert_eq!(reader.spare().as_ptr_range().end, place.end, "the buffer was moved");
        }
    }
    assert_eq!(reader.next_frame().expect("within the limit").map(<[u8]>::len), Some(SIZE));
}

#[test]
fn buffer_of_a_large_frame_is_reused_by_large_frames_and_given_back_after_small_ones() {
    let mut reader = FrameReader::new(LIMIT);
    let large = framed(&[vec![1; LIMIT]]);
    let small = framed(&[vec![1; 10]]);
    let mut pass = |stream: &[u8]| {
        reader.feed(stream);
        assert!(reader.next_frame().expect("within the limit").is_some());
        reader.spare().len()
    };
    assert_eq!(pass(&large), LIMIT + HEADER);
    for _ in 0..1000 {
        pass(&small);
        assert_eq!(pass(&large), LIMIT + HEADER);
    }
    for _ in 0..100 {
        pass(&small);
    }
    assert_eq!(pass(&small), 64 * 1024);
}

#[test]
fn unfinished_frame_leaves_nothing_behind() {
    let mut out = OutBuf::new();
    out.push(b"kept", 100).expect("within the limit");
    let mut frame = out.frame(100);
    frame.extend(b"half");
    assert_eq!(frame.body_len(), 4);
    drop(frame);
    assert_eq!(out.as_slice(), b"\x04\0\0\0kept");
}

#[test]
fn frame_beyond_the_limit_is_not_added() {
    let mut out = OutBuf::new();
    assert_eq!(out.push(&[0; 5], 4), Err(FrameError::TooLarge { size: 5, limit: 4 }));
    assert!(out.is_empty());
    let mut frame = out.frame(4);
    frame.vec().extend_from_slice(b"five!");
    assert_eq!(frame.finish(), Err(FrameError::TooLarge { size: 5, limit: 4 }));
    assert!(out.is_empty());
    assert_eq!(out.push(&[0; 4], 4), Ok(()));
}
