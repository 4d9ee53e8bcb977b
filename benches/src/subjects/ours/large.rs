//! Large values on the process backend.

use std::sync::Arc;

use executor::{Executor, ExecutorExt, Shared};

use crate::bytes::Bytes;
use crate::pool::check;
use crate::processes;
use crate::subject::{BenchError, Sample};
use crate::workload::{Metric, SHARED_BYTES, Scale};

/// The memory of pool and parent together while the value is shared and after many tasks have read something on
/// each of its pages, as a multiple of its size.
pub fn shared(executor: &Arc<dyn Executor>, scale: Scale) -> Result<Sample, BenchError> {
    let value = executor.share(Bytes(vec![3; SHARED_BYTES]));
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

fn sum_over_pages(bytes: Shared<Bytes>) -> u64 {
    bytes.0.iter().step_by(PAGE).map(|&byte| u64::from(byte)).sum()
}
