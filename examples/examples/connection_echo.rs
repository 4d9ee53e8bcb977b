//! Objects go to a listener and come back, over TCP and over a Unix socket. With an address, the listener waits for other
//! programs, such as Python.

use std::thread;

use executor::connection::ConnectionError;
use executor::connection::blocking::{Client, Connection, Listener};
use executor::object::{Codec, Object};

/// What both sides know and nobody else; Python has it as `b"secret password"`.
const AUTHKEY: &str = "secret password";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match std::env::args().nth(1) {
        Some(address) => serve(&address),
        None => {
            let folder = tempfile::tempdir()?;
            there_and_back("TCP", "127.0.0.1:0")?;
            there_and_back("a Unix socket", &format!("unix:{}", folder.path().join("echo").display()))
        }
    }
}

/// Both sides in one program, which speak bincode.
fn there_and_back(over: &str, address: &str) -> Result<(), Box<dyn std::error::Error>> {
    type Message = (u32, String, Vec<f64>);
    let listener = Listener::bind(address, AUTHKEY)?;
    let address = listener.local_addr().to_string();
    let echo = thread::spawn(move || -> Result<(), ConnectionError> {
        let mut connection = listener.accept()?;
        let message: Message = connection.recv()?;
        connection.send(&message)
    });

    let mut connection = Client::connect(&address, AUTHKEY)?;
    let message: Message = (1, "two".to_owned(), vec![3.0, 4.5]);
    connection.send(&message)?;
    let back: Message = connection.recv()?;
    println!("over {over}: {back:?} came back");
    echo.join().map_err(|_| "the echo panicked")??;
    Ok(())
}

/// Sends back what peers send, which is whatever Python can pickle as plain data.
fn serve(address: &str) -> Result<(), Box<dyn std::error::Error>> {
    let listener = Listener::bind(address, AUTHKEY)?;
    println!("listening on {}", listener.local_addr());
    loop {
        let connection = listener.accept()?.with_codec(Codec::Pickle);
        thread::spawn(move || {
            if let Err(error) = echo(connection) {
                eprintln!("{error}");
            }
        });
    }
}

fn echo(mut connection: Connection) -> Result<(), ConnectionError> {
    loop {
        let object: Object = match connection.recv() {
            Ok(object) => object,
            Err(ConnectionError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        };
        println!("{object}");
        connection.send(&object)?;
    }
}
