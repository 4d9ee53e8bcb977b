use super::*;

fn frame(body: &[u8]) -> Vec<u8> {
    let mut frame = (body.len() as u32).to_le_bytes().to_vec();
    frame.extend_from_slice(body);
    frame
}

#[test]
fn frames_cut_anywhere_come_out_whole() {
    let bytes = [frame(b"one"), frame(b""), frame(&[7; 1000])].concat();
    for piece in [1, 2, 3, 5, 64, 2000] {
        let mut frames = Frames::new(1000);
        let mut bodies = Vec::new();
        for part in bytes.chunks(piece) {
            frames.buffer().extend_from_slice(part);
            while let Some(range) = frames.next().unwrap() {
                bodies.push(frames.body(range).to_vec());
            }
        }
        assert_eq!(bodies, [b"one".to_vec(), Vec::new(), vec![7; 1000]], "pieces of {piece}");
    }
}

#[test]
fn a_huge_length_is_an_error_and_allocates_nothing() {
    let mut frames = Frames::new(1 << 20);
    frames.buffer().extend_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(frames.next(), Err(FrameError { len: u32::MAX as usize, limit: 1 << 20 }));
    assert!(frames.buffer().capacity() < 1024);
}

#[test]
fn raw_bytes_end_where_they_were_said_to() {
    let mut frames = Frames::new(100);
    frames.buffer().extend_from_slice(&[b"raw".to_vec(), frame(b"frame")].concat());
    assert_eq!(frames.take_raw(3), b"raw");
    assert_eq!(frames.take_raw(0), b"");
    let range = frames.next().unwrap().unwrap();
    assert_eq!(frames.body(range), b"frame");
    assert_eq!(frames.take_raw(10), b"");
}
