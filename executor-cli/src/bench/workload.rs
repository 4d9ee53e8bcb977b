//! What is measured, under the names that the project's benches use as well.

/// A question that the bench asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Workload {
    /// Tasks of no work, submitted one by one
    Noop,
    /// One task of no work, there and back, at a time
    Roundtrip,
    /// A function of about a microsecond over many items, in chunks of the default size
    Map,
    /// 64 MiB to a worker and back
    Payload,
    /// Tasks of about 2 ms on all workers, against the same tasks one after the other
    Cpu,
}

/// A figure that a workload yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    pub name: &'static str,
    pub higher_is_better: bool,
}

const fn rate(name: &'static str) -> Metric {
    Metric { name, higher_is_better: true }
}

const fn time(name: &'static str) -> Metric {
    Metric { name, higher_is_better: false }
}

impl Workload {
    pub const ALL: [Self; 5] = [Self::Noop, Self::Roundtrip, Self::Map, Self::Payload, Self::Cpu];

    pub fn name(self) -> &'static str {
        match self {
            Self::Noop => "noop",
            Self::Roundtrip => "roundtrip",
            Self::Map => "map",
            Self::Payload => "payload",
            Self::Cpu => "cpu",
        }
    }

    pub fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Noop => const { &[rate("tasks_per_second")] },
            Self::Roundtrip => const { &[time("p50_us"), time("p99_us")] },
            Self::Map => const { &[rate("items_per_second")] },
            Self::Payload => const { &[rate("gib_per_second")] },
            Self::Cpu => const { &[rate("efficiency")] },
        }
    }
}
