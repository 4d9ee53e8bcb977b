//! What is read, what is refused, and the bytes that are written.

use std::collections::BTreeMap;

use super::opcode::{EMPTY_SET, NEWFALSE, NEWTRUE};
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

// ---- what is refused ---------------------------------------------------------------------------------------------

#[test]
fn a_pickle_cut_at_any_byte_is_refused() {
    let all = [
        hex(VALUE_ERROR),
        write(&Object::List(vec![text("x"), Object::Int(1 << 100)])),
        b"(dVa\nI1\ns.".to_vec(),
    ];
    for pickle in all {
        assert!(object(&pickle).is_ok());
        for len in 0..pickle.len() {
            let error = object(&pickle[..len]).expect_err("it has no end");
            assert!(matches!(error, PickleError::Truncated { .. }), "{len} bytes: {error}");
        }
    }
}

#[test]
fn what_follows_the_end_is_refused() {
    assert_eq!(object(b"N.N."), Err(PickleError::TrailingBytes { left: 2 }));
}

#[test]
fn later_protocols_are_refused() {
    assert_eq!(object(b"\x80\x06N."), Err(PickleError::Protocol(6)));
}

#[test]
fn lengths_that_are_not_there_cost_nothing() {
    for pickle in [
        &b"X\xff\xff\xff\xff."[..],
        b"B\xff\xff\xff\xffabc.",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x8b\xff\xff\xff\x7f.",
        b"\x95\xff\xff\xff\xff\xff\xff\xff\xffN.",
    ] {
        assert_eq!(
            object(pickle),
            Err(PickleError::Truncated { len: pickle.len() }),
            "{}",
            pickle.escape_ascii()
        );
    }
    // A memo with one entry, under the greatest number.
    assert_eq!(object(b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff."), Ok(Object::None));
}

#[test]
fn every_level_up_to_the_limit_is_read_and_one_more_is_refused() {
    let nested = |levels: usize| {
        let mut pickle = vec![b']'; levels];
        pickle.extend(vec![b'a'; levels - 1]);
        pickle.push(b'.');
        pickle
    };
    assert!(object(&nested(MAX_DEPTH)).is_ok());
    let too_deep = Err(PickleError::TooDeep { limit: MAX_DEPTH });
    assert_eq!(object(&nested(MAX_DEPTH + 1)), too_deep);
    assert_eq!(object(&nested(1_000_000)), too_deep);

    let mut tuples = vec![b')'];
    tuples.extend(vec![0x85; 1_000_000]);
    tuples.push(b'.');
    assert_eq!(object(&tuples), too_deep);

    // By references: each list contains the one before.
    let mut chain = vec![b']', 0x94];
    for number in 0..200 {
        chain.extend([b']', b'h', number, b'a', 0x94]);
    }
    chain.push(b'.');
    assert_eq!(object(&chain), too_deep);

    // What we read, we can write, and the other way round.
    let object = object(&nested(MAX_DEPTH)).expect("it is within the limit");
    assert_eq!(to_vec(&object), Ok(write(&object)));
    let deeper = to_vec(&Object::List(vec![object]));
    assert!(matches!(deeper, Err(PickleError::Value(_))), "{deeper:?}");
}

#[test]
fn what_contains_itself_is_refused() {
    for pickle in [
        &b"](h\0e."[..],
        b"]\x94h\0a.",
        b"]q\0(h\0e.",
        b"}\x94\x8c\x01ah\0s.",
        b"]\x94}\x94\x8c\x01ah\0sa.",
        b"\x8f\x94(h\0\x90.",
        b"](2\x85e.",
        b"]2a.",
        // The arguments of an exception, and its attributes.
        b"]\x94\x8c\x08builtins\x8c\x0aValueError\x93h\0\x85Ra.",
        b"cbuiltins\nValueError\n)R\x94}\x8c\x01ah\0sb.",
    ] {
        match object(pickle) {
            Err(PickleError::Recursive | PickleError::BadInstruction { .. }) => {}
            other => panic!("{}: an error was expected, not {other:?}", pickle.escape_ascii()),
        }
    }
    assert_eq!(object(b"]\x94h\0a."), Err(PickleError::Recursive));
    assert_eq!(object(b"cbuiltins\nValueError\n)R\x94}\x8c\x01ah\0sb."), Err(PickleError::Recursive));
}

/// Each level has the one before ten times.
fn bomb(levels: u8, first: &[u8]) -> Vec<u8> {
    let mut pickle = first.to_vec();
    pickle.push(0x94);
    for level in 0..levels {
        pickle.extend(b"](");
        (0..10).for_each(|_| pickle.extend([b'h', level]));
        pickle.extend(b"e\x94");
    }
    pickle.push(b'.');
    pickle
}

#[test]
fn repetition_of_repetition_is_refused() {
    assert_eq!(object(&bomb(3, b"]")).map(|it| format!("{it}").matches("[]").count()), Ok(1000));
    let limit = Limits::default().repeated_items;
    assert_eq!(object(&bomb(40, b"]")), Err(PickleError::TooLarge { limit, unit: "values" }));

    // A text of a megabyte, a thousand times.
    let mut text = b"X\0\0\x10\0".to_vec();
    text.extend(vec![b'x'; 1 << 20]);
    let limit = Limits::default().repeated_bytes;
    assert_eq!(object(&bomb(3, &text)), Err(PickleError::TooLarge { limit, unit: "bytes" }));
    let mut flat = text.clone();
    flat.extend(b"\x940](");
    (0..1000).for_each(|_| flat.extend(b"h\0"));
    flat.extend(b"e.");
    assert_eq!(object(&flat), Err(PickleError::TooLarge { limit, unit: "bytes" }));
}

#[test]
fn sets_made_of_one_list_again_and_again_are_refused() {
    let mut pickle = b"c__builtin__\nset\n\x94](".to_vec();
    pickle.extend(vec![b'N'; 100_000]);
    pickle.extend(b"e\x85\x94(");
    (0..1000).for_each(|_| pickle.extend(b"h\0h\x01R"));
    pickle.extend(b"l.");
    let limit = Limits::default().repeated_items;
    assert_eq!(object(&pickle), Err(PickleError::TooLarge { limit, unit: "values" }));
}

#[test]
fn long_names_of_classes_are_not_multiplied() {
    let mut pickle = b"c".to_vec();
    pickle.extend(vec![b'm'; 1 << 20]);
    pickle.extend(b"\nSomeError\n\x940](");
    (0..1000).for_each(|_| pickle.extend(b"h\0)R"));
    pickle.extend(b"e.");
    let limit = Limits::default().repeated_bytes;
    assert_eq!(object(&pickle), Err(PickleError::TooLarge { limit, unit: "bytes" }));
}

#[test]
fn classes_and_functions_are_refused_by_their_names() {
    for (pickle, refused) in [
        (&b"cos\nsystem\n(S'true'\ntR."[..], "os.system"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.", "posix.system"),
        (b"(S'true'\nios\nsystem\n.", "os.system"),
        (b"(cos\nsystem\nS'true'\no.", "os.system"),
        (b"cbuiltins\neval\n.", "builtins.eval"),
        (b"cbuiltins\nexec\n.", "builtins.exec"),
        (b"c__builtin__\n__import__\n.", "__builtin__.__import__"),
        (b"csubprocess\nPopen\n.", "subprocess.Popen"),
        (b"ccopyreg\n_reconstructor\n.", "copyreg._reconstructor"),
        (b"clogging\nHandler.handleError\n.", "logging.Handler.handleError"),
        (b"cmultiprocessing.managers\nRebuildProxy\n.", "multiprocessing.managers.RebuildProxy"),
        (b"cbuiltins\nsomeError\n.", "builtins.someError"),
        // These are known, and still no data by themselves.
        (b"cbuiltins\nset\n.", "builtins.set"),
        (b"](cbuiltins\nValueError\ne.", "builtins.ValueError"),
        (b"cbuiltins\nValueError\n\x85.", "builtins.ValueError"),
        (b"cbuiltins\nValueError\ncbuiltins\nset\n\x85R.", "builtins.set"),
        (b"Pid\n.", "a persistent id"),
        (b"NQ.", "a persistent id"),
        (b"\x82\x01.", "the extension registry of copyreg"),
    ] {
        assert_eq!(
            object(pickle),
            Err(PickleError::Forbidden { name: refused.to_owned() }),
            "{}",
            pickle.escape_ascii()
        );
    }
    let error = object(b"cos\nsystem\n.").expect_err("it is refused").to_string();
    assert!(error.contains("`os.system`"), "{error}");
}

#[test]
fn instructions_without_their_values_are_refused() {
    for opcode in 0..=255u8 {
        let result = object(&[opcode, b'.']);
        match opcode {
            b'N' | b']' | b'}' | b')' | EMPTY_SET | NEWTRUE | NEWFALSE => {
                assert!(result.is_ok(), "{opcode:#x}")
            }
            _ => assert!(result.is_err(), "{opcode:#x}: {result:?}"),
        }
    }
    for pickle in [
        &b"(a."[..],
        b"N(\x85.",
        b"(K\x01s.",
        b"}K\x01s.",
        b"](K\x01s.",
        b"}(K\x01u.",
        b"N(e.",
        b"Nh\x05.",
        b"NNR.",
        b"(.",
    ] {
        assert!(object(pickle).is_err(), "{}", pickle.escape_ascii());
    }
}

// ---- protocols 0 and 1 ---------------------------------------------------------------------------------------------

#[test]
fn text_protocols_are_read() {
    for (pickle, expected) in [
        (&b"I01\n."[..], Object::Bool(true)),
        (b"I00\n.", Object::Bool(false)),
        (b"I-7\n.", Object::Int(-7)),
        (b"L12345678901234567890L\n.", Object::Int(12_345_678_901_234_567_890)),
        (b"F-0.5\n.", Object::Float(-0.5)),
        (b"F1e+300\n.", Object::Float(1e300)),
        (b"S'it\\'s \\x41\\n'\np0\n.", text("it's A\n")),
        (b"U\x02ab.", text("ab")),
        (b"Va\\u000a\\u005c\xe9\\U0001f600\np0\n.", text("a\n\\é\u{1F600}")),
        (b"(lp0\nI1\naI2\na.", Object::List(vec![Object::Int(1), Object::Int(2)])),
        (b"(I1\nI2\nt.", Object::Tuple(vec![Object::Int(1), Object::Int(2)])),
        (b"(dp0\nVa\np1\nI1\ns.", Object::Dict(vec![(text("a"), Object::Int(1))])),
        (b"(Va\nNd.", Object::Dict(vec![(text("a"), Object::None)])),
        (b"c_codecs\nencode\n(Vab\xff\nVlatin1\ntR.", Object::Bytes(b"ab\xff".to_vec())),
        (b"Np5\n0g5\n.", Object::None),
        (b"(NN1N.", Object::None),
    ] {
        assert_eq!(object(pickle), Ok(expected), "{}", pickle.escape_ascii());
    }
    for garbled in [
        &b"I1x\n."[..],
        b"F\n.",
        b"S'a\n.",
        b"S'\xff'\n.",
        b"V\\ud83d\n.",
        b"V\\u+041\n.",
        b"U\x01\xff.",
        b"p-1\n.",
        b"\x8c\x01\xff.",
    ] {
        assert!(object(garbled).is_err(), "{}", garbled.escape_ascii());
    }
}

// ---- values of types of our own --------------------------------------------------------------------------------------

#[test]
fn text_is_borrowed_from_the_pickle() {
    let pickle = to_vec(&("key", [1u8, 2])).expect("it is plain");
    let (text, numbers): (&str, [u8; 2]) = from_slice(&pickle).expect("it is that");
    assert_eq!((text, numbers), ("key", [1, 2]));
    assert!(pickle.as_ptr_range().contains(&text.as_ptr()));
}

#[test]
fn python_bytes_are_a_vector_of_numbers_too() {
    assert_eq!(from_slice::<Vec<u8>>(b"C\x02ab."), Ok(b"ab".to_vec()));
    assert_eq!(from_slice::<(f64, Option<u8>, ())>(b"K\x01NN\x87."), Ok((1.0, None, ())));
}

#[test]
fn what_is_not_wanted_says_what_it_is() {
    let message = |result: Result<i64, PickleError>| result.expect_err("it is no number").to_string();
    assert!(message(from_slice(b"\x8c\x01x.")).contains("string \"x\""));
    assert!(message(from_slice(&hex(VALUE_ERROR))).contains("the exception ValueError: x"));
    let tuple = from_slice::<(i64, i64)>(b"K\x01\x85.").expect_err("it is too short").to_string();
    assert!(tuple.contains("invalid length 1"), "{tuple}");
    assert!(from_slice::<(i64, i64)>(b"K\x01K\x02K\x03\x87.").is_err(), "it is too long");
    assert!(from_slice::<u8>(b"M\0\x01.").is_err(), "256 is no byte");
}

#[test]
fn an_answer_is_a_result_or_an_exception() {
    assert_eq!(from_slice_or_exception::<i64>(b"K\x05."), Ok(Ok(5)));
    let exception = from_slice_or_exception::<i64>(&hex(VALUE_ERROR)).expect("it is one");
    assert_eq!(exception, Err(Box::new(Exception::new("ValueError", "x"))));
}

#[test]
fn a_serializer_that_miscounts_a_tuple_is_an_error_and_leaves_nothing() {
    struct Two;
    impl serde::Serialize for Two {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeTuple;
            let mut tuple = serializer.serialize_tuple(3)?;
            tuple.serialize_element(&1)?;
            tuple.serialize_element(&2)?;
            tuple.end()
        }
    }
    let mut out = b"before".to_vec();
    assert!(to_buffer(&Two, &mut out).is_err());
    assert_eq!(out, b"before");
}
