//! Objects through the codecs, and what fits what.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::*;

const CODECS: [Codec; 4] = [Codec::Bincode, Codec::Pickle, Codec::MessagePack, Codec::Json];

fn through<T: Serialize, U: serde::de::DeserializeOwned>(codec: Codec, value: &T) -> Result<U, CodecError> {
    let mut bytes = Vec::new();
    codec.encode(value, &mut bytes)?;
    codec.decode(&bytes)
}

/// One of each kind.
fn zoo() -> Object {
    let token = Instance {
        class: "multiprocessing.managers.Token".to_owned(),
        args: vec![],
        state: Object::Tuple(vec![Object::from("list"), Object::None]),
    };
    Object::List(vec![
        Object::None,
        Object::Bool(true),
        Object::Int(i128::MIN),
        Object::Float(-0.5),
        Object::Complex(1.0, -2.0),
        Object::from("text"),
        Object::Bytes(vec![0, 255]),
        Object::ByteArray(vec![1]),
        Object::Tuple(vec![Object::Int(1), Object::Tuple(vec![])]),
        Object::Dict(vec![(Object::Tuple(vec![Object::Int(1)]), Object::List(vec![]))]),
        Object::Set(vec![Object::Int(1)]),
        Object::FrozenSet(vec![Object::from("x")]),
        Exception::new("ValueError", "x").with_note("note").with_cause("cause").into(),
        token.into(),
    ])
}

#[test]
fn every_kind_of_object_goes_through_pickle_and_bincode_unchanged() {
    for codec in [Codec::Pickle, Codec::Bincode] {
        assert_eq!(through::<_, Object>(codec, &zoo()).unwrap(), zoo(), "{codec:?}");
    }
    assert_eq!(Object::from_serialize(&zoo()), Ok(zoo()));
    assert_eq!(zoo().deserialize::<Object>(), Ok(zoo()));
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Empty,
    Circle(f64),
    Line(i32, i32),
    Rectangle { width: u8, height: u8 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Name(String);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Everything {
    shapes: Vec<Shape>,
    option: Option<i64>,
    missing: Option<String>,
    unit: (),
    unit_struct: Unit,
    name: Name,
    tuple: (u8, char, bool),
    array: [i16; 3],
    map: BTreeMap<String, Vec<f32>>,
    set: HashSet<u64>,
    bytes: Vec<u8>,
    address: std::net::IpAddr,
    large: u64,
}

fn everything() -> Everything {
    Everything {
        shapes: vec![
            Shape::Empty,
            Shape::Circle(0.5),
            Shape::Line(-1, 1),
            Shape::Rectangle { width: 2, height: 3 },
        ],
        option: Some(-70_000),
        missing: None,
        unit: (),
        unit_struct: Unit,
        name: Name("name".to_owned()),
        tuple: (255, 'é', true),
        array: [-300, 0, 300],
        map: [("a".to_owned(), vec![1.5]), ("b".to_owned(), vec![])].into(),
        set: [1, 1 << 63].into(),
        bytes: vec![1, 2, 3],
        address: [127, 0, 0, 1].into(),
        large: u64::MAX,
    }
}

#[test]
fn values_of_every_kind_go_through_every_codec() {
    for codec in CODECS {
        assert_eq!(through::<_, Everything>(codec, &everything()).unwrap(), everything(), "{codec:?}");
    }
    let object = Object::from_serialize(&everything()).unwrap();
    assert_eq!(object.deserialize::<Everything>(), Ok(everything()));
}

#[test]
fn values_become_what_the_documentation_says() {
    let everything = everything();
    let object = Object::from_serialize(&everything).unwrap();
    let Object::Dict(fields) = &object else { panic!("a dict was expected, not {object}") };
    let field = |name: &str| fields.iter().find(|(key, _)| *key == Object::from(name)).unwrap().1.to_string();
    assert_eq!(
        field("shapes"),
        "['Empty', {'Circle': 0.5}, {'Line': (-1, 1)}, {'Rectangle': {'width': 2, 'height': 3}}]"
    );
    assert_eq!(field("option"), "-70000");
    assert_eq!(field("missing"), "None");
    assert_eq!(field("unit"), "None");
    assert_eq!(field("unit_struct"), "None");
    assert_eq!(field("name"), "'name'");
    assert_eq!(field("tuple"), "(255, 'é', True)");
    assert_eq!(field("array"), "(-300, 0, 300)");
    assert_eq!(field("map"), "{'a': [1.5], 'b': []}");
    assert_eq!(field("bytes"), "[1, 2, 3]");
    assert_eq!(field("address"), "'127.0.0.1'");
    // Straight to a pickle, it is the same.
    assert_eq!(pickle::read(&pickle::to_vec(&everything).unwrap(), &pickle::Limits::default()), Ok(object));
}

#[test]
fn json_and_messagepack_have_the_values_that_they_know() {
    let object = Object::Dict(vec![(
        Object::from("k"),
        Object::Tuple(vec![
            Object::Int(-1),
            Object::Float(0.5),
            Object::None,
            Object::Bool(true),
            Object::from("t"),
        ]),
    )]);
    let as_list = Object::Dict(vec![(
        Object::from("k"),
        Object::List(vec![
            Object::Int(-1),
            Object::Float(0.5),
            Object::None,
            Object::Bool(true),
            Object::from("t"),
        ]),
    )]);
    for codec in [Codec::Json, Codec::MessagePack] {
        assert_eq!(through::<_, Object>(codec, &object).unwrap(), as_list, "{codec:?}");
    }
    let bytes = Object::Bytes(vec![1, 2]);
    assert_eq!(through::<_, Object>(Codec::MessagePack, &bytes).unwrap(), bytes);
    let numbers = Object::List(vec![Object::Int(1), Object::Int(2)]);
    assert_eq!(through::<_, Object>(Codec::Json, &bytes).unwrap(), numbers);
    let exception: Object = through(Codec::Json, &Object::from(Exception::new("ValueError", "x"))).unwrap();
    assert!(exception.to_string().contains("'type': 'ValueError'"), "{exception}");
}

#[test]
fn what_is_left_over_or_garbled_is_an_error_in_every_codec_and_leaves_nothing() {
    for codec in CODECS {
        let mut bytes = Vec::new();
        codec.encode(&7u64, &mut bytes).unwrap();
        assert_eq!(codec.decode::<u64>(&bytes).unwrap(), 7);
        assert!(codec.decode::<u64>(&[]).is_err(), "{codec:?}");
        bytes.push(b'1');
        let error = codec.decode::<u64>(&bytes);
        // In JSON, another digit makes another number.
        assert_eq!(error.is_err(), codec != Codec::Json, "{codec:?}: {error:?}");

        struct Fails;
        impl Serialize for Fails {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::{Error, SerializeSeq};
                let mut seq = serializer.serialize_seq(Some(2))?;
                seq.serialize_element(&1)?;
                Err(S::Error::custom("no more"))
            }
        }
        let mut out = b"before".to_vec();
        let error = codec.encode(&Fails, &mut out).expect_err("it fails").to_string();
        assert!(error.contains("no more"), "{codec:?}: {error}");
        assert_eq!(out, b"before", "{codec:?}");
    }
}

#[test]
fn deep_and_long_forgeries_are_refused_in_every_codec() {
    // Lists in lists, as an Object has them in each codec.
    let deep = [
        (Codec::Json, vec![b'['; 100_000]),
        (Codec::MessagePack, vec![0x91; 100_000]),
        (Codec::Pickle, vec![b']'; 100_000]),
        (Codec::Bincode, [8, 1].repeat(100_000)),
    ];
    for (codec, bytes) in deep {
        assert!(codec.decode::<Object>(&bytes).is_err(), "{codec:?}");
    }
    let long = [
        (Codec::MessagePack, vec![0xdd, 255, 255, 255, 255]),
        (Codec::MessagePack, vec![0xc6, 255, 255, 255, 255]),
        (Codec::Bincode, vec![253, 255, 255, 255, 255, 255, 255, 255, 127]),
    ];
    for (codec, bytes) in long {
        assert!(codec.decode::<Vec<u64>>(&bytes).is_err(), "{codec:?}");
        assert!(codec.decode::<Vec<()>>(&bytes).is_err(), "{codec:?}");
        assert!(codec.decode::<String>(&bytes).is_err(), "{codec:?}");
    }
}

#[test]
fn the_levels_of_objects_are_bounded_and_counted_anew_after_an_error() {
    let nested = |levels| (0..levels).fold(Object::None, |inner, _| Object::List(vec![inner]));
    for codec in [Codec::Bincode, Codec::Pickle, Codec::MessagePack] {
        for _ in 0..2 {
            assert!(through::<_, Object>(codec, &nested(MAX_DEPTH)).is_ok(), "{codec:?}");
            assert!(through::<_, Object>(codec, &nested(MAX_DEPTH + 1)).is_err(), "{codec:?}");
        }
    }
    assert!(Object::from_serialize(&nested(MAX_DEPTH + 1)).is_err());
}

#[test]
fn integers_beyond_what_python_gets_from_here_are_an_error() {
    assert_eq!(Object::from_serialize(&(i128::MAX as u128)), Ok(Object::Int(i128::MAX)));
    assert!(Object::from_serialize(&u128::MAX).is_err());
    assert!(pickle::to_vec(&u128::MAX).is_err());
}

#[test]
fn numbers_are_equal_and_hash_as_in_python() {
    let key = |object| Key::new(object).unwrap();
    let ones = [Object::Bool(true), Object::Int(1), Object::Float(1.0), Object::Complex(1.0, 0.0)];
    for a in &ones {
        for b in &ones {
            assert!(a.equals(b));
            let set: HashSet<Key> = [key(a.clone()), key(b.clone())].into();
            assert_eq!(set.len(), 1, "{a} and {b}");
        }
    }
    assert!(Object::Float(0.0).equals(&Object::Float(-0.0)));
    assert!(!Object::Int(i128::MAX).equals(&Object::Float(i128::MAX as f64)), "the float is greater by one");
    assert!(Object::Int(1 << 100).equals(&Object::Float(2f64.powi(100))));
    assert!(!Object::Str("1".to_owned()).equals(&Object::Int(1)));
    assert!(!Object::Bytes(vec![49]).equals(&Object::from("1")));
    let set = |items: &[i64]| Object::FrozenSet(items.iter().map(|it| Object::from(*it)).collect());
    assert_eq!(key(set(&[1, 2, 1])), key(set(&[2, 1])));
    let both: HashSet<Key> = [key(set(&[1, 2, 1])), key(set(&[2, 1]))].into();
    assert_eq!(both.len(), 1);
    let dict = |pairs: [(i64, i64); 2]| {
        Object::Dict(pairs.map(|(a, b)| (Object::from(a), Object::from(b))).to_vec())
    };
    assert!(dict([(1, 2), (3, 4)]).equals(&dict([(3, 4), (1, 2)])));
    assert!(!dict([(1, 2), (3, 4)]).equals(&dict([(3, 4), (1, 5)])));
    assert!(Key::new(Object::Tuple(vec![Object::List(vec![])])).is_err());
}

#[test]
fn arguments_fit_as_a_call_in_python_would() {
    let positional =
        |items: &[i64]| Arguments::positional(items.iter().map(|it| Object::from(*it)).collect());
    let named = |pairs: &[(&str, i64)]| Arguments {
        positional: vec![],
        named: pairs.iter().map(|(name, value)| ((*name).to_owned(), Object::from(*value))).collect(),
    };
    #[derive(Debug, PartialEq, Deserialize)]
    struct Area {
        width: i64,
        #[serde(default)]
        height: i64,
    }
    assert_eq!(positional(&[2, 3]).deserialize(), Ok((2i64, 3i64)));
    assert_eq!(positional(&[2]).deserialize(), Ok(2i64));
    assert_eq!(positional(&[2]).deserialize(), Ok((2i64,)));
    assert_eq!(positional(&[]).deserialize(), Ok(()));
    assert_eq!(positional(&[]).deserialize(), Ok(None::<i64>));
    assert_eq!(positional(&[1]).deserialize(), Ok(Some(1i64)));
    assert_eq!(positional(&[1, 2]).deserialize(), Ok(vec![1i64, 2]));
    assert_eq!(positional(&[1]).deserialize(), Ok(Object::Int(1)));
    assert_eq!(positional(&[1, 2]).deserialize(), Ok(Object::Tuple(vec![Object::Int(1), Object::Int(2)])));
    assert_eq!(named(&[("width", 2), ("height", 3)]).deserialize(), Ok(Area { width: 2, height: 3 }));
    assert_eq!(positional(&[2, 3]).deserialize(), Ok(Area { width: 2, height: 3 }));
    assert_eq!(positional(&[2]).deserialize(), Ok(Area { width: 2, height: 0 }));
    let mixed = Arguments { positional: vec![Object::from(2)], ..named(&[("height", 3)]) };
    assert_eq!(mixed.deserialize(), Ok(Area { width: 2, height: 3 }));
    let dict = Object::Dict(vec![(Object::from("width"), Object::from(2))]);
    assert_eq!(Arguments::positional(vec![dict]).deserialize(), Ok(Area { width: 2, height: 0 }));
    assert_eq!(named(&[("a", 1)]).deserialize(), Ok(BTreeMap::from([("a".to_owned(), 1i64)])));

    let message = |result: Result<(i64, i64), ObjectError>| result.expect_err("it does not fit").to_string();
    assert_eq!(message(positional(&[1]).deserialize()), "2 positional arguments are taken, and 1 was given");
    assert!(
        message(named(&[("x", 1), ("y", 2)]).deserialize())
            .contains("no keyword arguments are known, and `x`, `y` came")
    );
    let doubled = Arguments { positional: vec![Object::from(2)], ..named(&[("width", 3)]) };
    assert!(
        doubled.deserialize::<Area>().expect_err("twice").to_string().contains("`width` was given twice")
    );
    assert!(named(&[("width", 1), ("depth", 2)]).deserialize::<Area>().is_err(), "an unknown name");
    assert!(positional(&[1, 2, 3]).deserialize::<Area>().is_err());
    assert!(positional(&[1]).deserialize::<()>().is_err());
}

#[test]
fn arguments_are_what_a_caller_passes() {
    let of = |arguments: Result<Arguments, ObjectError>| arguments.unwrap().positional;
    assert_eq!(of(Arguments::from_serialize(&(2, "x"))), [Object::Int(2), Object::from("x")]);
    assert_eq!(of(Arguments::from_serialize(&())), []);
    assert_eq!(of(Arguments::from_serialize(&None::<u8>)), [Object::None]);
    assert_eq!(of(Arguments::from_serialize(&vec![1])), [Object::List(vec![Object::Int(1)])]);
    assert_eq!(of(Arguments::from_serialize("x")), [Object::from("x")]);
    let from_python = Arguments::from_objects(Object::Tuple(vec![Object::None]), Object::Dict(vec![]));
    assert_eq!(of(from_python), [Object::None]);
    assert!(Arguments::from_objects(Object::None, Object::Dict(vec![])).is_err());
    assert!(
        Arguments::from_objects(Object::Tuple(vec![]), Object::Dict(vec![(Object::None, Object::None)]))
            .is_err()
    );
}

#[test]
fn objects_are_shown_as_python_shows_them() {
    let list = Object::List(vec![
        Object::Float(1e16),
        Object::Float(1e-7),
        Object::Float(0.1),
        Object::Float(-0.0),
        Object::Float(1.5e300),
        Object::Complex(0.0, 1.0),
        Object::Complex(-1.5, -2.0),
        Object::from("it's"),
        Object::from("a\n\u{e9}\u{7f}"),
        Object::Bytes(b"'\"\0".to_vec()),
        Object::ByteArray(vec![65]),
        Object::Tuple(vec![Object::None]),
        Object::Set(vec![]),
        Exception::new("queue.Empty", "x").into(),
    ]);
    let shown = r#"[1e+16, 1e-07, 0.1, -0.0, 1.5e+300, 1j, (-1.5-2j), "it's", 'a\né\x7f', b'\'"\x00', bytearray(b'A'), (None,), set(), Empty('x')]"#;
    assert_eq!(list.to_string(), shown);
    assert_eq!(format!("{list:#}"), shown.replace('é', "\\xe9"));
}
