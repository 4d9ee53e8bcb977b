//! What is read, what is refused, and the bytes that are written.

use std::collections::BTreeMap;

use super::*;
use crate::object::Instance;

fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|it| !it.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn object(pickle: &[u8]) -> Result<Object, PickleError> {
    read(pickle, &Limits::default())
}

fn text(text: &str) -> Object {
    Object::from(text)
}

// ---- vectors of real interpreters --------------------------------------------------------------------------------

/// `ValueError('x')`, as CPython 3.8 to 3.13 write it.
const VALUE_ERROR: &str = "80 04 95 23 00 00 00 00 00 00 00 8c 08 6275696c74696e73 94 8c 0a 56616c75654572726f72 94 93 94 \
     8c 01 78 94 85 94 52 94 2e";

#[test]
fn an_exception_of_python_is_read() {
    let expected = Object::from(Exception::new("ValueError", "x"));
    assert_eq!(hex(VALUE_ERROR).len(), 46);
    assert_eq!(object(&hex(VALUE_ERROR)), Ok(expected.clone()));

    let mut protocol_5 = hex(VALUE_ERROR);
    protocol_5[1] = 5;
    assert_eq!(object(&protocol_5), Ok(expected.clone()));

    let protocol_3 = b"\x80\x03cbuiltins\nValueError\nX\x01\0\0\0x\x85R.";
    assert_eq!(object(protocol_3), Ok(expected.clone()));

    let protocol_2 = b"\x80\x02cexceptions\nValueError\nq\0X\x01\0\0\0xq\x01\x85q\x02Rq\x03.";
    assert_eq!(object(protocol_2), Ok(expected.clone()));

    let protocol_0 = b"cexceptions\nValueError\np0\n(Vx\np1\ntp2\nRp3\n.";
    assert_eq!(object(protocol_0), Ok(expected));
}

#[test]
fn an_exception_is_written_in_its_shortest_form() {
    let pickle = write(&Exception::new("ValueError", "x").into());
    let expected = b"\x80\x04\x8c\x08builtins\x8c\x0aValueError\x93\x8c\x01x\x85R.";
    assert_eq!(pickle, expected);
    assert_eq!(pickle.len(), 31);
}

#[test]
fn notes_and_cause_follow_the_exception() {
    let exception = Exception::new("ValueError", "x").with_note("remote: worker 3");
    let pickle = write(&exception.clone().into());
    let state = b"}(\x8c\x09__notes__](\x8c\x10remote: worker 3eub.";
    assert!(pickle.ends_with(state), "{}", pickle.escape_ascii());
    assert_eq!(object(&pickle), Ok(exception.clone().into()));

    // As the vectors have it, with single items.
    let mut single = write(&Exception::new("ValueError", "x").into());
    single.pop();
    single.extend(b"}\x8c\x09__notes__]\x8c\x10remote: worker 3asb.");
    assert_eq!(object(&single), Ok(exception.clone().into()));

    let exception = exception.with_cause("Traceback ..");
    assert_eq!(object(&write(&exception.clone().into())), Ok(exception.into()));
}

#[test]
fn an_exception_of_a_pool_has_its_cause() {
    let pickle = b"\x80\x04\x8c\x14multiprocessing.pool\x94\x8c\x0brebuild_exc\x94\x93\x94\x8c\x08builtins\x94\x8c\nValueError\x94\
        \x93\x94\x8c\x01x\x94\x85\x94R\x94\x8c\x02tb\x94\x86\x94R\x94.";
    assert_eq!(object(pickle), Ok(Exception::new("ValueError", "x").with_cause("tb").into()));
}

#[test]
fn text_of_a_connection_is_read() {
    assert_eq!(object(&hex("80049506000000000000008c026869942e")), Ok(text("hi")));
}

#[test]
fn requests_and_replies_of_managers_are_read() {
    let request = hex("8004951000000000000000284e8c0564756d6d7994297d9474942e");
    let expected = vec![Object::None, text("dummy"), Object::Tuple(vec![]), Object::Dict(vec![])];
    assert_eq!(object(&request), Ok(Object::Tuple(expected)));
    type Request = (Option<String>, String, Vec<Object>, BTreeMap<String, Object>);
    assert_eq!(from_slice::<Request>(&request), Ok((None, "dummy".to_owned(), vec![], BTreeMap::new())));

    let reply = hex("8004950e000000000000008c072352455455524e944e86942e");
    assert_eq!(object(&reply), Ok(Object::Tuple(vec![text("#RETURN"), Object::None])));
    assert_eq!(write(&Object::Tuple(vec![text("#RETURN"), Object::None])), b"\x80\x04\x8c\x07#RETURNN\x86.");
}

#[test]
fn a_token_of_a_manager_comes_and_goes() {
    let pickle = b"\x80\x04\x95?\0\0\0\0\0\0\0\x8c\x18multiprocessing.managers\x94\x8c\x05Token\x94\x93\x94)\x81\x94\x8c\x04dict\x94C\x04\0abc\
        \x94\x8c\x02id\x94\x87\x94b.";
    let state = Object::Tuple(vec![text("dict"), Object::Bytes(b"\0abc".to_vec()), text("id")]);
    let token = Instance { class: "multiprocessing.managers.Token".to_owned(), args: vec![], state };
    assert_eq!(object(pickle), Ok(token.clone().into()));
    assert_eq!(object(&write(&token.clone().into())), Ok(token.into()));
}
