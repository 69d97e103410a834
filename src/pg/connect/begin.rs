//! BEGIN, in one message with what comes after it: a round trip less for each transaction.
//!
//! `postgres` waits for the answer to each thing that it sends. So its stream puts BEGIN in front of the
//! session's next statement, and takes its answer out of what comes back. If BEGIN fails, the statement
//! isn't run, and has its error: before a prepared statement there is no Sync in between, and before a text
//! BEGIN is its first statement. (pgjdbc does the same.)

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::Arc;

use tokio::io::ReadBuf;

use super::greeting::message;

/// Parse, Bind and Execute of BEGIN, by the statement and the portal without a name.
const BEGIN: &[u8] = b"P\0\0\0\x0d\0BEGIN\0\0\0\
    B\0\0\0\x0c\0\0\0\0\0\0\0\0\
    E\0\0\0\x09\0\0\0\0\0";

/// What answers it: ParseComplete, BindComplete, CommandComplete.
const ANSWERS: &[u8] = b"12C";

/// The same in front of a text.
const BEGIN_TEXT: &[u8] = b"BEGIN; ";

/// A message's kind and length.
const HEADER: usize = 5;

/// So much of a statement goes into one packet with its BEGIN. The rest follows.
const TOGETHER: usize = 16 << 10;

/// The stream can't do it: it is a Unix socket, which is not ours.
const UNABLE: u8 = 0;
/// The next message goes as it is.
const NOT_ASKED: u8 = 1;
/// The next message goes with a BEGIN.
const ASKED: u8 = 2;

/// By this a session asks its stream.
#[derive(Debug, Clone, Default)]
pub struct Begin(Arc<AtomicU8>);

impl Begin {
    /// The session's next statement begins a transaction. False where the stream can't do that.
    pub fn with_next(&self) -> bool {
        let asked = self.0.compare_exchange(NOT_ASKED, ASKED, Ordering::AcqRel, Ordering::Acquire);
        asked != Err(UNABLE)
    }

    fn is_asked(&self) -> bool {
        self.0.load(Ordering::Acquire) == ASKED
    }

    fn done(&self) {
        self.0.store(NOT_ASKED, Ordering::Release);
    }
}

/// What is to be written.
#[derive(Debug, PartialEq, Eq)]
pub enum Write<'a> {
    /// The first so many bytes of what was given, as they are.
    Given(&'a [u8]),
    /// These.
    Other(Vec<u8>),
}

/// The stream's side of it: between the messages of `postgres` and the bytes of the connection.
pub struct BeginAhead {
    begin: Begin,
    /// What is put in front, and not written yet; so many bytes of what is given it stands for.
    head: Vec<u8>,
    stands_for: usize,
    /// So many bytes are of messages that BEGIN goes behind.
    before: usize,
    /// What is taken out of the answers, in order.
    awaited: &'static [u8],
    /// Bytes of a message that has not arrived as a whole.
    rest: Vec<u8>,
    /// Bytes for `postgres`.
    ready: Vec<u8>,
}

impl BeginAhead {
    /// Of a new connection.
    pub fn new(begin: Begin) -> BeginAhead {
        begin.done();
        let (head, rest, ready) = Default::default();
        BeginAhead { begin, head, stands_for: 0, before: 0, awaited: b"", rest, ready }
    }

    /// What to write for these bytes, of which the first are not written yet.
    pub fn to_write<'a>(&mut self, given: &'a [u8]) -> Write<'a> {
        if self.before == 0 && self.head.is_empty() && self.begin.is_asked() {
            self.look(given);
        }
        if self.before > 0 {
            return Write::Given(&given[..self.before.min(given.len())]);
        }
        if self.head.is_empty() {
            return Write::Given(given);
        }
        let tail = &given[self.stands_for..given.len().min(self.stands_for + TOGETHER)];
        Write::Other([&self.head, tail].concat())
    }

    /// So many bytes of it were written. Returns how many of those that were given that were.
    pub fn written(&mut self, count: usize) -> usize {
        if self.before > 0 {
            self.before -= count;
            return count;
        }
        match count.checked_sub(self.head.len()) {
            None => {
                self.head.drain(..count);
                0
            }
            Some(tail) => {
                self.head.clear();
                tail + std::mem::take(&mut self.stands_for)
            }
        }
    }

    /// Messages begin here, and a transaction is to begin with the next statement.
    fn look(&mut self, given: &[u8]) {
        let Some((kind, length)) = message(given) else { return };
        match kind {
            // A statement that is not used any more is closed: it has a Sync of its own, so that BEGIN's
            // error would keep nothing behind it from being run.
            b'C' | b'S' => {
                self.before = 1 + length;
                return;
            }
            b'P' | b'B' => {
                self.head = BEGIN.to_vec();
                self.awaited = ANSWERS;
            }
            b'Q' => {
                let length = (length + BEGIN_TEXT.len()) as u32;
                self.head = [b"Q", &length.to_be_bytes()[..], BEGIN_TEXT].concat();
                self.stands_for = HEADER;
            }
            // The session ends.
            _ => {}
        }
        self.begin.done();
    }

    /// The answers of a BEGIN are on their way, so all that comes has to be [`BeginAhead::read`].
    pub fn reads(&self) -> bool {
        !self.awaited.is_empty() || !self.ready.is_empty()
    }

    /// These bytes have come.
    pub fn read(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        while let (Some(next), Some((kind, length))) = (self.awaited.first(), message(&self.rest)) {
            let Some(whole) = self.rest.get(..1 + length) else { return };
            match kind {
                _ if kind == *next => self.awaited = &self.awaited[1..],
                _ => {
                    self.ready.extend_from_slice(whole);
                    if kind == b'E' {
                        self.awaited = b"";
                    }
                }
            }
            self.rest.drain(..1 + length);
        }
        if self.awaited.is_empty() {
            self.ready.append(&mut self.rest);
        }
    }

    /// Hands over what has come for `postgres`, as much as there is room for.
    pub fn hand_over(&mut self, buf: &mut ReadBuf) {
        let count = buf.remaining().min(self.ready.len());
        buf.put_slice(&self.ready[..count]);
        self.ready.drain(..count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> (Begin, BeginAhead) {
        let begin = Begin::default();
        assert!(!begin.with_next(), "there is no stream yet");
        let ahead = BeginAhead::new(begin.clone());
        assert!(begin.with_next());
        (begin, ahead)
    }

    /// What goes to the server where each write takes so many bytes, at most.
    fn sent(ahead: &mut BeginAhead, given: &[u8], most: usize) -> Vec<u8> {
        let (mut sent, mut at) = (Vec::new(), 0);
        while at < given.len() {
            let bytes = match ahead.to_write(&given[at..]) {
                Write::Given(bytes) => bytes.to_vec(),
                Write::Other(bytes) => bytes,
            };
            let count = bytes.len().min(most);
            sent.extend_from_slice(&bytes[..count]);
            at += ahead.written(count);
        }
        sent
    }

    /// What `postgres` reads where the answers come in pieces, into a small buffer.
    fn read(ahead: &mut BeginAhead, answers: &[u8], size: usize) -> Vec<u8> {
        let mut read = Vec::new();
        for piece in answers.chunks(size) {
            if !ahead.reads() {
                read.extend_from_slice(piece);
                continue;
            }
            ahead.read(piece);
            let mut space = [0; 3];
            loop {
                let mut buf = ReadBuf::new(&mut space);
                ahead.hand_over(&mut buf);
                if buf.filled().is_empty() {
                    break;
                }
                read.extend_from_slice(buf.filled());
            }
        }
        read
    }

    const BIND: &[u8] = b"B\0\0\0\x08\0s1\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04";
    const CLOSE: &[u8] = b"C\0\0\0\x08Ss0\0S\0\0\0\x04";
    const BEGUN: &[u8] = b"1\0\0\0\x042\0\0\0\x04C\0\0\0\x0aBEGIN\0";
    const DONE: &[u8] = b"2\0\0\0\x04C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05T";
    const NOTICE: &[u8] = b"N\0\0\0\x05\0";
    const FAILED: &[u8] = b"E\0\0\0\x05\0Z\0\0\0\x05I";

    #[test]
    fn a_statement_goes_with_begin_and_its_answer_comes_alone() {
        for size in 1..80 {
            let (begin, mut ahead) = asked();
            assert_eq!(sent(&mut ahead, BIND, size), [BEGIN, BIND].concat());
            let answers = [NOTICE, BEGUN, DONE].concat();
            assert_eq!(read(&mut ahead, &answers, size), [NOTICE, DONE].concat());
            // The next one goes as it is.
            assert!(!begin.is_asked() && !ahead.reads());
            assert_eq!(sent(&mut ahead, BIND, size), BIND);
            assert_eq!(read(&mut ahead, DONE, size), DONE);
        }
    }

    #[test]
    fn a_begin_that_fails_is_the_statements_error() {
        for size in 1..20 {
            let (_, mut ahead) = asked();
            sent(&mut ahead, BIND, size);
            let answers = [&BEGUN[..5], FAILED].concat();
            assert_eq!(read(&mut ahead, &answers, size), FAILED);
            assert!(!ahead.reads());
        }
    }

    #[test]
    fn begin_goes_behind_what_closes_a_statement() {
        for size in 1..80 {
            let (_, mut ahead) = asked();
            let given = [CLOSE, BIND].concat();
            assert_eq!(sent(&mut ahead, &given, size), [CLOSE, BEGIN, BIND].concat());
            let closed = b"3\0\0\0\x04Z\0\0\0\x05I";
            let answers = [closed, BEGUN, DONE].concat();
            assert_eq!(read(&mut ahead, &answers, size), [closed, DONE].concat());
        }
    }

    #[test]
    fn a_text_has_begin_as_its_first_statement() {
        for size in 1..30 {
            let (_, mut ahead) = asked();
            let text = b"Q\0\0\0\x0dROLLBACK\0";
            assert_eq!(sent(&mut ahead, text, size), b"Q\0\0\0\x14BEGIN; ROLLBACK\0");
            assert!(!ahead.reads());
        }
    }

    #[test]
    fn a_long_statement_is_sent_whole() {
        let (_, mut ahead) = asked();
        let long = [b"B\0\x01\0\x04".as_slice(), &[7; 1 << 16], BIND].concat();
        assert_eq!(sent(&mut ahead, &long, 5_000), [BEGIN, &long].concat());
    }
}
