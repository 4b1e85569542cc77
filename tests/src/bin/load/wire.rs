//! HTTP/1.1 by hand on a blocking socket: the sender shares its cores with the host, so it must cost next to nothing.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// One connection that is kept open.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot reach {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        Ok(Self { stream: BufReader::new(stream), address })
    }

    /// POSTs `body`; returns the status.
    pub(crate) fn post(&mut self, path: &str, content_type: &str, body: &[u8]) -> anyhow::Result<u16> {
        Ok(self.post_for(path, content_type, body)?.0)
    }

    /// POSTs `body`; returns the status and the answer's body.
    pub(crate) fn post_for(&mut self, path: &str, content_type: &str, body: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        self.stream.get_mut().write_all(head.as_bytes())?;
        self.stream.get_mut().write_all(body)?;
        self.answer()
    }

    /// GETs `path`, which must answer 200 with JSON.
    pub(crate) fn get(&mut self, path: &str) -> anyhow::Result<Value> {
        let (status, body) = self.exchange(path)?;
        ensure!(status == 200, "{path} answers {status}: {}", String::from_utf8_lossy(&body));
        Ok(serde_json::from_slice(&body)?)
    }

    /// GETs `path`; returns the status.
    pub(crate) fn status_of(&mut self, path: &str) -> anyhow::Result<u16> {
        Ok(self.exchange(path)?.0)
    }

    fn exchange(&mut self, path: &str) -> anyhow::Result<(u16, Vec<u8>)> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\n\r\n", self.address);
        self.stream.get_mut().write_all(head.as_bytes())?;
        self.answer()
    }

    fn answer(&mut self) -> anyhow::Result<(u16, Vec<u8>)> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).context("not an HTTP answer")?;
        let (mut length, mut is_chunked) = (0, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(':') {
                Some(("content-length", value)) => length = value.trim().parse()?,
                Some(("transfer-encoding", value)) => is_chunked = value.trim() == "chunked",
                Some(_) => {}
                None => break,
            }
        }
        if is_chunked {
            return Ok((status, self.chunks()?));
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((status, body))
    }

    fn chunks(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.line()?, 16)?;
            let start = body.len();
            body.resize(start + length, 0);
            self.stream.read_exact(&mut body[start..])?;
            self.line()?;
            if length == 0 {
                return Ok(body);
            }
        }
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        ensure!(self.stream.read_line(&mut line)? > 0, "the host closed the connection");
        Ok(line.trim_end().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use watchfire_tests::{Reply, WebhookReceiver};

    use super::*;

    #[test]
    fn a_connection_is_used_again_and_again() {
        let receiver = WebhookReceiver::with_script([Reply::Status(200), Reply::Status(503)]);
        let address = receiver.url().trim_start_matches("http://").trim_end_matches("/hook").parse().unwrap();
        let mut connection = Connection::open(address).unwrap();
        let statuses = ["one", "two", "three"].map(|body| connection.post("/hook", "text/plain", body.as_bytes()).unwrap());
        assert_eq!(statuses, [200, 503, 200]);
        assert_eq!(receiver.deliveries()[2].body, "three");
    }
}
