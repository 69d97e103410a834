//! Who decides about a waiting write: the worker that is about to send it, or the main thread, which
//! gives it up when its client has gone or has waited long enough.
//!
//! So a client is told for certain that nothing was written, and what it has given up is never
//! written afterwards.

use std::sync::atomic::{AtomicU8, Ordering};

/// Bit: a statement with the write is on its way, or its outcome is not known.
const SENT: u8 = 1;
/// Bit: the write is never sent any more.
const GIVEN_UP: u8 = 2;
/// Bit: its client has gone. It is given up as soon as it is not on its way any more.
const LEFT: u8 = 4;

/// What has become of one write so far.
#[derive(Debug, Default)]
pub struct Claim(AtomicU8);

impl Claim {
    fn change(&self, change: impl Fn(u8) -> Option<u8>) -> bool {
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, change).is_ok()
    }

    /// A worker is about to send the write. False when it was given up.
    pub(super) fn send(&self) -> bool {
        self.change(|state| (state & GIVEN_UP == 0).then_some((state & LEFT) | SENT))
    }

    /// What was sent has done nothing, for certain.
    pub fn take_back(&self) {
        self.change(|state| {
            let left = if state & LEFT != 0 { GIVEN_UP } else { 0 };
            Some((state & !SENT) | left)
        });
    }

    /// The write is never to be sent. False when it is on its way, or may have been written.
    pub fn give_up(&self) -> bool {
        self.change(|state| (state & SENT == 0).then_some(state | GIVEN_UP))
    }

    /// Its client has gone. True when it is given up already; when it is on its way it goes to its
    /// end, and is not tried again.
    pub fn leave(&self) -> bool {
        self.change(|state| Some(state | LEFT)) && self.give_up()
    }

    /// Its client has gone, and nothing was written.
    pub fn is_abandoned(&self) -> bool {
        self.0.load(Ordering::Acquire) & (LEFT | GIVEN_UP) == LEFT | GIVEN_UP
    }

    /// True after [`Claim::give_up`].
    pub fn is_given_up(&self) -> bool {
        self.0.load(Ordering::Acquire) & GIVEN_UP != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_both_has_it() {
        let claim = Claim::default();
        assert!(claim.send() && !claim.give_up());
        claim.take_back();
        assert!(claim.send());
        claim.take_back();
        assert!(claim.give_up() && claim.is_given_up());
        assert!(!claim.send() && !claim.is_abandoned());
    }

    #[test]
    fn who_leaves_while_it_is_sent_is_not_tried_again() {
        let claim = Claim::default();
        assert!(claim.send() && !claim.leave() && !claim.is_given_up());
        claim.take_back();
        assert!(!claim.send() && claim.is_abandoned());
        assert!(Claim::default().leave());
    }
}
