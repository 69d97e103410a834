//! A client of one server, of a master and its replicas, or of a cluster: it goes where it is sent.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Conn, Reply, DEADLINE};

/// Nobody knows whether it was done: the connection has ended before the answer.
#[derive(Debug)]
pub struct Unknown;

pub struct Router {
    ports: Vec<u16>,
    /// Where a key was served last.
    homes: HashMap<String, u16>,
    conns: HashMap<u16, Conn>,
}

impl Router {
    /// Asks the first of `ports` that serves a key.
    pub fn new(ports: &[u16]) -> Router {
        Router { ports: ports.to_vec(), homes: HashMap::new(), conns: HashMap::new() }
    }

    /// Until somebody answers; `None` when it is told to stop before it was sent.
    pub fn ask(
        &mut self,
        key: &str,
        words: &[impl AsRef<[u8]>],
        stop: &AtomicBool,
    ) -> Option<Result<Reply, Unknown>> {
        let mut asking = None;
        while !stop.load(Ordering::Relaxed) {
            let port = asking.or(self.homes.get(key).copied()).unwrap_or(self.ports[0]);
            let Some(reply) = self.try_ask(port, asking.take().is_some(), words) else {
                // Not sent: it is no write yet.
                self.elsewhere(key, port);
                continue;
            };
            let Ok(reply) = reply else {
                self.elsewhere(key, port);
                return Some(Err(Unknown));
            };
            let text = if reply.is_error() { reply.text() } else { String::new() };
            let words: Vec<&str> = text.split(' ').collect();
            match words[0] {
                "MOVED" | "ASK" => {
                    let port = words[2].rsplit(':').next().and_then(|port| port.parse().ok());
                    let port: u16 = port.expect("MOVED slot host:port");
                    if words[0] == "ASK" {
                        asking = Some(port);
                    } else {
                        self.homes.insert(key.into(), port);
                    }
                }
                "READONLY" | "CLUSTERDOWN" | "TRYAGAIN" | "LOADING" | "MASTERDOWN" => {
                    self.elsewhere(key, port)
                }
                _ => return Some(Ok(reply)),
            }
        }
        None
    }

    /// `None` when nothing was sent, an error when no answer came.
    fn try_ask(
        &mut self,
        port: u16,
        asking: bool,
        words: &[impl AsRef<[u8]>],
    ) -> Option<Result<Reply, Unknown>> {
        let conn = match self.conns.remove(&port) {
            Some(conn) => Some(conn),
            None => Conn::open(port).ok(),
        };
        let mut conn = conn?;
        if asking {
            conn.try_send(&["ASKING"]).ok()?;
            conn.receive_within(DEADLINE).ok()?;
        }
        let reply = conn.try_send(words).and_then(|()| conn.receive_within(DEADLINE));
        if let Ok(None) = reply {
            let words: Vec<_> =
                words.iter().map(|word| String::from_utf8_lossy(word.as_ref())).collect();
            panic!("a client was left without an answer: {words:?}");
        }
        let reply = reply.ok().flatten().ok_or(Unknown);
        if reply.is_ok() {
            self.conns.insert(port, conn);
        }
        Some(reply)
    }

    /// This server takes no writes now: another one may.
    fn elsewhere(&mut self, key: &str, port: u16) {
        let at = self.ports.iter().position(|other| *other == port).unwrap_or(0);
        self.homes.insert(key.into(), self.ports[(at + 1) % self.ports.len()]);
        std::thread::sleep(Duration::from_millis(2));
    }
}
