//! Clients in step: each sends an operation, and all are answered before the next ones are sent.
//! So each run has the server do the same.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::drive::scan_reply;
use crate::scan::Scan;

pub struct Lockstep {
    clients: Vec<TcpStream>,
    /// Operations so far.
    count: u64,
}

/// Appends the operation of this number.
pub type Request = Box<dyn FnMut(u64, &mut Vec<u8>)>;

impl Lockstep {
    pub fn connect(port: u16, clients: usize) -> Lockstep {
        let connect = |_| {
            let stream = TcpStream::connect(("127.0.0.1", port)).expect("redis-server");
            stream.set_nodelay(true).expect("TCP_NODELAY");
            stream
        };
        Lockstep { clients: (0..clients).map(connect).collect(), count: 0 }
    }

    /// Waits until what a mapping's queue holds is written.
    pub fn flush(&mut self, name: &str) {
        let client = &mut self.clients[0];
        let flush = format!("*2\r\n$8\r\nWT.FLUSH\r\n${}\r\n{name}\r\n", name.len());
        client.write_all(flush.as_bytes()).expect("redis-server");
        receive(client, &mut Vec::new(), &mut [0; 64]);
    }

    pub fn run(&mut self, rounds: u64, request: &mut Request) {
        let (mut out, mut unread) = (Vec::new(), Vec::new());
        let mut chunk = vec![0; 65536];
        for _ in 0..rounds {
            for client in &mut self.clients {
                out.clear();
                request(self.count, &mut out);
                self.count += 1;
                client.write_all(&out).expect("redis-server");
            }
            for client in &mut self.clients {
                receive(client, &mut unread, &mut chunk);
            }
        }
    }
}

/// Waits for a reply.
fn receive(client: &mut TcpStream, unread: &mut Vec<u8>, chunk: &mut [u8]) {
    unread.clear();
    loop {
        let n = client.read(chunk).expect("redis-server");
        assert!(n > 0, "redis-server has closed a connection");
        unread.extend_from_slice(&chunk[..n]);
        if matches!(scan_reply(unread), Scan::Done(_)) {
            break;
        }
    }
}
