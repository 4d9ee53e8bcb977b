use proptest::prelude::*;

use super::*;

fn failure() -> Failure {
    Failure {
        kind: FailureKind::Error,
        type_name: "my::Error".to_owned(),
        message: "no such thing".to_owned(),
        notes: vec!["first".to_owned(), String::new()],
    }
}

fn encoded(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

#[test]
fn a_hello_is_fifteen_bytes_and_comes_back() {
    let message = encoded(|out| Hello::new(2).encode(out));
    assert_eq!(message, b"\x01executor-rpc\x01\x02");
    assert_eq!(Hello::decode(&message), Ok(Hello { version: 1, codec: 2 }));
}

#[test]
fn a_hello_may_be_longer_and_not_shorter() {
    let message = b"\x01executor-rpc\x01\x00later";
    assert_eq!(Hello::decode(message), Ok(Hello { version: 1, codec: 0 }));
    for length in 0..Hello::LEN {
        let error = Hello::decode(&message[..length]).expect_err("it is cut");
        assert_eq!(error, ProtocolError::NotHello { received: message[..length].to_vec() });
    }
}

#[test]
fn a_hello_of_another_version_says_both_versions() {
    let theirs = Hello { version: 9, codec: 0 }.of_our_version().expect_err("version 9");
    assert_eq!(
        theirs.to_string(),
        "the peer speaks version 9 of executor's rpc and this side version 1: use the same release on both"
    );
}

#[test]
fn a_call_is_laid_out_as_documented() {
    let message = encoded(|out| {
        encode_call_header(out, CallId(7), Some(Duration::from_millis(258)), "add").expect("the name fits");
        out.extend_from_slice(b"body");
    });
    assert_eq!(message, b"\x01\x07\0\0\0\0\0\0\0\x02\x01\0\0\x03addbody");
    let Ok(ToServer::Call(call)) = ToServer::decode(&message) else { panic!("it is a call") };
    assert_eq!((call.id, call.name, call.body), (CallId(7), "add", &b"body"[..]));
    assert_eq!(call.deadline, Some(Duration::from_millis(258)));
}

#[test]
fn a_deadline_is_rounded_up_and_never_becomes_none_unless_it_is_out_of_reach() {
    assert_eq!(deadline_to_wire(None), 0);
    assert_eq!(deadline_to_wire(Some(Duration::ZERO)), 1);
    assert_eq!(deadline_to_wire(Some(Duration::from_micros(1001))), 2);
    assert_eq!(deadline_to_wire(Some(Duration::from_secs(u64::MAX))), 0);
    assert_eq!(deadline_from_wire(0), None);
}

#[test]
fn a_name_that_is_too_long_leaves_nothing_behind() {
    let mut out = Vec::new();
    let error = encode_call_header(&mut out, CallId(1), None, &"n".repeat(256)).expect_err("too long");
    assert_eq!(error, ProtocolError::NameTooLong { len: 256 });
    assert!(out.is_empty());
    assert!(encode_call_header(&mut out, CallId(1), None, &"n".repeat(NAME_LIMIT)).is_ok());
}

#[test]
fn every_other_message_comes_back() {
    let cancel = encoded(|out| encode_cancel(out, CallId(u64::MAX)));
    assert_eq!(ToServer::decode(&cancel), Ok(ToServer::Cancel(CallId(u64::MAX))));

    let answer = encoded(|out| {
        encode_answer_header(out, CallId(3));
        out.push(9);
    });
    assert_eq!(FromServer::decode(&answer), Ok(FromServer::Answer(CallId(3), &[9])));

    let refused = encoded(|out| encode_failure(out, CallId(4), &failure()));
    assert_eq!(FromServer::decode(&refused), Ok(FromServer::Failure(CallId(4), failure())));

    let goodbye = encoded(|out| encode_goodbye(out, "stopped"));
    assert_eq!(FromServer::decode(&goodbye), Ok(FromServer::Goodbye("stopped")));
}

#[test]
fn every_kind_of_failure_comes_back() {
    for byte in 0..=u8::MAX {
        if let Some(kind) = FailureKind::decode(byte) {
            assert_eq!(kind as u8, byte);
        }
    }
    assert_eq!((1..=8).filter_map(FailureKind::decode).count(), 8);
    assert_eq!(FailureKind::decode(0), None);
    assert_eq!(FailureKind::decode(9), None);
}

#[test]
fn a_message_that_ends_too_early_is_refused_wherever_it_ends() {
    let call = encoded(|out| encode_call_header(out, CallId(7), None, "add").expect("the name fits"));
    let cancel = encoded(|out| encode_cancel(out, CallId(7)));
    for whole in [call, cancel] {
        for length in 0..whole.len() {
            assert!(matches!(ToServer::decode(&whole[..length]), Err(ProtocolError::Malformed { .. })));
        }
    }
    let refused = encoded(|out| encode_failure(out, CallId(4), &failure()));
    let goodbye = encoded(|out| encode_goodbye(out, "stopped"));
    for whole in [refused, goodbye] {
        for length in 0..whole.len() {
            assert!(matches!(FromServer::decode(&whole[..length]), Err(ProtocolError::Malformed { .. })));
        }
    }
}

#[test]
fn bytes_after_the_end_are_refused_where_there_is_no_body() {
    let mut messages = [
        encoded(|out| encode_failure(out, CallId(4), &failure())),
        encoded(|out| encode_goodbye(out, "stopped")),
    ];
    for message in &mut messages {
        message.push(0);
        assert!(matches!(FromServer::decode(message), Err(ProtocolError::Malformed { .. })));
    }
    let mut cancel = encoded(|out| encode_cancel(out, CallId(7)));
    cancel.push(0);
    assert!(matches!(ToServer::decode(&cancel), Err(ProtocolError::Malformed { .. })));
}

#[test]
fn a_message_in_the_wrong_direction_is_an_unknown_kind() {
    assert_eq!(ToServer::decode(&[ANSWER, 0]), Err(ProtocolError::UnknownKind { kind: ANSWER }));
    assert_eq!(FromServer::decode(&[CALL, 0]), Err(ProtocolError::UnknownKind { kind: CALL }));
    assert_eq!(ToServer::decode(&[]), Err(ProtocolError::Malformed { what: "kind" }));
}

#[test]
fn a_long_text_is_cut_between_characters_when_written_and_refused_when_read() {
    let message = "é".repeat(TEXT_LIMIT);
    let written =
        encoded(|out| encode_failure(out, CallId(1), &Failure::new(FailureKind::Panic, message.as_str())));
    let Ok(FromServer::Failure(_, read)) = FromServer::decode(&written) else { panic!("it was cut") };
    assert_eq!(read.message.len(), TEXT_LIMIT);
    assert!(message.starts_with(&read.message));

    let mut forged = vec![GOODBYE];
    forged.extend_from_slice(&(TEXT_LIMIT as u32 + 1).to_le_bytes());
    forged.resize(forged.len() + TEXT_LIMIT + 1, b'x');
    assert_eq!(FromServer::decode(&forged), Err(ProtocolError::Malformed { what: "reason" }));
}

#[test]
fn too_many_notes_are_cut_when_written_and_refused_when_read() {
    let many = Failure { notes: vec![String::new(); NOTES_LIMIT + 1], ..failure() };
    let mut written = encoded(|out| encode_failure(out, CallId(1), &many));
    let Ok(FromServer::Failure(_, read)) = FromServer::decode(&written) else { panic!("it was cut") };
    assert_eq!(read.notes.len(), NOTES_LIMIT);

    let at = written.len() - NOTES_LIMIT * 4 - 2;
    written[at..at + 2].copy_from_slice(&(NOTES_LIMIT as u16 + 1).to_le_bytes());
    written.extend_from_slice(&[0; 4]);
    assert_eq!(FromServer::decode(&written), Err(ProtocolError::Malformed { what: "notes" }));
}

#[test]
fn a_name_that_is_no_text_is_refused() {
    let message = b"\x01\x07\0\0\0\0\0\0\0\0\0\0\0\x01\xff";
    assert_eq!(ToServer::decode(message), Err(ProtocolError::Malformed { what: "name" }));
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(message in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Hello::decode(&message);
        let _ = ToServer::decode(&message);
        let _ = FromServer::decode(&message);
    }

    #[test]
    fn any_call_comes_back(id: u64, name in ".{0,60}", body: Vec<u8>, milliseconds in 1..u32::MAX) {
        let deadline = Some(Duration::from_millis(milliseconds.into()));
        let mut out = Vec::new();
        encode_call_header(&mut out, CallId(id), deadline, &name).expect("at most 240 bytes");
        out.extend_from_slice(&body);
        let call = Call { id: CallId(id), deadline, name: &name, body: &body };
        prop_assert_eq!(ToServer::decode(&out), Ok(ToServer::Call(call)));
    }
}
