//! What is accepted as a function's name, and what is refused.

use proptest::prelude::*;

use super::descriptor::{count_accepted, resolve};
use super::image::image;
use super::*;
use crate::parcel::Carrier;
use crate::task::{Call, Job};
use crate::{ExecutorExt, Serial, codec};

fn target_of<A, R>(function: fn(A) -> R, arg: A) -> Target
where
    A: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
    R: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
{
    let (job, future) = Job::new(Call(function), arg, None);
    drop(future);
    job.target().expect("it is in this executable")
}

/// As a receiver does it: from a target and bytes to bytes.
fn enter<A: serde::Serialize + 'static, R: serde::de::DeserializeOwned + 'static>(
    target: &Target,
    arg: &A,
) -> Result<R, TaskError> {
    let (mut bytes, mut out) = (Vec::new(), Vec::new());
    codec::encode_arg(arg, &mut bytes)?;
    let mut outlet = Outlet::new(&mut out, Carrier::bytes(usize::MAX));
    match invoke(target, Parcel::from(&bytes), &mut outlet) {
        Invocation::Done(result) => result.and_then(|()| codec::decode_result(&out)),
        Invocation::Pending(_) => panic!("a function was expected, not a future"),
    }
}

fn reversed<T>(mut items: Vec<T>) -> Vec<T> {
    items.reverse();
    items
}

fn offsets(target: &Target) -> (u64, u64) {
    match target {
        Target::Image { descriptor, function } => (*descriptor, *function),
        Target::Named(name) => panic!("offsets were expected, not the name `{name}`"),
    }
}

#[test]
fn a_function_is_found_by_its_offsets() {
    let target = target_of(|(a, b)| a + b, (1u64, 2u64));
    assert_eq!(enter::<_, u64>(&target, &(40u64, 2u64)), Ok(42));
}

#[test]
fn generic_functions_are_found_with_their_types() {
    let (bytes, words) = (target_of(reversed::<u8>, vec![]), target_of(reversed::<String>, vec![]));
    assert_ne!(offsets(&bytes).0, offsets(&words).0, "each pair of types has its own descriptor");
    assert_eq!(enter::<_, Vec<u8>>(&bytes, &vec![1u8, 2, 3]), Ok(vec![3, 2, 1]));
    let words_in = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(enter::<_, Vec<String>>(&words, &words_in), Ok(vec!["b".to_owned(), "a".to_owned()]));
}

#[test]
fn of_all_offsets_few_are_accepted_and_ours_is_among_them() {
    let (descriptor, function) = offsets(&target_of(|n: u16| n, 1));
    assert!(resolve(descriptor, function).is_ok());
    // One for each pair of types that the tests of this binary submit: hundreds, among millions of offsets.
    let accepted = count_accepted();
    let all = image().unwrap().frozen_offsets().count();
    assert!((1..2000).contains(&accepted), "{accepted} of {all} offsets are accepted");
    assert!(all > 100_000, "{all} offsets were tried");
}

#[test]
fn neighbours_of_a_descriptor_are_refused() {
    let (descriptor, function) = offsets(&target_of(|n: u16| n, 1));
    for distance in 1..40 {
        assert!(resolve(descriptor + distance, function).is_err(), "{distance} bytes behind");
        assert!(resolve(descriptor - distance, function).is_err(), "{distance} bytes before");
    }
}

#[test]
fn the_marks_alone_are_refused() {
    // As many words as a descriptor has, marks in place, and no code between them.
    #[repr(C)]
    struct Forged([u64; 5]);
    static FORGED: Forged =
        Forged([u64::from_le_bytes(*b"exectask"), 1, 2, 3, u64::from_le_bytes(*b"desc0001")]);
    let (_, function) = offsets(&target_of(|n: u16| n, 1));
    let image = image().unwrap();
    let offset = image.offset(std::hint::black_box(&FORGED) as *const Forged as usize);
    assert!(image.is_frozen(offset, size_of::<Forged>()), "it lies where descriptors lie");
    let refused = resolve(offset as u64, function).err().expect("its words are not code");
    assert!(refused.contains(&format!("{offset:#x}")), "{refused}");
}

#[test]
fn a_descriptor_in_memory_that_can_be_written_is_refused() {
    let (descriptor, function) = offsets(&target_of(|n: u16| n, 1));
    let image = image().unwrap();
    let genuine = image.address(descriptor as usize) as *const [u64; 5];
    // SAFETY: `offsets` has given the place of a descriptor, five words that live for ever.
    let copy = Box::new(unsafe { genuine.read() });
    let offset = image.offset(&raw const *copy as usize);
    assert!(resolve(offset as u64, function).is_err(), "a copy on the heap");
}

#[test]
fn a_function_outside_of_the_code_is_refused() {
    let (descriptor, function) = offsets(&target_of(|n: u16| n, 1));
    for wrong in [descriptor, u64::MAX, u64::MAX - function] {
        assert!(resolve(descriptor, wrong).is_err(), "{wrong:#x}");
    }
    let error = enter::<_, u16>(&Target::Image { descriptor, function: u64::MAX }, &1u16);
    assert!(matches!(error, Err(TaskError::NotPortable { .. })), "{error:?}");
}

proptest! {
    #[test]
    fn random_offsets_are_refused(descriptor: u64, near in 0u64..1 << 24) {
        let (genuine, function) = offsets(&target_of(|n: u16| n, 1));
        prop_assume!(descriptor != genuine);
        prop_assert!(resolve(descriptor, function).is_err());
        // Inside of the executable; there, what is accepted is another descriptor and nothing else.
        prop_assert!(near % 8 == 0 || resolve(near, function).is_err());
        prop_assert!(resolve(near, u64::MAX - near).is_err());
    }

    #[test]
    fn random_arguments_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let target = target_of(|(a, b): (String, Vec<u32>)| (b, a), (String::new(), vec![]));
        let mut out = Vec::new();
        let mut outlet = Outlet::new(&mut out, Carrier::bytes(usize::MAX));
        match invoke(&target, Parcel::from(&bytes), &mut outlet) {
            Invocation::Done(Ok(())) => {}
            Invocation::Done(Err(error)) => {
                let is_decode = matches!(error, TaskError::Decode { .. });
                prop_assert!(is_decode, "{}", error);
                prop_assert!(out.is_empty(), "nothing is left of a result that was not");
            }
            Invocation::Pending(_) => prop_assert!(false, "a function was expected, not a future"),
        }
    }
}

crate::register! {
    "identity::twice" => |n: u64| 2 * n,
    "identity::panics" => |n: u64| -> u64 { panic!("no {n}") },
}

#[test]
fn registered_functions_are_found_by_name() {
    let named = |name: &str| Target::Named(name.to_owned());
    assert_eq!(enter::<_, u64>(&named("identity::twice"), &21u64), Ok(42));
    assert!(registered_names().any(|name| name == "identity::twice"));
    let panicked = enter::<_, u64>(&named("identity::panics"), &21u64);
    assert!(panicked.is_err_and(|error| error.is_panic()));
    let mistyped = enter::<_, u64>(&named("identity::twice"), &"not a number");
    assert!(matches!(mistyped, Err(TaskError::Decode { .. })), "{mistyped:?}");
}

#[test]
fn an_unknown_name_is_an_error_that_names_the_nearest() {
    let ex = Serial::new();
    match ex.call::<_, u64>("identity::twcie", 1u64).wait() {
        Err(TaskError::NotPortable { reason }) => {
            assert!(reason.contains("`identity::twcie`") && reason.contains("`identity::twice`"), "{reason}");
        }
        other => panic!("NotPortable was expected, not: {other:?}"),
    }
    match ex.call::<_, u64>("something else altogether", 1u64).wait() {
        Err(TaskError::NotPortable { reason }) => {
            assert!(reason.contains("known: ") && reason.contains("identity::panics"), "{reason}");
        }
        other => panic!("NotPortable was expected, not: {other:?}"),
    }
}

#[test]
fn a_closure_of_spawn_is_not_portable_and_says_what_to_do() {
    let (job, future) = Job::from_fn(|| 1);
    match job.target() {
        Err(TaskError::NotPortable { reason }) => assert!(reason.contains("`submit`"), "{reason}"),
        other => panic!("NotPortable was expected, not: {other:?}"),
    }
    drop((job, future));
}

#[test]
fn build_ids_survive_their_bytes_and_are_shown_short() {
    let id = build_id();
    assert_eq!(BuildId::from_bytes(*id.as_bytes()), id);
    assert_eq!(id.to_string().len(), 16);
    let mut other = *id.as_bytes();
    other[31] ^= 1;
    assert_ne!(BuildId::from_bytes(other), id);
}
