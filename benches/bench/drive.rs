//! The load: many clients in one thread, each sends its next operation when the last is answered.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::cpu::{Cpu, Watch};
use crate::pgwire;
use crate::random::Random;
use crate::scan::Scan;
use crate::shapes::IDS;

/// What an operation of a client is made of: a request to each of these, one after the other.
pub struct Step {
    pub port: u16,
    pub wire: Wire,
}

pub enum Wire {
    Redis,
    /// One prepared statement.
    Postgres(&'static str),
}

/// One request to be made.
pub struct Call {
    pub client: usize,
    pub step: usize,
    /// A random row, the same for all steps of an operation.
    pub id: u64,
    pub n: u64,
}

/// Appends a request.
pub type Request = Box<dyn FnMut(&Call, &mut Vec<u8>)>;

pub struct Load {
    pub clients: usize,
    pub steps: Vec<Step>,
    /// Rows that one operation writes.
    pub rows: u64,
    pub request: Request,
}

/// One measurement.
#[derive(Clone, Default)]
pub struct Run {
    /// Rows in a second.
    pub rate: f64,
    /// Of an operation, in microseconds.
    pub p50: f64,
    pub p99: f64,
    pub errors: u64,
    pub error: Option<String>,
    pub cpu: Option<Cpu>,
}

struct Socket {
    stream: TcpStream,
    unread: Vec<u8>,
    unsent: Vec<u8>,
}

impl Load {
    /// Runs for `warm`, then measures for `time`.
    pub fn run(&mut self, warm: Duration, time: Duration, watch: &Watch) -> Run {
        let mut poll = Poll::new().expect("epoll");
        let mut sockets = self.connect(&poll);
        let (mut random, mut events) = (Random::new(1), Events::with_capacity(2048));
        let (width, began) = (self.steps.len(), Instant::now());
        let mut calls: Vec<(Call, Instant)> = Vec::with_capacity(self.clients);
        for client in 0..self.clients {
            let call = new_call(client, &mut random);
            self.send(&call, &mut sockets[client * width]);
            calls.push((call, Instant::now()));
        }
        let (mut from, mut before) = (None, None);
        let (mut latencies, mut run) = (Vec::<u32>::new(), Run::default());
        let mut chunk = [0; 65536];
        let elapsed = loop {
            let now = Instant::now();
            match from {
                None if now - began >= warm => {
                    (from, before) = (Some(now), Some(watch.look()));
                }
                Some(from) if now - from >= time => break now - from,
                _ => {}
            }
            let wait = Duration::from_millis(5);
            match poll.poll(&mut events, Some(wait)) {
                Err(e) if e.kind() != ErrorKind::Interrupted => panic!("epoll: {e}"),
                _ => {}
            }
            for event in &events {
                let at = event.token().0;
                let (client, socket) = (at / width, &mut sockets[at]);
                if event.is_writable() {
                    socket.flush();
                }
                if !event.is_readable() {
                    continue;
                }
                let Some(error) = socket.receive(&self.steps[at % width].wire, &mut chunk) else {
                    continue;
                };
                let (call, since) = &mut calls[client];
                call.step += 1;
                if call.step == width {
                    if from.is_some() {
                        latencies.push(since.elapsed().as_micros() as u32);
                        run.errors += u64::from(error.is_some());
                    }
                    *call = new_call(client, &mut random);
                    *since = Instant::now();
                }
                run.error = run.error.take().or(error);
                let next = client * width + call.step;
                self.send(&calls[client].0, &mut sockets[next]);
            }
        };
        let writes = (latencies.len() as u64 * self.rows).max(1);
        run.cpu = before.map(|before| watch.look().since(&before, writes));
        run.rate = (latencies.len() as u64 * self.rows) as f64 / elapsed.as_secs_f64();
        (run.p50, run.p99) = percentiles(&mut latencies);
        run
    }

    fn connect(&self, poll: &Poll) -> Vec<Socket> {
        let count = self.clients * self.steps.len();
        let mut sockets = Vec::with_capacity(count);
        for at in 0..count {
            let step = &self.steps[at % self.steps.len()];
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", step.port))
                .unwrap_or_else(|e| panic!("connection {at} to port {}: {e}", step.port));
            stream.set_nodelay(true).expect("TCP_NODELAY");
            if let Wire::Postgres(sql) = step.wire {
                pgwire::open(&mut stream, sql);
            }
            stream.set_nonblocking(true).expect("nonblocking");
            let mut stream = TcpStream::from_std(stream);
            // Edge-triggered: a socket is registered once, and read until it is empty.
            poll.registry()
                .register(&mut stream, Token(at), Interest::READABLE | Interest::WRITABLE)
                .expect("epoll");
            let (unread, unsent) = (Vec::new(), Vec::new());
            sockets.push(Socket { stream, unread, unsent });
        }
        sockets
    }

    fn send(&mut self, call: &Call, socket: &mut Socket) {
        (self.request)(call, &mut socket.unsent);
        socket.flush();
    }
}

fn new_call(client: usize, random: &mut Random) -> Call {
    Call { client, step: 0, id: 1 + random.next() % IDS, n: random.next() }
}

impl Socket {
    fn flush(&mut self) {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match self.stream.write(&self.unsent[sent..]) {
                Ok(n) => sent += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => panic!("a server went away: {e}"),
            }
        }
        match sent == self.unsent.len() {
            true => self.unsent.clear(),
            false => drop(self.unsent.drain(..sent)),
        }
    }

    /// Reads what is there. An answer: whether it is an error.
    fn receive(&mut self, wire: &Wire, chunk: &mut [u8]) -> Option<Option<String>> {
        loop {
            let n = match self.stream.read(chunk) {
                Ok(0) => panic!("a server closed a connection"),
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return None,
                Err(e) => panic!("a server went away: {e}"),
            };
            let scanned = match self.unread.is_empty() {
                true => wire.scan(&chunk[..n]),
                false => {
                    self.unread.extend_from_slice(&chunk[..n]);
                    wire.scan(&self.unread)
                }
            };
            match scanned {
                Scan::Done(error) => {
                    self.unread.clear();
                    return Some(error);
                }
                Scan::Partial if self.unread.is_empty() => {
                    self.unread.extend_from_slice(&chunk[..n])
                }
                Scan::Partial => {}
            }
            if n < chunk.len() {
                // An edge comes with the rest.
                return None;
            }
        }
    }
}

impl Wire {
    fn scan(&self, bytes: &[u8]) -> Scan {
        match self {
            Wire::Postgres(_) => pgwire::scan(bytes),
            Wire::Redis => scan_reply(bytes),
        }
    }
}

/// A reply of one line, a bulk string, or an array of such lines.
pub fn scan_reply(bytes: &[u8]) -> Scan {
    let Some(end) = bytes.iter().position(|&b| b == b'\n') else {
        return Scan::Partial;
    };
    let line = &bytes[..end];
    let count = |digits: &[u8]| {
        let digits = digits.iter().take_while(|b| b.is_ascii_digit());
        digits.fold(0, |n, b| n * 10 + (b - b'0') as usize)
    };
    if bytes[0] == b'*' {
        let rest = &bytes[end + 1..];
        if rest.iter().filter(|&&b| b == b'\n').count() < count(&line[1..]) {
            return Scan::Partial;
        }
        let error = rest.split(|&b| b == b'\n').find(|line| line.first() == Some(&b'-'));
        return Scan::Done(error.map(|line| String::from_utf8_lossy(line).trim().into()));
    }
    let complete = match bytes[0] {
        b'$' if bytes[1] != b'-' => bytes.len() >= end + 1 + count(&line[1..]) + 2,
        _ => true,
    };
    match (complete, bytes[0]) {
        (false, _) => Scan::Partial,
        (true, b'-') => Scan::Done(Some(String::from_utf8_lossy(line).trim().into())),
        (true, _) => Scan::Done(None),
    }
}

/// The median and the 99th percentile.
pub fn percentiles(latencies: &mut [u32]) -> (f64, f64) {
    latencies.sort_unstable();
    let at = |q: usize| latencies.get(latencies.len() * q / 100).copied();
    (at(50).unwrap_or_default().into(), at(99).unwrap_or_default().into())
}
