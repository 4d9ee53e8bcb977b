//! What `/proc` says of this process and of all that it started: their memory and what they do when there is nothing
//! to do.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::getpid;
use rustix::thread::gettid;

use crate::subject::{BenchError, Sample};
use crate::workload::Metric;

/// How long a pool has to come to rest before it counts as idle.
const SETTLING: Duration = Duration::from_millis(500);

/// Memory of this process and its descendants in bytes; a page that several of them map counts once.
///
/// # Errors
///
/// When `/proc` does not say.
pub fn memory() -> Result<u64, BenchError> {
    let mut total = 0;
    for pid in family() {
        let path = format!("/proc/{pid}/smaps_rollup");
        let Some(text) = read(&path)? else { continue };
        // A zombie has no memory, and a file without lines.
        if !text.is_empty() {
            total += figure(&text, "Pss:", &path)? << 10;
        }
    }
    Ok(total)
}

/// Looks on for `time` while nothing is asked of the pool: what its threads and its processes do all the same.
///
/// # Errors
///
/// When `/proc` does not say.
pub fn idle(time: Duration) -> Result<Sample, BenchError> {
    thread::sleep(SETTLING);
    let before = activities()?;
    let begun = Instant::now();
    thread::sleep(time);
    let seconds = begun.elapsed().as_secs_f64();
    let meanwhile = since(&before)?;
    let on_cpu = Duration::from_nanos(meanwhile.on_cpu).as_secs_f64();
    Ok(vec![
        (Metric::CpuPercent, 100.0 * on_cpu / seconds),
        (Metric::WakeupsPerSecond, meanwhile.sleeps as f64 / seconds),
    ])
}

/// What a thread, or all of them, have done.
#[derive(Clone, Copy, Debug, Default)]
struct Activity {
    /// Nanoseconds on a processor.
    on_cpu: u64,
    /// How often one of them went to sleep of its own accord. Each such sleep but the last has ended in a wake-up.
    sleeps: u64,
}

/// What each thread of the family has done so far, but the calling one, which only looks on.
fn activities() -> Result<HashMap<i32, Activity>, BenchError> {
    let mut all = HashMap::new();
    let this = gettid().as_raw_nonzero().get();
    for pid in family() {
        for thread in threads(pid).into_iter().filter(|&thread| thread != this) {
            let folder = format!("/proc/{pid}/task/{thread}");
            let (times, status) = (format!("{folder}/schedstat"), format!("{folder}/status"));
            let (Some(times_text), Some(status_text)) = (read(&times)?, read(&status)?) else { continue };
            let on_cpu = times_text.split(' ').next().and_then(|field| field.parse::<u64>().ok());
            let on_cpu = on_cpu.ok_or_else(|| BenchError::Failed(format!("{times} has no first field")))?;
            let sleeps = figure(&status_text, "voluntary_ctxt_switches:", &status)?;
            all.insert(thread, Activity { on_cpu, sleeps });
        }
    }
    Ok(all)
}

/// What the threads that are there now have done since `before`.
fn since(before: &HashMap<i32, Activity>) -> Result<Activity, BenchError> {
    let mut sum = Activity::default();
    for (thread, now) in activities()? {
        let before = before.get(&thread).copied().unwrap_or_default();
        sum.on_cpu += now.on_cpu.saturating_sub(before.on_cpu);
        sum.sleeps += now.sleeps.saturating_sub(before.sleeps);
    }
    Ok(sum)
}

/// This process and its descendants.
fn family() -> Vec<i32> {
    let mut family = vec![getpid().as_raw_nonzero().get()];
    let mut next = 0;
    while let Some(&pid) = family.get(next) {
        for thread in threads(pid) {
            // Gone since it was listed, and its children with it or on their way to somebody else.
            let text = fs::read_to_string(format!("/proc/{pid}/task/{thread}/children")).unwrap_or_default();
            family.extend(text.split_whitespace().filter_map(|child| child.parse::<i32>().ok()));
        }
        next += 1;
    }
    family
}

/// The threads of a process; none when it is gone.
fn threads(pid: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The text of a file about a process or thread; nothing when that is gone.
fn read(path: &str) -> Result<Option<String>, BenchError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => Ok(None),
        Err(error) => Err(BenchError::io(format!("cannot read {path}"))(error)),
    }
}

/// The number behind a name at the beginning of a line.
fn figure(text: &str, name: &str, path: &str) -> Result<u64, BenchError> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| BenchError::Failed(format!("{path} has no `{name}`")))
}

#[cfg(test)]
mod tests;
