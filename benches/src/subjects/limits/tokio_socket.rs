//! `limit-tokio`: 8 bytes over loopback TCP through tokio and back, to a process that sends back what it gets.
//!
//! Each side is a runtime of one thread: one of two threads at the other end took 18.4 µs a round trip instead of 17.9.
//! Many at once are gathered into large writes.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::runtime::{Builder, Runtime};

use crate::helper::{Helper, Role};
use crate::pool::{self, check, rate};
use crate::subject::{BenchError, Family, Sample, Side, Subject};
use crate::workload::{Metric, Scale, Speed, Workload};

/// Bytes that are gathered before they are written, and read at once.
const BUFFER_BYTES: usize = 64 << 10;

pub fn subject() -> Box<dyn Subject> {
    Box::new(Tokio)
}

struct Tokio;

impl Subject for Tokio {
    fn name(&self) -> &str {
        "limit-tokio"
    }

    fn family(&self) -> Family {
        Family::Network
    }

    fn side(&self) -> Side {
        Side::Limit
    }

    fn workloads(&self) -> &[Workload] {
        &[Workload::Rpc]
    }

    fn sample(&self, _: Workload, quick: bool) -> Result<Sample, BenchError> {
        let scale = Scale::new(Speed::Thousands, quick);
        let mut client = Client::connect()?;
        client.many_at_once(scale.calls().div_ceil(10))?;

        let begun = Instant::now();
        client.many_at_once(scale.calls())?;
        let elapsed = begun.elapsed();
        let p50 = pool::median_round_trip(scale.round_trips(), |x| check(client.ping(x)?, x))?;
        Ok(vec![(Metric::CallsPerSecond, rate(scale.calls(), elapsed)), (Metric::P50Us, p50)])
    }
}

struct Client {
    runtime: Runtime,
    stream: tokio::net::TcpStream,
    _helper: Helper,
}

impl Client {
    fn connect() -> Result<Self, BenchError> {
        let (ours, theirs) = pair().map_err(BenchError::io("cannot connect over loopback"))?;
        let helper = Helper::start(Role::TokioEcho, theirs)?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(BenchError::io("cannot start tokio"))?;
        let stream = {
            let _entered = runtime.enter();
            tokio::net::TcpStream::from_std(ours).map_err(BenchError::io("tokio refuses the socket"))?
        };
        Ok(Self { runtime, stream, _helper: helper })
    }

    fn ping(&mut self, x: u64) -> Result<u64, BenchError> {
        let stream = &mut self.stream;
        let echoed = self.runtime.block_on(async {
            stream.write_all(&x.to_le_bytes()).await?;
            stream.read_u64_le().await
        });
        echoed.map_err(BenchError::io("cannot ping"))
    }

    fn many_at_once(&mut self, count: usize) -> Result<(), BenchError> {
        let (reader, writer) = self.stream.split();
        let count = count as u64;
        let write = async {
            let mut writer = BufWriter::with_capacity(BUFFER_BYTES, writer);
            for x in 0..count {
                writer.write_u64_le(x).await?;
            }
            writer.flush().await
        };
        let read = async {
            let mut reader = BufReader::with_capacity(BUFFER_BYTES, reader);
            let mut sum = 0u64;
            for _ in 0..count {
                sum += reader.read_u64_le().await?;
            }
            Ok(sum)
        };
        let both = self.runtime.block_on(async { futures::try_join!(write, read) });
        let ((), sum) = both.map_err(BenchError::io("cannot ping"))?;
        check(sum, count * (count - 1) / 2)
    }
}

fn pair() -> io::Result<(TcpStream, OwnedFd)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let (theirs, _) = listener.accept()?;
    ours.set_nodelay(true)?;
    ours.set_nonblocking(true)?;
    theirs.set_nodelay(true)?;
    Ok((ours, theirs.into()))
}

/// The other end: sends back what it gets, until the end of file.
///
/// # Errors
///
/// What the transport says.
pub fn serve(stdin: impl AsFd) -> io::Result<()> {
    let stream = TcpStream::from(stdin.as_fd().try_clone_to_owned()?);
    stream.set_nonblocking(true)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let mut stream = tokio::net::TcpStream::from_std(stream)?;
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match stream.read(&mut buffer).await? {
                0 => return Ok(()),
                length => stream.write_all(&buffer[..length]).await?,
            }
        }
    })
}
