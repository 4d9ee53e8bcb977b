//! Bytes that are moved and not encoded.

use std::sync::{Mutex, PoisonError};

use futures::StreamExt;
use serde::{Deserialize, Serialize};

use super::lab::{Lab, value};
use super::list;
use crate::blob::{Blob, BlobMut};
use crate::context::context;
use crate::ext::ExecutorExt;
use crate::shared::Shared;

list![
    a_blob_goes_there_and_back,
    a_blob_of_64_mib_goes_there_and_back,
    a_blob_is_made_by_a_task,
    blobs_travel_inside_of_other_values,
    one_blob_goes_to_many_tasks,
    a_blob_goes_on_to_nested_tasks_and_comes_back,
    blobs_are_items_and_results_of_a_map,
    a_blob_is_part_of_a_shared_value,
    a_blob_of_one_task_is_the_argument_of_another,
    a_blob_that_is_kept_by_a_worker_stays_what_it_is,
    async_tasks_take_and_give_blobs,
    large_plain_values_go_there_and_back,
    a_task_that_writes_text_writes_the_bytes_of_a_blob,
];

/// None, few, around what is moved, and around what goes by shared memory.
const SIZES: [usize; 12] =
    [0, 1, 100, 16_383, 16_384, 65_535, 65_536, 131_071, 131_072, 131_073, 1_000_000, 5_000_000];

/// Bytes that tell their place.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 ^ (at >> 12) as u8).collect()
}

fn a_blob_goes_there_and_back(lab: &Lab) {
    let ex = lab.workers(2);
    let futures: Vec<_> = SIZES
        .iter()
        .map(|len| {
            let blob = Blob::from(pattern(*len));
            (*len, ex.submit(|blob: Blob| (blob.len(), blob), blob))
        })
        .collect();
    for (len, future) in futures {
        let (seen, blob) = value(future);
        assert_eq!(seen, len);
        assert!(*blob == pattern(len)[..], "{len} bytes");
    }
}

fn a_blob_of_64_mib_goes_there_and_back(lab: &Lab) {
    const LEN: usize = 64 << 20;
    let ex = lab.workers(1);
    let mut bytes = BlobMut::new(LEN);
    bytes.fill(7);
    bytes[LEN - 1] = 9;
    let blob = bytes.freeze();
    for _ in 0..2 {
        let back = value(ex.submit(
            |blob: Blob| {
                assert_eq!((blob.len(), blob[0], blob[LEN - 1]), (LEN, 7, 9));
                blob
            },
            blob.clone(),
        ));
        assert_eq!(back, blob);
    }
}

fn a_blob_is_made_by_a_task(lab: &Lab) {
    let ex = lab.workers(2);
    let make = |len: usize| {
        let mut bytes = BlobMut::new(len + 10);
        bytes[..len].copy_from_slice(&pattern(len));
        bytes.truncate(len);
        bytes.freeze()
    };
    for len in SIZES {
        assert!(*value(ex.submit(make, len)) == pattern(len)[..], "{len} bytes");
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Parts {
    name: String,
    parts: Vec<Blob>,
    rest: Option<(u8, Blob)>,
}

fn blobs_travel_inside_of_other_values(lab: &Lab) {
    let ex = lab.workers(2);
    let make = || Parts {
        name: "parts".to_owned(),
        parts: SIZES.iter().map(|len| Blob::from(pattern(*len))).collect(),
        rest: Some((1, Blob::from(pattern(200_000)))),
    };
    let back = value(ex.submit(
        |mut parts: Parts| {
            parts.parts.reverse();
            parts
        },
        make(),
    ));
    let mut expected = make();
    expected.parts.reverse();
    assert!(back == expected);
}

fn one_blob_goes_to_many_tasks(lab: &Lab) {
    let ex = lab.workers(2);
    let blob = Blob::from(pattern(1_000_000));
    let futures: Vec<_> = (0..300usize)
        .map(|at| ex.submit(|(blob, at): (Blob, usize)| blob[at * 1000], (blob.clone(), at)))
        .collect();
    let bytes = blob.to_vec();
    drop(blob);
    for (at, future) in futures.into_iter().enumerate() {
        assert_eq!(value(future), bytes[at * 1000]);
    }
}

fn a_blob_goes_on_to_nested_tasks_and_comes_back(lab: &Lab) {
    let ex = lab.workers(2);
    let blob = Blob::from(pattern(500_000));
    let future = ex.submit(
        |blob: Blob| {
            let ex = context().executor();
            let made = Blob::from(vec![5; 300_000]);
            let parts = ex.submit(|(one, two): (Blob, Blob)| (two, one), (blob.clone(), made.clone())).wait();
            let (two, one) = parts.map_err(|error| error.to_string())?;
            assert!(one == blob && two == made);
            Ok::<_, String>((one, two))
        },
        blob.clone(),
    );
    let (one, two) = value(future).expect("the nested task has a value");
    assert!(one == blob && *two == [5; 300_000][..]);
}

fn blobs_are_items_and_results_of_a_map(lab: &Lab) {
    let ex = lab.workers(2);
    let items = (0..40usize).map(|n| Blob::from(pattern(n * 10_000)));
    let results = ex.map(|blob: Blob| (blob.len(), blob), items).chunk_size(7).wait();
    assert_eq!(results.len(), 40);
    for (n, result) in results.into_iter().enumerate() {
        let (len, blob) = result.expect("each item has a value");
        assert_eq!(len, n * 10_000);
        assert!(*blob == pattern(len)[..]);
    }
}

fn a_blob_is_part_of_a_shared_value(lab: &Lab) {
    let ex = lab.workers(2);
    let shared = ex.share((7u8, Blob::from(pattern(2_000_000))));
    let whole = ex.share(Blob::from(pattern(100_000)));
    let bytes = pattern(2_000_000);
    let futures: Vec<_> = (0..100usize)
        .map(|at| {
            let read = |(shared, whole, at): (Shared<(u8, Blob)>, Shared<Blob>, usize)| {
                (shared.0, shared.1[at * 10_000], whole[at * 100])
            };
            ex.submit(read, (shared.clone(), whole.clone(), at))
        })
        .collect();
    for (at, future) in futures.into_iter().enumerate() {
        assert_eq!(value(future), (7, bytes[at * 10_000], bytes[at * 100]));
    }
}

fn a_blob_of_one_task_is_the_argument_of_another(lab: &Lab) {
    let ex = lab.workers(2);
    let mut blob = Blob::from(pattern(300_000));
    for round in 0..20u8 {
        blob = value(ex.submit(
            |(blob, round): (Blob, u8)| {
                let mut bytes = blob.to_vec();
                bytes[usize::from(round)] = 255;
                Blob::from(bytes)
            },
            (blob, round),
        ));
    }
    let mut expected = pattern(300_000);
    expected[..20].fill(255);
    assert!(*blob == expected[..]);
}

fn a_blob_that_is_kept_by_a_worker_stays_what_it_is(lab: &Lab) {
    static KEPT: Mutex<Vec<(u8, Blob)>> = Mutex::new(Vec::new());
    fn keep((tag, blob): (u8, Blob)) {
        KEPT.lock().unwrap_or_else(PoisonError::into_inner).push((tag, blob));
    }
    fn is_kept(_: ()) -> bool {
        let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().all(|(tag, blob)| blob.len() == 200_000 && blob.iter().all(|byte| byte == tag))
    }
    let ex = lab.workers(1);
    for tag in 0..20u8 {
        value(ex.submit(keep, (tag, Blob::from(vec![tag; 200_000]))));
        // Memory that is used again is not theirs.
        value(ex.submit(|blob: Blob| blob.len(), Blob::from(vec![99; 200_000])));
    }
    assert!(value(ex.submit(is_kept, ())));
}

fn async_tasks_take_and_give_blobs(lab: &Lab) {
    let ex = lab.workers(1);
    for len in SIZES {
        let future =
            ex.submit_async(|blob: Blob| async move { (blob.len(), blob) }, Blob::from(pattern(len)));
        let (seen, blob) = value(future);
        assert!(seen == len && *blob == pattern(len)[..], "{len} bytes");
    }
}

fn large_plain_values_go_there_and_back(lab: &Lab) {
    let ex = lab.workers(2);
    for len in [0, 1000, 131_070, 131_072, 3_000_000] {
        let back = value(ex.submit(|bytes: Vec<u8>| bytes, pattern(len)));
        assert!(back == pattern(len), "{len} bytes");
        let text = "x".repeat(len);
        assert!(value(ex.submit(|text: String| text, text.clone())) == text, "{len} characters");
        let numbers: Vec<u32> = (0..len as u32 / 4).collect();
        let (sum, back) = value(ex.submit(|it: Vec<u32>| (it.len(), it), numbers.clone()));
        assert!(sum == numbers.len() && back == numbers, "{len} bytes of numbers");
    }
    let strings = ex.map(|n: usize| "y".repeat(n), (0..5).map(|n| n * 100_000)).chunk_size(5);
    let lengths: Vec<_> = futures::executor::block_on(strings.map(|it| it.map(|it| it.len())).collect());
    assert_eq!(lengths, (0..5).map(|n| Ok(n * 100_000)).collect::<Vec<_>>());
}

fn a_task_that_writes_text_writes_the_bytes_of_a_blob(lab: &Lab) {
    let ex = lab.workers(1);
    let write = |blob: Blob| serde_json::to_string(&blob).map_err(|it| it.to_string());
    let text = value(ex.submit(write, Blob::from(vec![3; 20_000]))).expect("it can be written");
    assert!(text.starts_with("[3,3,") && text.matches('3').count() == 20_000, "{}", &text[..40]);
    let read = |text: String| serde_json::from_str::<Blob>(&text).map_err(|it| it.to_string());
    assert_eq!(value(ex.submit(read, text)), Ok(Blob::from(vec![3; 20_000])));
}
