//! The id of a stream's entry.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// The id of a stream's entry: a time in milliseconds, and a number within it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Milliseconds since 1970, by the clock of the server that made it.
    pub ms: u64,
    /// Counts the entries of one millisecond.
    pub seq: u64,
}

impl EntryId {
    /// Reads `<ms>-<seq>`.
    pub fn parse(text: &[u8]) -> Option<EntryId> {
        let (ms, seq) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(EntryId { ms: ms.parse().ok()?, seq: seq.parse().ok()? })
    }

    /// The next id that can be.
    pub fn next(self) -> EntryId {
        match self.seq.checked_add(1) {
            Some(seq) => EntryId { seq, ..self },
            None => EntryId { ms: self.ms.saturating_add(1), seq: 0 },
        }
    }

    /// The greatest id before this one.
    pub fn previous(self) -> EntryId {
        match self.seq {
            0 => EntryId { ms: self.ms.saturating_sub(1), seq: u64::MAX },
            seq => EntryId { seq: seq - 1, ..self },
        }
    }
}

/// Milliseconds since 1970, by this server's clock.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_compared_and_followed() {
        let id = EntryId::parse(b"12-3").unwrap();
        assert_eq!((id.to_string(), id.next().to_string()), ("12-3".into(), "12-4".into()));
        assert!(id < id.next() && id.next() < EntryId::parse(b"13-0").unwrap());
        assert_eq!(EntryId { ms: 1, seq: u64::MAX }.next(), EntryId { ms: 2, seq: 0 });
        assert_eq!(id.next().previous(), id);
        assert_eq!(EntryId { ms: 2, seq: 0 }.previous().next(), EntryId { ms: 2, seq: 0 });
        assert!(EntryId::parse(b"12").is_none() && EntryId::parse(b"x-1").is_none());
    }
}
