//! What `postgres` reads and writes: with TLS or without, and what the session asks of it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use postgres::Socket;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::begin::{Begin, BeginAhead, Write};
use super::greeting::{Greeting, Told};
use super::socket::{ReadTimeout, Watched};

/// Makes links. To `postgres` it is TLS that is there from the first byte on, so that the stream is
/// ours in either case.
#[derive(Clone)]
pub struct Dial {
    /// Without: no TLS.
    pub tls: Option<MakeRustlsConnect>,
    /// A server without TLS is taken, too.
    pub is_optional: bool,
    /// `sslnegotiation=direct`: the server isn't asked for TLS first.
    pub is_direct: bool,
    /// How long it waits.
    pub read_timeout: Arc<ReadTimeout>,
    /// What its stream and its session tell each other.
    pub talk: Talk,
}

/// What a stream and its session tell each other.
#[derive(Clone, Default)]
pub struct Talk {
    /// What the server has told of itself.
    pub told: Told,
    /// A transaction is to begin.
    pub begin: Begin,
}

/// One attempt of a [`Dial`].
pub struct Attempt {
    dial: Dial,
    host: String,
}

type Tls = <MakeRustlsConnect as MakeTlsConnect<Watched>>::Stream;

/// A stream that `postgres` reads and writes.
pub struct Transport {
    stream: Stream,
    greeting: Greeting,
    begin: BeginAhead,
}

enum Stream {
    /// Without TLS.
    Plain(Watched),
    /// With TLS.
    Tls(Box<Tls>),
}

impl MakeTlsConnect<Socket> for Dial {
    type Stream = Transport;
    type TlsConnect = Attempt;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Attempt> {
        let (tls, read_timeout) = (self.tls.clone(), self.read_timeout.clone());
        let (is_optional, is_direct) = (self.is_optional, self.is_direct);
        let dial = Dial { tls, read_timeout, is_optional, is_direct, talk: self.talk.clone() };
        Ok(Attempt { dial, host: host.to_string() })
    }
}

impl TlsConnect<Socket> for Attempt {
    type Stream = Transport;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Transport>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        let Attempt { dial, host } = self;
        Box::pin(async move {
            let mut stream = Watched::new(socket, dial.read_timeout);
            let Some(mut tls) = dial.tls else {
                return Ok(Transport::new(Stream::Plain(stream), dial.talk));
            };
            if !dial.is_direct {
                // SSLRequest: its length and its code.
                stream.write_all(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]).await?;
                match stream.read_u8().await? {
                    b'S' => {}
                    b'N' if dial.is_optional => {
                        return Ok(Transport::new(Stream::Plain(stream), dial.talk));
                    }
                    b'N' => return Err(io::Error::other("server does not support TLS")),
                    _ => return Err(io::Error::other("no PostgreSQL server answers there")),
                }
            }
            let Ok(attempt) = MakeTlsConnect::<Watched>::make_tls_connect(&mut tls, &host);
            let stream = Stream::Tls(Box::new(attempt.connect(stream).await?));
            Ok(Transport::new(stream, dial.talk))
        })
    }
}

/// The same call on whatever the transport is.
macro_rules! pass {
    ($stream:expr, $call:ident $(, $argument:expr)*) => {
        match &mut $stream.stream {
            Stream::Plain(stream) => Pin::new(stream).$call($($argument),*),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).$call($($argument),*),
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context,
        buf: &mut ReadBuf,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        loop {
            self.begin.hand_over(buf);
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            let poll = pass!(self, poll_read, cx, buf);
            let read = &buf.filled()[before..];
            self.greeting.read(read);
            if read.is_empty() || !self.begin.reads() {
                return poll;
            }
            self.begin.read(read);
            buf.set_filled(before);
        }
    }
}

impl Transport {
    fn new(stream: Stream, talk: Talk) -> Transport {
        let (greeting, begin) = (Greeting::new(talk.told), BeginAhead::new(talk.begin));
        Transport { stream, greeting, begin }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let poll = match self.begin.to_write(buf) {
                Write::Given(bytes) => pass!(self, poll_write, cx, bytes),
                Write::Other(bytes) => pass!(self, poll_write, cx, &bytes),
            };
            let Poll::Ready(Ok(count)) = poll else { return poll };
            let taken = self.begin.written(count);
            if taken > 0 || count == 0 {
                return Poll::Ready(Ok(taken));
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        pass!(self, poll_flush, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        pass!(self, poll_shutdown, cx)
    }
}

impl TlsStream for Transport {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.stream {
            Stream::Plain(_) => ChannelBinding::none(),
            Stream::Tls(stream) => stream.channel_binding(),
        }
    }
}
