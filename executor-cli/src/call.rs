//! `executor call ADDR NAME JSON-ARGS`: one remote call, from a shell.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use executor::connection::{AuthKey, Client};
use executor::object::{Codec, Object};
use executor::remote::key::ClusterKey;
use executor::rpc::{ClientConfig, RpcClient, RpcError};
use serde::ser::SerializeTuple;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::failure::Failure;

/// Call the function NAME of the server at ADDR, and print its value as JSON.
///
/// Arguments are a JSON array, one element for each; anything else is the only argument. An error, the remote function's or
/// another, goes to standard error, and the exit status is 1.
///
///     executor call 127.0.0.1:25000 add '[2, 3]' --authkey-file secret
///
/// Servers of the `executor` library understand every codec, and Python's usual thirty-line server understands pickle.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Where the server listens: 127.0.0.1:25000, [::1]:25000, unix:/path or unix:@name
    #[arg(value_name = "ADDR")]
    address: String,
    /// The function's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Its arguments, a JSON array; or the only argument, any other JSON
    #[arg(value_name = "JSON-ARGS", default_value = "[]", value_parser = arguments, allow_hyphen_values = true)]
    arguments: Value,
    /// The key that both sides prove, in a file that only its owner may read
    #[arg(long, value_name = "FILE")]
    authkey_file: Option<PathBuf>,
    /// The cluster key, from `executor keygen`, if the server encrypts its connections with it
    #[arg(long, value_name = "FILE", conflicts_with = "authkey_file")]
    key: Option<PathBuf>,
    /// How values travel: as JSON-RPC 2.0, MessagePack-RPC, or Python's pickles
    #[arg(long, value_enum, default_value_t = Wire::Json)]
    codec: Wire,
    /// How long to wait for the value, such as 250ms, 30s, 5m [default: as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    deadline: Option<Duration>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Wire {
    Json,
    Messagepack,
    Pickle,
}

impl From<Wire> for Codec {
    fn from(wire: Wire) -> Self {
        match wire {
            Wire::Json => Self::Json,
            Wire::Messagepack => Self::MessagePack,
            Wire::Pickle => Self::Pickle,
        }
    }
}

fn arguments(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| {
        format!(
            "it is not JSON: {error}; a text needs double quotes of its own, as in '[\"text\", 1.5, true]'"
        )
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "it should be a time with its unit, such as 250ms, 30s or 5m".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs).ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let value = futures::executor::block_on(call(arguments))?;
    let text = serde_json::to_string(&value)
        .map_err(|error| failed(format!("the value is {value}, which JSON has no form for: {error}")))?;
    writeln!(io::stdout(), "{text}").map_err(Failure::Output)
}

async fn call(arguments: &Arguments) -> Result<Object, Failure> {
    let address = &arguments.address;
    let connection = match (&arguments.key, &arguments.authkey_file) {
        (Some(file), _) => Client::connect_noise(address, &ClusterKey::read(file).map_err(failed)?).await,
        (None, Some(file)) => Client::connect(address, AuthKey::read(file).map_err(failed)?).await,
        (None, None) => Client::connect(address, None).await,
    }
    .map_err(failed)?;
    let mut client =
        RpcClient::over(connection, arguments.codec.into(), ClientConfig::default()).map_err(failed)?;
    if let Some(limit) = arguments.deadline {
        client = client.with_deadline(limit);
    }
    let called = match &arguments.arguments {
        Value::Array(positional) => client.call(&arguments.name, Positional(positional)),
        only => client.call(&arguments.name, only),
    };
    called.await.map_err(|error| match error {
        // The traceback and what else the other side had to say.
        RpcError::Remote { ref notes, .. } if !notes.is_empty() => {
            let notes = notes.join("\n");
            failed(format!("{error}\n{notes}"))
        }
        error => failed(error),
    })
}

/// A JSON array as the arguments of a call, where a sequence would be the only argument.
struct Positional<'a>(&'a [Value]);

impl Serialize for Positional<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for argument in self.0 {
            tuple.serialize_element(argument)?;
        }
        tuple.end()
    }
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::Other(error.into())
}
