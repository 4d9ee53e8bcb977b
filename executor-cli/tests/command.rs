//! The real command, as a user runs it.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

fn executor(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_executor")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn keygen_writes_a_key_that_only_its_owner_may_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.key");
    let output = executor(&["keygen", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(text(&output.stdout).contains("cluster.key"), "{output:?}");
    let key = std::fs::read_to_string(path).unwrap();
    assert!(!text(&output.stdout).contains(key.lines().nth(1).unwrap()), "the key itself is not shown");
}

#[test]
fn keygen_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.key");
    std::fs::write(&path, "precious").unwrap();
    let output = executor(&["keygen", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("exists and is not overwritten"), "{output:?}");
    assert_eq!(std::fs::read(path).unwrap(), b"precious");
}

#[test]
fn keygen_where_there_is_no_folder_says_why() {
    let output = executor(&["keygen", "no/such/folder/key"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("No such file or directory"), "{output:?}");
}

#[test]
fn bench_prints_a_json_object_for_each_metric_of_each_executor() {
    let output = executor(&["bench", "--json", "--rounds", "2", "--budget", "5", "serial://", "serial:///"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let mut seen = Vec::new();
    for line in text(&output.stdout).lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let number = |key: &str| line[key].as_f64().unwrap();
        assert!(
            0.0 < number("min") && number("min") <= number("median") && number("median") <= number("max")
        );
        let word = |key: &str| line[key].as_str().unwrap().to_owned();
        seen.push((word("subject"), word("workload"), word("metric")));
    }
    let metrics = [
        ("noop", "tasks_per_second"),
        ("roundtrip", "p50_us"),
        ("roundtrip", "p99_us"),
        ("map", "items_per_second"),
        ("payload", "gib_per_second"),
        ("cpu", "efficiency"),
    ];
    for subject in ["serial://", "serial:///"] {
        for (workload, metric) in metrics {
            let wanted = (subject.to_owned(), workload.to_owned(), metric.to_owned());
            assert_eq!(seen.iter().filter(|it| **it == wanted).count(), 1, "{wanted:?} in {seen:?}");
        }
    }
    assert_eq!(seen.len(), 2 * metrics.len());
}

#[test]
fn bench_prints_a_table_for_people() {
    let output =
        executor(&["bench", "--workload", "noop,roundtrip", "--rounds", "1", "--budget", "5", "serial://"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let table = text(&output.stdout);
    assert!(table.contains("noop tasks_per_second") && table.contains("roundtrip p99_us"), "{table}");
    assert!(table.contains("100%") && !table.contains("items_per_second"), "{table}");
    assert!(output.stderr.is_empty(), "no progress bar where there is no terminal: {output:?}");
}

#[test]
fn what_cannot_be_meant_exits_with_2_and_says_what_is_known() {
    for (arguments, wanted) in [
        (&["bench", "proces://"][..], "did you mean `process`?"),
        (&["bench", "serial://?wrkers=2"], "unknown option `wrkers`"),
        (&["bench", "slurm://"], "is not in this version"),
        (&["bench"], "<URL>"),
        (&["bench", "--workload", "nop", "serial://"], "noop"),
        (&["bench", "--rounds", "0", "serial://"], "--rounds"),
        (&["agnt"], "agent"),
        (&["agent"], "--listen"),
        (&["keygen"], "<FILE>"),
    ] {
        let output = executor(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(text(&output.stderr).contains(wanted), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    }
}

/// An agent in a process of its own, which ends with this value.
struct Agent {
    process: std::process::Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Agent {
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_executor"))
            .args(["agent", "--listen", "127.0.0.1:0", "--cache"])
            .arg(folder.path())
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on ").and_then(|it| it.split(',').next());
        let address = address.unwrap_or_else(|| panic!("the agent said {line:?}")).to_owned();
        Self { process, address, _folder: folder }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn an_agent_without_a_key_serves_this_machine() {
    let agent = Agent::start(&["--slots", "1"]);
    let url = format!("tcp://{}", agent.address);
    let output = executor(&["bench", "--json", "--workload", "noop", "--rounds", "1", "--budget", "5", &url]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains(&url), "{output:?}");
}

#[test]
fn an_agent_with_a_key_serves_who_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("cluster.key");
    let key = key.to_str().unwrap();
    assert_eq!(executor(&["keygen", key]).status.code(), Some(0));
    let agent = Agent::start(&["--slots", "1", "--key", key]);
    let url = format!("tcp://{}?key={key}", agent.address);
    let output = executor(&["bench", "--json", "--workload", "cpu", "--rounds", "1", "--budget", "5", &url]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");

    let other = folder.path().join("other.key");
    let other = other.to_str().unwrap();
    assert_eq!(executor(&["keygen", other]).status.code(), Some(0));
    let url = format!("tcp://{}?key={other}", agent.address);
    let output = executor(&["bench", "--workload", "noop", &url]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("key"), "{output:?}");
}

#[test]
fn an_agent_that_cannot_begin_says_why_and_exits_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let exposed = folder.path().join("exposed.key");
    std::fs::write(&exposed, "").unwrap();
    std::fs::set_permissions(&exposed, std::fs::Permissions::from_mode(0o644)).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (arguments, wanted) in [
        (&["--listen", "0.0.0.0:0"][..], "key"),
        (&["--listen", "127.0.0.1:0", "--key", "no/such.key"], "no/such.key"),
        (&["--listen", "127.0.0.1:0", "--key", exposed.to_str().unwrap()], "0644"),
        (&["--listen", &taken], "in use"),
    ] {
        let cache = folder.path().join("cache");
        let output = executor(&[&["agent", "--cache", cache.to_str().unwrap()][..], arguments].concat());
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        assert!(text(&output.stderr).contains(wanted), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    }
}
