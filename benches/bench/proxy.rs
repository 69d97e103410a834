//! A database a network away: a TCP proxy that delivers every byte a little later.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// Starts a proxy to a local port that adds `delay` each way. Returns its port.
pub fn start(to: u16, delay: Duration) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else {
                continue;
            };
            for stream in [&client, &server] {
                stream.set_nodelay(true).expect("TCP_NODELAY");
            }
            let twice = |stream: &TcpStream| stream.try_clone().expect("a file descriptor");
            pump(twice(&client), twice(&server), delay);
            pump(server, client, delay);
        }
    });
    port
}

/// Two threads: one notes when bytes came, one sends them when their time has come.
fn pump(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    spawn(move || {
        let mut chunk = vec![0; 1 << 18];
        while let Ok(n @ 1..) = from.read(&mut chunk) {
            if sender.send((Instant::now() + delay, chunk[..n].to_vec())).is_err() {
                break;
            }
        }
    });
    spawn(move || {
        for (due, bytes) in receiver {
            sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}
