//! Whether this server may write to the database, and since when.
//!
//! A server that follows another one writes nothing, and what it had to write as a master is not
//! its to write when it is a master again: another one may have written the row meanwhile. So each
//! time as a master is a term of its own, each write belongs to the term in which it was taken,
//! and a statement is sent only with a [`Permit`] of the term of today.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Job;
use super::StoreError;
use crate::model::form::Form;

/// One time as a master, or as a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term(u64);

/// Which term it is.
#[derive(Debug)]
pub struct Terms {
    now: AtomicU64,
    /// The last term in which statements may go.
    open: Mutex<Option<Term>>,
    changed: Condvar,
    /// What makes this process' tags differ from others'.
    seed: u64,
}

/// Names a term of one process, for whoever sees its sessions or what it has noted.
pub type Tag = i64;

/// The bit that a master's term doesn't have. So each change of role is another number, and it is
/// looked at in one step.
const FOLLOWING: u64 = 1;

impl Terms {
    /// The first term.
    pub fn new(is_master: bool) -> Terms {
        let now = AtomicU64::new(if is_master { 0 } else { FOLLOWING });
        let (open, changed) = Default::default();
        Terms { now, open, changed, seed: RandomState::new().hash_one(()) }
    }

    /// The term of now, in which a new write is taken.
    pub fn now(&self) -> Term {
        Term(self.now.load(Ordering::Acquire))
    }

    /// This server follows no other one.
    pub fn is_master(&self) -> bool {
        self.now().0 & FOLLOWING == 0
    }

    /// This server follows another one from now on. It may follow one already.
    pub fn demote(&self) {
        self.now.fetch_or(FOLLOWING, Ordering::AcqRel);
        let _open = self.opened();
        self.changed.notify_all();
    }

    /// This server is a master from now on. It may be one already.
    pub fn promote(&self) {
        let next = |term| (term & FOLLOWING != 0).then_some(term + 1);
        let _ = self.now.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }

    fn opened(&self) -> MutexGuard<'_, Option<Term>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Earlier masters were told to end what they have on its way: from now on statements of this
    /// term may go.
    pub fn open(&self, term: Term) {
        *self.opened() = Some(term);
        self.changed.notify_all();
    }

    /// Waits until that was done, so that what an earlier master has sent is not written after what
    /// this one writes; not longer than `limit`. False when it was not done.
    pub fn wait_until_open(&self, limit: Duration) -> bool {
        let is_closed = |open: &mut Option<Term>| self.is_master() && *open != Some(self.now());
        let open = self.changed.wait_timeout_while(self.opened(), limit, is_closed);
        !open.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// The tag of a term.
    pub fn tag(&self, term: Term) -> Tag {
        self.seed.wrapping_add(term.0) as Tag
    }

    /// The tags of this server's earlier terms as a master.
    pub fn earlier_tags(&self) -> Vec<Tag> {
        (0..self.now().0).filter(|term| term & FOLLOWING == 0).map(|t| self.tag(Term(t))).collect()
    }

    /// For what was taken in `term`.
    pub fn permit(&self, term: Term) -> Permit<'_> {
        Permit(Some((self, term)))
    }
}

/// What a statement needs to be sent: it says whether the term is over in which its writes were
/// taken.
#[derive(Debug, Clone, Copy)]
pub struct Permit<'a>(Option<(&'a Terms, Term)>);

/// The term is over: nothing is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this server follows another one now; nothing was written")]
pub struct Demoted;

impl Permit<'_> {
    /// For statements that read, which anybody may send.
    pub const READ: Permit<'static> = Permit(None);

    /// To be asked immediately before each statement that may write, and before each COMMIT.
    pub fn to_write(&self) -> Result<(), Demoted> {
        match self.0 {
            Some((terms, term)) if term.0 & FOLLOWING == 0 && terms.now() == term => Ok(()),
            _ => Err(Demoted),
        }
    }

    /// To be asked immediately before a statement of this form.
    pub fn to_send(&self, form: &Form) -> Result<(), Demoted> {
        match form {
            Form::Read => Ok(()),
            _ => self.to_write(),
        }
    }

    /// True when the write was taken in another term.
    pub fn is_too_late_for(&self, job: &Job) -> bool {
        self.to_write().is_err() || self.0.is_none_or(|(_, term)| term != job.term)
    }
}

impl From<Demoted> for StoreError {
    fn from(_: Demoted) -> StoreError {
        StoreError::Demoted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_ends_with_its_term() {
        let terms = Terms::new(true);
        let first = terms.permit(terms.now());
        terms.promote();
        assert_eq!(first.to_write(), Ok(()), "it was a master already");
        terms.demote();
        assert_eq!(first.to_write(), Err(Demoted));
        let following = terms.permit(terms.now());
        terms.demote();
        assert_eq!(following.to_write(), Err(Demoted));
        terms.promote();
        assert_eq!(first.to_write(), Err(Demoted), "it is another term");
        assert_eq!(following.to_write(), Err(Demoted));
        assert_eq!(terms.permit(terms.now()).to_write(), Ok(()));
    }

    #[test]
    fn each_term_is_opened() {
        let terms = Terms::new(true);
        terms.open(terms.now());
        assert!(terms.wait_until_open(Duration::MAX));
        terms.demote();
        assert!(terms.wait_until_open(Duration::MAX), "nothing is sent");
        terms.promote();
        assert!(!terms.wait_until_open(Duration::from_millis(1)));
        terms.open(terms.now());
        assert!(terms.wait_until_open(Duration::MAX));
    }

    #[test]
    fn each_term_has_a_tag() {
        let terms = Terms::new(true);
        let first = terms.tag(terms.now());
        assert!(terms.earlier_tags().is_empty());
        terms.demote();
        assert_eq!(terms.earlier_tags(), [first]);
        terms.promote();
        assert_ne!(terms.tag(terms.now()), first);
        assert_eq!(terms.earlier_tags(), [first]);
        assert_ne!(Terms::new(true).tag(Term(0)), first, "another process draws another number");
    }

    #[test]
    fn who_follows_may_read() {
        let terms = Terms::new(false);
        assert_eq!(terms.permit(terms.now()).to_send(&Form::Read), Ok(()));
        assert_eq!(terms.permit(terms.now()).to_send(&Form::Delete), Err(Demoted));
        assert_eq!(Permit::READ.to_send(&Form::Read), Ok(()));
        assert_eq!(Permit::READ.to_send(&Form::Delete), Err(Demoted));
    }
}
