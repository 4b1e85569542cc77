//! Listens on the wire between the host and a server.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;

use parking_lot::Mutex;

/// A port that passes everything on to another one and keeps what the client said. It ends with the process.
pub struct Wire {
    port: u16,
    said: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Wire {
    /// Starts one in front of `target` on this machine.
    pub fn to(target: u16) -> Self {
        Self::on([127, 0, 0, 1], target)
    }

    /// Starts one on `address` in front of `target` on this machine.
    pub fn on(address: [u8; 4], target: u16) -> Self {
        let listener = TcpListener::bind((IpAddr::from(address), 0)).expect("a free port exists");
        let port = listener.local_addr().expect("it is bound").port();
        let said = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let kept = said.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let number = {
                    let mut connections = kept.lock();
                    connections.push(Vec::new());
                    connections.len() - 1
                };
                let kept = kept.clone();
                let (from_client, to_client) = (client.try_clone().expect("a socket has two ends"), client);
                let (from_server, to_server) = (server.try_clone().expect("a socket has two ends"), server);
                std::thread::spawn(move || pass_on(from_client, to_server, |bytes| kept.lock()[number].extend_from_slice(bytes)));
                std::thread::spawn(move || pass_on(from_server, to_client, |_| ()));
            }
        });
        Self { port, said }
    }

    /// Returns its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns, for each connection, the commands that the client sent before TLS began; an empty list if it began at once.
    pub fn commands_in_clear(&self) -> Vec<Vec<String>> {
        self.said.lock().iter().map(|said| in_clear(said).lines().map(str::to_owned).collect()).collect()
    }
}

/// Returns what comes before the first TLS record, which begins with 0x16 (handshake) and 0x03 (every version).
fn in_clear(said: &[u8]) -> String {
    let end = said.windows(2).position(|pair| pair == [0x16, 0x03]).unwrap_or(said.len());
    String::from_utf8_lossy(&said[..end]).into_owned()
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, keep: impl Fn(&[u8])) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        keep(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // Fails only if the other side has closed already.
    let _ = to.shutdown(Shutdown::Write);
}
