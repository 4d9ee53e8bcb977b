//! A program's registered functions, for callers in other programs and other languages: [`serve_if_asked`], [`Serve`].

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::exit;

use executor_core::OpenError;
use executor_remote::connection::{AuthKey, ConnectionError, Listener};
use executor_remote::key::KeyError;
use executor_remote::rpc::RpcServer;

/// Serves the functions that [`register!`](crate::register) has made known, if the program was started as
/// `program serve --listen ADDR`; returns at once in any other case.
///
/// It belongs behind [`init`](crate::init), before the program looks at its arguments:
///
/// ```no_run
/// fn add((x, y): (i64, i64)) -> i64 {
///     x + y
/// }
/// executor::register! { "add" => add }
///
/// fn main() {
///     executor::init(); // when this process is a worker
///     executor::serve_if_asked(); // when it was started as `program serve --listen 127.0.0.1:25000`
///     // ... what the program does otherwise
/// }
/// ```
///
/// Then `program serve --listen 127.0.0.1:25000 --authkey-file FILE --executor 'process://?workers=4'` answers remote calls of
/// `add` by tasks in four worker processes. Who calls may be a Rust program ([`RpcClient`](crate::rpc::RpcClient)), a Python
/// program with nothing but its standard library, a client of MessagePack-RPC or JSON-RPC, or `executor call` in a shell.
///
/// | option | meaning |
/// | --- | --- |
/// | `--listen ADDR` | `127.0.0.1:25000`, `[::1]:0`, `unix:/path` or `unix:@name`; what is listened on is printed: `listening on ADDR` |
/// | `--authkey-file FILE` | the key that callers have to prove; without one, only callers of this machine are allowed |
/// | `--executor URL` | where the functions run, as for [`open`](crate::open); default: what the environment names, as for [`from_env`](crate::from_env) |
///
/// It never returns when it serves: at the end, which is SIGINT or SIGTERM, the process exits with 0; with 1 if it cannot
/// serve, and with 2 if the arguments cannot be meant, each with one line on standard error. A program that has a command
/// line of its own uses [`Serve`].
///
/// # Blocking
///
/// Until the process ends, if it serves.
pub fn serve_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != "serve") {
        return;
    }
    let served = match Serve::from_arguments(arguments) {
        Ok(Some(serve)) => serve.run(),
        Ok(None) => {
            println!("{HELP}");
            exit(0);
        }
        Err(error) => Err(error),
    };
    match served {
        Ok(()) => exit(0),
        Err(error) => {
            let mut line = format!("serve: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                line += &format!(": {error}");
                cause = error.source();
            }
            eprintln!("{line}");
            exit(if error.is_usage() { 2 } else { 1 });
        }
    }
}

const OPTIONS: &[&str] = &["--listen", "--authkey-file", "--executor", "--help"];

const HELP: &str = "\
Answer remote calls of this program's registered functions.

Usage: serve --listen ADDR [--authkey-file FILE] [--executor URL]

  --listen ADDR        where to listen: 127.0.0.1:25000, [::1]:0, unix:/path or unix:@name
  --authkey-file FILE  the key that callers have to prove, readable by its owner alone
  --executor URL       where the functions run, such as process://?workers=4
                       [default: EXECUTOR_URL, else the file EXECUTOR_CONFIG, else thread://]
  --help               print this";

/// Answers remote calls of this program's registered functions, as `serve` on the command line does; see [`serve_if_asked`].
///
/// # Examples
///
/// ```no_run
/// use executor::Serve;
///
/// executor::init();
/// Serve::new("unix:/run/app/calls").authkey_file("/etc/app/authkey").executor("process://?workers=4").run()?;
/// # Ok::<(), executor::ServeError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Serve {
    listen: String,
    authkey_file: Option<PathBuf>,
    executor: Option<String>,
}

impl Serve {
    /// Will listen on that address, for callers of this machine, and run functions on what the environment names.
    pub fn new(listen: impl Into<String>) -> Self {
        Self { listen: listen.into(), authkey_file: None, executor: None }
    }

    /// Callers have to prove the key in that file. The file may be read by its owner alone; a line end at its end is not part
    /// of the key.
    pub fn authkey_file(mut self, file: impl AsRef<Path>) -> Self {
        self.authkey_file = Some(file.as_ref().to_owned());
        self
    }

    /// Functions run on the executor of that URL.
    pub fn executor(mut self, url: impl Into<String>) -> Self {
        self.executor = Some(url.into());
        self
    }

    /// What the arguments behind `serve` say; none if they ask for help.
    fn from_arguments(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Self>, ServeError> {
        let usage = |problem: String| ServeError::Usage { problem };
        let (mut listen, mut authkey_file, mut executor) = (None, None, None);
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let text = argument.to_string_lossy().into_owned();
            if text == "--help" || text == "-h" {
                return Ok(None);
            }
            let (option, value) = match text.split_once('=') {
                Some((option, value)) if option.starts_with("--") => (option.to_owned(), Some(value.into())),
                _ => (text, None),
            };
            let known = match option.as_str() {
                "--listen" => &mut listen,
                "--authkey-file" => &mut authkey_file,
                "--executor" => &mut executor,
                _ => return Err(usage(unknown(&option))),
            };
            let value: OsString = match value.or_else(|| arguments.next()) {
                Some(value) => value,
                None => return Err(usage(format!("`{option}` wants a value"))),
            };
            if known.replace(value).is_some() {
                return Err(usage(format!("`{option}` is given twice")));
            }
        }
        let text = |option: &str, value: OsString| {
            value.into_string().map_err(|it| usage(format!("the value of `{option}` is not UTF-8: {it:?}")))
        };
        let listen = listen.ok_or_else(|| usage("`--listen ADDR` is missing".to_owned()))?;
        let mut serve = Self::new(text("--listen", listen)?);
        serve.authkey_file = authkey_file.map(PathBuf::from);
        serve.executor = executor.map(|url| text("--executor", url)).transpose()?;
        Ok(Some(serve))
    }
}

impl Serve {
    /// Opens the executor, listens, prints `listening on ADDR` to standard output, and answers until SIGINT or SIGTERM. Then
    /// the functions that run are answered and no more are begun; a second signal ends the process at once.
    ///
    /// # Errors
    ///
    /// [`ServeError`], before anything is answered.
    ///
    /// # Blocking
    ///
    /// Until one of the signals.
    pub fn run(self) -> Result<(), ServeError> {
        let executor = match &self.executor {
            Some(url) => crate::open(url)?,
            None => crate::from_env()?,
        };
        let authkey = self.authkey_file.map(AuthKey::read).transpose()?;
        let authkey = authkey.unwrap_or(AuthKey::from(None::<&[u8]>));
        let listener = futures::executor::block_on(Listener::bind(&self.listen, authkey))?;
        let address = listener.local_addr().clone();
        let server = RpcServer::new().register_all(executor);
        let handle = server.handle();
        handle.stop_on_signals().map_err(ServeError::Signals)?;
        let serving = server.serve(listener);
        // Who starts servers from a program waits for this line; to anybody else it does not matter whether it can be written.
        let _ = writeln!(std::io::stdout().lock(), "listening on {address}");
        serving.wait().map_err(ServeError::Serve)
    }
}

fn unknown(option: &str) -> String {
    match executor_core::nearest(option, OPTIONS.iter().copied()) {
        Some(nearest) => format!("there is no `{option}` (did you mean `{nearest}`?)"),
        None => format!("there is no `{option}`; known: {}", OPTIONS.join(", ")),
    }
}

/// Why functions cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The arguments on the command line cannot be meant.
    #[error("{problem}; usage: serve --listen ADDR [--authkey-file FILE] [--executor URL]")]
    #[non_exhaustive]
    Usage {
        /// What is wrong.
        problem: String,
    },
    /// There is no such executor.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The authkey cannot be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Nothing can listen there.
    #[error(transparent)]
    Listen(#[from] ConnectionError),
    /// Serving has ended by itself.
    #[error(transparent)]
    Serve(executor_remote::rpc::ServeError),
    /// The operating system does not let us know of signals.
    #[error("cannot wait for signals")]
    Signals(#[source] std::io::Error),
}

impl ServeError {
    /// Whether another command line is the remedy.
    fn is_usage(&self) -> bool {
        match self {
            Self::Usage { .. } => true,
            Self::Open(error) => !matches!(error, OpenError::System { .. } | OpenError::InitMissing),
            _ => false,
        }
    }
}
