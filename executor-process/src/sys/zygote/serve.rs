//! The zygote's side: a process of one thread that forks when it is told to.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use executor_core::worker::{Incoming, run};
use executor_core::{Carrier, Executor, Host, Invocation, Outlet, Serial, Target, TaskId};

use super::link::{FromZygote, Link, Received, ToZygote};
use super::title::Title;
use crate::sys::fork::{Forked, Sibling, described};
use crate::sys::worker::{self, EnterError, WorkerChannel};

/// Exit code of a zygote that cannot be one.
const EXIT_FAILED: i32 = 70;

pub(in crate::sys) struct Zygote {
    link: Link,
    /// The process whose children the workers are.
    program: i32,
    title: Option<Title>,
    sibling: Option<Sibling>,
}

impl Zygote {
    /// In a process that has one thread and is a child of `program`.
    pub(in crate::sys) fn new(link: OwnedFd, program: i32, title: Option<Title>) -> Self {
        Self { link: Link::new(link), program, title, sibling: None }
    }

    /// Does what the program says. Returns in the workers only; the zygote itself exits when the program has closed the
    /// link.
    pub(in crate::sys) fn serve(mut self) -> Result<WorkerChannel, EnterError> {
        loop {
            match self.link.receive(true) {
                Ok(Received::Message(message, descriptors)) => {
                    if let Some(channel) = self.obey(message, descriptors)? {
                        return Ok(channel);
                    }
                }
                Ok(Received::Nothing) => {}
                Ok(Received::Closed) => worker::exit(0),
                Err(error) => {
                    eprintln!("executor zygote: {error}");
                    worker::exit(EXIT_FAILED)
                }
            }
        }
    }

    fn obey(
        &mut self,
        message: ToZygote,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Option<WorkerChannel>, EnterError> {
        match message {
            ToZygote::Prepare { preload } => {
                match self.prepare(&preload) {
                    Ok(()) => self.say(&FromZygote::Ready),
                    Err(reason) => {
                        self.say(&FromZygote::Failed { reason });
                        worker::exit(EXIT_FAILED)
                    }
                }
                Ok(None)
            }
            ToZygote::Worker { request, has_stdout, has_stderr, name } => {
                match self.fork(request) {
                    Ok(Forked::Child) => {}
                    _ => return Ok(None),
                }
                worker::die_with_parent(self.program)?;
                self.say_that_we_are_there(request);
                match &self.title {
                    Some(title) => title.set(&name),
                    None => worker::show_as(&name),
                }
                take_streams(descriptors, has_stdout, has_stderr).and_then(worker::settle).map(Some)
            }
            ToZygote::Zygote { envs } => {
                let Some(end) = descriptors.into_iter().next() else { return Ok(None) };
                match self.fork(0) {
                    Ok(Forked::Child) => {}
                    Ok(Forked::Parent(_)) => return Ok(None),
                    Err(reason) => {
                        // Nobody listens to what this one says on its own link.
                        let _ = Link::new(end).send(&FromZygote::Failed { reason }, &[]);
                        return Ok(None);
                    }
                }
                worker::die_with_parent(self.program)?;
                self.link = Link::new(end);
                self.say_that_we_are_there(0);
                set_environment(envs);
                self.say(&FromZygote::Ready);
                Ok(None)
            }
        }
    }

    /// Runs the hook and looks whether this process may fork.
    fn prepare(&mut self, preload: &str) -> Result<(), String> {
        if !preload.is_empty() {
            run_hook(preload).map_err(|error| format!("the preload hook `{preload}` failed: {error}"))?;
        }
        let threads =
            worker::threads_besides_dying().map_err(|error| format!("counting threads: {error}"))?;
        if threads.len() > 1 {
            let who = match preload {
                "" => "the program has started threads before `executor::init()`".to_owned(),
                hook => format!("the preload hook `{hook}` has left threads behind"),
            };
            return Err(format!(
                "{who}, and a process with threads cannot be forked: {}; start them in the tasks, or use \
                 start_method=spawn",
                described(&threads)
            ));
        }
        self.sibling = Some(Sibling::new().map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Forks a sibling and tells the program what came of it. The error has been told, too, if it is about a worker.
    fn fork(&mut self, request: u64) -> Result<Forked, String> {
        let forked = match &self.sibling {
            // SAFETY: `prepare` has found one thread, and nothing since then has started another: only code of this module
            // has run. The child returns up to whoever called `serve`, all of whose frames are meant for it.
            Some(sibling) => unsafe { sibling.fork() }.map_err(|error| format!("forking failed: {error}")),
            None => Err("it was asked to fork before it was prepared".to_owned()),
        };
        match &forked {
            Ok(Forked::Parent(pid)) if request != 0 => self.say(&FromZygote::Forked { request, pid: *pid }),
            Err(reason) if request != 0 => {
                self.say(&FromZygote::Refused { request, reason: reason.clone() });
            }
            _ => {}
        }
        forked
    }

    /// First of all in a new process.
    fn say_that_we_are_there(&self, request: u64) {
        // A process group of its own, so that what its tasks start can be ended with it.
        let _ = rustix::process::setpgid(None, None);
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        self.say(&FromZygote::Forked { request, pid });
    }

    /// A program that does not listen any more is about to be noticed.
    fn say(&self, what: &FromZygote) {
        let _ = self.link.send(what, &[]);
    }
}

fn run_hook(name: &str) -> Result<(), executor_core::TaskError> {
    struct NoHost;
    impl Host for NoHost {
        fn executor(&self) -> Arc<dyn Executor> {
            Arc::new(Serial::new())
        }
        fn worker(&self) -> String {
            "preload hook".to_owned()
        }
    }
    let host: Arc<dyn Host> = Arc::new(NoHost);
    let target = Target::Named(name.to_owned());
    // The unit has no bytes.
    let hook =
        Incoming { target: &target, arg: (&[]).into(), task: TaskId::from_raw(0), attempt: 1, token: 0 };
    let mut out = Vec::new();
    match run(hook, &host, &mut Outlet::new(&mut out, Carrier::bytes(usize::MAX))) {
        Invocation::Done(result) => result,
        Invocation::Pending(_) => unreachable!("functions known by name are not async"),
    }
}

/// Puts the pipes in the places of the standard streams; what is left is the channel.
fn take_streams(
    descriptors: Vec<OwnedFd>,
    has_stdout: bool,
    has_stderr: bool,
) -> Result<OwnedFd, EnterError> {
    let mut descriptors = descriptors.into_iter();
    let missing = || EnterError::Io {
        action: "take the channel over",
        source: std::io::Error::from(std::io::ErrorKind::InvalidData),
    };
    let error = |source: rustix::io::Errno| EnterError::Io {
        action: "take the output pipes over",
        source: source.into(),
    };
    let channel = descriptors.next().ok_or_else(missing)?;
    if has_stdout {
        let pipe = descriptors.next().ok_or_else(missing)?;
        rustix::stdio::dup2_stdout(pipe.as_fd()).map_err(error)?;
    }
    if has_stderr {
        let pipe = descriptors.next().ok_or_else(missing)?;
        rustix::stdio::dup2_stderr(pipe.as_fd()).map_err(error)?;
    }
    Ok(channel)
}

fn set_environment(envs: Vec<(OsString, OsString)>) {
    for (name, value) in envs {
        // SAFETY: this process has one thread.
        unsafe { std::env::set_var(name, value) };
    }
}
