//! A TCP proxy before PostgreSQL that breaks a connection at a chosen moment.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;

/// When a connection is to break.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Moment {
    /// The database never sees the statement.
    BeforeStatement,
    /// The database has the statement; whoever sent it hears nothing more.
    AfterStatement,
    /// The database has answered; the answer is dropped.
    BeforeAnswer,
}

#[derive(Default)]
struct State {
    armed: Mutex<Option<Moment>>,
    tripped: AtomicUsize,
    stalled: AtomicBool,
    refusing: AtomicBool,
    delay_ms: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

impl Proxy {
    pub fn start(to: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let state = Arc::<State>::default();
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.refusing.load(Ordering::Relaxed) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                let twice = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
                for stream in [&client, &server] {
                    stream.set_nodelay(true).expect("TCP_NODELAY");
                }
                shared.open.lock().unwrap().push(twice(&client));
                let (up, down) = (shared.clone(), shared.clone());
                let (from, back) = (twice(&client), twice(&server));
                std::thread::spawn(move || pump(&up, from, back, true));
                std::thread::spawn(move || pump(&down, server, client, false));
            }
        });
        Proxy { port, state }
    }

    /// The next statement's connection breaks.
    pub fn arm(&self, moment: Moment) {
        *self.state.armed.lock().unwrap() = Some(moment);
    }

    /// How often that has happened.
    pub fn tripped(&self) -> usize {
        self.state.tripped.load(Ordering::Relaxed)
    }

    /// Breaks all connections now, in the middle of whatever they carry.
    pub fn reset_all(&self) {
        self.state.open.lock().unwrap().drain(..).for_each(|stream| reset(&stream));
    }

    /// Bytes wait, both ways, as behind a dead router.
    pub fn stall(&self, yes: bool) {
        self.state.stalled.store(yes, Ordering::Relaxed);
    }

    /// New connections are closed at once.
    pub fn refuse(&self, yes: bool) {
        self.state.refusing.store(yes, Ordering::Relaxed);
    }

    pub fn delay(&self, ms: usize) {
        self.state.delay_ms.store(ms, Ordering::Relaxed);
    }
}

/// RST instead of FIN.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    let _ = stream.shutdown(Shutdown::Both);
}

fn pump(state: &State, mut from: TcpStream, mut to: TcpStream, up: bool) {
    let mut chunk = vec![0; 1 << 16];
    while let Ok(n @ 1..) = from.read(&mut chunk) {
        // Bind, or a simple query; a set-up or a COMMIT is one too.
        let is_statement = up && matches!(chunk[0], b'B' | b'Q');
        std::thread::sleep(Duration::from_millis(state.delay_ms.load(Ordering::Relaxed) as u64));
        while state.stalled.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let trip = {
            let mut armed = state.armed.lock().unwrap();
            let now = match *armed {
                Some(Moment::BeforeStatement | Moment::AfterStatement) => is_statement,
                // The answer to something bound begins with BindComplete.
                Some(Moment::BeforeAnswer) => !up && chunk[0] == b'2',
                None => false,
            };
            now.then(|| armed.take()).flatten()
        };
        if trip != Some(Moment::BeforeStatement)
            && trip != Some(Moment::BeforeAnswer)
            && to.write_all(&chunk[..n]).is_err()
        {
            break;
        }
        match trip {
            // The database must still read what was sent to it: an end, not a reset.
            Some(Moment::AfterStatement) => {
                state.tripped.fetch_add(1, Ordering::Relaxed);
                let _ = to.shutdown(Shutdown::Write);
                reset(&from);
                return;
            }
            Some(_) => {
                state.tripped.fetch_add(1, Ordering::Relaxed);
                reset(if up { &from } else { &to });
                break;
            }
            None => {}
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
