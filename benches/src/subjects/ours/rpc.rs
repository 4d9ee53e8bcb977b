//! `rpc-from-python`: the server of `executor::rpc` over loopback TCP, with a key, in a process of its own, called by Python's
//! thirty lines.

use std::fs::File;
use std::io::{self, Read, Write};
use std::thread;

use executor::remote::connection::Listener;
use executor::remote::rpc::RpcServer;
use futures::executor::block_on;

use super::AUTHKEY;
use crate::helper::{Role, Server};
use crate::subject::{BenchError, Family, Sample, Side, Subject};
use crate::subjects::python::{self, Python};
use crate::workload::{self, Workload};

pub fn from_python() -> Box<dyn Subject> {
    Box::new(FromPython(Python::new("rpc-from-python", Family::Network, &[Workload::Rpc])))
}

/// Our server, asked by Python.
struct FromPython(Python);

impl Subject for FromPython {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn family(&self) -> Family {
        self.0.family()
    }

    fn side(&self) -> Side {
        Side::Ours
    }

    fn workloads(&self) -> &[Workload] {
        self.0.workloads()
    }

    fn available(&self) -> Result<(), String> {
        python::available()
    }

    fn sample(&self, workload: Workload, quick: bool) -> Result<Sample, BenchError> {
        let server = Server::start(Role::RpcServer, "")?;
        self.0.sample_of(workload, quick, Some(server.address()))
    }
}

/// The server: prints its address, and serves until `lifeline` ends.
///
/// # Errors
///
/// When it cannot listen.
pub fn serve_until_end_of(mut lifeline: File) -> io::Result<()> {
    let listener = block_on(Listener::bind("127.0.0.1:0", AUTHKEY)).map_err(io::Error::other)?;
    println!("{}", listener.local_addr());
    io::stdout().flush()?;
    let server = RpcServer::new().register("noop", workload::noop);
    thread::spawn(move || server.serve(listener).wait());
    lifeline.read_to_end(&mut Vec::new())?;
    Ok(())
}
