//! Sockets: made, bound, connected.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, getsockname, listen, socket_with,
};

use super::address::Address;
use super::error::{ConnectionError, Found};
use super::wire::SocketKind;

/// Peers that the system keeps until they are accepted. It takes no more than its own limit, usually 4096.
const BACKLOG: i32 = 4096;
/// Between two attempts at a Unix socket whose queue is full.
const RETRY: Duration = Duration::from_millis(5);

fn stream_socket(family: AddressFamily) -> Result<OwnedFd, Errno> {
    socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)
}

fn unix_address(address: &Address) -> Result<SocketAddrUnix, Errno> {
    match address {
        Address::Unix(path) => SocketAddrUnix::new(path.as_path()),
        Address::Abstract(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
        Address::Tcp(_) | Address::Unnamed => Err(Errno::ADDRNOTAVAIL),
    }
}

/// A socket that is listened on.
pub(super) struct Bound {
    pub(super) fd: OwnedFd,
    pub(super) kind: SocketKind,
    pub(super) address: Address,
    /// To be removed.
    pub(super) file: Option<SocketFile>,
}

/// The socket addresses of a host.
///
/// # Blocking
///
/// While a name is looked up.
pub(super) fn resolve(address: &Address) -> Result<Vec<SocketAddr>, ConnectionError> {
    let Address::Tcp(tcp) = address else { return Ok(Vec::new()) };
    tcp.resolve().map_err(|error| {
        let source = match error {
            crate::address::AddressError::Resolve { source, .. } => source,
            other => io::Error::other(other),
        };
        ConnectionError::Resolve { address: address.clone(), source }
    })
}

/// Listens on `address`, which stands for `targets` if it is of TCP.
pub(super) fn bind_to(
    address: &Address,
    targets: &[SocketAddr],
    is_protected: bool,
) -> Result<Bound, ConnectionError> {
    let exposed = targets.iter().find(|target| !crate::address::is_loopback(target.ip()));
    if let (false, Some(target)) = (is_protected, exposed) {
        return Err(ConnectionError::NotLoopback { address: address.clone(), target: *target });
    }
    match address {
        Address::Tcp(_) => bind_tcp(address, targets),
        Address::Unix(path) => bind_path(address, path),
        Address::Abstract(_) | Address::Unnamed => {
            let fd = bind_unix(address).map_err(|errno| bind_error(address, errno))?;
            Ok(Bound { fd, kind: SocketKind::Unix, address: address.clone(), file: None })
        }
    }
}

fn bind_error(address: &Address, errno: Errno) -> ConnectionError {
    let address = address.clone();
    match errno {
        Errno::ADDRINUSE => ConnectionError::AddressInUse { address },
        _ => ConnectionError::Bind { address, source: errno.into() },
    }
}

fn bind_tcp(address: &Address, targets: &[SocketAddr]) -> Result<Bound, ConnectionError> {
    let mut last = Errno::ADDRNOTAVAIL;
    for target in targets {
        let bound = stream_socket(family(target)).and_then(|fd| {
            sockopt::set_socket_reuseaddr(&fd, true)?;
            bind(&fd, target)?;
            listen(&fd, BACKLOG)?;
            let address = Address::from_any(getsockname(&fd)?);
            Ok(Bound { fd, kind: SocketKind::Tcp, address, file: None })
        });
        match bound {
            Ok(bound) => return Ok(bound),
            Err(errno) => last = errno,
        }
    }
    Err(bind_error(address, last))
}

fn family(target: &SocketAddr) -> AddressFamily {
    if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

fn bind_unix(address: &Address) -> Result<OwnedFd, Errno> {
    let fd = stream_socket(AddressFamily::UNIX)?;
    bind(&fd, &unix_address(address)?)?;
    listen(&fd, BACKLOG)?;
    Ok(fd)
}

fn bind_path(address: &Address, path: &Path) -> Result<Bound, ConnectionError> {
    match bind_unix(address) {
        Ok(fd) => {
            let file = SocketFile::at(path);
            Ok(Bound { fd, kind: SocketKind::Unix, address: address.clone(), file })
        }
        Err(Errno::ADDRINUSE) => {
            Err(ConnectionError::PathExists { path: path.into(), found: what_is_at(address, path) })
        }
        Err(errno) => Err(bind_error(address, errno)),
    }
}

fn what_is_at(address: &Address, path: &Path) -> Found {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        _ => return Found::OtherFile,
    }
    let tried = stream_socket(AddressFamily::UNIX).and_then(|fd| {
        rustix::io::ioctl_fionbio(&fd, true)?; // its queue may be full
        connect(&fd, &unix_address(address)?)
    });
    match tried {
        Err(Errno::CONNREFUSED) => Found::StaleSocket,
        _ => Found::LiveSocket,
    }
}

/// The file of a Unix socket that is ours.
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> Option<Self> {
        let metadata = path.symlink_metadata().ok()?;
        // The folder of the program may change.
        let path = std::path::absolute(path).ok()?;
        Some(Self { path, identity: (metadata.dev(), metadata.ino()) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // If somebody has put something else there, it is not ours to remove.
        let is_ours =
            self.path.symlink_metadata().is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if is_ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "the file of a socket remains");
        }
    }
}

/// Sends small messages at once; nothing else is set.
pub(super) fn prepare(fd: &OwnedFd, kind: SocketKind) -> Result<(), Errno> {
    match kind {
        SocketKind::Tcp => sockopt::set_tcp_nodelay(fd, true),
        SocketKind::Unix => Ok(()),
    }
}

fn connect_error(address: &Address, source: io::Error) -> ConnectionError {
    ConnectionError::Connect { address: address.clone(), source }
}

/// Connects to `address`, on the thread of the caller.
pub(super) fn connect_waiting(
    address: &Address,
    deadline: Instant,
) -> Result<(OwnedFd, SocketKind), ConnectionError> {
    let error = |source| connect_error(address, source);
    if !matches!(address, Address::Tcp(_)) {
        let fd = connect_unix(address, Some(share(deadline, 1))).map_err(|errno| error(errno.into()))?;
        return Ok((fd, SocketKind::Unix));
    }
    let targets = resolve(address)?;
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for (tried, target) in targets.iter().enumerate() {
        let share = share(deadline, targets.len() - tried);
        if share.is_zero() {
            break;
        }
        match std::net::TcpStream::connect_timeout(target, share) {
            Ok(stream) => {
                let fd = OwnedFd::from(stream);
                prepare(&fd, SocketKind::Tcp).map_err(|errno| error(errno.into()))?;
                return Ok((fd, SocketKind::Tcp));
            }
            Err(source) => last = source,
        }
    }
    Err(error(last))
}

/// Without a limit it does not wait: `EAGAIN` if the queue of the listener is full.
fn connect_unix(address: &Address, limit: Option<Duration>) -> Result<OwnedFd, Errno> {
    let fd = stream_socket(AddressFamily::UNIX)?;
    match limit {
        // A time-out of zero would be none.
        Some(limit) => {
            let limit = limit.max(Duration::from_millis(1));
            sockopt::set_socket_timeout(&fd, Timeout::Send, Some(limit))?;
        }
        None => rustix::io::ioctl_fionbio(&fd, true)?,
    }
    connect(&fd, &unix_address(address)?).map_err(|errno| match (errno, limit) {
        (Errno::AGAIN, Some(_)) => Errno::TIMEDOUT,
        (errno, _) => errno,
    })?;
    match limit {
        Some(_) => sockopt::set_socket_timeout(&fd, Timeout::Send, None)?,
        None => rustix::io::ioctl_fionbio(&fd, false)?,
    }
    Ok(fd)
}

/// Connects to `address`, in a tokio runtime.
pub(super) async fn connect_async(
    address: &Address,
    deadline: Instant,
) -> Result<(OwnedFd, SocketKind), ConnectionError> {
    let error = |source| connect_error(address, source);
    let Address::Tcp(tcp) = address else {
        loop {
            match connect_unix(address, None) {
                Ok(fd) => return Ok((fd, SocketKind::Unix)),
                Err(Errno::AGAIN) if Instant::now() < deadline => tokio::time::sleep(RETRY).await,
                Err(errno) => return Err(error(errno.into())),
            }
        }
    };
    let resolve_error = |source| ConnectionError::Resolve { address: address.clone(), source };
    let found = tokio::time::timeout_at(deadline.into(), tokio::net::lookup_host((tcp.host(), tcp.port())));
    let found = found.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let targets: Vec<_> = found.map_err(resolve_error)?.collect();
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for (tried, target) in targets.iter().enumerate() {
        let share = share(deadline, targets.len() - tried);
        match tokio::time::timeout(share, tokio::net::TcpStream::connect(target)).await {
            Ok(Ok(stream)) => {
                let fd = OwnedFd::from(stream.into_std().map_err(error)?);
                rustix::io::ioctl_fionbio(&fd, false).map_err(|errno| error(errno.into()))?;
                prepare(&fd, SocketKind::Tcp).map_err(|errno| error(errno.into()))?;
                return Ok((fd, SocketKind::Tcp));
            }
            Ok(Err(source)) => last = source,
            Err(_) => {}
        }
    }
    Err(error(last))
}

/// The time is shared out, so that one address which swallows packets does not take all of it.
fn share(deadline: Instant, addresses: usize) -> Duration {
    deadline.saturating_duration_since(Instant::now()) / addresses.try_into().unwrap_or(u32::MAX)
}
