//! From the monitor to the main thread: which keys the database may hold in another state than the
//! data set.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::limits::{Limit, Limits};
use crate::engine::{Tag, Term, Terms};
use crate::model::mapping::{Mapping, Mappings};
use crate::pg::catalog::shape;
use crate::pg::connect::earlier_sessions::Earlier;
use crate::pg::connect::session::Session;
use crate::pg::journal::{self, preloaded, Changes, Entries, Position, Why};

/// How often the journal is read, where other programs aren't followed.
const FOLLOW_PAUSE: Duration = Duration::from_secs(1);

/// How often it is asked whether the statements and sessions of others have ended.
const SETTLE_PAUSE: Duration = Duration::from_millis(20);

/// Nobody signs with it.
const NOBODY: i64 = i64::MIN;

/// What the main thread reads.
#[derive(Debug)]
pub enum News {
    /// This was changed by others; then this is the data set's position, which was asked for at that time.
    Changed(Changes, Position, Instant),
    /// Any key may have changed. Without a journal there is no position.
    Unknown(Option<Position>),
}

/// The exchange. The main thread starts it, the monitor serves it.
pub struct JournalReader {
    has_journal: bool,
    /// Other programs are followed: how often the journal is read.
    follows: Option<Arc<Limits>>,
    /// What this process signs its entries in the journal with.
    terms: Arc<Terms>,
    notify: fn(),
    /// Tells the operator.
    log: fn(&str),
    /// Mappings whose condition of `preload` the database refuses, as the log says.
    refused: Mutex<BTreeSet<String>>,
    /// How often the journal didn't say what had changed.
    gaps: AtomicU64,
    /// Something may have been written that is not in the journal: no position is believed.
    is_incomplete: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    asked: Asked,
    /// Counts starts: an answer to an earlier one is of no use.
    start: u64,
    news: Option<News>,
}

#[derive(Default, Clone)]
enum Asked {
    #[default]
    Nothing,
    /// What changed since then, once nothing of before is on its way any more.
    Since(Option<Position>, Before),
    /// What changes from now on.
    Following(Position),
}

/// What may be on its way from before.
#[derive(Clone)]
enum Before {
    /// The sessions with these tags are to be ended, for this term.
    Known(Vec<Tag>, Term),
    /// They were told to end.
    Ended(Earlier),
}

impl JournalReader {
    /// `notify` is called, by the monitor, when there are news.
    /// `follows`: other programs, too.
    pub fn new(
        has_journal: bool,
        follows: Option<Arc<Limits>>,
        terms: Arc<Terms>,
        notify: fn(),
        log: fn(&str),
    ) -> JournalReader {
        let (refused, gaps, is_incomplete, inner) = Default::default();
        JournalReader {
            has_journal,
            follows,
            terms,
            notify,
            log,
            refused,
            gaps,
            is_incomplete,
            inner,
        }
    }

    /// Other programs are followed.
    pub fn follows(&self) -> bool {
        self.follows.is_some()
    }

    /// Something may have been written that is not in the journal: the next look at all keys believes no
    /// position.
    pub fn doubt(&self) {
        self.is_incomplete.store(true, Ordering::Release);
    }

    /// How often it didn't say what had changed since a position, so that all cached keys were looked at.
    pub fn gaps(&self) -> u64 {
        self.gaps.load(Ordering::Relaxed)
    }

    /// True when there is a journal.
    pub fn has_journal(&self) -> bool {
        self.has_journal
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks what has changed since the data set's position, and what changes afterwards. First the
    /// sessions with these tags are ended.
    pub fn start(&self, from: Option<Position>, tags: Vec<Tag>) {
        self.ask(Asked::Since(from, Before::Known(tags, self.terms.now())));
    }

    /// Asks for nothing any more.
    pub fn stop(&self) {
        self.ask(Asked::Nothing);
    }

    fn ask(&self, asked: Asked) {
        let mut inner = self.lock();
        let start = inner.start + 1;
        *inner = Inner { asked, start, news: None };
    }

    /// Takes the news.
    pub fn take(&self) -> Option<News> {
        self.lock().news.take()
    }

    /// When the monitor should serve it next; `None`: nobody asks.
    pub fn pause(&self) -> Option<Duration> {
        match self.lock().asked {
            Asked::Nothing => None,
            Asked::Since(..) => Some(SETTLE_PAUSE),
            Asked::Following(_) => {
                let interval = |limits: &Arc<Limits>| limits.time(Limit::FollowInterval);
                Some(self.follows.as_ref().map_or(FOLLOW_PAUSE, interval))
            }
        }
    }

    /// Asks the database.
    pub fn serve(&self, session: &mut Session, mappings: &Mappings) -> Result<(), postgres::Error> {
        let (asked, start) = {
            let inner = self.lock();
            if inner.news.is_some() {
                return Ok(());
            }
            (inner.asked.clone(), inner.start)
        };
        let (from, except) = match asked {
            Asked::Nothing => return Ok(()),
            // The data set has what this server itself writes.
            Asked::Following(position) => (Some(position), self.terms.tag(self.terms.now())),
            Asked::Since(from, before) => {
                let earlier = match before {
                    Before::Ended(earlier) => earlier,
                    Before::Known(tags, term) => {
                        let earlier = Earlier::end(session, tags)?;
                        self.terms.open(term);
                        earlier
                    }
                };
                if !earlier.is_gone(session)? {
                    self.answer(start, Asked::Since(from, Before::Ended(earlier)), None);
                    return Ok(());
                }
                // What is cached may have other texts than rows have now.
                let shape = shape::of_all(mappings, &session.settings);
                let is_complete = !self.is_incomplete.swap(false, Ordering::AcqRel);
                (from.filter(|from| from.shape == shape && is_complete), NOBODY)
            }
        };
        if !self.has_journal() {
            self.answer(start, Asked::Nothing, Some(News::Unknown(None)));
            return Ok(());
        }
        let began = Instant::now();
        let Some((entries, position)) = journal::read(session, except, from.as_ref(), mappings)?
        else {
            return Ok(());
        };
        let following = Asked::Following(position.clone());
        let news = match entries {
            Entries::Changed(mut changes) => {
                if self.follows() {
                    changes.loaded_again.clone_from(&changes.any_of);
                    let refused = |mapping: &Mapping, why: &str| self.tell_of_refused(mapping, why);
                    preloaded::mark(session, &mut changes, mappings, refused)?;
                }
                News::Changed(changes, position, began)
            }
            Entries::Unknown(why) => {
                if why != Why::NoPosition {
                    self.gaps.fetch_add(1, Ordering::Relaxed);
                    (self.log)(&format!(
                        "the journal doesn't say what has changed, {why}: all cached keys are looked at"
                    ));
                }
                News::Unknown(Some(position))
            }
        };
        self.answer(start, following, Some(news));
        Ok(())
    }

    fn tell_of_refused(&self, mapping: &Mapping, why: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.insert(mapping.name.clone()) {
            (self.log)(&format!(
                "new rows of {:?} are not loaded, the condition of preload can't be evaluated: {why}",
                mapping.name
            ));
        }
    }

    fn answer(&self, start: u64, asked: Asked, news: Option<News>) {
        let mut inner = self.lock();
        if inner.start != start {
            return;
        }
        inner.asked = asked;
        inner.news = news;
        if inner.news.is_some() {
            (self.notify)();
        }
    }
}
