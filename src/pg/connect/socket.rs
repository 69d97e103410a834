//! The connection's bytes, and how long the database may say nothing.
//!
//! `postgres` waits for ever, and for any amount, once a connection is made. So all its bytes go
//! through [`Watched`], which gives the connection up when the database says nothing.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use postgres::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{sleep, Instant, Sleep};

/// What a server may say before a connection is set up, in bytes. Its parameters take about 500.
const START_MAX: u64 = 1 << 20;

/// What it may answer to one statement.
const ANSWER_MAX: u64 = 1 << 30;

/// How the error of a silent database begins.
pub const SILENCE: &str = "the database said nothing";

/// Silence is measured in so many steps. A step passes only while somebody waits, so neither an idle
/// connection nor a server that was stopped for a while is taken for a silent database.
const STEPS: u32 = 4;

/// How long a connection waits for the database.
#[derive(Debug)]
pub struct ReadTimeout {
    /// The connection is being made: that ends in time, whatever is said.
    starting: AtomicBool,
    /// Silence that is borne, in milliseconds.
    limit: AtomicU64,
}

impl ReadTimeout {
    /// For a connection that is to be made within `limit`.
    pub fn new(limit: Duration) -> Arc<ReadTimeout> {
        let limit = AtomicU64::new(limit.as_millis() as u64);
        Arc::new(ReadTimeout { starting: AtomicBool::new(true), limit })
    }

    /// The connection is made; from now on a statement's answer is waited for.
    pub fn started(&self, limit: Duration) {
        self.limit.store(limit.as_millis() as u64, Ordering::Relaxed);
        self.starting.store(false, Ordering::Relaxed);
    }

    fn limit(&self) -> Duration {
        Duration::from_millis(self.limit.load(Ordering::Relaxed))
    }

    fn is_starting(&self) -> bool {
        self.starting.load(Ordering::Relaxed)
    }
}

/// A socket whose other end has to say something while it is waited for.
pub struct Watched {
    socket: Socket,
    read_timeout: Arc<ReadTimeout>,
    /// As it was when it was looked at last.
    starting: bool,
    step: Pin<Box<Sleep>>,
    silent: u32,
    /// Read since something was written.
    read: u64,
}

impl Watched {
    /// A socket that says something in time.
    pub fn new(socket: Socket, read_timeout: Arc<ReadTimeout>) -> Watched {
        let step = Box::pin(sleep(read_timeout.limit() / STEPS));
        Watched { socket, read_timeout, starting: true, step, silent: 0, read: 0 }
    }

    /// Whether the connection is still being made. When it is not any more, the count begins anew.
    fn is_starting(&mut self) -> bool {
        if self.starting && !self.read_timeout.is_starting() {
            self.starting = false;
            self.silent = 0;
        }
        self.starting
    }

    /// Nothing can be read or written now: counts the steps of silence.
    fn wait<T>(&mut self, cx: &mut Context) -> Poll<io::Result<T>> {
        self.is_starting();
        let limit = self.read_timeout.limit();
        while self.step.as_mut().poll(cx).is_ready() {
            self.silent += 1;
            if self.silent > STEPS {
                let text = format!("{SILENCE} within {} ms", limit.as_millis());
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)));
            }
            self.step.as_mut().reset(Instant::now() + limit / STEPS);
        }
        Poll::Pending
    }

    /// Something was read or written.
    fn went(&mut self) {
        if !self.is_starting() {
            self.silent = 0;
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context,
        buf: &mut ReadBuf,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.socket).poll_read(cx, buf);
        if poll.is_pending() {
            return self.wait(cx);
        }
        self.went();
        self.read += (buf.filled().len() - before) as u64;
        let most = if self.starting { START_MAX } else { ANSWER_MAX };
        if self.read > most {
            let text = format!("the database's answer is longer than {most} bytes");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
        }
        poll
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.socket).poll_write(cx, buf);
        if poll.is_pending() {
            return self.wait(cx);
        }
        self.went();
        self.read = 0;
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
