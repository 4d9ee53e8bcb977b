//! Values that do not travel, and lengths that lie.

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    text: String,
    bytes: Vec<u8>,
    maybe: Option<Box<Everything>>,
    number: i64,
    fraction: f32,
    unit: (),
    choice: Result<char, u128>,
}

fn encoded<T: Serialize + 'static>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode_arg(value, &mut out).unwrap();
    out
}

#[test]
fn values_come_back_as_they_were() {
    let inner = Everything {
        text: String::new(),
        bytes: vec![],
        maybe: None,
        number: i64::MIN,
        fraction: -0.5,
        unit: (),
        choice: Ok('ß'),
    };
    let value = Everything {
        text: "text".to_owned(),
        bytes: vec![0, 255],
        maybe: Some(Box::new(inner)),
        number: 7,
        fraction: f32::MAX,
        unit: (),
        choice: Err(u128::MAX),
    };
    assert_eq!(decode_arg::<Everything>(&encoded(&value)), Ok(value));
}

#[test]
fn what_is_left_over_is_an_error_that_names_the_type() {
    match decode_result::<u8>(&[1, 2]) {
        Err(TaskError::Decode { what, message }) => {
            assert_eq!(what, "result of type u8");
            assert!(message.contains("1 of 2 bytes were left over"), "{message}");
        }
        other => panic!("Decode was expected, not {other:?}"),
    }
}

#[test]
fn an_error_leaves_the_buffer_as_it_was() {
    struct Half;
    impl Serialize for Half {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::{Error, SerializeTuple};
            let mut tuple = serializer.serialize_tuple(2)?;
            tuple.serialize_element(&"x".repeat(100))?;
            Err(S::Error::custom("half-way"))
        }
    }
    let mut out = vec![1, 2, 3];
    let error = encode_arg(&Half, &mut out).unwrap_err();
    assert!(error.to_string().contains("half-way") && error.to_string().contains("Half"), "{error}");
    assert_eq!(out, [1, 2, 3]);
}

#[test]
fn a_length_that_lies_allocates_nothing_and_is_an_error() {
    // Nine bytes that say: a vector of 2^60 elements.
    let mut lie = vec![253];
    lie.extend((1u64 << 60).to_le_bytes());
    assert!(matches!(decode_arg::<Vec<u64>>(&lie), Err(TaskError::Decode { .. })));
    assert!(matches!(decode_arg::<String>(&lie), Err(TaskError::Decode { .. })));
}

#[test]
fn an_iterator_without_a_length_is_an_error_that_says_so() {
    struct Endless;
    impl Serialize for Endless {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeSeq;
            serializer.serialize_seq(None)?.end()
        }
    }
    let error = encode_result(&Endless, &mut Vec::new()).unwrap_err();
    assert!(matches!(&error, TaskError::Encode { what, .. } if what.contains("result of type")), "{error}");
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        // Whatever is read is what would be written for it, or the same value in another form.
        if let Ok(value) = decode_arg::<Everything>(&bytes) {
            prop_assert!(decode_arg::<Everything>(&encoded(&value)).is_ok());
        }
        let _ = decode_message::<TaskError>(&bytes);
    }

    #[test]
    fn truncated_values_are_errors(text in ".{1,40}", number: u64, cut in any::<usize>()) {
        let bytes = encoded(&(text, number));
        let cut = cut % bytes.len();
        prop_assert!(decode_arg::<(String, u64)>(&bytes[..cut]).is_err());
    }
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Nothing;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Held {
    Here(Vec<()>),
    There { list: Vec<Nothing>, map: std::collections::BTreeMap<u8, Vec<[u64; 0]>> },
    Nested(Option<Vec<Vec<()>>>, (u8, Vec<()>)),
}

type Lists = Vec<Vec<std::collections::BTreeMap<u8, Vec<Option<bool>>>>>;

/// A length as bincode writes it.
fn length(len: u64) -> Vec<u8> {
    encoded(&len)
}

fn refused<T: DeserializeOwned + std::fmt::Debug + 'static>(bytes: &[u8]) {
    match decode_arg::<T>(bytes) {
        Err(TaskError::Decode { message, .. }) => assert!(message.contains("elements"), "{message}"),
        other => panic!("Decode was expected, not {other:?}"),
    }
}

#[test]
fn a_forged_length_of_elements_without_bytes_is_refused_at_once() {
    for len in [bounded::FREE + 100, u64::from(u32::MAX), u64::MAX] {
        refused::<Vec<()>>(&length(len));
        refused::<Vec<Nothing>>(&length(len));
        refused::<Vec<[u8; 0]>>(&length(len));
        refused::<std::collections::VecDeque<((), Nothing)>>(&length(len));
        refused::<std::collections::BTreeMap<(), ()>>(&length(len));
        refused::<Option<Box<Vec<()>>>>(&[&[1], &length(len)[..]].concat());
        refused::<(u8, Vec<()>)>(&[&[1], &length(len)[..]].concat());
        refused::<Held>(&[&[0], &length(len)[..]].concat());
        refused::<Held>(&[&[1], &length(len)[..]].concat());
        refused::<Held>(&[&[1, 0, 1, 5], &length(len)[..]].concat());
        refused::<Held>(&[&[2, 1, 1], &length(len)[..]].concat());
        refused::<Held>(&[&[2, 0, 7], &length(len)[..]].concat());
    }
}

#[test]
fn lengths_of_elements_without_bytes_count_together() {
    let half = length(bounded::FREE / 2);
    let bytes = [&[3], &half[..], &half, &half].concat();
    refused::<Vec<Vec<()>>>(&bytes);
}

#[test]
fn elements_without_bytes_come_back() {
    for value in [
        Held::Here(vec![(); 100_000]),
        Held::There { list: vec![Nothing, Nothing], map: [(3, vec![[]; 7]), (4, vec![])].into() },
        Held::Nested(Some(vec![vec![(); 1000]; 50]), (9, vec![()])),
        Held::Nested(None, (9, Vec::new())),
    ] {
        assert_eq!(decode_arg::<Held>(&encoded(&value)), Ok(value));
    }
}

proptest! {
    /// However deep they are in one another, lengths of elements that take bytes add up to less than the bytes.
    #[test]
    fn no_message_of_ours_claims_too_much(lists in prop::collection::vec(prop::collection::vec(
        prop::collection::btree_map(any::<u8>(), prop::collection::vec(any::<Option<bool>>(), 0..5), 0..5), 0..5), 0..50)) {
        let bytes = encoded(&lists);
        let message = bounded::Message::with_budget(bytes.len() as u64, PhantomData);
        let (value, _): (Lists, usize) = bincode::serde::seed_decode_from_slice(message, &bytes, config::<LIMIT>()).expect("no claim is refused");
        prop_assert_eq!(lists, value);
    }
}

/// Found by the fuzzer: four bytes announced a text of gigabytes, for which room was made.
#[test]
fn few_bytes_announce_no_text_of_gigabytes() {
    for len in [1u32 << 21, 1 << 30, u32::MAX - 10] {
        let mut bytes = vec![252];
        bytes.extend(len.to_le_bytes());
        let error = decode_message::<String>(&bytes).expect_err("there is no such text");
        assert!(error.contains("LimitExceeded"), "{error}");
    }
}

/// What claims the most for its bytes, up to each limit and beyond it.
#[test]
fn small_numbers_of_a_large_type_pass_at_any_length() {
    for len in [0, 1, FEW - 5, FEW - 4, FEW - 3, FEW - 2, FEW, SOME - 5, SOME] {
        let numbers = vec![7u128; len];
        let mut bytes = Vec::new();
        encode_message(&numbers, &mut bytes);
        assert!(decode_message::<Vec<u128>>(&bytes) == Ok(numbers), "{len} numbers");
    }
}
