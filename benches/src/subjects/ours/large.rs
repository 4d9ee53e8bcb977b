//! Large pieces of bytes on the process backend.

use std::sync::Arc;
use std::time::{Duration, Instant};

use executor::{Blob, BlobMut, Executor, ExecutorExt, Shared};

use crate::bulk;
use crate::pool::{check, echo_rate};
use crate::processes;
use crate::subject::{BenchError, Sample};
use crate::workload::{Metric, PAYLOAD_BYTES, SHARED_BYTES, Scale};

/// Times a vector that is made a blob, sent, and sent back. A new one each time: what came back lies in shared memory
/// and would cost nothing to send again.
pub fn blob(executor: &Arc<dyn Executor>, scale: Scale) -> Result<Sample, BenchError> {
    let original: Vec<u8> = (0..PAYLOAD_BYTES).map(|i| (i % 251) as u8).collect();
    let once = || {
        let bytes = original.clone();
        let begun = Instant::now();
        let echoed = executor.submit(|blob: Blob| blob, Blob::from(bytes)).wait();
        let echoed = echoed.map_err(BenchError::failed)?;
        let elapsed = begun.elapsed();
        if *echoed != *original {
            return Err(BenchError::failed("the blob came back changed"));
        }
        Ok(elapsed)
    };
    rate_of(scale.in_place_echoes(), |_seed| once())
}

/// Times a blob that is written in shared memory, read by a worker, and answered in the same way.
pub fn blob_in_place(executor: &Arc<dyn Executor>, scale: Scale) -> Result<Sample, BenchError> {
    let once = |seed| {
        let begun = Instant::now();
        let answer = executor.submit(read_and_write, written(seed)).wait();
        let (sum, answer) = answer.map_err(BenchError::failed)?;
        let sum_here = bulk::read(words(&answer));
        let elapsed = begun.elapsed();
        check(sum, bulk::expected(seed))?;
        check(sum_here, bulk::expected(bulk::answer(seed)))?;
        Ok(elapsed)
    };
    rate_of(scale.in_place_echoes(), once)
}

/// The task: what it has read, and an answer that it has written.
fn read_and_write(blob: Blob) -> (u64, Blob) {
    let words = words(&blob);
    (bulk::read(words), written(bulk::answer(words[0])))
}

fn written(seed: u64) -> Blob {
    let mut blob = BlobMut::new(PAYLOAD_BYTES);
    bulk::write(seed, bytemuck::cast_slice_mut(&mut blob));
    blob.freeze()
}

/// Large memory is aligned to more than a word, in whatever way it was allocated.
fn words(blob: &Blob) -> &[u64] {
    bytemuck::cast_slice(blob)
}

/// GiB a second of so many echoes, of which each says how long it took; after one of warm-up for each side's memory.
fn rate_of(
    count: usize,
    mut once: impl FnMut(u64) -> Result<Duration, BenchError>,
) -> Result<Sample, BenchError> {
    const WARM_UP: u64 = 2;
    let mut elapsed = Duration::ZERO;
    for seed in 0..WARM_UP + count as u64 {
        let took = once(seed)?;
        elapsed += if seed < WARM_UP { Duration::ZERO } else { took };
    }
    Ok(vec![(Metric::GibPerSecond, echo_rate(count, elapsed))])
}

/// The memory of pool and parent together while the value is shared and after many tasks have read something on
/// each of its pages, as a multiple of its size.
pub fn shared(executor: &Arc<dyn Executor>, scale: Scale) -> Result<Sample, BenchError> {
    let mut value = BlobMut::new(SHARED_BYTES);
    value.fill(3);
    let value = executor.share(value.freeze());
    let futures: Vec<_> =
        (0..scale.shared_tasks()).map(|_| executor.submit(sum_over_pages, value.clone())).collect();
    for future in futures {
        check(future.wait().map_err(BenchError::failed)?, 3 * (SHARED_BYTES / PAGE) as u64)?;
    }
    let memory = processes::memory()?;
    drop(value);
    Ok(vec![(Metric::MemoryRatio, memory as f64 / SHARED_BYTES as f64)])
}

/// Bytes of a page.
const PAGE: usize = 4096;

fn sum_over_pages(value: Shared<Blob>) -> u64 {
    value.iter().step_by(PAGE).map(|&byte| u64::from(byte)).sum()
}
