//! `limit-socketpair` and `limit-tcp`: a process that sends back what it gets, with plain blocking reads and writes.
//! A payload is one `write_all`: pieces of 256 KiB to 4 MiB were the same within noise, of 64 KiB slower.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use crate::helper::{Helper, Role};
use crate::pool;
use crate::subject::{BenchError, Family, Sample, Side, Subject};
use crate::workload::{Metric, OBJECT_BYTES, PAYLOAD_BYTES, Scale, Speed, Workload};

/// Bytes of a ping: what a small task and its frame take.
const PING_BYTES: usize = 64;

pub fn socketpair() -> Box<dyn Subject> {
    Box::new(Limit { name: "limit-socketpair", family: Family::Processes, transport: Transport::SocketPair })
}

pub fn tcp() -> Box<dyn Subject> {
    Box::new(Limit { name: "limit-tcp", family: Family::Network, transport: Transport::Tcp })
}

/// What carries the bytes. Either way the helper finds its end as its standard input.
#[derive(Clone, Copy)]
enum Transport {
    SocketPair,
    Tcp,
}

struct Limit {
    name: &'static str,
    family: Family,
    transport: Transport,
}

impl Subject for Limit {
    fn name(&self) -> &str {
        self.name
    }

    fn family(&self) -> Family {
        self.family
    }

    fn side(&self) -> Side {
        Side::Limit
    }

    fn workloads(&self) -> &[Workload] {
        &[Workload::Roundtrip, Workload::RoundtripPaused, Workload::Payload, Workload::Connection]
    }

    fn sample(&self, workload: Workload, quick: bool) -> Result<Sample, BenchError> {
        let scale = Scale::new(Speed::Millions, quick);
        match workload {
            Workload::Roundtrip | Workload::RoundtripPaused => {
                let (mut stream, _helper) = self.transport.connect(Role::EchoPing)?;
                let ping = |_| ping(&mut stream, &mut [7; PING_BYTES]);
                if workload == Workload::Roundtrip {
                    pool::round_trips(scale.round_trips(), ping)
                } else {
                    pool::paused_round_trips(scale.paused_round_trips(), ping)
                }
            }
            Workload::Connection => {
                let (mut stream, _helper) = self.transport.connect(Role::EchoPing)?;
                let ping = |_| ping(&mut stream, &mut [7; OBJECT_BYTES]);
                let p50 = pool::median_round_trip(scale.round_trips(), ping)?;
                Ok(vec![(Metric::P50Us, p50)])
            }
            Workload::Payload => {
                let (mut stream, _helper) = self.transport.connect(Role::EchoPayload)?;
                pool::echoes(scale.payload_echoes(), |mut bytes| {
                    stream
                        .write_all(&bytes)
                        .and_then(|()| stream.read_exact(&mut bytes))
                        .map_err(BenchError::io("cannot echo"))?;
                    Ok(bytes)
                })
            }
            other => Err(BenchError::Failed(format!("a bare transport has no {other}"))),
        }
    }
}

fn ping(stream: &mut impl Stream, buffer: &mut [u8]) -> Result<(), BenchError> {
    stream.write_all(buffer).and_then(|()| stream.read_exact(buffer)).map_err(BenchError::io("cannot ping"))
}

impl Transport {
    /// Starts the helper at the other end.
    fn connect(self, role: Role) -> Result<(Box<dyn Stream>, Helper), BenchError> {
        let (ours, theirs): (Box<dyn Stream>, OwnedFd) = match self {
            Transport::SocketPair => {
                let (ours, theirs) =
                    UnixStream::pair().map_err(BenchError::io("cannot make a socket pair"))?;
                (Box::new(ours), theirs.into())
            }
            Transport::Tcp => {
                let (ours, theirs) = tcp_pair().map_err(BenchError::io("cannot connect over loopback"))?;
                (Box::new(ours), theirs.into())
            }
        };
        Ok((ours, Helper::start(role, theirs)?))
    }
}

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

fn tcp_pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let (theirs, _) = listener.accept()?;
    ours.set_nodelay(true)?;
    theirs.set_nodelay(true)?;
    Ok((ours, theirs))
}

/// The other end of the ping-pong: sends back what it gets, which is a whole ping or less, until the end of file.
///
/// # Errors
///
/// What the transport says.
pub fn serve_pings(mut stream: &File) -> io::Result<()> {
    let mut buffer = [0; PING_BYTES];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length])?,
        }
    }
}

/// The other end of the payload: takes all of it, as a task would, and sends it back.
///
/// # Errors
///
/// What the transport says.
pub fn serve_payloads(mut stream: &File) -> io::Result<()> {
    let mut buffer = vec![0; PAYLOAD_BYTES];
    while read_unless_ended(&mut stream, &mut buffer)? {
        stream.write_all(&buffer)?;
    }
    Ok(())
}

/// Fills the buffer; false when the stream ended before its first byte.
fn read_unless_ended(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    let first = stream.read(buffer)?;
    if first == 0 {
        return Ok(false);
    }
    stream.read_exact(&mut buffer[first..])?;
    Ok(true)
}
