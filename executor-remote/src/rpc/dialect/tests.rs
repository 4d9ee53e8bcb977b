use serde::Deserialize;

use super::*;
use crate::object::pickle;

fn written(form: &Form, write: impl FnOnce(&Form, &mut Batch)) -> Vec<u8> {
    let mut batch = Batch::new();
    write(form, &mut batch);
    let message = batch.pop().expect("there is an answer").to_vec();
    assert!(batch.is_empty());
    message
}

fn value(form: &Form, value: &impl Serialize) -> Vec<u8> {
    written(form, |form, batch| form.write_value(value, batch))
}

fn fault(form: &Form, fault: &Fault) -> Vec<u8> {
    written(form, |form, batch| form.write_fault(fault, batch))
}

fn call(wish: Wish<'_>) -> Request<'_> {
    match wish {
        Wish::Call(request) => request,
        Wish::Bad(_, fault) => panic!("{}", fault.failure.message),
        _ => panic!("it is a call"),
    }
}

fn read_json(text: &str) -> Wish<'_> {
    read(Dialect::JsonRpc, Codec::default(), text.as_bytes()).expect("it can be answered")
}

#[test]
fn the_first_byte_tells_the_dialect() {
    let first = |message: &[u8]| Dialect::of_first_message(message);
    assert_eq!(first(b"\x01executor-rpc\x01\0"), Some(Dialect::Native));
    assert_eq!(first(b"\x80\x04N."), Some(Dialect::Python));
    assert_eq!(first(b"\x94\0"), Some(Dialect::MessagePackRpc));
    assert_eq!(first(b"\x93\x02"), Some(Dialect::MessagePackRpc));
    assert_eq!(first(b"{}"), Some(Dialect::JsonRpc));
    assert_eq!(first(b" [{}]"), Some(Dialect::JsonRpc));
    assert_eq!(first(b"GET / HTTP/1.1"), None);
    assert_eq!(first(b""), None);
}

#[test]
fn every_codec_has_a_number() {
    for codec in [Codec::Bincode, Codec::Pickle, Codec::MessagePack, Codec::Json] {
        assert_eq!(codec_from_wire(codec_to_wire(codec)), Ok(codec));
    }
    assert_eq!(codec_from_wire(4), Err(ProtocolError::Malformed { what: "codec" }));
}

/// What `connection.send(pickle.dumps(("add", (2, 3), {})))` of CPython 3.11 puts into a message.
const ADD: &[u8] = b"\x80\x04\x95 \0\0\0\0\0\0\0C\x1c\x80\x04\x95\x11\0\0\0\0\0\0\0\
    \x8c\x03add\x94K\x02K\x03\x86\x94}\x94\x87\x94.\x94.";

#[test]
fn a_call_of_the_python_recipe_is_a_pickle_in_a_pickle() {
    let request = call(read(Dialect::Python, Codec::default(), ADD).expect("it can be answered"));
    assert_eq!(request.name, "add");
    assert!(matches!(request.form, Form::Python { nested: true }));
    assert_eq!(request.args.decode::<(i64, i64)>().expect("two numbers"), (2, 3));
}

#[test]
fn a_call_that_is_pickled_once_is_answered_with_a_pickle() {
    let once =
        pickle::to_vec(&("add", (2, 3), std::collections::BTreeMap::<String, i64>::new())).expect("data");
    let request = call(read(Dialect::Python, Codec::default(), &once).expect("it can be answered"));
    assert!(matches!(request.form, Form::Python { nested: false }));
    assert_eq!(pickle::from_slice::<i64>(&value(&request.form, &5)).expect("a number"), 5);
}

#[test]
fn an_answer_of_the_python_recipe_is_a_pickle_in_a_pickle() {
    let message = value(&Form::Python { nested: true }, &5);
    let Ok(Object::Bytes(inner)) = pickle::read(&message, &pickle::Limits::default()) else {
        panic!("no bytes")
    };
    assert_eq!(pickle::from_slice::<i64>(&inner).expect("a number"), 5);
}

#[test]
fn faults_are_the_exceptions_that_python_programs_expect() {
    let class = |kind| {
        let message = fault(&Form::Python { nested: false }, &Fault::new(kind, "why"));
        match pickle::read(&message, &pickle::Limits::default()) {
            Ok(Object::Exception(exception)) => (exception.type_name.clone(), exception.message()),
            other => panic!("{other:?} is no exception"),
        }
    };
    for (kind, name) in [
        (FailureKind::Error, "RuntimeError"),
        (FailureKind::Panic, "RuntimeError"),
        (FailureKind::UnknownName, "AttributeError"),
        (FailureKind::BadArguments, "TypeError"),
        (FailureKind::DeadlineExceeded, "TimeoutError"),
        (FailureKind::Stopping, "ConnectionError"),
    ] {
        assert_eq!(class(kind), (name.to_owned(), "why".to_owned()));
    }
}

#[test]
fn a_pickle_that_would_run_something_is_answered_with_what_is_wrong() {
    // os.system("true"), by GLOBAL and REDUCE.
    let evil = b"cposix\nsystem\n(S'true'\ntR.";
    let mut message = b"\x80\x04C".to_vec();
    message.push(evil.len() as u8);
    message.extend_from_slice(evil);
    message.push(b'.');
    let Ok(Wish::Bad(form, fault)) = read(Dialect::Python, Codec::default(), &message) else { panic!("bad") };
    assert!(matches!(form, Form::Python { nested: true }));
    assert!(fault.failure.message.contains("posix.system"), "{}", fault.failure.message);
}

#[test]
fn what_is_no_call_in_python_is_answered_with_what_it_is() {
    for (value, found) in [
        (Object::Int(7), "int"),
        (Object::Tuple(vec![Object::None]), "1 values"),
        (Object::Tuple(vec![Object::Int(1), Object::Tuple(Vec::new()), Object::Dict(Vec::new())]), "int"),
        (Object::Tuple(vec!["f".into(), Object::Int(1), Object::Dict(Vec::new())]), "int"),
        (Object::Tuple(vec!["f".into(), Object::Tuple(Vec::new()), Object::None]), "NoneType"),
    ] {
        let message = pickle::write(&value);
        let Ok(Wish::Bad(_, fault)) = read(Dialect::Python, Codec::default(), &message) else {
            panic!("bad")
        };
        let expected = format!("a call is a pickle of (name, args, kwargs), and not of {found}");
        assert_eq!(fault.failure.message, expected);
    }
}

#[test]
fn a_message_pack_request_and_its_answers_are_those_of_the_standard() {
    // [0, 300, "add", [2, 3]]
    let message = b"\x94\0\xcd\x01\x2c\xa3add\x92\x02\x03";
    let request = call(read(Dialect::MessagePackRpc, Codec::default(), message).expect("a request"));
    assert_eq!(request.name, "add");
    assert_eq!(request.args.decode::<(i64, i64)>().expect("two numbers"), (2, 3));
    // [1, 300, nil, 5]
    assert_eq!(value(&request.form, &5), b"\x94\x01\xce\0\0\x01\x2c\xc0\x05");

    let refused = fault(&Form::MessagePack { id: 7 }, &Fault::new(FailureKind::BadArguments, "no"));
    assert_eq!(refused[..4], [0x94, 0x01, 0x07, 0x83], "[1, 7, {{3 items}}, nil]");
    assert_eq!(refused.last(), Some(&0xc0));
}

#[test]
fn a_message_pack_notification_has_no_answer() {
    let message = b"\x93\x02\xa3add\x92\x02\x03"; // [2, "add", [2, 3]]
    let request = call(read(Dialect::MessagePackRpc, Codec::default(), message).expect("a notification"));
    let mut batch = Batch::new();
    request.form.write_value(&5, &mut batch);
    request.form.write_fault(&Fault::new(FailureKind::Panic, "no"), &mut batch);
    assert!(batch.is_empty());
}

#[test]
fn what_is_no_message_pack_request_cannot_be_answered() {
    for message in [&b"\x94\0"[..], b"\x05", b"\x94\x01\x07\xc0\x05", b"\x94\0\xa1x\xa3add\x90", b"\xc1"] {
        assert!(read(Dialect::MessagePackRpc, Codec::default(), message).is_err(), "{message:?}");
    }
    // Here it is known which request it was to be.
    let no_list = read(Dialect::MessagePackRpc, Codec::default(), b"\x94\0\x07\xa3add\x05");
    assert!(matches!(no_list, Ok(Wish::Bad(Form::MessagePack { id: 7 }, _))));
}

#[test]
fn a_json_call_has_params_by_place_or_by_name() {
    #[derive(Deserialize, Debug, PartialEq)]
    struct Point {
        x: i64,
        y: i64,
    }
    let by_place = r#"{"jsonrpc": "2.0", "method": "add", "params": [2, 3], "id": "a"}"#;
    let request = call(read_json(by_place));
    assert_eq!((&*request.name, request.args.decode::<(i64, i64)>().expect("two")), ("add", (2, 3)));
    assert_eq!(value(&request.form, &5), br#"{"jsonrpc":"2.0","result":5,"id":"a"}"#);

    let by_name = r#"{"jsonrpc": "2.0", "method": "add", "params": {"y": 3, "x": 2}, "id": 1}"#;
    let request = call(read_json(by_name));
    assert_eq!(request.args.decode::<Point>().expect("a point"), Point { x: 2, y: 3 });

    let fault = call(read_json(by_name)).args.decode::<(i64, i64)>().expect_err("names of nothing");
    assert_eq!(fault.failure.kind, FailureKind::BadArguments);
}

#[test]
fn json_errors_have_the_codes_of_the_standard() {
    let answer = |text| match read_json(text) {
        Wish::Bad(form, wrong) => String::from_utf8(fault(&form, &wrong)).expect("text"),
        _ => panic!("it is bad"),
    };
    assert!(answer("{").contains("-32700") && answer("{").ends_with(r#""id":null}"#));
    assert!(answer("[]").contains("-32600"));
    assert!(answer(r#"{"jsonrpc": "1.0", "method": "f", "id": 3}"#).contains("-32600"));
    assert!(answer(r#"{"jsonrpc": "2.0", "method": "f", "params": 1, "id": 3}"#).ends_with(r#""id":3}"#));

    let code = |kind| {
        let form = Form::Json { id: Object::Int(1), batch: None };
        String::from_utf8(fault(&form, &Fault::new(kind, "why"))).expect("text")
    };
    assert!(code(FailureKind::UnknownName).contains("-32601"));
    assert!(code(FailureKind::BadArguments).contains("-32602"));
    assert!(code(FailureKind::Panic).contains("-32603"));
    assert!(code(FailureKind::Error).contains("-32000"));
}

#[test]
fn a_json_batch_is_answered_in_one_message_when_all_is_there() {
    let text = r#"[{"jsonrpc": "2.0", "method": "f", "id": 1}, {"jsonrpc": "2.0", "method": "f"}, 7,
        {"jsonrpc": "2.0", "method": "f", "id": 2}]"#;
    let Wish::Calls(calls) = read_json(text) else { panic!("it is a batch") };
    assert_eq!(calls.len(), 4);
    let mut batch = Batch::new();
    for (at, call) in calls.iter().enumerate() {
        assert!(batch.is_empty(), "not before all are answered");
        match call {
            Ok(request) => request.form.write_value(&at, &mut batch),
            Err((form, fault)) => form.write_fault(fault, &mut batch),
        }
    }
    let answers: serde_json::Value =
        serde_json::from_slice(batch.pop().expect("all are answered")).expect("JSON");
    let ids: Vec<_> =
        answers.as_array().expect("an array").iter().map(|answer| answer["id"].clone()).collect();
    assert_eq!(ids, [serde_json::json!(1), serde_json::json!(null), serde_json::json!(2)]);
}

#[test]
fn a_lone_value_of_a_codec_that_says_what_there_is_is_one_positional_argument() {
    let body = |value: &Object| {
        let mut out = Vec::new();
        Codec::Json.encode(value, &mut out).expect("a number");
        out
    };
    let five = body(&Object::Int(5));
    assert_eq!(Args::Encoded(Codec::Json, &five).decode::<(i64,)>().expect("one"), (5,));
    assert_eq!(Args::Encoded(Codec::Json, &five).decode::<i64>().expect("one"), 5);
    assert!(Args::Encoded(Codec::Json, &five).decode::<(i64, i64)>().is_err());
}

#[test]
fn a_value_that_cannot_be_encoded_is_a_fault_and_leaves_no_half_message() {
    struct Odd;
    impl Serialize for Odd {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("it is odd"))
        }
    }
    let id = CallId(4);
    for form in [
        Form::Native { codec: Codec::Bincode, id },
        Form::MessagePack { id: 4 },
        Form::Json { id: Object::Int(4), batch: None },
        Form::Python { nested: true },
    ] {
        let message = value(&form, &vec![Odd]);
        let text = String::from_utf8_lossy(&message);
        assert!(text.contains("it is odd"), "{form:?}: {text}");
    }
}
