//! `manager` and `manager-pipelined`: a dict of `executor::Manager`, used by the two workers of a pool at once, to which its
//! proxies travel as arguments of their tasks.

use std::process;
use std::time::Duration;

use executor::ExecutorExt;
use executor::remote::manager::{Dict, Manager};

use super::toolbox::{contend, repeat};
use crate::pool::check;
use crate::subject::{BenchError, Family, Sample, Side, Subject};
use crate::workload::{Metric, Scale, Speed, WORKERS, Workload};

/// Pairs of a set and a get between two looks at the clock; as many as in Python.
const PAIRS: u64 = 50;

/// Pairs that the pipelined subject sends before it awaits the first.
const PAIRS_IN_FLIGHT: u64 = 500;

pub fn one_by_one() -> Box<dyn Subject> {
    Box::new(Managed { name: "manager", work: set_and_get_one_by_one })
}

pub fn pipelined() -> Box<dyn Subject> {
    Box::new(Managed { name: "manager-pipelined", work: set_and_get_pipelined })
}

struct Managed {
    name: &'static str,
    work: Work,
}

/// What a worker does from the first time to the second: gives the number of operations.
type Work = fn((Dict<u64, u64>, Duration, Duration)) -> u64;

impl Subject for Managed {
    fn name(&self) -> &str {
        self.name
    }

    fn family(&self) -> Family {
        Family::Processes
    }

    fn side(&self) -> Side {
        Side::Ours
    }

    fn workloads(&self) -> &[Workload] {
        &[Workload::Manager]
    }

    fn sample(&self, _: Workload, quick: bool) -> Result<Sample, BenchError> {
        let scale = Scale::new(Speed::Thousands, quick);
        let executor = super::open(super::PROCESS, WORKERS)?;
        let manager = Manager::start().map_err(BenchError::failed)?;
        let dict: Dict<u64, u64> = manager.dict().wait().map_err(BenchError::failed)?;
        let time = scale.contended_time();
        let both = contend(time, |begin| {
            executor.executor().submit(self.work, (dict.clone(), begin, begin + time))
        })?;
        check(dict.len().wait().map_err(BenchError::failed)? as u64, WORKERS as u64)?;
        Ok(vec![(Metric::OperationsPerSecond, both as f64 / time.as_secs_f64())])
    }
}

fn set_and_get_one_by_one((dict, begin, end): (Dict<u64, u64>, Duration, Duration)) -> u64 {
    let key = u64::from(process::id());
    repeat(begin, end, 2 * PAIRS, || {
        for x in 0..PAIRS {
            dict.insert(&key, &x).wait().expect("the manager is there");
            assert_eq!(dict.get(&key).wait().expect("the manager is there"), Some(x));
        }
    })
}

fn set_and_get_pipelined((dict, begin, end): (Dict<u64, u64>, Duration, Duration)) -> u64 {
    let key = u64::from(process::id());
    repeat(begin, end, 2 * PAIRS_IN_FLIGHT, || {
        let calls: Vec<_> =
            (0..PAIRS_IN_FLIGHT).map(|x| (dict.insert(&key, &x), dict.get(&key), x)).collect();
        for (set, get, x) in calls {
            set.wait().expect("the manager is there");
            assert_eq!(get.wait().expect("the manager is there"), Some(x));
        }
    })
}
