//! `connection-unix` and `connection-tcp`: `executor::remote::connection` by its blocking calls, to a process that sends back the
//! objects that it gets.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::thread;

use executor::remote::connection::blocking::{Client, Listener};

use super::AUTHKEY;
use crate::helper::{Role, Server};
use crate::pool::{self, check};
use crate::subject::{BenchError, Family, Sample, Side, Subject};
use crate::workload::{Metric, OBJECT_BYTES, Scale, Speed, Workload};

pub fn unix() -> Box<dyn Subject> {
    Box::new(Connection { name: "connection-unix", family: Family::Processes })
}

pub fn tcp() -> Box<dyn Subject> {
    Box::new(Connection { name: "connection-tcp", family: Family::Network })
}

/// What goes there and back: an array, which is encoded as its bytes and nothing else.
type Object = [u8; OBJECT_BYTES];

struct Connection {
    name: &'static str,
    family: Family,
}

impl Subject for Connection {
    fn name(&self) -> &str {
        self.name
    }

    fn family(&self) -> Family {
        self.family
    }

    fn side(&self) -> Side {
        Side::Ours
    }

    fn workloads(&self) -> &[Workload] {
        &[Workload::Connection]
    }

    fn sample(&self, _: Workload, quick: bool) -> Result<Sample, BenchError> {
        let scale = Scale::new(Speed::Millions, quick);
        let folder = tempfile::tempdir().map_err(BenchError::io("cannot make a folder"))?;
        let address = match self.family {
            Family::Network => "127.0.0.1:0".to_owned(),
            _ => format!("unix:{}", folder.path().join("socket").display()),
        };
        let server = Server::start(Role::ConnectionEcho, &address)?;
        let mut connection = Client::connect(server.address(), AUTHKEY).map_err(BenchError::failed)?;
        let p50 = pool::median_round_trip(scale.round_trips(), |x| {
            let mut object: Object = [7; OBJECT_BYTES];
            object[0] = x as u8;
            connection.send(&object).map_err(BenchError::failed)?;
            let echoed: Object = connection.recv().map_err(BenchError::failed)?;
            check(echoed[0].into(), x & 0xFF)
        })?;
        Ok(vec![(Metric::P50Us, p50)])
    }
}

/// The other end: reads where to listen, prints where it does, and sends back what it gets until `lifeline` ends.
///
/// # Errors
///
/// When it cannot listen.
pub fn serve_until_end_of(lifeline: File) -> io::Result<()> {
    let mut lifeline = BufReader::new(lifeline);
    let mut address = String::new();
    lifeline.read_line(&mut address)?;
    let listener = Listener::bind(address.trim_end(), AUTHKEY).map_err(io::Error::other)?;
    println!("{}", listener.local_addr());
    io::stdout().flush()?;
    thread::spawn(move || echo(&listener));
    lifeline.read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Sends back what the first peer sends. Whatever goes wrong, the peer is the one to say so: it gets no answer.
fn echo(listener: &Listener) {
    let Ok(mut connection) = listener.accept() else { return };
    while let Ok(object) = connection.recv::<Object>() {
        if connection.send(&object).is_err() {
            return;
        }
    }
}
