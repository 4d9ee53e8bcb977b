//! URLs and TOML, right and wrong.

use std::ffi::OsString;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const PROCESS: Scheme = Scheme {
    name: "process",
    keys: &["workers", "queue", "max_age", "capture", "memory", "key"],
    has_hosts: false,
};
const TCP: Scheme = Scheme { name: "tcp", keys: &["key", "grace"], has_hosts: true };
const BARE: Scheme = Scheme { name: "serial", keys: &[], has_hosts: false };

#[track_caller]
fn message_of<T: std::fmt::Debug>(result: Result<T, OpenError>) -> String {
    result.expect_err("an error was expected").to_string()
}

#[track_caller]
fn assert_says<T: std::fmt::Debug>(result: Result<T, OpenError>, parts: &[&str]) {
    let message = message_of(result);
    for part in parts {
        assert!(message.contains(part), "`{part}` is missing in: {message}");
    }
}

#[test]
fn a_url_has_scheme_hosts_and_options() {
    let config = Config::from_url("tcp://host-a:7077,host-b:7077/?key=cluster.key&grace=2s").unwrap();
    assert_eq!(config.scheme(), "tcp");
    assert_eq!(config.hosts(), ["host-a:7077", "host-b:7077"]);
    let options = config.options(&TCP).unwrap();
    assert_eq!(options.text("key"), Some("cluster.key"));
    assert_eq!(options.duration("grace"), Ok(Some(Duration::from_secs(2))));
}

#[test]
fn a_url_may_be_a_scheme_alone() {
    for url in ["serial://", "serial:///", "serial://?", "serial://?&"] {
        let config = Config::from_url(url).unwrap();
        assert_eq!((config.scheme(), config.hosts().len()), ("serial", 0), "{url}");
        assert!(config.options(&BARE).is_ok());
    }
}

#[test]
fn a_url_in_need_of_repair_is_shown_with_what_is_wrong() {
    assert_says(Config::from_url("thread"), &["`thread`", "`://`", "process://?workers=4"]);
    assert_says(Config::from_url(""), &["`://`"]);
    assert_says(Config::from_url("://host"), &["`` is not a scheme"]);
    assert_says(Config::from_url("th read://"), &["`th read` is not a scheme"]);
    assert_says(Config::from_url("tcp://a,,b"), &["empty host"]);
    assert_says(Config::from_url("process://?workers"), &["`workers` has no value", "`workers=..`"]);
    assert_says(Config::from_url("process://?key=%2"), &["`%2`", "two hexadecimal digits"]);
    assert_says(Config::from_url("process://?key=%zz"), &["`%zz`"]);
    assert_says(Config::from_url("process://?key=%ff"), &["not UTF-8"]);
}

#[test]
fn values_are_percent_decoded() {
    let config = Config::from_url("process://?key=a%20b%26c%3dd%25&workers=4").unwrap();
    let options = config.options(&PROCESS).unwrap();
    assert_eq!(options.text("key"), Some("a b&c=d%"));
    assert_eq!(options.count("workers"), Ok(Some(4)));
    let config = Config::from_url("process://?key=%C3%A9=+").unwrap();
    assert_eq!(config.options(&PROCESS).unwrap().text("key"), Some("é=+"), "only the first `=` splits");
}

#[test]
fn an_unknown_option_names_the_nearest_and_all_known() {
    let config = Config::from_url("process://?wokers=4").unwrap();
    let error = config.options(&PROCESS).expect_err("it is a typo");
    match &error {
        OpenError::UnknownOption { scheme, key, nearest, .. } => {
            assert_eq!((scheme.as_str(), key.as_str()), ("process", "wokers"));
            assert_eq!(nearest.as_deref(), Some("workers"));
        }
        other => panic!("UnknownOption was expected, not: {other}"),
    }
    let message = error.to_string();
    assert!(message.contains("did you mean `workers`?"), "{message}");
    assert!(message.contains("max_age"), "{message}");
}

#[test]
fn an_option_far_from_all_known_names_none_as_nearest() {
    let config = Config::from_url("process://?xyzzy=4").unwrap();
    let message = message_of(config.options(&PROCESS));
    assert!(!message.contains("did you mean"), "{message}");
    assert!(message.contains("workers, queue"), "{message}");
    let config = Config::from_url("serial://?workers=4").unwrap();
    assert_says(config.options(&BARE), &["known options: none"]);
}

#[test]
fn an_option_given_twice_is_an_error() {
    let config = Config::from_url("process://?workers=4&workers=4").unwrap();
    assert_says(config.options(&PROCESS), &["`workers` is given twice", "process://?workers=4&workers=4"]);
}

#[test]
fn hosts_where_there_are_none_are_an_error_that_shows_the_form() {
    let config = Config::from_url("process://workers=4").unwrap();
    assert_says(config.options(&PROCESS), &["`process` has no hosts", "`workers=4`", "process://?key=value"]);
}

#[test]
fn an_unknown_scheme_names_the_nearest() {
    let known = ["serial", "thread", "process", "tcp"];
    let error = Config::from_url("proces://").unwrap().unknown_scheme(&known);
    assert_eq!(
        error.to_string(),
        "unknown executor scheme `proces` (did you mean `process`?); known schemes: serial, thread, process, tcp"
    );
    let error = Config::from_url("kubernetes://").unwrap().unknown_scheme(&known);
    assert!(!error.to_string().contains("did you mean"), "{error}");
}

#[test]
fn toml_says_the_same_as_a_url() {
    let toml = "executor = \"process\"\nworkers = 4\nmax_age = \"1h\"\ncapture = true\nmemory = \"64KiB\"\n";
    let config = Config::from_toml(toml).unwrap();
    let options = config.options(&PROCESS).unwrap();
    assert_eq!(options.count("workers"), Ok(Some(4)));
    assert_eq!(options.duration("max_age"), Ok(Some(Duration::from_secs(3600))));
    assert_eq!(options.switch("capture"), Ok(Some(true)));
    assert_eq!(options.bytes("memory"), Ok(Some(64 << 10)));
    assert_eq!(options.count("queue"), Ok(None), "what is not set is left to the backend");

    let whole = Config::from_toml("executor = \"process://?workers=4\"").unwrap();
    assert_eq!(whole.to_string(), "process://?workers=4");
    let hosts = Config::from_toml("executor = \"tcp\"\nhosts = [\"a:1\", \"b:2\"]").unwrap();
    assert_eq!(hosts.hosts(), ["a:1", "b:2"]);
}

#[test]
fn toml_in_need_of_repair_is_told_with_its_place() {
    assert_says(Config::from_toml("workers = 4"), &["`executor` is missing", "executor = \"thread\""]);
    assert_says(Config::from_toml("executor = 4"), &["`executor` is not a string"]);
    assert_says(Config::from_toml("executor = \"thread\"\nworkers = "), &["line 2"]);
    assert_says(Config::from_toml("executor = \"tcp\"\nhosts = \"a:1\""), &["`hosts` is not a list"]);
    assert_says(Config::from_toml("executor = \"tcp\"\nhosts = [1]"), &["`hosts` is not a list of strings"]);
    assert_says(Config::from_toml("executor = \"thread\"\nworkers = [4]"), &["`workers` is neither"]);
    assert_says(Config::from_toml("executor = \"thread\"\n[pool]\nworkers = 4"), &["`pool` is neither"]);
    let duplicate = Config::from_toml("executor = \"process\"\nworkers = 4\nworkers = 5");
    assert_says(duplicate, &["duplicate key", "line 3"]);
    let both = Config::from_toml("executor = \"process://?workers=4\"\nworkers = 5").unwrap();
    assert_says(both.options(&PROCESS), &["`workers` is given twice"]);
}

#[test]
fn a_value_that_cannot_be_used_says_what_it_should_be() {
    let config =
        Config::from_url("process://?workers=0&queue=many&max_age=5&capture=yes&memory=1GB").unwrap();
    let options = config.options(&PROCESS).unwrap();
    let workers = options.count("workers");
    assert_says(workers, &["`workers` of `process`", "`0`", "a whole number of at least 1"]);
    assert_says(options.count("queue"), &["`many`"]);
    assert_says(options.duration("max_age"), &["`5`", "`250ms`"]);
    assert_says(options.switch("capture"), &["`true` or `false`"]);
    assert_says(options.bytes("memory"), &["`512MiB`"]);
    let minus = Config::from_toml("executor = \"process\"\nworkers = -1").unwrap();
    assert_says(minus.options(&PROCESS).unwrap().count("workers"), &["`-1`"]);
}

/// A folder that is removed again.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("executor-config-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_file_is_named_in_its_errors_and_its_paths_are_relative_to_it() {
    let folder = Folder::new("file");
    let path = folder.0.join("executor.toml");
    std::fs::write(&path, "executor = \"tcp\"\nhosts = [\"a:1\"]\nkey = \"cluster.key\"\n").unwrap();
    let config = Config::from_file(&path).unwrap();
    let options = config.options(&TCP).unwrap();
    assert_eq!(options.path("key"), Some(folder.0.join("cluster.key")));
    assert_eq!(options.path("grace"), None);

    std::fs::write(&path, "executor = \"tcp\"\nkye = \"x\"\nhosts = [").unwrap();
    assert_says(Config::from_file(&path), &[path.to_str().unwrap(), "line 3"]);
    let missing = folder.0.join("nowhere.toml");
    assert_says(Config::from_file(&missing), &[missing.to_str().unwrap(), "reading the file"]);
}

#[test]
fn the_environment_names_a_url_a_file_or_nothing() {
    let folder = Folder::new("env");
    let path = folder.0.join("executor.toml");
    std::fs::write(&path, "executor = \"process\"").unwrap();
    let with = |url: &str, file: &str| {
        let (url, file) = (OsString::from(url), OsString::from(file));
        Config::from_variables(move |name| match name {
            "EXECUTOR_URL" => Some(url.clone()),
            "EXECUTOR_CONFIG" => Some(file.clone()),
            _ => None,
        })
    };
    let file = path.to_str().unwrap();
    assert_eq!(with("serial://", file).unwrap().scheme(), "serial", "the URL goes first");
    assert_eq!(with("", file).unwrap().scheme(), "process", "an empty one is as none");
    assert_eq!(with("", "").unwrap().scheme(), "thread");
    assert_eq!(Config::from_variables(|_| None).unwrap().scheme(), "thread");
    assert_says(with("nothing", ""), &["EXECUTOR_URL `nothing`"]);
    assert_says(with("", "/nowhere/executor.toml"), &["/nowhere/executor.toml"]);
}

#[cfg(unix)]
#[test]
fn a_url_in_the_environment_that_is_not_text_is_an_error() {
    use std::os::unix::ffi::OsStringExt;
    let config = Config::from_variables(|_| Some(OsString::from_vec(vec![0xff])));
    assert_says(config, &["EXECUTOR_URL", "not UTF-8"]);
}

proptest! {
    #[test]
    fn nothing_that_is_written_panics(text in ".{0,80}") {
        let _ = Config::from_url(&text);
        let _ = Config::from_url(&format!("tcp://{text}"));
        let _ = Config::from_url(&format!("process://?key={text}")).map(|config| config.options(&PROCESS).map(|_| ()));
        let _ = Config::from_toml(&text);
        let _ = Config::from_toml(&format!("executor = \"{text}\""));
    }

    #[test]
    fn what_is_percent_encoded_comes_back(value in "\\PC{0,20}") {
        let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let config = Config::from_url(&format!("process://?key={encoded}")).unwrap();
        prop_assert_eq!(config.options(&PROCESS).unwrap().text("key"), Some(value.as_str()));
    }

    #[test]
    fn the_displayed_url_is_read_as_the_same(
        value in "\\PC{0,20}",
        hosts in proptest::collection::vec("[a-z]{1,8}:[1-9]", 0..4),
    ) {
        let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let config = Config::from_url(&format!("tcp://{}?key={encoded}", hosts.join(","))).unwrap();
        let again = Config::from_url(&config.to_string()).unwrap();
        prop_assert_eq!(again.options(&TCP).unwrap().text("key"), Some(value.as_str()));
        prop_assert_eq!(again.hosts(), hosts);
    }
}
