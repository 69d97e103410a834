//! Compares the cache with the table after a fault: a restart, a promotion, a failover.
//!
//! What the data set holds may be older than the table then. The journal names the keys that have
//! changed meanwhile; without one, every cached key is looked at. Rows are read through the
//! workers, in order with the writes of their keys, some at a time, so that clients are served.
//! With a journal, what others write is followed afterwards in the same way. And a mapping whose values
//! have another text without a write (DDL, another document) is looked at as a whole.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::follow;
use super::leftovers;
use super::position;
use super::sessions;
use crate::engine::{JobId, Tag};
use crate::host::ffi::{self, Closed, Ctx, ASK_AGAIN};
use crate::host::module::{module, MainThread, Module};
use crate::host::write::pending::pending;
use crate::pg::journal::{Named, Position};

mod news;
mod steps;

use news::news;
pub use steps::read;
use steps::step_after;

/// The pause while the database is away, or others have to end first.
const PAUSE: Duration = Duration::from_millis(100);

/// How the cache stands to the table.
#[derive(Default)]
struct Sync {
    phase: Phase,
    /// Which keys are still to be found, while all are looked at.
    scan: Option<Scan>,
    /// What is to be read, the first one first.
    keys: VecDeque<ToRead>,
    /// Reads on their way.
    outstanding: usize,
    checked: usize,
    repaired: usize,
    /// A timer for the next step is set.
    is_stepping: bool,
    /// A timer for the first one is set.
    is_beginning: bool,
    /// A position, and the last write that was sent before it was known: when all up to it are
    /// settled, the data set is there.
    reached: Option<(Position, JobId, Instant)>,
    /// The position that the data set holds, and since when.
    stored: Option<(Position, Instant)>,
    /// The journal is followed.
    is_following: bool,
    /// Whose sessions have to be gone before anything is known.
    earlier: Vec<Tag>,
    /// Histories of the database that were dealt with.
    timelines: u64,
    /// [`Catalog::reshapings`](crate::pg::catalog::Catalog::reshapings) that were dealt with.
    reshapings: u64,
}

/// A final key whose row is to be read.
struct ToRead {
    key: Vec<u8>,
    /// The journal has named it: what is known, or being read, of it may be older.
    is_named: bool,
    /// It is loaded where it isn't cached.
    is_preloaded: bool,
}

impl ToRead {
    /// One that is cached.
    fn cached(key: Vec<u8>) -> ToRead {
        ToRead { key, is_named: false, is_preloaded: false }
    }

    /// One that the journal has named.
    fn named(named: Named) -> ToRead {
        ToRead { key: named.key, is_named: true, is_preloaded: named.is_preloaded }
    }
}

/// A SCAN for the keys of mappings.
struct Scan {
    cursor: Vec<u8>,
    /// Their names; `None`: of all mappings.
    only: Option<HashSet<Vec<u8>>>,
}

impl Scan {
    fn of(only: Option<HashSet<Vec<u8>>>) -> Scan {
        Scan { cursor: b"0".to_vec(), only }
    }

    fn wants(&self, name: &[u8]) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(name))
    }
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing is known yet.
    #[default]
    Waiting,
    /// The keys in doubt are being read.
    Running,
    /// Every cached hash is its row.
    Done,
}

static SYNC: MainThread<Sync> = MainThread::new();

/// True when every cached hash is known to be its row: writes on their way apart.
pub fn is_in_sync(module: &Module) -> bool {
    let is_done = {
        let sync = SYNC.get();
        sync.phase == Phase::Done
            && sync.timelines == module.manager.timeline.changes()
            && sync.reshapings == module.catalog.reshapings()
    };
    is_done
        && module.shared.health.is_up()
        && module.shared.stats.unsettled.get() == 0
        && !ffi::server_flags().is_following()
}

/// Keys that are still to be read.
pub fn waiting() -> usize {
    let sync = SYNC.get();
    sync.keys.len() + sync.outstanding
}

/// For INFO and WT.STATUS.
pub fn progress(module: &Module) -> String {
    let sync = SYNC.get();
    let Sync { phase, scan, keys, outstanding, checked, repaired, .. } = &*sync;
    match phase {
        _ if ffi::server_flags().is_following() => "following another server".into(),
        _ if !module.shared.health.is_up() => "waiting for the database".into(),
        Phase::Waiting => "waiting for earlier statements to end".into(),
        Phase::Done => "done".into(),
        Phase::Running => {
            let left = match scan {
                Some(_) => "scanning".to_string(),
                None => format!("{} left", keys.len() + outstanding),
            };
            format!("{checked} checked, {repaired} repaired, {left}")
        }
    }
}

/// The data set may be older than the table, or newer: at load, and after a fault.
pub fn check_all() {
    let Some(module) = module() else { return };
    module.journal_reader.stop();
    module.stale_keys.clear();
    let before = {
        let mut sync = SYNC.get();
        let (outstanding, is_stepping) = (sync.outstanding, sync.is_stepping);
        let timelines = module.manager.timeline.changes();
        // Every key is looked at, or what the journal names since a position of this shape.
        let (reshapings, _) = module.catalog.take_reshaped();
        let is_beginning = true;
        let new = Sync {
            outstanding,
            is_stepping,
            is_beginning,
            timelines,
            reshapings,
            ..Sync::default()
        };
        std::mem::replace(&mut *sync, new)
    };
    leftovers::look();
    if !before.is_beginning {
        ffi::timer(Duration::ZERO, begin);
    }
}

/// There is a key whose hash may not be its row: it is read again.
pub fn stale_key() {
    {
        let mut sync = SYNC.get();
        if sync.phase == Phase::Done {
            sync.phase = Phase::Running;
        }
    }
    step_after(PAUSE);
}

/// The database tells another timeline; any thread may say so.
pub fn timeline_changed() {
    ffi::wake(check_all);
}

/// Values have another text than before; any thread may say so.
pub fn reshaped() {
    ffi::wake(look_at_reshaped);
}

/// The keys of mappings whose values have another text are read again, from the first one on.
fn look_at_reshaped() {
    let Some(module) = module() else { return };
    let mut sync = SYNC.get();
    let (reshapings, names) = module.catalog.take_reshaped();
    sync.reshapings = reshapings;
    if names.is_empty() {
        return;
    }
    sync.scan_again(names);
    // Before anything is known of the time before, nothing is read: an earlier statement may not have
    // ended.
    let is_waiting = sync.phase == Phase::Waiting;
    drop(sync);
    if !is_waiting {
        step_after(Duration::ZERO);
    }
}

/// The monitor has news.
pub fn news_arrived() {
    ffi::wake(|| ffi::timer(Duration::ZERO, news));
}

/// A timer: asks the monitor what has changed.
fn begin(ctx: &Ctx) {
    let Some(module) = module() else { return };
    let gate = ctx.writable();
    if gate.as_ref().is_err_and(|closed| *closed == Closed::Paused) {
        return ffi::timer(ASK_AGAIN, begin);
    }
    SYNC.get().is_beginning = false;
    let ctx = match gate {
        Ok(ctx) if ctx.select(module.config.db) => ctx,
        _ => return,
    };
    // In a cluster no key stays with its server for ever.
    let has_position = module.journal_reader.has_journal() && !ctx.flags().is_cluster();
    let position = match has_position {
        true => position::stored(&ctx),
        false => {
            // Writes that are not noted make it untrue.
            position::forget(&ctx, module);
            None
        }
    };
    let earlier = sessions::earlier(&ctx, module);
    sessions::note(&ctx, module);
    if earlier.is_empty() {
        module.shared.terms.open(module.shared.terms.now());
    }
    let is_empty = ctx.read(c"DBSIZE", &[]).integer() == sessions::keys(&ctx);
    // Who follows a journal doesn't know what changes before its first look: what is cached until
    // then is read again.
    if is_empty && earlier.is_empty() && !module.journal_reader.has_journal() {
        SYNC.get().phase = Phase::Done;
        return;
    }
    SYNC.get().earlier = earlier.clone();
    follow::begins();
    module.journal_reader.start(position, earlier);
    module.shared.health.nudge();
}

impl Sync {
    /// The data set is at this position once the writes that are on their way now are settled. An
    /// earlier one goes first.
    fn reach(&mut self, position: Position, asked: Instant) {
        let last = pending().last_id();
        self.reached.get_or_insert((position, last, asked));
    }

    /// The cached keys of these mappings are read again, from the first one on.
    fn scan_again(&mut self, names: HashSet<Vec<u8>>) {
        let only = match self.scan.take() {
            None => Some(names),
            Some(scan) => scan.only.map(|only| &only | &names),
        };
        self.scan = Some(Scan::of(only));
        if self.phase == Phase::Done {
            self.phase = Phase::Running;
            (self.checked, self.repaired) = (0, 0);
        }
    }
}
