use std::net::TcpStream;
use std::time::Duration;

use executor_remote::connection::Address;

/// More than any message of these tests has.
pub const MAX: usize = 64 << 20;

/// One address of each kind that this machine has, and the folder of the Unix socket.
pub fn addresses() -> (Vec<String>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("unix:{}/socket", folder.path().display());
    let name = format!("unix:@{}", folder.path().file_name().unwrap().display());
    let mut addresses = vec!["127.0.0.1:0".into(), path, name];
    // Many containers have no IPv6.
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        addresses.push("[::1]:0".into());
    }
    (addresses, folder)
}

/// Messages of lengths where something changes.
pub fn messages() -> Vec<Vec<u8>> {
    [0, 1, 16_384, 16_385, 65_536, 65_537, 3 << 20].map(|len| (0..len).map(|n| n as u8).collect()).into()
}

/// A peer that speaks bytes. What it waits for in vain fails the test.
pub fn raw(address: &Address) -> TcpStream {
    let stream = TcpStream::connect(address.to_string()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// A message with its header.
pub fn framed(message: &[u8]) -> Vec<u8> {
    [&u32::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
}

/// A tokio runtime with everything, for tests that need time.
pub fn with_time<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}
