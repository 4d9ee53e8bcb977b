//! All that is measured, one file per subject or per kind of them.

use crate::pool;
use crate::subject::{BenchError, Family, Pool, Sample, Side, Subject};
use crate::workload::{Scale, Speed, Workload};
use limits::Wait;

mod affinity;
pub mod limits;
pub mod ours;
mod procspawn_pool;
mod python;
mod rayon_iter;
mod rayon_oneshot;
mod spawn_blocking;
pub mod tarpc_peer;
pub mod tcp_agent;
mod threadpool_oneshot;

/// Every subject, in the order in which they take turns.
pub fn all() -> Vec<Box<dyn Subject>> {
    vec![
        ours::thread(),
        affinity::subject(),
        threadpool_oneshot::subject(),
        rayon_oneshot::subject(),
        rayon_iter::subject(),
        spawn_blocking::subject(),
        ours::process(),
        ours::process_of_eight(),
        ours::connection_unix(),
        ours::manager(),
        ours::manager_pipelined(),
        procspawn_pool::subject(),
        python::process_pool(),
        python::multiprocessing_pool(),
        python::queue(),
        python::lock(),
        python::value(),
        python::connection_unix(),
        python::manager(),
        limits::socketpair(),
        limits::ring(Wait::Futex),
        limits::ring(Wait::Spin),
        limits::in_place(),
        limits::command(),
        tcp_agent::subject(),
        ours::connection_tcp(),
        ours::rpc(),
        ours::rpc_from_python(),
        tarpc_peer::subject(),
        python::connection_tcp(),
        python::rpc(),
        limits::tcp(),
        limits::tokio(),
    ]
}

/// What a pool of threads without a map of its own is asked.
const THREAD_POOL: &[Workload] =
    &[Workload::Noop, Workload::Roundtrip, Workload::Cpu, Workload::Startup, Workload::Pending];

/// A subject that is measured through [`Pool`].
struct PoolSubject<P> {
    name: &'static str,
    family: Family,
    side: Side,
    speed: Speed,
    workloads: &'static [Workload],
    open: fn(usize) -> Result<P, BenchError>,
}

impl<P: Pool + 'static> PoolSubject<P> {
    fn peer(
        name: &'static str,
        family: Family,
        speed: Speed,
        workloads: &'static [Workload],
        open: fn(usize) -> Result<P, BenchError>,
    ) -> Box<dyn Subject> {
        Box::new(Self { name, family, side: Side::Peer, speed, workloads, open })
    }
}

impl<P: Pool> Subject for PoolSubject<P> {
    fn name(&self) -> &str {
        self.name
    }

    fn family(&self) -> Family {
        self.family
    }

    fn side(&self) -> Side {
        self.side
    }

    fn workloads(&self) -> &[Workload] {
        self.workloads
    }

    fn sample(&self, workload: Workload, quick: bool) -> Result<Sample, BenchError> {
        pool::measure(workload, Scale::new(self.speed, quick), self.open)
    }
}
