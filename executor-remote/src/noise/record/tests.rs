use proptest::prelude::*;

use super::super::cipher::REKEY_EVERY;
use super::*;

const KEY: [u8; 32] = [7; 32];

fn halves(encrypted: bool) -> (Sealer, Opener) {
    if encrypted { (Sealer::noise(&KEY), Opener::noise(&KEY)) } else { (Sealer::plain(), Opener::plain()) }
}

/// The records of `frames`, each its own, on the wire.
fn records(sealer: &mut Sealer, frames: &[&[u8]]) -> Vec<Vec<u8>> {
    let seal = |frame: &&[u8]| {
        let mut record = Vec::new();
        sealer.seal(frame, &mut record).unwrap();
        record
    };
    frames.iter().map(seal).collect()
}

/// What comes out when `wire` goes in, cut into pieces of the given lengths.
fn open_cut(
    opener: &mut Opener,
    mut wire: &[u8],
    cuts: impl IntoIterator<Item = usize>,
) -> Result<Vec<u8>, RecordError> {
    let mut out = Vec::new();
    for cut in cuts {
        let (piece, rest) = wire.split_at(cut.min(wire.len()));
        opener.open(piece, &mut out)?;
        wire = rest;
    }
    opener.open(wire, &mut out)?;
    Ok(out)
}

#[test]
fn many_frames_in_one_call_share_one_record() {
    let (mut sealer, _) = halves(true);
    let mut wire = Vec::new();
    sealer.seal(&[5; 1000], &mut wire).unwrap();
    assert_eq!(wire.len(), 1000 + HEADER_LEN + TAG_LEN);
    assert_eq!(sealer.sealed_len(1000), wire.len());
}

#[test]
fn nothing_makes_no_record_so_that_it_does_not_end_the_stream() {
    for encrypted in [false, true] {
        let (mut sealer, mut opener) = halves(encrypted);
        let mut wire = Vec::new();
        sealer.seal(&[], &mut wire).unwrap();
        assert!(wire.is_empty());
        sealer.seal(b"more", &mut wire).unwrap();
        assert_eq!(open_cut(&mut opener, &wire, []).unwrap(), b"more");
        assert!(!opener.is_ended());
    }
}

#[test]
fn a_large_frame_is_split_over_full_records() {
    for (encrypted, tag_len) in [(false, 0), (true, TAG_LEN)] {
        let (mut sealer, mut opener) = halves(encrypted);
        let frame: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        let mut wire = Vec::new();
        sealer.seal(&frame, &mut wire).unwrap();
        assert_eq!(wire.len(), frame.len() + 4 * (HEADER_LEN + tag_len));
        assert_eq!(sealer.sealed_len(frame.len()), wire.len());
        assert_eq!(wire[..2], [0xff, 0xff]);
        assert_eq!(open_cut(&mut opener, &wire, []).unwrap(), frame);
    }
}

#[test]
fn an_encrypted_record_does_not_show_its_plaintext() {
    let (mut sealer, _) = halves(true);
    let wire = records(&mut sealer, &[b"a secret of some length"]).concat();
    assert!(!wire.windows(6).any(|window| window == b"secret"));
}

#[test]
fn the_same_plaintext_is_never_the_same_record() {
    let (mut sealer, _) = halves(true);
    let wire = records(&mut sealer, &[b"same", b"same"]);
    assert_ne!(wire[0], wire[1]);
}

#[test]
fn a_repeated_record_is_refused() {
    let (mut sealer, mut opener) = halves(true);
    let wire = records(&mut sealer, &[b"one"]).concat();
    let mut out = Vec::new();
    opener.open(&wire, &mut out).unwrap();
    assert_eq!(opener.open(&wire, &mut out), Err(RecordError::Forged { record: 1 }));
    assert_eq!(out, b"one");
}

#[test]
fn records_out_of_order_are_refused() {
    let (mut sealer, mut opener) = halves(true);
    let wire = records(&mut sealer, &[b"one", b"two", b"three"]);
    let moved = [&wire[0][..], &wire[2], &wire[1]].concat();
    assert_eq!(open_cut(&mut opener, &moved, []), Err(RecordError::Forged { record: 1 }));
}

#[test]
fn a_record_left_out_is_noticed() {
    let (mut sealer, mut opener) = halves(true);
    let wire = records(&mut sealer, &[b"one", b"two"]);
    assert_eq!(open_cut(&mut opener, &wire[1], []), Err(RecordError::Forged { record: 0 }));
}

#[test]
fn a_record_under_another_key_is_refused() {
    let wire = records(&mut Sealer::noise(&[8; 32]), &[b"one"]).concat();
    let (_, mut opener) = halves(true);
    assert_eq!(open_cut(&mut opener, &wire, []), Err(RecordError::Forged { record: 0 }));
}

#[test]
fn a_length_below_that_of_a_tag_is_refused_before_the_body_comes() {
    let (_, mut opener) = halves(true);
    let short = RecordError::Short { record: 0, len: 15 };
    assert_eq!(open_cut(&mut opener, &[0], [1]), Ok(vec![]));
    assert_eq!(open_cut(&mut opener, &[15], []), Err(short));
}

#[test]
fn the_greatest_length_reserves_one_record_and_no_more() {
    let (_, mut opener) = halves(true);
    open_cut(&mut opener, &[0xff; 1000], [1; 999]).unwrap();
    assert!(opener.partial.capacity() <= HEADER_LEN + MAX_RECORD_LEN);
    assert_eq!(opener.finish(), Err(RecordError::Truncated { record: 0 }));
}

#[test]
fn an_error_is_final() {
    let (mut sealer, mut opener) = halves(true);
    let wire = records(&mut sealer, &[b"one", b"two"]);
    let error = RecordError::Forged { record: 0 };
    let mut out = Vec::new();
    assert_eq!(opener.open(&wire[1], &mut out), Err(error.clone()));
    assert_eq!(opener.open(&wire[0], &mut out), Err(error.clone()));
    assert_eq!(opener.finish(), Err(error));
    assert!(out.is_empty());
}

#[test]
fn a_closed_stream_is_told_from_a_cut_one() {
    for encrypted in [false, true] {
        let (mut sealer, mut opener) = halves(encrypted);
        let mut wire = Vec::new();
        sealer.seal(b"last", &mut wire).unwrap();
        let mut out = Vec::new();
        opener.open(&wire, &mut out).unwrap();
        assert_eq!(opener.finish(), Err(RecordError::Cut));

        wire.clear();
        sealer.close(&mut wire).unwrap();
        opener.open(&wire, &mut out).unwrap();
        assert!(opener.is_ended());
        assert_eq!(opener.finish(), Ok(()));
        assert_eq!(opener.open(b"x", &mut out), Err(RecordError::AfterEnd));
        assert_eq!(out, b"last");

        wire.clear();
        sealer.close(&mut wire).unwrap();
        assert!(wire.is_empty(), "a stream ends once");
        assert_eq!(sealer.seal(b"more", &mut wire), Err(RecordError::Closed));
    }
}

#[test]
fn the_last_record_number_is_an_error_and_leaks_no_plaintext() {
    let (mut sealer, mut opener) = halves(true);
    sealer.skip_to(u64::MAX - 1);
    opener.skip_to(u64::MAX - 1);
    let mut wire = Vec::new();
    sealer.seal(b"last", &mut wire).unwrap();
    let len = wire.len();
    assert_eq!(sealer.seal(b"secret", &mut wire), Err(RecordError::Exhausted));
    assert_eq!(wire.len(), len);
    assert_eq!(open_cut(&mut opener, &wire, []).unwrap(), b"last");
    assert_eq!(open_cut(&mut opener, &wire, []), Err(RecordError::Exhausted));
}

#[test]
fn both_halves_replace_the_key_at_the_same_record() {
    let (mut sealer, mut opener) = halves(true);
    sealer.skip_to(REKEY_EVERY - 2);
    opener.skip_to(REKEY_EVERY - 2);
    let frames: [&[u8]; 4] = [b"old", b"old", b"new", b"new"];
    let wire = records(&mut sealer, &frames);
    assert_eq!(open_cut(&mut opener, &wire.concat(), []).unwrap(), frames.concat());

    let mut unreplaced = Sealer::noise(&KEY);
    unreplaced.skip_to(REKEY_EVERY + 1);
    assert_ne!(records(&mut unreplaced, &[b"new"])[0], wire[3]);
}

#[test]
fn the_halves_can_be_sent_to_threads() {
    fn is_send<T: Send>() {}
    is_send::<Sealer>();
    is_send::<Opener>();
}

proptest! {
    #[test]
    fn any_frames_in_any_cut_come_out_as_they_went_in(
        encrypted: bool,
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
        big in prop::option::of(60_000usize..140_000),
        cuts in prop::collection::vec(1usize..2000, 0..100),
    ) {
        let (mut sealer, mut opener) = halves(encrypted);
        let mut plaintext = Vec::new();
        let mut wire = Vec::new();
        for frame in frames.into_iter().chain(big.map(|len| vec![3; len])) {
            sealer.seal(&frame, &mut wire).unwrap();
            plaintext.extend_from_slice(&frame);
        }
        sealer.close(&mut wire).unwrap();
        prop_assert_eq!(open_cut(&mut opener, &wire, cuts).unwrap(), plaintext);
        prop_assert_eq!(opener.finish(), Ok(()));
    }

    /// Whatever byte is changed, nothing but a beginning of the true plaintext comes out, and it is
    /// known that something is wrong.
    #[test]
    fn a_changed_byte_is_noticed(at: prop::sample::Index, flip in 1u8.., cuts in prop::collection::vec(1usize..50, 0..20)) {
        let (mut sealer, mut opener) = halves(true);
        let frames: [&[u8]; 3] = [b"the first", b"the second", b"the third"];
        let mut wire = records(&mut sealer, &frames).concat();
        sealer.close(&mut wire).unwrap();
        let at = at.index(wire.len());
        wire[at] ^= flip;
        let mut out = Vec::new();
        let mut pieces = cuts.into_iter();
        let mut rest = &wire[..];
        let mut result = Ok(());
        while result.is_ok() && !rest.is_empty() {
            let (piece, tail) = rest.split_at(pieces.next().unwrap_or(rest.len()).min(rest.len()));
            result = opener.open(piece, &mut out);
            rest = tail;
        }
        prop_assert!(frames.concat().starts_with(&out));
        prop_assert!(result.is_err() || opener.finish().is_err());
    }

    #[test]
    fn a_truncated_stream_is_noticed_wherever_it_is_cut(encrypted: bool, at: prop::sample::Index) {
        let (mut sealer, mut opener) = halves(encrypted);
        let frames: [&[u8]; 2] = [b"one", b"two"];
        let mut wire = records(&mut sealer, &frames).concat();
        sealer.close(&mut wire).unwrap();
        let out = open_cut(&mut opener, &wire[..at.index(wire.len())], []).unwrap();
        prop_assert!(frames.concat().starts_with(&out));
        let noticed =
            matches!(opener.finish(), Err(RecordError::Cut | RecordError::Truncated { .. }));
        prop_assert!(noticed);
    }

    #[test]
    fn random_bytes_neither_panic_nor_fill_the_memory(
        encrypted: bool,
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..40),
    ) {
        let (_, mut opener) = halves(encrypted);
        let mut out = Vec::new();
        let mut fed = 0;
        for piece in pieces {
            let result = opener.open(&piece, &mut out);
            fed += piece.len();
            prop_assert!(opener.partial.capacity() <= HEADER_LEN + MAX_RECORD_LEN);
            prop_assert!(out.len() <= fed);
            prop_assert!(!encrypted || out.is_empty());
            if result.is_err() {
                break;
            }
        }
    }
}
