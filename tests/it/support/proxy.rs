//! A TCP proxy in front of PostgreSQL, whose connections can be delayed, stalled, refused, closed and
//! broken. What goes wrong, and when, is in `proxy_faults`.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use socket2::SockRef;

use super::proxy_faults::{Cut, Mood};

/// Dropped, it closes its connections.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    server: u16,
    mood: Mutex<Mood>,
    armed: Mutex<Option<Cut>>,
    tripped: AtomicUsize,
    refusing: AtomicBool,
    delay_ms: AtomicUsize,
    gate: Mutex<Gate>,
    /// The gate has changed.
    changed: Condvar,
    /// By number.
    open: Mutex<HashMap<usize, Arc<Wire>>>,
    /// Ends of the server's that it believes in, until the proxy is dropped.
    held: Mutex<Vec<Arc<TcpStream>>>,
}

#[derive(Default)]
struct Gate {
    stalled: bool,
    closed: bool,
}

/// A connection.
struct Wire {
    number: usize,
    /// The client's end; `None` when it was reset.
    client: Mutex<Option<TcpStream>>,
    server: Arc<TcpStream>,
    /// What the server answers is lost.
    swallows: AtomicBool,
    /// The server is not told of the end.
    is_held: AtomicBool,
}

impl Proxy {
    /// In front of the server on this port.
    pub fn to(server: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("no free port");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared { server, ..Shared::default() });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for (number, client) in listener.incoming().flatten().enumerate() {
                if accepting.gate().closed {
                    return;
                }
                if !accepting.refusing.load(Ordering::Acquire) {
                    accepting.connect(number, client);
                }
            }
        });
        Proxy { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// For connections that are made from now on.
    pub fn set(&self, mood: Mood) {
        *lock(&self.shared.mood) = mood;
    }

    /// The next message that it is about breaks its connection. In place of one that has not happened.
    pub fn arm(&self, cut: Cut) {
        *lock(&self.shared.armed) = Some(cut);
    }

    /// How often that has happened.
    pub fn tripped(&self) -> usize {
        self.shared.tripped.load(Ordering::Acquire)
    }

    /// Closes the connections that there are, at both ends.
    pub fn cut(&self) {
        let open = std::mem::take(&mut *lock(&self.shared.open));
        open.values().for_each(|wire| wire.close());
    }

    /// Resets the clients' ends now, in the middle of whatever they carry.
    pub fn reset_all(&self) {
        let open = std::mem::take(&mut *lock(&self.shared.open));
        open.values().for_each(|wire| wire.reset());
    }

    /// Bytes wait, both ways, as behind a dead router.
    pub fn stall(&self, yes: bool) {
        self.shared.gate().stalled = yes;
        self.shared.changed.notify_all();
    }

    /// New connections are closed at once.
    pub fn refuse(&self, yes: bool) {
        self.shared.refusing.store(yes, Ordering::Release);
    }

    /// So many milliseconds for whatever comes, both ways.
    pub fn delay(&self, ms: usize) {
        self.shared.delay_ms.store(ms, Ordering::Release);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.gate().closed = true;
        self.shared.changed.notify_all();
        self.cut();
        lock(&self.shared.held).clear();
        // Whoever accepts looks, too.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn gate(&self) -> std::sync::MutexGuard<'_, Gate> {
        lock(&self.gate)
    }

    fn connect(self: &Arc<Shared>, number: usize, client: TcpStream) {
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.server)) else { return };
        let Ok(from_client) = client.try_clone() else { return };
        for stream in [&client, &server] {
            let _ = stream.set_nodelay(true);
        }
        let (client, server) = (Mutex::new(Some(client)), Arc::new(server));
        let wire = Arc::new(Wire {
            number,
            client,
            server,
            swallows: AtomicBool::new(false),
            is_held: AtomicBool::new(false),
        });
        lock(&self.open).insert(number, wire.clone());
        // The proxy may have been dropped meanwhile.
        if self.gate().closed {
            return wire.close();
        }
        let mood = *lock(&self.mood);
        let (up, down) = (self.clone(), self.clone());
        let answers = wire.clone();
        std::thread::spawn(move || up.carry_requests(&wire, from_client));
        std::thread::spawn(move || {
            down.carry_answers(&answers, mood);
            lock(&down.open).remove(&answers.number);
        });
    }

    /// Waits out the delay and a stall. False when the proxy is dropped.
    fn pass(&self) -> bool {
        let delay = Duration::from_millis(self.delay_ms.load(Ordering::Acquire) as u64);
        let gate = self.gate();
        let waited = self.changed.wait_timeout_while(gate, delay, |gate| !gate.closed);
        let gate = waited.unwrap_or_else(PoisonError::into_inner).0;
        let waited = self.changed.wait_while(gate, |gate| gate.stalled && !gate.closed);
        !waited.unwrap_or_else(PoisonError::into_inner).closed
    }

    /// The cut that happens now, if it is armed.
    fn trip(&self, happens: impl Fn(&Cut) -> bool) -> Option<Cut> {
        lock(&self.armed).take_if(|cut| happens(cut))
    }

    fn has_tripped(&self) {
        self.tripped.fetch_add(1, Ordering::AcqRel);
    }

    fn carry_requests(&self, wire: &Wire, mut client: TcpStream) {
        let mut chunk = vec![0; 1 << 16];
        while let Ok(n @ 1..) = client.read(&mut chunk) {
            if !self.pass() {
                break;
            }
            let bytes = &chunk[..n];
            let cut = self.trip(|cut| cut.is_at_request(bytes));
            if matches!(cut, Some(Cut::After(_))) {
                wire.swallows.store(true, Ordering::Release);
            }
            let is_kept = matches!(cut, Some(Cut::Before(_) | Cut::BeforeStatement));
            let is_sent = is_kept || (&*wire.server).write_all(bytes).is_ok();
            if cut.is_some() {
                self.has_tripped();
            }
            match cut {
                Some(Cut::BeforeStatement) => {
                    drop(client);
                    wire.reset();
                    let _ = wire.server.shutdown(Shutdown::Both);
                    return;
                }
                Some(Cut::AfterStatement) => {
                    // The server must still read what was sent to it: an end, not a reset.
                    let _ = wire.server.shutdown(Shutdown::Write);
                    drop(client);
                    return wire.reset();
                }
                Some(Cut::Before(_)) => break,
                _ if !is_sent => break,
                _ => {}
            }
        }
        wire.close();
    }

    fn carry_answers(&self, wire: &Wire, mood: Mood) {
        let mut left = match mood {
            Mood::Honest => usize::MAX,
            Mood::Turns(honest, _) => honest,
        };
        let mut chunk = vec![0; 1 << 16];
        while left > 0 {
            let most = left.min(chunk.len());
            let Ok(n @ 1..) = (&*wire.server).read(&mut chunk[..most]) else { break };
            if !self.pass() {
                break;
            }
            let cut = self.trip(|cut| cut.is_at_answer(&chunk[..n]));
            if let Some(cut) = cut {
                self.has_tripped();
                if matches!(cut, Cut::Silently(_)) {
                    wire.is_held.store(true, Ordering::Release);
                    lock(&self.held).push(wire.server.clone());
                    return wire.shut_client();
                }
                wire.reset();
                break;
            }
            if wire.swallows.load(Ordering::Acquire) {
                // The client hears of it; what the server hears is up to the other direction.
                return wire.shut_client();
            }
            // Of a connection that was reset the server still says what it has to say.
            wire.tell_client(&chunk[..n]);
            left -= n;
        }
        if let (0, Mood::Turns(_, evil)) = (left, mood) {
            let client = lock(&wire.client).as_ref().and_then(|client| client.try_clone().ok());
            let _ = client.map(|client| evil.speak(&client));
            if evil.stays() {
                return;
            }
        }
        wire.close();
    }
}

impl Wire {
    fn tell_client(&self, bytes: &[u8]) {
        if let Some(mut client) = lock(&self.client).as_ref() {
            let _ = client.write_all(bytes);
        }
    }

    /// The client reads an end.
    fn shut_client(&self) {
        if let Some(client) = &*lock(&self.client) {
            let _ = client.shutdown(Shutdown::Both);
        }
    }

    fn close(&self) {
        self.shut_client();
        if !self.is_held.load(Ordering::Acquire) {
            let _ = self.server.shutdown(Shutdown::Both);
        }
    }

    /// The client's end is reset, as soon as nobody has it any more: whoever reads from it is woken, and
    /// lets it go. (A shutdown for writing would send an end before.)
    fn reset(&self) {
        if let Some(client) = lock(&self.client).take() {
            let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
            let _ = client.shutdown(Shutdown::Read);
        }
    }
}
