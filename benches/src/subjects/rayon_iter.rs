//! rayon's `into_par_iter().map(..).collect()`: there are no handles, so only what maps can be asked.

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::pool;
use crate::subject::{BenchError, Family, Sample, Subject};
use crate::workload::{self, Scale, Speed, WORKERS, Workload};

pub fn subject() -> Box<dyn Subject> {
    Box::new(RayonIter)
}

struct RayonIter;

impl Subject for RayonIter {
    fn name(&self) -> &str {
        "rayon-par-iter"
    }

    fn family(&self) -> Family {
        Family::Threads
    }

    fn workloads(&self) -> &[Workload] {
        &[Workload::Map, Workload::Cpu, Workload::Startup]
    }

    fn sample(&self, workload: Workload, quick: bool) -> Result<Sample, BenchError> {
        let scale = Scale::new(Speed::Millions, quick);
        match workload {
            Workload::Map => {
                let pool = open()?;
                pool::mapping(scale.map_items(), |items| {
                    Ok(map_sum(&pool, items.into_par_iter(), workload::spin_1us))
                })
            }
            Workload::Cpu => {
                let pool = open()?;
                pool::burning(scale.cpu_tasks(), |seeds| {
                    // One job a task, as the others have it.
                    let seeds: Vec<u64> = seeds.collect();
                    let seeds = seeds.into_par_iter().with_max_len(1);
                    Ok(map_sum(&pool, seeds, workload::burn))
                })
            }
            Workload::Startup => pool::first_result(|| {
                let pool = open()?;
                map_sum(&pool, vec![1].into_par_iter(), workload::noop);
                Ok(pool)
            }),
            other => Err(BenchError::Failed(format!("par_iter has no {other}"))),
        }
    }
}

fn open() -> Result<ThreadPool, BenchError> {
    let pool = ThreadPoolBuilder::new().num_threads(WORKERS).build();
    pool.map_err(BenchError::failed)
}

/// Collects the results, as a map has them, before it adds them up.
fn map_sum(
    pool: &ThreadPool,
    items: impl IndexedParallelIterator<Item = u64>,
    function: fn(u64) -> u64,
) -> u64 {
    let results: Vec<u64> = pool.install(|| items.map(function).collect());
    results.into_iter().fold(0, u64::wrapping_add)
}
