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
    let object = Object::from_serialize(&everything()).unwrap();
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
    assert_eq!(pickle::read(&pickle::to_vec(&everything()).unwrap(), &pickle::Limits::default()), Ok(object));
}
