//! What a server says of itself while a connection is made: the number of its process.
//!
//! PostgreSQL tells a client the number of the process that serves it, with a key for cancelling
//! statements. A pooler can't pass that on: it gives a number of its own. So a client that compares it
//! with what `pg_backend_pid()` says knows whether it talks to PostgreSQL itself.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::Arc;

/// The number that was told; 0 before, or when none was.
pub type Told = Arc<AtomicI32>;

/// Reads what a server sends until it is ready.
pub struct Greeting {
    told: Told,
    /// Bytes of a message that has not arrived as a whole.
    rest: Vec<u8>,
    is_over: bool,
}

impl Greeting {
    /// Of a new connection.
    pub fn new(told: Told) -> Greeting {
        Greeting { told, rest: Vec::new(), is_over: false }
    }

    /// More bytes have arrived.
    pub fn read(&mut self, bytes: &[u8]) {
        if self.is_over {
            return;
        }
        self.rest.extend_from_slice(bytes);
        while let Some((kind, length)) = message(&self.rest) {
            // What no message can be is for `postgres` to refuse.
            let Some(body) = self.rest.get(5..1 + length).filter(|_| length >= 4) else {
                self.is_over = length < 4;
                break;
            };
            if let (b'K', Some(pid)) = (kind, body.first_chunk()) {
                self.told.store(i32::from_be_bytes(*pid), Ordering::Relaxed);
            }
            self.is_over |= matches!(kind, b'K' | b'Z' | b'E');
            self.rest.drain(..1 + length);
        }
        if self.is_over {
            self.rest = Vec::new();
        }
    }
}

/// The kind of the message at the start, and its length without the kind.
pub fn message(bytes: &[u8]) -> Option<(u8, usize)> {
    let length = bytes.get(1..)?.first_chunk()?;
    Some((bytes[0], u32::from_be_bytes(*length) as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: &[u8] =
        b"R\0\0\0\x08\0\0\0\0S\0\0\0\x07a\0bK\0\0\0\x0c\0\0\x01\x02\0\0\0\x07Z\0\0\0\x05I";

    #[test]
    fn the_number_is_found_however_the_bytes_arrive() {
        for size in 1..MESSAGES.len() {
            let told = Told::default();
            let mut greeting = Greeting::new(told.clone());
            MESSAGES.chunks(size).for_each(|bytes| greeting.read(bytes));
            assert_eq!(told.load(Ordering::Relaxed), 258);
        }
    }

    #[test]
    fn what_is_no_greeting_is_left_alone() {
        for bytes in
            [b"R\0\0\0\x03more".as_slice(), b"R\xff\xff\xff\xff", b"Z\0\0\0\x05I", b"K\0\0\0\x05x"]
        {
            let told = Told::default();
            Greeting::new(told.clone()).read(bytes);
            assert_eq!(told.load(Ordering::Relaxed), 0);
        }
    }
}
