//! `tarpc` over loopback TCP with bincode, the server in a process of its own, as our agent is. It does not encrypt.
//!
//! The server runs handlers on as many tokio threads as every subject has workers. The client is a runtime of one
//! thread: with two its round trip took 76-80 µs instead of 38-53, and its rate was the same within noise. It raises
//! what would fail or hold back that many calls: the limit of requests in flight and the deadline.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::StreamExt;
use tarpc::client::{self, RpcError};
use tarpc::context::{self, Context};
use tarpc::serde_transport::tcp;
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::bytes::Bytes;
use crate::helper::{Role, Server};
use crate::pool;
use crate::subject::{BenchError, Family, Handle, Pool, Sample, Subject};
use crate::workload::{self, Scale, Speed, WORKERS, Workload};

/// Room for the payload and its length in one frame.
const FRAME_LIMIT: usize = workload::PAYLOAD_BYTES + 1024;

pub fn subject() -> Box<dyn Subject> {
    Box::new(TarpcSubject)
}

struct TarpcSubject;

impl Subject for TarpcSubject {
    fn name(&self) -> &str {
        "tarpc"
    }

    fn family(&self) -> Family {
        Family::Network
    }

    fn workloads(&self) -> &[Workload] {
        &[
            Workload::Noop,
            Workload::Roundtrip,
            Workload::RoundtripPaused,
            Workload::Payload,
            Workload::Cpu,
            Workload::Startup,
            Workload::Idle,
            Workload::Rpc,
        ]
    }

    /// The server is there before the measurement, as an agent is: `startup` times the connection.
    fn sample(&self, workload: Workload, quick: bool) -> Result<Sample, BenchError> {
        let server = Server::start(Role::TarpcServer, "")?;
        let address = server.address();
        let address = address
            .parse()
            .map_err(|error| BenchError::Failed(format!("`{address}` is no address: {error}")))?;
        let scale = Scale::new(Speed::Thousands, quick);
        pool::measure(workload, scale, |_workers| Tarpc::connect(address))
    }
}

#[tarpc::service]
trait Tasks {
    async fn noop(x: u64) -> u64;
    async fn burn(x: u64) -> u64;
    async fn hold(path: String) -> u64;
    async fn echo(bytes: Bytes) -> Bytes;
}

#[derive(Clone)]
struct Worker;

impl Tasks for Worker {
    async fn noop(self, _: Context, x: u64) -> u64 {
        workload::noop(x)
    }

    async fn burn(self, _: Context, x: u64) -> u64 {
        workload::burn(x)
    }

    async fn hold(self, _: Context, path: String) -> u64 {
        workload::hold(path)
    }

    async fn echo(self, _: Context, bytes: Bytes) -> Bytes {
        workload::echo(bytes)
    }
}

struct Tarpc {
    client: TasksClient,
    runtime: Runtime,
}

impl Tarpc {
    fn connect(address: SocketAddr) -> Result<Self, BenchError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(BenchError::io("cannot start tokio"))?;
        let client =
            runtime.block_on(connect(address)).map_err(BenchError::io("cannot reach the tarpc server"))?;
        Ok(Self { client, runtime })
    }

    fn call(&self, call: impl Future<Output = Result<u64, RpcError>> + Send + 'static) -> Calling<'_> {
        Calling { runtime: &self.runtime, reply: self.runtime.spawn(call) }
    }
}

impl Pool for Tarpc {
    fn noop(&self, x: u64) -> impl Handle {
        let client = self.client.clone();
        self.call(async move { client.noop(patient(), x).await })
    }

    fn burn(&self, x: u64) -> impl Handle {
        let client = self.client.clone();
        self.call(async move { client.burn(patient(), x).await })
    }

    fn hold(&self, path: String) -> impl Handle {
        let client = self.client.clone();
        self.call(async move { client.hold(patient(), path).await })
    }

    fn echo(&self, bytes: Vec<u8>) -> Result<Vec<u8>, BenchError> {
        let echoed = self.runtime.block_on(self.client.echo(patient(), Bytes(bytes)));
        Ok(echoed.map_err(BenchError::failed)?.0)
    }
}

async fn connect(address: SocketAddr) -> io::Result<TasksClient> {
    let mut connecting = tcp::connect(address, Bincode::default);
    connecting.config_mut().max_frame_length(FRAME_LIMIT);
    let transport = connecting.await?;
    transport.get_ref().set_nodelay(true)?;
    let mut config = client::Config::default();
    config.max_in_flight_requests = usize::MAX;
    Ok(TasksClient::new(config, transport).spawn())
}

/// The context of a call that may wait for all the others: tarpc's own deadline is ten seconds.
fn patient() -> Context {
    let mut context = context::current();
    context.deadline = Instant::now() + Duration::from_secs(600);
    context
}

/// A call that tokio drives while it is awaited.
struct Calling<'a> {
    runtime: &'a Runtime,
    reply: JoinHandle<Result<u64, RpcError>>,
}

impl Handle for Calling<'_> {
    fn wait(self) -> Result<u64, BenchError> {
        let reply = self.runtime.block_on(self.reply);
        reply.map_err(BenchError::failed)?.map_err(BenchError::failed)
    }

    fn wait_sum(handles: &mut Vec<Self>) -> Result<u64, BenchError> {
        let Some(first) = handles.first() else {
            return Ok(0);
        };
        first.runtime.block_on(async {
            let mut sum = 0u64;
            for handle in handles.drain(..) {
                let reply = handle.reply.await.map_err(BenchError::failed)?;
                sum = sum.wrapping_add(reply.map_err(BenchError::failed)?);
            }
            Ok(sum)
        })
    }
}

/// The server: prints its address, and serves until `lifeline` ends.
///
/// # Errors
///
/// When it cannot listen.
pub fn serve_until_end_of(mut lifeline: impl Read) -> io::Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let mut incoming = runtime.block_on(tcp::listen(("127.0.0.1", 0), Bincode::default))?;
    incoming.config_mut().max_frame_length(FRAME_LIMIT);
    println!("{}", incoming.local_addr());
    io::stdout().flush()?;
    runtime.spawn(async move {
        while let Some(Ok(transport)) = incoming.next().await {
            // A transport without TCP_NODELAY is slower, and works.
            let _ = transport.get_ref().set_nodelay(true);
            let replies = BaseChannel::with_defaults(transport).execute(Worker.serve());
            tokio::spawn(replies.for_each(|reply| async {
                tokio::spawn(reply);
            }));
        }
    });
    lifeline.read_to_end(&mut Vec::new())?;
    Ok(())
}
