//! Shared values on their way, and the store in the receiver.

use super::*;
use crate::codec::{decode_arg, encode_arg};

/// As a job encodes its argument.
fn sent<T: Serialize + 'static>(value: &T) -> (Vec<u8>, Vec<Arc<ShareBlob>>) {
    let (bytes, collected) = attachment::collect_job(false, || {
        let mut bytes = Vec::new();
        encode_arg(value, &mut bytes).unwrap();
        bytes
    });
    (bytes, collected.unwrap_or_default().shares)
}

fn arrive(blobs: &[Arc<ShareBlob>]) {
    for blob in blobs {
        store().insert(ShareBlob::new(blob.id(), blob.bytes().to_vec()));
    }
}

#[test]
fn an_argument_refers_to_a_shared_value_by_its_id() {
    let shared = Shared::new("x".repeat(10_000));
    let (bytes, blobs) = sent(&(shared.clone(), 7u8, shared.clone()));
    assert!(bytes.len() < 100, "{} bytes", bytes.len());
    assert_eq!(blobs.len(), 1, "used twice, noted once");
    assert!(blobs[0].bytes().len() >= 10_000);
    let (_, again) = sent(&shared);
    assert_eq!(again[0].id(), blobs[0].id(), "each task refers to the same");
}

#[test]
fn outside_of_arguments_a_shared_value_is_its_value() {
    let mut bytes = Vec::new();
    encode_arg(&Shared::new("x".repeat(1000)), &mut bytes).unwrap();
    assert!(bytes.len() >= 1000);
    assert_eq!(decode_arg::<Shared<String>>(&bytes).unwrap().len(), 1000);
}

#[test]
fn all_tasks_of_a_receiver_share_one_decoded_value() {
    let (bytes, blobs) = sent(&Shared::new(vec![1u64, 2, 3]));
    arrive(&blobs);
    let (a, b) =
        (decode_arg::<Shared<Vec<u64>>>(&bytes).unwrap(), decode_arg::<Shared<Vec<u64>>>(&bytes).unwrap());
    assert_eq!(*a, [1, 2, 3]);
    assert!(std::ptr::eq(&*a, &*b), "decoded once");
    // It goes on to nested tasks under its own id.
    let (_, passed_on) = sent(&a);
    assert_eq!(passed_on[0].id(), blobs[0].id());
    store().remove(blobs[0].id());
}

#[test]
fn a_value_that_is_not_there_is_an_error() {
    let (bytes, blobs) = sent(&Shared::new(5u8));
    let error = decode_arg::<Shared<u8>>(&bytes).unwrap_err();
    assert!(error.to_string().contains(&format!("{:x}", blobs[0].id().0)), "{error}");
}

#[test]
fn a_task_keeps_a_value_that_the_store_forgets() {
    let (bytes, blobs) = sent(&Shared::new("kept".to_owned()));
    arrive(&blobs);
    let kept = decode_arg::<Shared<String>>(&bytes).unwrap();
    store().remove(blobs[0].id());
    assert!(store().blob(blobs[0].id()).is_none());
    assert_eq!(*kept, "kept");
    assert!(decode_arg::<Shared<String>>(&bytes).is_err());
}

#[test]
fn a_value_that_is_asked_for_as_another_type_is_decoded_as_that_or_refused() {
    let (bytes, blobs) = sent(&Shared::new("text".to_owned()));
    arrive(&blobs);
    assert_eq!(*decode_arg::<Shared<String>>(&bytes).unwrap(), "text");
    assert_eq!(*decode_arg::<Shared<Vec<u8>>>(&bytes).unwrap(), b"text");
    assert!(decode_arg::<Shared<[u64; 9]>>(&bytes).is_err());
    store().remove(blobs[0].id());
}

#[test]
fn blobs_that_go_away_are_counted() {
    let before = ShareBlob::dropped();
    drop(ShareBlob::new(ShareId(1), vec![]));
    assert!(ShareBlob::dropped() > before);
}

#[test]
fn a_value_is_encoded_when_the_first_task_needs_it_and_freed_with_the_last() {
    let shared = Shared::new(vec![1u8; 100]);
    assert!(shared.inner.blob.get().is_none());
    let (_, blobs) = sent(&shared);
    let weak = Arc::downgrade(&blobs[0]);
    drop(shared);
    assert!(weak.upgrade().is_some(), "a task still refers to it");
    drop(blobs);
    assert!(weak.upgrade().is_none());
}

#[test]
fn collections_of_jobs_inside_of_one_another_do_not_mix() {
    let (outer, inner) = (Shared::new(1u8), Shared::new(2u8));
    let ((_, inner_blobs), outer_blobs) = attachment::collect_job(false, || {
        let mut bytes = Vec::new();
        encode_arg(&outer, &mut bytes).unwrap();
        let nested = sent(&inner);
        encode_arg(&outer, &mut bytes).unwrap();
        nested
    });
    let outer_blobs = outer_blobs.unwrap_or_default().shares;
    assert_eq!((inner_blobs.len(), outer_blobs.len()), (1, 1));
    assert_ne!(inner_blobs[0].id(), outer_blobs[0].id());
}

#[test]
fn a_shared_value_inside_of_another_is_a_part_of_it_for_every_task() {
    let inner = Shared::new("x".repeat(1000));
    let outer = Shared::new((inner, 1u8));
    for _ in 0..2 {
        let (_, blobs) = sent(&outer);
        assert_eq!(blobs.len(), 1);
        assert!(blobs[0].bytes().len() >= 1000);
    }
}

struct Keeps(Arc<dyn Any + Send + Sync>);

impl Serialize for Keeps {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        attachment::keep(Arc::clone(&self.0));
        serializer.serialize_unit()
    }
}

#[test]
fn what_a_shared_value_keeps_lives_as_long_as_a_task_that_uses_it() {
    let thing: Arc<dyn Any + Send + Sync> = Arc::new(());
    let shared = Shared::new(Keeps(Arc::clone(&thing)));
    let (_, blobs) = sent(&shared);
    drop(shared);
    assert_eq!(Arc::strong_count(&thing), 2, "the value has gone, and its bytes keep the thing");
    drop(blobs);
    assert_eq!(Arc::strong_count(&thing), 1);
}
