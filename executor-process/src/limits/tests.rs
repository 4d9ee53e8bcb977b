//! The recorded texts come from a Kubernetes pod, a Docker container under cgroup v1, a desktop with systemd, and a
//! machine with both versions mounted.

use super::cgroup::{oom_kill_count, quota_v1, quota_v2};
use super::*;

fn count(count: usize, decided_by: DecidedBy) -> WorkerCount {
    WorkerCount { count, decided_by }
}

#[test]
fn tightest_limit_decides() {
    assert_eq!(decide(8, None, None), count(8, DecidedBy::Affinity));
    assert_eq!(decide(8, Some(2.5), None), count(3, DecidedBy::CgroupQuota));
    assert_eq!(decide(8, Some(2.5), Some("2")), count(2, DecidedBy::Slurm));
    assert_eq!(decide(1, Some(2.5), Some("2")), count(1, DecidedBy::Affinity));
    assert_eq!(decide(2, Some(2.0), Some("2")), count(2, DecidedBy::Affinity));
}

#[test]
fn a_fraction_of_a_cpu_is_one_worker() {
    assert_eq!(decide(8, Some(0.1), None), count(1, DecidedBy::CgroupQuota));
    assert_eq!(decide(0, None, None), count(1, DecidedBy::Affinity));
}

#[test]
fn nonsense_limits_nothing() {
    for slurm in ["", "0", "-3", "four", "2(x3)"] {
        assert_eq!(decide(4, None, Some(slurm)), count(4, DecidedBy::Affinity), "{slurm:?}");
    }
    for quota in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
        assert_eq!(decide(4, Some(quota), None), count(4, DecidedBy::Affinity), "{quota}");
    }
}

#[test]
fn display_names_the_reason() {
    assert_eq!(count(3, DecidedBy::CgroupQuota).to_string(), "3 workers (by cgroup CPU quota)");
    assert_eq!(count(1, DecidedBy::Slurm).to_string(), "1 worker (by SLURM_CPUS_PER_TASK)");
}

#[test]
fn this_process_has_a_count() {
    assert!(WorkerCount::detect().count >= 1);
}

#[test]
fn quota_texts() {
    assert_eq!(quota_v2("150000 100000\n"), Some(1.5));
    assert_eq!(quota_v2("max 100000\n"), None);
    assert_eq!(quota_v1("-1\n", "100000\n"), None);
    assert_eq!(quota_v1("50000\n", "100000\n"), Some(0.5));
    for text in ["", "max", "1", "a b", "100 0", "0 0"] {
        assert_eq!(quota_v2(text), None, "{text:?}");
    }
}

#[test]
fn oom_texts() {
    assert_eq!(oom_kill_count("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
    assert_eq!(oom_kill_count("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), Some(7));
    assert_eq!(oom_kill_count("oom_kill_disable 0\nunder_oom 0\n"), None);
}

#[test]
fn statm_text() {
    assert_eq!(parse_statm("2405 1188 1024 5 0 234 0\n", 4096), Some(1188 * 4096));
    for text in ["", "2405", "2405 x", "1 18446744073709551615"] {
        assert_eq!(parse_statm(text, 4096), None, "{text:?}");
    }
}

#[test]
fn this_process_holds_memory() {
    let pid = i32::try_from(std::process::id()).expect("a pid");
    assert!(resident_bytes(pid).expect("statm") > 100 * 1024);
    assert_eq!(resident_bytes(i32::MAX).expect_err("no such process").kind(), io::ErrorKind::NotFound);
}

/// A tree of files as the kernel would show it, at a path of its own.
struct Tree(std::path::PathBuf);

impl Tree {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let root = std::env::temp_dir().join(format!("executor limits {name} {}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("inside the tree")).expect("a temporary folder");
            std::fs::write(path, text).expect("a temporary file");
        }
        Self(root)
    }

    fn mount(&self, folder: &str) -> String {
        self.0.join(folder).to_str().expect("UTF-8").replace(' ', "\\040")
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn v2_limit_of_a_group_above_applies() {
    let tree = Tree::new(
        "v2",
        &[
            ("user.slice/cpu.max", "150000 100000\n"),
            ("user.slice/run.scope/cpu.max", "max 100000\n"),
            ("user.slice/run.scope/memory.events", "oom_kill 4\n"),
        ],
    );
    let mounts =
        format!("31 23 0:28 / {} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n", tree.mount(""));
    let groups = Hierarchy::parse("0::/user.slice/run.scope\n", &mounts);
    assert_eq!(groups.cpu_quota(), Some(1.5));
    assert_eq!(groups.oom_kills(), Some(4));
}

#[test]
fn v2_pod_that_sees_its_own_group_as_root() {
    let tree = Tree::new("pod", &[("cpu.max", "200000 100000\n")]);
    let mounts = format!("1 2 0:28 / {} ro - cgroup2 cgroup rw\n", tree.mount(""));
    assert_eq!(Hierarchy::parse("0::/\n", &mounts).cpu_quota(), Some(2.0));
    assert_eq!(Hierarchy::parse("0::/../../other\n", &mounts).cpu_quota(), Some(2.0));
}

#[test]
fn v1_container_whose_mount_root_is_its_group() {
    let tree = Tree::new(
        "v1",
        &[
            ("cpu,cpuacct/cpu.cfs_quota_us", "250000\n"),
            ("cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
        ],
    );
    let mounts = format!(
        "733 7 0:30 /docker/4b1c {} ro,nosuid master:11 - cgroup cgroup rw,cpu,cpuacct\n\
         734 7 0:31 /docker/4b1c {} ro,nosuid master:12 - cgroup cgroup rw,memory\n",
        tree.mount("cpu,cpuacct"),
        tree.mount("memory")
    );
    let groups = "11:cpu,cpuacct:/docker/4b1c\n10:memory:/docker/4b1c\n1:name=systemd:/docker/4b1c\n";
    let groups = Hierarchy::parse(groups, &mounts);
    assert_eq!(groups.cpu_quota(), Some(2.5));
    assert_eq!(groups.oom_kills(), Some(1));
}

#[test]
fn both_versions_mounted_and_the_tighter_counts() {
    let tree = Tree::new(
        "both",
        &[
            ("cpu/job/cpu.cfs_quota_us", "300000\n"),
            ("cpu/job/cpu.cfs_period_us", "100000\n"),
            ("unified/cpu.max", "max 100000\n"),
        ],
    );
    let mounts = format!(
        "32 31 0:29 / {} rw,relatime - cgroup cgroup rw,cpu\n41 31 0:38 / {} rw,relatime - cgroup2 cgroup2 rw\n",
        tree.mount("cpu"),
        tree.mount("unified")
    );
    assert_eq!(Hierarchy::parse("1:cpu:/job\n0::/\n", &mounts).cpu_quota(), Some(3.0));
}

#[test]
fn unknown_texts_are_no_limits() {
    for text in ["", "\n", "0", "0::", "::::", "1 2 3 - \n", "a b c d e - cgroup2 x"] {
        let groups = Hierarchy::parse(text, text);
        assert_eq!((groups.cpu_quota(), groups.oom_kills()), (None, None), "{text:?}");
    }
}
