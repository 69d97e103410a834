//! Keys that something has happened to while a page of rows is being loaded: what the page says of them
//! may be older.
//!
//! A page is read in a snapshot that begins after it was asked for. So a key that a write or a read was
//! completed for since then, or that somebody has evicted, is left alone.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::host::module::MainThread;
use crate::model::map::Map;

/// Keys that are remembered for one load, at most. Past it, its pages are read again.
const MAX: usize = 100_000;

/// For the load of one mapping.
#[derive(Default)]
struct Touched {
    /// The page that was asked for last.
    asked: u64,
    /// Final keys, and the page that was asked for last when they were touched.
    keys: Map<Box<[u8]>, u64>,
    /// All keys were touched when this page was the last.
    all: Option<u64>,
}

/// By the mappings' names.
static TOUCHED: MainThread<Map<Box<[u8]>, Touched>> = MainThread::new();

/// There is one: each command asks.
static IS_NEEDED: AtomicBool = AtomicBool::new(false);

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Nothing has happened to it since the page was asked for.
    Nothing,
    /// Something has.
    Touched,
    /// Too much has happened: the page is to be read again.
    TooMuch,
}

/// A page of this mapping is asked for.
pub fn asked(name: &str, page: u64) {
    TOUCHED.get().entry(name.as_bytes().into()).or_default().asked = page;
    IS_NEEDED.store(true, Ordering::Relaxed);
}

/// A page of this mapping is done, and so are those before it.
pub fn done(name: &str, page: u64) {
    if let Some(touched) = TOUCHED.get().get_mut(name.as_bytes()) {
        touched.keys.retain(|_, asked| *asked > page);
        touched.all = touched.all.filter(|asked| *asked > page);
    }
}

/// No more pages of this mapping are asked for.
pub fn end(name: &str) {
    let mut touched = TOUCHED.get();
    touched.remove(name.as_bytes());
    IS_NEEDED.store(!touched.is_empty(), Ordering::Relaxed);
}

/// What has happened to a key of this mapping since the page was asked for.
pub fn since(name: &str, key: &[u8], page: u64) -> Since {
    match TOUCHED.get().get(name.as_bytes()) {
        Some(touched) if touched.all.is_some_and(|asked| asked >= page) => Since::TooMuch,
        Some(touched) if touched.keys.get(key).is_some_and(|asked| *asked >= page) => {
            Since::Touched
        }
        _ => Since::Nothing,
    }
}

/// Some mapping is being loaded.
pub fn is_needed() -> bool {
    IS_NEEDED.load(Ordering::Relaxed)
}

/// Some final key's mapping is being loaded.
pub fn is_needed_for(key: &[u8]) -> bool {
    let touched = TOUCHED.get();
    let colon = key.iter().position(|&b| b == b':');
    colon.is_some_and(|colon| touched.contains_key(&key[..colon]))
}

/// Something has happened to this final key.
pub fn note(key: &[u8]) {
    if !is_needed() {
        return;
    }
    let mut loads = TOUCHED.get();
    let Some(colon) = key.iter().position(|&b| b == b':') else { return };
    let Some(touched) = loads.get_mut(&key[..colon]) else { return };
    if touched.keys.len() >= MAX {
        touched.all = Some(touched.asked);
        touched.keys.clear();
        return;
    }
    let asked = touched.asked;
    touched.keys.insert(key.into(), asked);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_touched_for_the_pages_that_were_asked_for_before() {
        asked("t", 1);
        note(b"t:1");
        note(b"other:1");
        asked("t", 2);
        assert_eq!(since("t", b"t:1", 1), Since::Touched);
        assert_eq!(since("t", b"t:1", 2), Since::Nothing, "its snapshot began afterwards");
        note(b"t:2");
        assert_eq!(since("t", b"t:2", 1), Since::Touched);
        done("t", 1);
        assert_eq!(since("t", b"t:2", 2), Since::Touched);
        assert!(is_needed_for(b"t:1") && !is_needed_for(b"other:1"));
        (0..=MAX).for_each(|n| note(format!("t:{n}").as_bytes()));
        assert_eq!(since("t", b"t:7", 2), Since::TooMuch);
        asked("t", 3);
        assert_eq!(since("t", b"t:7", 3), Since::Nothing);
        end("t");
        assert!(!is_needed());
    }
}
