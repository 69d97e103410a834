//! A wire between the module and PostgreSQL that is cut at a chosen moment.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// When the wire is cut: at the first message to the server that holds this text (any message
/// holds the empty one).
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// The server does not get it.
    Before(&'static str),
    /// The server gets it, and its answer gets lost.
    After(&'static str),
    /// The server gets it, its answer gets lost, and the server is not told that the wire is cut.
    Silently(&'static str),
}

/// Forwards connections to a server.
pub struct Cutter {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: u16,
    cut: Mutex<Option<Cut>>,
    cuts: AtomicUsize,
    /// No new wire is made.
    refuses: AtomicBool,
    /// Connections that the server believes in.
    held: Mutex<Vec<TcpStream>>,
}

impl Cutter {
    /// A wire to the server at this port.
    pub fn to(server: u16) -> Cutter {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (cut, cuts, refuses, held) = Default::default();
        let shared = Arc::new(Shared { server, cut, cuts, refuses, held });
        let for_wires = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), shared) = (client, for_wires.clone()) else { return };
                if shared.refuses.load(Ordering::Acquire) {
                    continue;
                }
                if let Ok(server) = TcpStream::connect(("127.0.0.1", shared.server)) {
                    wire(shared, client, server);
                }
            }
        });
        Cutter { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts at the next message that holds the text.
    pub fn cut(&self, cut: Cut) {
        *self.shared.cut.lock().unwrap() = Some(cut);
    }

    /// Whether new wires are made: the server can't be reached while they are not.
    pub fn refuse(&self, refuses: bool) {
        self.shared.refuses.store(refuses, Ordering::Release);
    }

    /// How often it was cut.
    pub fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::Acquire)
    }
}

fn wire(shared: Arc<Shared>, client: TcpStream, server: TcpStream) {
    let swallows = Arc::new(AtomicBool::new(false));
    let (mut from_client, mut to_server) =
        (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
    let (mut from_server, mut to_client) = (server, client);
    let swallowed = swallows.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(len @ 1..) = from_client.read(&mut buffer) {
            let cut = {
                let mut cut = shared.cut.lock().unwrap();
                let holds = |text: &str| {
                    text.is_empty()
                        || buffer[..len].windows(text.len()).any(|w| w == text.as_bytes())
                };
                cut.take_if(|cut| match cut {
                    Cut::Before(text) | Cut::After(text) | Cut::Silently(text) => holds(text),
                })
            };
            if cut.is_some() {
                shared.cuts.fetch_add(1, Ordering::AcqRel);
            }
            match cut {
                Some(Cut::Before(_)) => break,
                Some(Cut::After(_)) => swallows.store(true, Ordering::Release),
                Some(Cut::Silently(_)) => {
                    swallows.store(true, Ordering::Release);
                    let _ = to_server.write_all(&buffer[..len]);
                    shared.held.lock().unwrap().push(to_server);
                    let _ = from_client.shutdown(Shutdown::Both);
                    return;
                }
                None => {}
            }
            if to_server.write_all(&buffer[..len]).is_err() {
                break;
            }
        }
        let _ = from_client.shutdown(Shutdown::Both);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(len @ 1..) = from_server.read(&mut buffer) {
            if swallowed.load(Ordering::Acquire) || to_client.write_all(&buffer[..len]).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
        if !swallowed.load(Ordering::Acquire) {
            let _ = from_server.shutdown(Shutdown::Both);
        }
    });
}
