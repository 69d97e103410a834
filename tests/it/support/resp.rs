//! A small RESP client that shows replies as they are on the wire.
//!
//! Client libraries take an error's code apart from its text and retry behind one's back; the
//! tests want the exact words, a command sent without waiting, and bytes of any kind.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::eventually::DEADLINE;
use super::keys::spelt;

#[derive(Clone, PartialEq)]
pub enum Reply {
    Status(String),
    /// The whole line after the `-`.
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    Nil,
    Array(Vec<Reply>),
    /// RESP3 (after `HELLO 3`).
    Map(Vec<(Reply, Reply)>),
    /// RESP3's other scalars, by their text: `#t`, `,1.5`, `=txt:…`.
    Other(String),
}

pub fn ok() -> Reply {
    Reply::Status("OK".into())
}

pub fn int(n: i64) -> Reply {
    Reply::Int(n)
}

pub fn bulk(bytes: impl AsRef<[u8]>) -> Reply {
    Reply::Bulk(bytes.as_ref().to_vec())
}

pub fn error(text: &str) -> Reply {
    Reply::Error(text.into())
}

impl Reply {
    /// The error's text; panics if the reply is something else.
    #[track_caller]
    pub fn error(&self) -> &str {
        match self {
            Reply::Error(text) => text,
            other => panic!("an error was expected, not {other:?}"),
        }
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_))
    }

    pub fn is_int(&self) -> bool {
        matches!(self, Reply::Int(_))
    }

    /// An error that starts with `prefix`: its code, and as much as the test cares for.
    #[track_caller]
    pub fn assert_error(&self, prefix: &str) -> &str {
        let text = self.error();
        assert!(text.starts_with(prefix), "expected `{prefix}…`, got `{text}`");
        text
    }

    #[track_caller]
    pub fn int(&self) -> i64 {
        match self {
            Reply::Int(n) => *n,
            other => panic!("an integer was expected, not {other:?}"),
        }
    }

    #[track_caller]
    pub fn array(&self) -> &[Reply] {
        match self {
            Reply::Array(items) => items,
            other => panic!("an array was expected, not {other:?}"),
        }
    }

    #[track_caller]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Reply::Bulk(bytes) => bytes,
            other => panic!("a bulk string was expected, not {other:?}"),
        }
    }

    /// All the text that it holds, nested or not, joined by spaces.
    pub fn text(&self) -> String {
        match self {
            Reply::Status(text) | Reply::Error(text) | Reply::Other(text) => text.clone(),
            Reply::Int(n) => n.to_string(),
            Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Reply::Nil => "(nil)".into(),
            Reply::Array(items) => items.iter().map(Reply::text).collect::<Vec<_>>().join(" "),
            Reply::Map(pairs) => {
                let texts = pairs.iter().map(|(k, v)| format!("{} {}", k.text(), v.text()));
                texts.collect::<Vec<_>>().join(" ")
            }
        }
    }
}

/// As redis-cli shows it, so that a failed assertion reads like a session.
impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reply::Status(text) => write!(f, "{text}"),
            Reply::Error(text) => write!(f, "(error) {text}"),
            Reply::Int(n) => write!(f, "(integer) {n}"),
            Reply::Bulk(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Reply::Nil => write!(f, "(nil)"),
            Reply::Array(items) => f.debug_list().entries(items).finish(),
            Reply::Map(pairs) => f.debug_map().entries(pairs.iter().map(|(k, v)| (k, v))).finish(),
            Reply::Other(text) => write!(f, "({text})"),
        }
    }
}

/// One connection.
pub struct Conn {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Conn {
    pub fn open(port: u16) -> std::io::Result<Conn> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(Conn { stream, unread: Vec::new() })
    }

    /// Sends a command and waits for its reply.
    #[track_caller]
    pub fn cmd(&mut self, args: &[impl AsRef<[u8]>]) -> Reply {
        self.send(args);
        self.receive()
    }

    /// A command as one types it, split at white space.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> Reply {
        self.send_line(line);
        self.receive()
    }

    /// Sends without waiting.
    #[track_caller]
    pub fn send(&mut self, args: &[impl AsRef<[u8]>]) {
        self.try_send(args).expect("the server closed the connection");
    }

    /// The same, where the server may be gone.
    pub fn try_send(&mut self, args: &[impl AsRef<[u8]>]) -> std::io::Result<()> {
        let mut wire = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            let arg = spelt(args[0].as_ref(), arg.as_ref());
            wire.extend(format!("${}\r\n", arg.len()).bytes());
            wire.extend(&*arg);
            wire.extend(b"\r\n");
        }
        self.stream.write_all(&wire)
    }

    /// Sends bytes as they are. An error: the server has closed the connection.
    pub fn send_raw(&mut self, wire: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(wire)
    }

    /// Sends lines in one packet, so that the server runs them one after the other. The replies.
    #[track_caller]
    pub fn packet(&mut self, lines: &[&str]) -> Vec<Reply> {
        let wire: String = lines.iter().flat_map(|line| [line, "\r\n"]).collect();
        self.send_raw(wire.as_bytes()).expect("the server closed the connection");
        lines.iter().map(|_| self.receive()).collect()
    }

    #[track_caller]
    pub fn send_line(&mut self, line: &str) {
        self.send(&line.split_whitespace().collect::<Vec<_>>());
    }

    /// The next reply; panics when it doesn't come, or the connection is closed.
    #[track_caller]
    pub fn receive(&mut self) -> Reply {
        self.receive_within(DEADLINE).expect("the connection was closed").expect("no reply came")
    }

    /// `Ok(None)` when no reply has come in that time, an error when the connection is closed.
    pub fn receive_within(&mut self, time: Duration) -> std::io::Result<Option<Reply>> {
        self.wait_for_reply(time)?;
        Ok(parse(&self.unread).map(|(reply, used)| {
            self.unread.drain(..used);
            reply
        }))
    }

    /// Whether a reply is there already; it stays to be received.
    #[track_caller]
    pub fn has_reply(&mut self) -> bool {
        self.wait_for_reply(Duration::from_millis(1)).expect("the connection was closed");
        parse(&self.unread).is_some()
    }

    /// Reads until a whole reply is there, or the time is up.
    fn wait_for_reply(&mut self, time: Duration) -> std::io::Result<()> {
        let start = Instant::now();
        while parse(&self.unread).is_none() {
            let left = time.saturating_sub(start.elapsed()).max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left))?;
            let mut chunk = [0; 65536];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.unread.extend(&chunk[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock || e.kind() == ErrorKind::TimedOut => {
                    if start.elapsed() >= time {
                        break;
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// `CLIENT ID`.
    pub fn id(&mut self) -> i64 {
        self.run("CLIENT ID").int()
    }
}

/// The lines in a transaction; EXEC's replies.
#[track_caller]
pub fn transaction(conn: &mut Conn, lines: &[&str]) -> Vec<Reply> {
    assert_eq!(conn.run("MULTI"), ok());
    for line in lines {
        assert_eq!(conn.run(line), Reply::Status("QUEUED".into()), "{line}");
    }
    conn.run("EXEC").array().to_vec()
}

/// The first whole reply in `wire` and its length.
fn parse(wire: &[u8]) -> Option<(Reply, usize)> {
    let end = wire.windows(2).position(|pair| pair == b"\r\n")?;
    let (kind, rest) = (*wire.first()?, &wire[1..end]);
    let line = String::from_utf8_lossy(rest).into_owned();
    let mut at = end + 2;
    let mut items = |n: i64| -> Option<Vec<Reply>> {
        (0..n)
            .map(|_| {
                let (item, used) = parse(&wire[at..])?;
                at += used;
                Some(item)
            })
            .collect()
    };
    let length = || line.parse::<i64>().expect("a length");
    let reply = match kind {
        b'+' => Reply::Status(line),
        b'-' => Reply::Error(line),
        b':' => Reply::Int(line.parse().expect("an integer")),
        b'_' => Reply::Nil,
        b'$' | b'*' if length() < 0 => Reply::Nil,
        b'$' => {
            let n = length() as usize;
            let bytes = wire.get(at..at + n)?.to_vec();
            at += n + 2;
            if at > wire.len() {
                return None;
            }
            Reply::Bulk(bytes)
        }
        b'*' | b'~' | b'>' => Reply::Array(items(length())?),
        b'%' => {
            let flat = items(2 * length())?;
            Reply::Map(flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
        }
        b'=' => {
            let n = length() as usize;
            let text = String::from_utf8_lossy(wire.get(at..at + n)?).into_owned();
            at += n + 2;
            Reply::Other(format!("={text}"))
        }
        b'#' | b',' | b'(' => Reply::Other(format!("{}{line}", kind as char)),
        other => panic!("not RESP: {:?}", (other as char, line)),
    };
    Some((reply, at))
}
