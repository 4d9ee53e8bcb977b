//! Blobs in ordinary memory. Those in shared memory are tested where they are made.

use super::*;
use crate::codec::{decode_arg, encode_arg};

fn encoded<T: Serialize + 'static>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_arg(value, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_blob_is_its_bytes() {
    let blob = Blob::from(vec![1, 2, 3]);
    assert_eq!((&*blob, blob.as_ref(), blob.len()), (&[1u8, 2, 3][..], &[1u8, 2, 3][..], 3));
    assert_eq!(format!("{blob:?}"), "Blob(3 bytes)");
    assert_eq!(blob, Blob::from(&[1, 2, 3]));
    assert_ne!(blob, Blob::from(&[1, 2]));
    assert_eq!(Blob::default(), Blob::from(Vec::new()));
}

#[test]
fn a_clone_is_the_same_memory_and_the_only_handle_gives_its_vector_back() {
    let bytes = vec![5; 100];
    let address = bytes.as_ptr();
    let blob = Blob::from(bytes);
    let clone = blob.clone();
    assert!(std::ptr::eq(blob.as_ptr(), clone.as_ptr()));
    drop(clone);
    let bytes = blob.into_vec();
    assert!(std::ptr::eq(bytes.as_ptr(), address), "nothing was copied");
    let blob = Blob::from(bytes);
    let (kept, copied) = (blob.clone(), blob.into_vec());
    assert_eq!(*kept, copied[..]);
}

#[test]
fn bytes_are_written_and_frozen_in_place() {
    let mut bytes = BlobMut::new(10);
    assert_eq!(*bytes, [0; 10]);
    bytes[3] = 7;
    bytes.truncate(4);
    bytes.truncate(9);
    let address = bytes.as_ptr();
    let blob = bytes.freeze();
    assert_eq!(*blob, [0, 0, 0, 7]);
    assert!(std::ptr::eq(blob.as_ptr(), address));
    assert!(BlobMut::new(0).freeze().is_empty());
}

#[test]
fn a_message_that_can_carry_it_has_it_beside_its_bytes() {
    let blob = Blob::from(vec![9; BY_VALUE]);
    let (bytes, list) = attachment::collect(|| encoded(&(blob.clone(), 1u8, blob.clone())));
    assert!(bytes.len() < 16, "{} bytes", bytes.len());
    assert_eq!(list.len(), 1);
    let decoded = attachment::provide(list, || decode_arg::<(Blob, u8, Blob)>(&bytes)).unwrap();
    assert!(std::ptr::eq(decoded.0.as_ptr(), blob.as_ptr()), "it was moved");
    assert_eq!(decoded, (blob.clone(), 1, blob));
}

#[test]
fn a_small_one_and_one_in_a_message_that_carries_nothing_go_by_value() {
    for len in [0, 1, BY_VALUE - 1] {
        let blob = Blob::from(vec![9; len]);
        let (bytes, list) = attachment::collect(|| encoded(&blob));
        assert!(list.is_empty() && bytes.len() > len);
        assert_eq!(decode_arg::<Blob>(&bytes).unwrap(), blob);
    }
    let blob = Blob::from(vec![9; BY_VALUE]);
    assert_eq!(decode_arg::<Blob>(&encoded(&blob)).unwrap(), blob);
}

#[test]
fn an_index_that_nothing_was_attached_at_is_an_error() {
    let (bytes, _) = attachment::collect(|| encoded(&Blob::from(vec![9; BY_VALUE])));
    for list in [vec![], vec![Attachment::Local(Arc::new(Other))]] {
        let error = attachment::provide(list, || decode_arg::<Blob>(&bytes)).unwrap_err();
        assert!(error.to_string().contains("without its blob number 0"), "{error}");
    }

    #[derive(Debug)]
    struct Other;
    impl attachment::Local for Other {
        fn what(&self) -> &'static str {
            "Other"
        }
    }
}

#[test]
fn in_formats_for_people_a_blob_is_a_list_of_numbers() {
    let blob = Blob::from(vec![1, 2, 255]);
    let text = serde_json::to_string(&(&blob, &Blob::default())).unwrap();
    assert_eq!(text, "[[1,2,255],[]]");
    assert_eq!(serde_json::from_str::<(Blob, Blob)>(&text).unwrap(), (blob, Blob::default()));
    // Also in the middle of a message that could carry it.
    let large = Blob::from(vec![1; BY_VALUE]);
    let (text, list) = attachment::collect(|| serde_json::to_string(&large).unwrap());
    assert!(list.is_empty());
    assert_eq!(serde_json::from_str::<Blob>(&text).unwrap(), large);
}

#[test]
fn handles_go_from_thread_to_thread() {
    fn check<T: Send + Sync + Unpin + 'static>() {}
    check::<Blob>();
    check::<BlobMut>();
}
