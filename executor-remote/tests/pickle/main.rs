//! Pickles between this crate and the real `python3` of the machine.

mod python;

use executor_remote::object::pickle::{self, Limits, PickleError};
use executor_remote::object::{Exception, Key, Object};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use python::{Peer, run_python};

fn read(bytes: &[u8]) -> Result<Object, PickleError> {
    pickle::read(bytes, &Limits::default())
}

// ---- any value, there and back -----------------------------------------------------------------------------------

fn text() -> impl Strategy<Value = String> {
    let ordinary = vec(any::<char>(), 0..8).prop_map(String::from_iter);
    let awkward =
        prop_oneof![Just("'".to_owned()), Just("\\\"'\n\r\t\0".to_owned()), Just("é\u{1F600}".to_owned())];
    prop_oneof![8 => ordinary, 1 => awkward, 1 => (250usize..260).prop_map(|len| "x".repeat(len))]
}

fn int() -> impl Strategy<Value = i128> {
    let near = |bits: u32| (-2i128..=2).prop_map(move |more| (1i128 << bits) + more);
    prop_oneof![
        any::<i8>().prop_map(i128::from),
        any::<i64>().prop_map(i128::from),
        any::<i128>(),
        (0u32..126).prop_flat_map(near),
        Just(i128::MIN),
        Just(i128::MAX)
    ]
}

/// What can be a key. `None` of them is equal to another of another kind by accident: `ascii` tells them apart.
fn hashable() -> impl Strategy<Value = Object> {
    let leaf = prop_oneof![
        Just(Object::None),
        any::<bool>().prop_map(Object::Bool),
        int().prop_map(Object::Int),
        any::<f64>().prop_filter("a NaN is not equal to itself", |it| !it.is_nan()).prop_map(Object::Float),
        (1e-9..1e9, -1e9..-1e-9).prop_map(|(re, im)| Object::Complex(re, im)),
        text().prop_map(Object::Str),
        vec(any::<u8>(), 0..6).prop_map(Object::Bytes),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Object::Tuple),
            vec(inner, 0..4).prop_map(|items| Object::FrozenSet(distinct(items))),
        ]
    })
}

/// Of equal ones the first.
fn distinct(items: Vec<Object>) -> Vec<Object> {
    let mut seen = std::collections::HashSet::new();
    items.into_iter().filter(|item| seen.insert(Key::new(item.clone()).expect("it is hashable"))).collect()
}

fn dict(items: Vec<(Object, Object)>) -> Object {
    let keys = distinct(items.iter().map(|(key, _)| key.clone()).collect());
    Object::Dict(keys.into_iter().zip(items.into_iter().map(|(_, value)| value)).collect())
}

fn exception(args: Vec<Object>, notes: Vec<String>, class: &str) -> Object {
    let mut exception = Exception::with_args(class, args);
    exception.notes = notes;
    exception.into()
}

fn object() -> impl Strategy<Value = Object> {
    let leaf = prop_oneof![
        4 => hashable(),
        1 => vec(any::<u8>(), 0..300).prop_map(Object::ByteArray),
        1 => Just(Object::Float(f64::NAN)),
        1 => vec(hashable(), 0..5).prop_map(|items| Object::Set(distinct(items))),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let class = prop_oneof![
            Just("ValueError"),
            Just("KeyError"),
            Just("OSError"),
            Just("queue.Empty"),
            Just("multiprocessing.managers.RemoteError")
        ];
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Object::List),
            vec(inner.clone(), 0..6).prop_map(Object::Tuple),
            vec((hashable(), inner.clone()), 0..5).prop_map(dict),
            (vec(inner, 0..2), vec(text(), 0..3), class)
                .prop_map(|(args, notes, class)| exception(args, notes, class)),
        ]
    })
}

/// The same with sets in one order, which is all that another interpreter may change.
fn ordered(object: Object) -> Object {
    let all = |items: Vec<Object>| items.into_iter().map(ordered).collect::<Vec<_>>();
    let sorted = |items| {
        let mut items = all(items);
        items.sort_by_key(|item| format!("{item:#}"));
        items
    };
    match object {
        Object::Set(items) => Object::Set(sorted(items)),
        Object::FrozenSet(items) => Object::FrozenSet(sorted(items)),
        Object::List(items) => Object::List(all(items)),
        Object::Tuple(items) => Object::Tuple(all(items)),
        Object::Dict(items) => {
            Object::Dict(items.into_iter().map(|(key, value)| (ordered(key), ordered(value))).collect())
        }
        Object::Exception(mut it) => {
            it.args = all(it.args);
            Object::Exception(it)
        }
        other => other,
    }
}

/// With NaN equal to itself.
fn shown(object: Object) -> String {
    format!("{:?}", ordered(object))
}

#[test]
fn python_reads_every_object_as_what_it_is_and_its_own_pickles_are_read_back() {
    let peer = std::cell::RefCell::new(Peer::start());
    let mut runner = TestRunner::new(Config { cases: 600, failure_persistence: None, ..Config::default() });
    let result = runner.run(&object(), |object| {
        let written = pickle::write(&object);
        prop_assert_eq!(
            shown(read(&written).expect("it is ours")),
            shown(object.clone()),
            "written and read here"
        );
        prop_assert_eq!(
            &pickle::to_vec(&object).expect("it has few levels"),
            &written,
            "both writers write the same"
        );
        let (problem, pickles) = peer.borrow_mut().ask(&written, &format!("{object:#}"));
        prop_assert!(problem.is_empty(), "{}", problem);
        for (protocol, bytes) in pickles.iter().enumerate() {
            let back =
                read(bytes).map_err(|error| TestCaseError::fail(format!("protocol {protocol}: {error}")))?;
            prop_assert_eq!(shown(back), shown(object.clone()), "protocol {}", protocol);
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

// ---- single things that only a real interpreter knows --------------------------------------------------------------

#[test]
fn an_exception_is_raised_with_its_note_and_its_cause() {
    let exception = Exception::new("ValueError", "no such colour")
        .with_note("remote: in handler `paint`")
        .with_cause("\n\"\"\"\nthread 'worker' panicked\n\"\"\"");
    let script = "import pickle, sys, traceback\n\
        e = pickle.loads(bytes.fromhex(sys.argv[1]))\n\
        assert type(e) is ValueError and e.args == ('no such colour',), repr(e)\n\
        print(''.join(traceback.format_exception(type(e), e, None)))";
    let printed = run_python(script, &pickle::write(&exception.into()));
    for part in ["thread 'worker' panicked", "ValueError: no such colour", "direct cause"] {
        assert!(printed.contains(part), "{part} is missing:\n{printed}");
    }
    assert!(printed.contains("remote: in handler `paint`"), "Python 3.11 shows notes:\n{printed}");
}

#[test]
fn an_exception_whose_class_may_not_exist_there_arrives_as_text() {
    let exception = Exception::new("app.PaintError", "dry").with_note("wait");
    let script = "import pickle, sys\n\
        e = pickle.loads(bytes.fromhex(sys.argv[1]))\n\
        print(type(e).__name__, e, e.__notes__)";
    let printed = run_python(script, &pickle::write(&exception.into()));
    assert_eq!(printed.trim(), "Exception app.PaintError: dry ['wait']");
}

#[test]
fn exceptions_whose_classes_want_certain_arguments_are_raised_in_any_case() {
    let decode = [
        Object::from("utf-8"),
        Object::Bytes(vec![255]),
        Object::Int(0),
        Object::Int(1),
        Object::from("bad"),
    ];
    let place =
        Object::Tuple([Object::from("f.py"), Object::Int(1), Object::Int(2), Object::from("x")].into());
    let cases = [
        (Exception::with_args("UnicodeDecodeError", decode.to_vec()), "UnicodeDecodeError"),
        (Exception::new("UnicodeDecodeError", "of Rust"), "Exception"),
        (Exception::with_args("SyntaxError", vec![Object::from("odd"), place]), "SyntaxError"),
        (Exception::with_args("SyntaxError", vec![Object::from("odd"), Object::Int(1)]), "Exception"),
        (Exception::with_args("OSError", vec![Object::Int(2), Object::from("none")]), "FileNotFoundError"),
        (Exception::with_args("KeyError", vec![Object::Tuple(vec![])]), "KeyError"),
        (Exception::with_args("TimeoutError", vec![]), "TimeoutError"),
        (Exception::new("ExceptionGroup", "later than 3.8"), "Exception"),
        (Exception::new("os.system", "true"), "Exception"),
        (Exception::new("queue.Full", ""), "Full"),
    ];
    let script = "import pickle, sys; print(type(pickle.loads(bytes.fromhex(sys.argv[1]))).__name__)";
    for (exception, class) in cases {
        let printed = run_python(script, &pickle::write(&exception.clone().into()));
        assert_eq!(printed.trim(), class, "{exception}");
    }
}

/// What `python3` prints of the pickle of an expression, by a protocol.
fn pickled(expression: &str, protocol: u8) -> Vec<u8> {
    let script = format!(
        "import pickle, sys, os, collections, queue, subprocess, builtins\n\
         from multiprocessing.pool import ExceptionWithTraceback\n\
         def noted(e, **attributes):\n    e.__dict__.update(attributes)\n    return e\n\
         print(pickle.dumps({expression}, {protocol}).hex())"
    );
    let printed = run_python(&script, &[]);
    let digits = printed.trim().as_bytes();
    digits
        .chunks(2)
        .map(|it| u8::from_str_radix(str::from_utf8(it).expect("hex"), 16).expect("hex"))
        .collect()
}

#[test]
fn exceptions_of_python_keep_their_class_arguments_notes_cause_and_attributes() {
    let attributes = |code: i64| vec![("code".to_owned(), Object::from(code))];
    for protocol in 2..=5 {
        let read = |expression| match read(&pickled(expression, protocol)) {
            Ok(Object::Exception(it)) => *it,
            other => panic!("an exception was expected, not {other:?}"),
        };
        let noted = read("noted(ValueError('x'), __notes__=['one', 'two'], code=7)");
        assert_eq!(
            (noted.message(), &noted.notes[..]),
            ("x".to_owned(), &["one".to_owned(), "two".to_owned()][..])
        );
        assert_eq!(noted.attributes, attributes(7));
        let of_pool = read("ExceptionWithTraceback(KeyError('k'), None)");
        assert_eq!((&*of_pool.type_name, &*of_pool.message()), ("KeyError", "'k'"));
        assert!(of_pool.cause.is_some_and(|text| text.contains("KeyError: 'k'")));
        let of_module = read("subprocess.CalledProcessError(3, 'false')");
        // Up to protocol 2, Python writes the names that modules had in Python 2.
        let module = if protocol == 2 { "commands" } else { "subprocess" };
        assert_eq!(of_module.type_name, format!("{module}.CalledProcessError"));
        let missing = read("FileNotFoundError(2, 'No such file', 'f')");
        assert_eq!(missing.message(), "[Errno 2] No such file: 'f'");
        assert_eq!(read("queue.Empty()"), Exception::with_args("queue.Empty", vec![]));
        assert_eq!(read("queue.Full(1)"), Exception::with_args("queue.Full", vec![Object::Int(1)]));
    }
}

#[test]
fn what_would_be_called_is_refused_by_its_name() {
    let reducing = |call: &str| format!("type('X', (), {{'__reduce__': lambda self: {call}}})()");
    let cases = [
        ("os.system".to_owned(), "posix.system"),
        (reducing("(os.system, ('true',))"), "posix.system"),
        (reducing("(eval, ('1',))"), "builtins.eval"),
        (reducing("(getattr, ('x', 'upper'))"), "builtins.getattr"),
        (reducing("(subprocess.Popen, ('true',))"), "subprocess.Popen"),
        ("[1, int]".to_owned(), "builtins.int"),
        ("{1: ValueError}".to_owned(), "builtins.ValueError"),
        ("ValueError".to_owned(), "builtins.ValueError"),
        ("collections.deque([1])".to_owned(), "collections.deque"),
        ("collections.Counter('a')".to_owned(), "collections.Counter"),
    ];
    for (expression, refused) in cases {
        for protocol in [3, 4, 5] {
            match read(&pickled(&expression, protocol)) {
                Err(PickleError::Forbidden { name }) => assert_eq!(name, refused, "{expression}"),
                other => panic!("{expression}: Forbidden was expected, not {other:?}"),
            }
        }
    }
}

#[test]
fn a_value_that_contains_itself_is_refused() {
    for expression in ["(lambda x: x.append(x) or x)([])", "(lambda x: x.update(a=[(x,)]) or x)({})"] {
        for protocol in 0..=5 {
            assert_eq!(read(&pickled(expression, protocol)), Err(PickleError::Recursive), "{expression}");
        }
    }
}

#[test]
fn integers_beyond_127_bits_are_refused_and_below_they_are_read() {
    for protocol in 0..=5 {
        assert_eq!(read(&pickled("2**127 - 1", protocol)), Ok(Object::Int(i128::MAX)));
        assert_eq!(read(&pickled("-2**127", protocol)), Ok(Object::Int(i128::MIN)));
        for beyond in ["2**127", "-2**127 - 1", "10**400"] {
            let error = read(&pickled(beyond, protocol)).expect_err("it is too large");
            assert!(matches!(error, PickleError::IntegerTooLarge { .. }), "{error}");
        }
    }
}
