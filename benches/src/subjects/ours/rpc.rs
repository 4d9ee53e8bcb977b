//! `rpc`: `executor::rpc` over loopback TCP, with a key, the server in a process of its own. `rpc-from-python`: the same
//! server, called by Python's thirty lines.
//!
//! The client calls and waits in the thread that measures; it has no runtime of its own.

use std::fs::File;
use std::io::{self, Read, Write};
use std::thread;

use executor::remote::connection::Listener;
use executor::remote::rpc::{Call, RpcClient, RpcServer};
use futures::executor::block_on;

use super::AUTHKEY;
use crate::helper::{Role, Server};
use crate::pool;
use crate::subject::{BenchError, Family, Handle, Sample, Side, Subject};
use crate::subjects::python::{self, Python};
use crate::workload::{self, Scale, Speed, Workload};

pub fn rpc() -> Box<dyn Subject> {
    Box::new(Rpc)
}

pub fn from_python() -> Box<dyn Subject> {
    Box::new(FromPython(Python::new("rpc-from-python", Family::Network, &[Workload::Rpc])))
}

struct Rpc;

impl Subject for Rpc {
    fn name(&self) -> &str {
        "rpc"
    }

    fn family(&self) -> Family {
        Family::Network
    }

    fn side(&self) -> Side {
        Side::Ours
    }

    fn workloads(&self) -> &[Workload] {
        &[Workload::Rpc]
    }

    fn sample(&self, _: Workload, quick: bool) -> Result<Sample, BenchError> {
        let server = Server::start(Role::RpcServer, "")?;
        let client = block_on(RpcClient::connect(server.address(), AUTHKEY)).map_err(BenchError::failed)?;
        pool::calls(Scale::new(Speed::Thousands, quick), |x| client.call::<_, u64>("noop", (x,)))
    }
}

impl Handle for Call<u64> {
    fn wait(self) -> Result<u64, BenchError> {
        Call::wait(self).map_err(BenchError::failed)
    }
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
