use proptest::prelude::*;

use super::super::cipher::REKEY_EVERY;
use super::super::error::RecordError;
use super::super::hello::PROTOCOL_VERSION;
use super::*;

fn key(byte: u8) -> ClusterKey {
    ClusterKey::from_bytes([byte; 32])
}

fn hello(mode: Mode, status: Status) -> Vec<u8> {
    Hello { mode, status }.encode().to_vec()
}

/// What `side` has to send.
fn transmit(side: &mut Handshake) -> Vec<u8> {
    let mut out = Vec::new();
    side.poll_transmit(&mut out);
    out
}

/// One side of a pair and how it ended.
struct Peer {
    side: Handshake,
    error: Option<HandshakeError>,
}

impl Peer {
    fn new(side: Handshake) -> Self {
        Self { side, error: None }
    }

    fn hear(&mut self, bytes: &[u8], piece: usize) {
        for piece in bytes.chunks(piece) {
            if self.error.is_none() {
                self.error = self.side.handle_bytes(piece).err();
            }
        }
    }
}

/// Lets two sides talk, in pieces of `piece` bytes, until neither has more to say.
fn talk(initiator: Handshake, responder: Handshake, piece: usize) -> (Peer, Peer) {
    let (mut a, mut b) = (Peer::new(initiator), Peer::new(responder));
    loop {
        let (to_b, to_a) = (transmit(&mut a.side), transmit(&mut b.side));
        if to_b.is_empty() && to_a.is_empty() {
            return (a, b);
        }
        b.hear(&to_b, piece);
        a.hear(&to_a, piece);
    }
}

fn meet(ours: Option<&ClusterKey>, theirs: Option<&ClusterKey>) -> (Peer, Peer) {
    talk(Handshake::initiator(ours).unwrap(), Handshake::responder(theirs), 1000)
}

/// The error of a responder to which a stranger says `bytes`, and what it answers.
fn responder_hears(key: Option<&ClusterKey>, bytes: &[u8]) -> (Option<HandshakeError>, Vec<u8>) {
    let mut peer = Peer::new(Handshake::responder(key));
    peer.hear(bytes, 1000);
    (peer.error, transmit(&mut peer.side))
}

fn sends(sealer: &mut Sealer, opener: &mut Opener) {
    let (mut wire, mut out) = (Vec::new(), Vec::new());
    sealer.seal(b"a frame", &mut wire).unwrap();
    opener.open(&wire, &mut out).unwrap();
    assert_eq!(out, b"a frame");
}

#[test]
fn with_one_key_both_come_to_speak_in_secret() {
    for piece in [1, 7, 1000] {
        let k = key(1);
        let (initiator, responder) = (Handshake::initiator(Some(&k)), Handshake::responder(Some(&k)));
        let (mut a, mut b) = talk(initiator.unwrap(), responder, piece);
        let (mut a_sealer, mut a_opener) = a.side.take_halves().unwrap();
        let (mut b_sealer, mut b_opener) = b.side.take_halves().unwrap();
        assert!(a_sealer.is_encrypted() && b_opener.is_encrypted());
        sends(&mut a_sealer, &mut b_opener);
        sends(&mut b_sealer, &mut a_opener);
    }
}

#[test]
fn without_keys_both_come_to_speak_in_plain() {
    let (mut a, mut b) = meet(None, None);
    let (mut a_sealer, mut a_opener) = a.side.take_halves().unwrap();
    let (mut b_sealer, mut b_opener) = b.side.take_halves().unwrap();
    assert!(!a_sealer.is_encrypted() && !b_opener.is_encrypted());
    sends(&mut a_sealer, &mut b_opener);
    sends(&mut b_sealer, &mut a_opener);
}

#[test]
fn a_record_is_not_accepted_by_its_own_sender() {
    let k = key(1);
    let (mut a, _) = meet(Some(&k), Some(&k));
    let (mut sealer, mut opener) = a.side.take_halves().unwrap();
    let mut wire = Vec::new();
    sealer.seal(b"a frame", &mut wire).unwrap();
    let reflected = opener.open(&wire, &mut Vec::new());
    assert_eq!(reflected, Err(RecordError::Forged { record: 0 }));
}

#[test]
fn with_another_key_each_side_says_what_it_saw() {
    let (ours, theirs) = (key(1), key(2));
    let (a, b) = meet(Some(&ours), Some(&theirs));
    match a.error.unwrap() {
        HandshakeError::KeyRefused { fingerprint } => assert_eq!(fingerprint, ours.fingerprint()),
        other => panic!("{other:?}"),
    }
    match b.error.unwrap() {
        HandshakeError::WrongKey { fingerprint } => assert_eq!(fingerprint, theirs.fingerprint()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_responder_that_feigns_a_welcome_does_not_get_past_the_initiator() {
    let mut a = Handshake::initiator(Some(&key(1))).unwrap();
    let mut answer = hello(Mode::Noise, Status::Welcome);
    answer.extend_from_slice(&[9; MESSAGE_LEN]);
    let error = a.handle_bytes(&answer).unwrap_err();
    assert!(matches!(error, HandshakeError::WrongKey { .. }), "{error}");
    assert!(error.to_string().contains("does not hold this cluster key"), "{error}");
}

#[test]
fn a_key_against_none_names_the_remedy_on_both_sides() {
    let k = key(1);
    let (a, b) = meet(Some(&k), None);
    assert!(matches!(a.error, Some(HandshakeError::PeerWithoutKey)));
    assert!(matches!(b.error, Some(HandshakeError::KeyRequired)));
    let (a, b) = meet(None, Some(&k));
    assert!(matches!(a.error, Some(HandshakeError::KeyRequired)));
    assert!(matches!(b.error, Some(HandshakeError::PeerWithoutKey)));
    for error in [a.error.unwrap(), b.error.unwrap()] {
        assert!(error.to_string().contains("--key FILE"), "{error}");
    }
}

#[test]
fn an_initiator_with_a_key_cannot_be_talked_into_plain() {
    let mut a = Handshake::initiator(Some(&key(1))).unwrap();
    let error = a.handle_bytes(&hello(Mode::Plain, Status::Welcome)).unwrap_err();
    assert!(matches!(error, HandshakeError::Malformed { field: "mode", .. }), "{error}");
    assert!(a.take_halves().is_none());
}

#[test]
fn a_recorded_first_message_opens_no_session() {
    let k = key(1);
    let recorded = transmit(&mut Handshake::initiator(Some(&k)).unwrap());
    let mut b = Handshake::responder(Some(&k));
    b.handle_bytes(&recorded).unwrap();
    assert_eq!(b.stage(), Stage::Confirmation);
    assert!(b.take_halves().is_none());
    // Nor does a record that the recorder makes up, or one of another connection.
    let mut old = meet(Some(&k), Some(&k)).0;
    let (mut sealer, _) = old.side.take_halves().unwrap();
    let mut confirmation = Vec::new();
    sealer.seal_record(&[], &mut confirmation).unwrap();
    let error = b.handle_bytes(&confirmation).unwrap_err();
    assert!(matches!(error, HandshakeError::WrongKey { .. }), "{error}");
}

#[test]
fn a_confirmation_of_another_length_is_refused_at_once() {
    let k = key(1);
    let mut b = Handshake::responder(Some(&k));
    b.handle_bytes(&transmit(&mut Handshake::initiator(Some(&k)).unwrap())).unwrap();
    let mut long = vec![0xff; 2];
    long.resize(CONFIRMATION_LEN, 0);
    assert!(b.handle_bytes(&long).is_err());
}

#[test]
fn the_bytes_of_the_first_record_are_left_to_the_opener() {
    let k = key(1);
    let (mut a, mut b) = (Handshake::initiator(Some(&k)).unwrap(), Handshake::responder(Some(&k)));
    b.handle_bytes(&transmit(&mut a)).unwrap();
    a.handle_bytes(&transmit(&mut b)).unwrap();
    let mut wire = transmit(&mut a);
    let (mut sealer, _) = a.take_halves().unwrap();
    sealer.seal(b"at once", &mut wire).unwrap();
    let taken = b.handle_bytes(&wire).unwrap();
    assert_eq!(taken, CONFIRMATION_LEN);
    let (_, mut opener) = b.take_halves().unwrap();
    let mut out = Vec::new();
    opener.open(&wire[taken..], &mut out).unwrap();
    assert_eq!(out, b"at once");
}

#[test]
fn strangers_are_told_by_their_first_byte_and_get_no_answer() {
    for key in [None, Some(&key(1))] {
        let (error, answer) = responder_hears(key, b"G");
        assert!(matches!(error, Some(HandshakeError::NotExecutor { .. })));
        assert!(answer.is_empty());
    }
    let (error, _) = responder_hears(None, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let text = error.unwrap().to_string();
    assert!(text.contains("GET / HTTP/1.1\\r\\n"), "{text}");
    let (error, _) = responder_hears(None, b"EXECUTE!");
    assert!(matches!(error, Some(HandshakeError::NotExecutor { .. })));
}

#[test]
fn an_initiator_that_reached_some_other_server_says_so() {
    let mut a = Handshake::initiator(None).unwrap();
    let error = a.handle_bytes(b"SSH-2.0-OpenSSH_9.6\r\n").unwrap_err();
    assert!(error.to_string().contains("SSH-2.0-OpenSSH_"), "{error}");
}

#[test]
fn another_version_is_named_on_both_sides() {
    let mut offer = hello(Mode::Noise, Status::Offer);
    offer[8..10].copy_from_slice(&77u16.to_le_bytes());
    offer[15] = 1; // what else it means is for that version to say
    let (error, answer) = responder_hears(Some(&key(1)), &offer);
    let Some(HandshakeError::Version { ours, theirs }) = error else { panic!("{error:?}") };
    assert_eq!((ours, theirs), (PROTOCOL_VERSION, 77));
    assert_eq!(answer, hello(Mode::Noise, Status::Version));

    let mut refusal = answer;
    refusal[8..10].copy_from_slice(&78u16.to_le_bytes());
    let error = Handshake::initiator(None).unwrap().handle_bytes(&refusal).unwrap_err();
    assert!(matches!(error, HandshakeError::Version { theirs: 78, .. }), "{error}");
}

#[test]
fn fields_that_make_no_sense_are_named() {
    for (at, field) in [(10, "mode"), (11, "status"), (12, "reserved field")] {
        let mut offer = hello(Mode::Plain, Status::Offer);
        offer[at] = 99;
        let (error, _) = responder_hears(None, &offer);
        let text = error.unwrap().to_string();
        assert!(text.contains(&format!("99 as its {field}")), "{text}");
    }
}

#[test]
fn two_initiators_do_not_take_each_other_for_an_agent() {
    let (mut a, mut b) = (Handshake::initiator(None).unwrap(), Handshake::initiator(None).unwrap());
    let error = a.handle_bytes(&transmit(&mut b)).unwrap_err();
    assert!(matches!(error, HandshakeError::Malformed { field: "status", value: 0 }), "{error}");
}

#[test]
fn a_changed_hello_fails_the_handshake_of_encrypted_peers() {
    // The prologue holds the hellos as they are sent; a side that saw others has another prologue.
    let k = key(1);
    let params = NOISE.parse().unwrap();
    let noise = snow::Builder::with_resolver(params, resolver())
        .prologue(b"other hellos")
        .and_then(|builder| builder.psk(0, k.as_bytes()))
        .and_then(snow::Builder::build_initiator);
    let mut wire = hello(Mode::Noise, Status::Offer);
    write_message(&mut noise.unwrap(), &mut wire).unwrap();
    let (error, answer) = responder_hears(Some(&k), &wire);
    assert!(matches!(error, Some(HandshakeError::WrongKey { .. })));
    assert_eq!(answer, hello(Mode::Noise, Status::WrongKey));
}

#[test]
fn records_are_those_of_a_noise_transport() {
    // The peer is snow from end to end.
    let k = key(1);
    let mut ours = Handshake::initiator(Some(&k)).unwrap();
    let mut theirs = build(&k, |builder| builder.build_responder()).unwrap();
    let sent = transmit(&mut ours);
    theirs.read_message(&sent[HELLO_LEN..], &mut [0; 64]).unwrap();
    let mut answer = hello(Mode::Noise, Status::Welcome);
    write_message(&mut theirs, &mut answer).unwrap();
    ours.handle_bytes(&answer).unwrap();
    let confirmation = transmit(&mut ours);
    let (mut sealer, mut opener) = ours.take_halves().unwrap();
    let mut theirs = theirs.into_stateless_transport_mode().unwrap();
    let mut buffer = [0; 100];
    assert_eq!(theirs.read_message(0, &confirmation[2..], &mut buffer), Ok(0));

    for (record, rekeyed) in [(1, false), (REKEY_EVERY, true), (REKEY_EVERY + 1, false)] {
        if rekeyed {
            theirs.rekey_incoming();
            theirs.rekey_outgoing();
        }
        let mut wire = Vec::new();
        sealer.skip_to(record);
        sealer.seal(b"to snow", &mut wire).unwrap();
        let len = theirs.read_message(record, &wire[2..], &mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"to snow");

        let len = theirs.write_message(record, b"from snow", &mut buffer).unwrap();
        wire = [&(len as u16).to_be_bytes()[..], &buffer[..len]].concat();
        let mut out = Vec::new();
        opener.skip_to(record);
        opener.open(&wire, &mut out).unwrap();
        assert_eq!(out, b"from snow");
    }
}

#[test]
fn connections_with_one_key_have_keys_of_their_own() {
    let k = key(1);
    let seal = || {
        let (mut sealer, _) = meet(Some(&k), Some(&k)).0.side.take_halves().unwrap();
        let mut wire = Vec::new();
        sealer.seal(b"the same", &mut wire).unwrap();
        wire
    };
    assert_ne!(seal(), seal());
}

proptest! {
    // Each case computes on curves, slowly in a debug build.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Random bytes, alone or after a valid beginning, to either side.
    #[test]
    fn random_bytes_neither_panic_nor_pass_nor_fill_the_memory(
        initiator: bool,
        with_key: bool,
        valid in 0usize..=64,
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..100), 0..10),
    ) {
        let k = key(1);
        let ours = with_key.then_some(&k);
        let (mut side, beginning) = if initiator {
            let mut a = Handshake::initiator(ours).unwrap();
            let mut b = Handshake::responder(ours);
            b.handle_bytes(&transmit(&mut a)).unwrap();
            (a, transmit(&mut b))
        } else {
            (Handshake::responder(ours), transmit(&mut Handshake::initiator(ours).unwrap()))
        };
        let valid = valid.min(beginning.len() - 1);
        side.handle_bytes(&beginning[..valid]).unwrap();
        let mut error = None;
        for piece in pieces {
            error = side.handle_bytes(&piece).err();
            prop_assert!(side.outgoing.capacity() <= 512);
            if error.is_some() {
                break;
            }
        }
        if with_key {
            prop_assert!(!side.is_done(), "random bytes passed for a key");
        }
        if error.is_some() {
            prop_assert!(side.take_halves().is_none());
            prop_assert_eq!(side.handle_bytes(b"more").unwrap(), 0);
        }
    }

    #[test]
    fn a_changed_byte_fails_the_handshake_on_one_side_at_least(
        from_initiator: bool, at: prop::sample::Index, flip in 1u8..,
    ) {
        let k = key(1);
        let (mut a, mut b) =
            (Peer::new(Handshake::initiator(Some(&k)).unwrap()), Peer::new(Handshake::responder(Some(&k))));
        for round in 0.. {
            let (mut to_b, mut to_a) = (transmit(&mut a.side), transmit(&mut b.side));
            if to_b.is_empty() && to_a.is_empty() {
                break;
            }
            if from_initiator && round == 0 {
                let at = at.index(to_b.len());
                to_b[at] ^= flip;
            }
            if !from_initiator && round == 1 {
                let at = at.index(to_a.len());
                to_a[at] ^= flip;
            }
            b.hear(&to_b, 1000);
            a.hear(&to_a, 1000);
        }
        prop_assert!(!a.side.is_done() || !b.side.is_done());
        prop_assert!(a.error.is_some() || b.error.is_some());
    }
}
