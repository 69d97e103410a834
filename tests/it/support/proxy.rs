//! Between the module and PostgreSQL: honest, or a database that answers garbage or never.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::random::Lcg;

/// What the proxy does with the server's answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mood {
    /// Passes them on.
    Honest,
    /// Passes so many bytes on; then the rest is not the server's.
    Turns(usize, Evil),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Evil {
    /// Nothing more comes.
    Silence,
    /// The connection is closed.
    Cut,
    /// Random bytes, and the connection is closed.
    Noise(u64),
    /// This, and then nothing.
    Says(&'static [u8]),
    /// The beginning of a message of 2 GB, and as much of it as is taken.
    Flood,
}

pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: u16,
    mood: Mutex<Mood>,
    /// Both ends of each connection.
    open: Mutex<Vec<TcpStream>>,
    closed: AtomicBool,
}

impl Proxy {
    /// In front of the server on this port.
    pub fn start(server: u16, mood: Mood) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("no free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (open, closed) = (Mutex::default(), AtomicBool::new(false));
        let shared = Arc::new(Shared { server, mood: Mutex::new(mood), open, closed });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.closed.load(Ordering::Relaxed) {
                    return;
                }
                let shared = accepting.clone();
                std::thread::spawn(move || shared.carry(client));
            }
        });
        Proxy { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// For connections that are made from now on.
    pub fn set(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    /// Closes the connections that there are.
    pub fn cut(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.cut();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn carry(&self, mut client: TcpStream) {
        let mood = *self.mood.lock().unwrap();
        let Ok(mut server) = TcpStream::connect(("127.0.0.1", self.server)) else { return };
        let (Ok(mut from), Ok(mut to)) = (client.try_clone(), server.try_clone()) else { return };
        let ends = [client.try_clone(), server.try_clone()];
        self.open.lock().unwrap().extend(ends.into_iter().flatten());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
        let _ = match mood {
            Mood::Honest => std::io::copy(&mut server, &mut client).map(drop),
            Mood::Turns(honest, evil) => {
                let passed = pass(&mut server, &mut client, honest);
                passed.and_then(|()| evil.speak(&mut client))
            }
        };
        if !matches!(mood, Mood::Turns(_, Evil::Silence | Evil::Says(_))) {
            let _ = client.shutdown(Shutdown::Both);
        }
    }
}

fn pass(server: &mut TcpStream, client: &mut TcpStream, mut left: usize) -> std::io::Result<()> {
    let mut chunk = [0; 4096];
    while left > 0 {
        let most = left.min(chunk.len());
        match server.read(&mut chunk[..most])? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => {
                client.write_all(&chunk[..n])?;
                left -= n;
            }
        }
    }
    Ok(())
}

impl Evil {
    fn speak(self, client: &mut TcpStream) -> std::io::Result<()> {
        match self {
            Evil::Silence | Evil::Cut => Ok(()),
            Evil::Says(bytes) => client.write_all(bytes),
            Evil::Noise(seed) => {
                let mut random = Lcg::new(seed);
                let noise: Vec<u8> = (0..20_000).map(|_| random.below(256) as u8).collect();
                client.write_all(&noise)
            }
            Evil::Flood => {
                client.write_all(b"D\x7f\xff\xff\xff")?;
                let zeros = vec![0; 1 << 20];
                loop {
                    client.write_all(&zeros)?;
                }
            }
        }
    }
}
