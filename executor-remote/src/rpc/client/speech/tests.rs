use super::*;

fn name() -> Name {
    Name::new("add")
}

fn call(speech: Speech, id: u64, args: impl Serialize) -> Vec<u8> {
    let mut encoded = Vec::new();
    speech.encode_args("add", &args, &mut encoded).expect("numbers can be sent");
    speech.message(CallId(id), None, "add", &encoded)
}

/// The answer that a message is, decoded.
fn answer<R: DeserializeOwned>(speech: Speech, message: &[u8]) -> (Whose, Result<R, RpcError>) {
    match speech.read_reply(message).expect("it is of the dialect") {
        Reply::Answer(whose, answer) => {
            let result = answer.into_result(&name());
            (whose, result.and_then(|body| speech.decode(&name(), body.as_slice())))
        }
        Reply::Nothing => panic!("no answer"),
    }
}

#[test]
fn python_calls_are_pickled_twice() {
    let message = call(Speech::Python, 0, (2, 3));
    let Ok(Object::Bytes(inner)) = pickle::read(&message, &Limits::default()) else { panic!("not bytes") };
    let (name, args, kwargs): (String, (i32, i32), std::collections::BTreeMap<String, i32>) =
        pickle::from_slice(&inner).expect("a pickle in a pickle");
    assert_eq!((name.as_str(), args, kwargs.len()), ("add", (2, 3), 0));
}

#[test]
fn python_answers_are_values_or_exceptions_in_the_order_of_the_calls() {
    let mut message = Vec::new();
    write_nested(&mut message, &pickle::to_vec(&5).expect("a number"));
    let (whose, five) = answer::<i64>(Speech::Python, &message);
    assert_eq!((whose, five.expect("a value")), (Whose::Oldest, 5));

    // Of the wire facts: `ValueError('x')` as CPython 3.8 to 3.13 writes it.
    let exception = b"\x80\x04\x95\x23\0\0\0\0\0\0\0\x8c\x08builtins\x94\x8c\x0aValueError\x94\x93\x94\x8c\x01x\x94\x85\x94R\x94.";
    message.clear();
    write_nested(&mut message, exception);
    match answer::<i64>(Speech::Python, &message).1 {
        Err(RpcError::Remote { type_name, message, .. }) => {
            assert_eq!((type_name.as_str(), message.as_str()), ("ValueError", "x"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn message_pack_calls_are_those_of_the_specification() {
    assert_eq!(call(Speech::MessagePack, 1, (2, 3)), b"\x94\x00\x01\xd9\x03add\x92\x02\x03");
    assert_eq!(call(Speech::MessagePack, 300, 7), b"\x94\x00\xce\0\0\x01\x2c\xd9\x03add\x91\x07");
}

#[test]
fn message_pack_answers_have_ids_of_any_width() {
    let five = |message: &[u8]| {
        let (whose, five) = answer::<i64>(Speech::MessagePack, message);
        assert_eq!(five.expect("a value"), 5);
        whose
    };
    assert_eq!(five(b"\x94\x01\x07\xc0\x05"), Whose::Short(7));
    assert_eq!(five(b"\x94\x01\xcc\xc8\xc0\x05"), Whose::Short(200));
    assert_eq!(five(b"\x94\x01\xcd\x01\0\xc0\x05"), Whose::Short(256));
    assert_eq!(five(b"\x94\x01\xce\0\0\x01\0\xc0\x05"), Whose::Short(256));
    assert_eq!(five(b"\x94\x01\xcf\0\0\0\0\0\0\x01\0\xc0\x05"), Whose::Short(256));
    assert!(
        matches!(Speech::MessagePack.read_reply(b"\x93\x02\xa1x\x90"), Ok(Reply::Nothing)),
        "a notification"
    );
}

#[test]
fn message_pack_errors_are_any_value() {
    let (_, failed) = answer::<i64>(Speech::MessagePack, b"\x94\x01\x01\xa4oops\xc0");
    assert!(matches!(failed, Err(RpcError::Remote { message, .. }) if message == "oops"));
    let (_, failed) =
        answer::<i64>(Speech::MessagePack, b"\x94\x01\x01\x82\xa4type\xa8Panicked\xa7message\xa4oops\xc0");
    assert!(matches!(failed, Err(RpcError::Panicked { message }) if message == "oops"));
}

#[test]
fn json_calls_and_answers_are_those_of_the_specification() {
    let text = String::from_utf8(call(Speech::Json, 7, (2, "three"))).expect("text");
    assert_eq!(text, r#"{"jsonrpc":"2.0","method":"add","params":[2,"three"],"id":7}"#);
    let (whose, five) = answer::<i64>(Speech::Json, br#"{"jsonrpc": "2.0", "result": 5, "id": 7}"#);
    assert_eq!((whose, five.expect("a value")), (Whose::Short(7), 5));
    let (_, nothing) = answer::<()>(Speech::Json, br#"{"jsonrpc": "2.0", "result": null, "id": 7}"#);
    nothing.expect("null is a value");
    let unknown = br#"{"jsonrpc": "2.0", "error": {"code": -32601, "message": "?"}, "id": 7}"#;
    assert!(
        matches!(answer::<i64>(Speech::Json, unknown).1, Err(RpcError::UnknownName { name, .. }) if name == "add")
    );
    let failed = br#"{"jsonrpc": "2.0", "error": {"code": 1, "message": "m", "data": {"type": "T", "notes": ["n"]}}, "id": 7}"#;
    assert!(matches!(
        answer::<i64>(Speech::Json, failed).1,
        Err(RpcError::Remote { type_name, message, notes }) if type_name == "T" && message == "m" && notes == ["n"]
    ));
}

#[test]
fn what_is_of_no_dialect_is_an_error_and_no_panic() {
    let messages: [&[u8]; 7] =
        [b"", b"\x94", b"\x94\x01", b"\x94\x01\xcd\x01", b"{", b"\x01executor", b"\x03\0\0"];
    for speech in [Speech::Native(Codec::Bincode), Speech::MessagePack, Speech::Json] {
        for message in messages {
            assert!(
                matches!(speech.read_reply(message), Err(RpcError::Protocol(_))),
                "{speech:?} {message:?}"
            );
        }
    }
    // A bad answer of Python's concerns one call.
    assert!(matches!(answer::<i64>(Speech::Python, b"\x80\x04").1, Err(RpcError::Decode { .. })));
}
