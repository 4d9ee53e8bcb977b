//! Where this process stands in the control groups, and the limits on its way up.
//!
//! `/proc/self/cgroup` names the process's group in each hierarchy, `/proc/self/mountinfo` where the hierarchies can be
//! read. A container often sees only a part: then the mount's root is itself a group, and paths are relative to it. A
//! limit of any group from the process's own up to the root of what is visible applies.

use std::fs;
use std::path::{Path, PathBuf};

/// The folders of this process's control groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchy {
    /// cgroup v2.
    unified: Option<Place>,
    /// cgroup v1 with the controller `cpu`.
    cpu: Option<Place>,
    /// cgroup v1 with the controller `memory`.
    memory: Option<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    mount: PathBuf,
    group: PathBuf,
}

impl Place {
    /// The group's folder and those above it, up to the mount.
    fn folders(&self) -> impl Iterator<Item = &Path> {
        self.group.ancestors().take_while(|folder| folder.starts_with(&self.mount))
    }
}

impl Hierarchy {
    /// Looks this process up. `None` if `/proc` is not there.
    #[must_use]
    pub fn of_this_process() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        Some(Self::parse(&groups, &mounts))
    }

    pub(super) fn parse(groups: &str, mounts: &str) -> Self {
        Self {
            unified: place(groups, mounts, None),
            cpu: place(groups, mounts, Some("cpu")),
            memory: place(groups, mounts, Some("memory")),
        }
    }

    /// The tightest CPU quota on the way up, in CPUs.
    pub(super) fn cpu_quota(&self) -> Option<f64> {
        let unified = self
            .unified
            .iter()
            .flat_map(Place::folders)
            .filter_map(|folder| quota_v2(&read(folder, "cpu.max")?));
        let legacy = self.cpu.iter().flat_map(Place::folders).filter_map(|folder| {
            quota_v1(&read(folder, "cpu.cfs_quota_us")?, &read(folder, "cpu.cfs_period_us")?)
        });
        unified.chain(legacy).min_by(f64::total_cmp)
    }

    /// How often the kernel has ended a process of this process's group because its memory limit was reached, as far as
    /// the system counts it. Only differences mean something.
    #[must_use]
    pub fn oom_kills(&self) -> Option<u64> {
        let unified = self.unified.iter().filter_map(|place| read(&place.group, "memory.events"));
        let legacy = self.memory.iter().filter_map(|place| read(&place.group, "memory.oom_control"));
        unified.chain(legacy).find_map(|text| oom_kill_count(&text))
    }
}

fn read(folder: &Path, file: &str) -> Option<String> {
    fs::read_to_string(folder.join(file)).ok()
}

/// Where the group of this process is in the hierarchy with `controller` (v1), or in the unified one (v2).
fn place(groups: &str, mounts: &str, controller: Option<&str>) -> Option<Place> {
    let path = groups.lines().find_map(|line| group_path(line, controller))?;
    let (root, mount) = mounts.lines().find_map(|line| mount_of(line, controller))?;
    let below = Path::new(path).strip_prefix(&root).unwrap_or(Path::new(""));
    // A group outside the visible part shows as "/../..": the mount itself is all that there is then.
    let outside = below.components().any(|part| part == std::path::Component::ParentDir);
    let group = if outside { mount.clone() } else { mount.join(below) };
    Some(Place { mount, group })
}

/// The path in a line `ID:CONTROLLERS:PATH` of `/proc/self/cgroup`; v2 has no controllers there.
fn group_path<'a>(line: &'a str, controller: Option<&str>) -> Option<&'a str> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    names(controllers, controller).then_some(path)
}

/// Root and mount point in a line of `/proc/self/mountinfo`:
/// `36 35 98:0 ROOT MOUNT options [optional fields..] - TYPE SOURCE SUPEROPTIONS`.
fn mount_of(line: &str, controller: Option<&str>) -> Option<(PathBuf, PathBuf)> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, mount) = (left.next()?, left.next()?);
    let mut right = right.split(' ');
    let (kind, _, options) = (right.next()?, right.next()?, right.next()?);
    let right_kind = match controller {
        None => kind == "cgroup2",
        Some(_) => kind == "cgroup" && names(options, controller),
    };
    right_kind.then(|| (unescape(root), unescape(mount)))
}

/// Whether a list with commas has the controller; for v2, whether it is empty.
fn names(list: &str, controller: Option<&str>) -> bool {
    match controller {
        None => list.is_empty(),
        Some(controller) => list.split(',').any(|name| name == controller),
    }
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let text = text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n");
    PathBuf::from(text.replace("\\134", "\\"))
}

/// `cpu.max`: "QUOTA PERIOD" or "max PERIOD".
pub(super) fn quota_v2(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    ratio(quota, period)
}

/// `cpu.cfs_quota_us`, -1 for none, and `cpu.cfs_period_us`.
pub(super) fn quota_v1(quota: &str, period: &str) -> Option<f64> {
    ratio(quota.trim(), period.trim())
}

fn ratio(quota: &str, period: &str) -> Option<f64> {
    let (quota, period) = (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?);
    let cpus = quota / period;
    (cpus.is_finite() && cpus > 0.0).then_some(cpus)
}

/// The line "oom_kill N" of v2's `memory.events` and v1's `memory.oom_control`.
pub(super) fn oom_kill_count(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}
