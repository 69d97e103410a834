//! What goes wrong between the module and PostgreSQL: when a connection breaks, and what a database that
//! is none says.

use std::io::Write;
use std::net::TcpStream;

use super::random::Lcg;

/// When a connection breaks, once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cut {
    /// The server does not get the next message that holds this text (any message holds the empty one).
    Before(&'static str),
    /// The server gets it, and its answer is lost.
    After(&'static str),
    /// The server's next message that holds this text is lost, and so is all that comes after it; the
    /// server is not told that the connection is gone.
    Silently(&'static str),
    /// The server never sees the next statement; the client's end is reset.
    BeforeStatement,
    /// The server has the statement; the client's end is reset.
    AfterStatement,
    /// The server has answered; the answer is dropped, and the client's end is reset.
    BeforeAnswer,
}

impl Cut {
    /// It happens at these bytes of the client's, as they were read: a text that is split over two reads
    /// is not found.
    pub fn is_at_request(&self, bytes: &[u8]) -> bool {
        match self {
            Cut::Before(text) | Cut::After(text) => {
                text.is_empty() || bytes.windows(text.len()).any(|w| w == text.as_bytes())
            }
            // Bind, alone or behind BEGIN, or a simple query; a set-up or a COMMIT is one too.
            Cut::BeforeStatement | Cut::AfterStatement => {
                matches!(bytes[0], b'B' | b'Q') || bytes.starts_with(b"P\0\0\0\x0d\0BEGIN\0")
            }
            Cut::BeforeAnswer | Cut::Silently(_) => false,
        }
    }

    /// It happens at these bytes of the server's.
    pub fn is_at_answer(&self, bytes: &[u8]) -> bool {
        match self {
            Cut::Silently(text) => bytes.windows(text.len()).any(|w| w == text.as_bytes()),
            // The answer to something bound begins with BindComplete, or with BEGIN's ParseComplete and that.
            _ => {
                *self == Cut::BeforeAnswer
                    && [&b"2"[..], b"1\0\0\0\x042"].iter().any(|a| bytes.starts_with(a))
            }
        }
    }
}

/// What becomes of the server's answers on a new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Mood {
    /// They are passed on.
    #[default]
    Honest,
    /// So many bytes are passed on; then the rest is not the server's.
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

impl Evil {
    /// Says it to the client.
    pub fn speak(self, mut client: &TcpStream) -> std::io::Result<()> {
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

    /// The client's connection stays open afterwards.
    pub fn stays(self) -> bool {
        matches!(self, Evil::Silence | Evil::Says(_))
    }
}
