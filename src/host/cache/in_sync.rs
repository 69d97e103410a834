//! The cache held against the table after a fault: a restart, a promotion, a failover.
//!
//! What the data set holds may be older than the table then. The journal names the keys that have
//! changed meanwhile; without one, every cached key is looked at. Rows are read through the
//! workers, in order with the writes of their keys, some at a time, so that clients are served.
//! With a journal, what others write is followed afterwards in the same way. And a mapping whose values
//! have another text without a write (DDL, another document) is looked at as a whole.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::leftovers;
use super::position;
use super::sessions;
use crate::engine::{JobId, RowState, Settled, Tag};
use crate::host::ffi::{self, Closed, Ctx, Kind, Reply as Called, Str, ASK_AGAIN};
use crate::host::module::state::{module, Module, State};
use crate::pg::journal::reader::News;
use crate::pg::journal::Position;

mod steps;

pub use steps::done;
use steps::step_after;

/// The pause while the database is away, or others have to end first.
const PAUSE: Duration = Duration::from_millis(100);

/// How the cache stands to the table.
#[derive(Default)]
pub struct Sync {
    phase: Phase,
    /// Which keys are still to be found, while all are looked at.
    scan: Option<Scan>,
    /// Final keys to be read.
    keys: Vec<Vec<u8>>,
    /// Final keys to be read when this time has come.
    later: VecDeque<(Instant, Vec<u8>)>,
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
    reached: Option<(Position, JobId)>,
    /// The position that the data set holds.
    stored: Option<Position>,
    /// The journal is followed.
    is_following: bool,
    /// Whose sessions have to be gone before anything is known.
    earlier: Vec<Tag>,
    /// Histories of the database that were dealt with.
    timelines: u64,
    /// [`Catalog::reshapings`](crate::pg::catalog::Catalog::reshapings) that were dealt with.
    reshapings: u64,
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

impl State {
    /// Takes note of a difference that was repaired.
    pub fn repaired(&mut self) {
        self.sync.repaired += 1;
    }

    /// Registers a read whose waiter is [`Waiter::Sync`].
    pub fn reading(&mut self) {
        self.sync.outstanding += 1;
    }
}

/// True when every cached hash is known to be its row: writes on their way apart.
pub fn is_in_sync(module: &Module) -> bool {
    let is_done = {
        let state = module.state();
        state.sync.phase == Phase::Done
            && state.sync.timelines == module.manager.timeline.changes()
            && state.sync.reshapings == module.catalog.reshapings()
    };
    is_done
        && module.shared.health.is_up()
        && module.shared.stats.unsettled.get() == 0
        && !ffi::server_flags().is_following()
}

/// For INFO and WT.STATUS.
pub fn progress(module: &Module) -> String {
    let state = module.state();
    let Sync { phase, scan, keys, outstanding, checked, repaired, .. } = &state.sync;
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
    let before = {
        let sync = &mut module.state().sync;
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
        std::mem::replace(sync, new)
    };
    leftovers::look();
    if !before.is_beginning {
        ffi::timer(Duration::ZERO, begin);
    }
}

/// What a key holds may not be its row: it is read again.
pub fn reread(module: &Module, target: &[u8]) {
    let mut state = module.state();
    state.sync.keys.push(target.to_vec());
    if state.sync.phase == Phase::Done {
        state.sync.phase = Phase::Running;
    }
    drop(state);
    step_after(module, PAUSE);
}

/// The same, after a while.
pub fn reread_later(module: &Module, target: &[u8], pause: Duration) {
    let mut state = module.state();
    state.sync.later.push_back((Instant::now() + pause, target.to_vec()));
    if state.sync.phase == Phase::Done {
        state.sync.phase = Phase::Running;
    }
    drop(state);
    step_after(module, PAUSE);
}

/// What the server says to a change of a key. A node of a cluster that is down refuses it, and has
/// to make up for it.
pub fn check(module: &Module, target: &[u8], called: &Called) {
    const DOWN: &[u8] = b"while the cluster is down";
    let is_down = |error: &[u8]| error.windows(DOWN.len()).any(|words| words == DOWN);
    if called.error().is_some_and(is_down) {
        reread(module, target);
    }
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
    let mut state = module.state();
    let (reshapings, names) = module.catalog.take_reshaped();
    state.sync.reshapings = reshapings;
    if names.is_empty() {
        return;
    }
    let only = match state.sync.scan.take() {
        None => Some(names),
        Some(scan) => scan.only.map(|only| &only | &names),
    };
    state.sync.scan = Some(Scan::of(only));
    if state.sync.phase == Phase::Done {
        state.sync.phase = Phase::Running;
        (state.sync.checked, state.sync.repaired) = (0, 0);
    }
    // Before anything is known of the time before, nothing is read: an earlier statement may not have
    // ended.
    let is_waiting = state.sync.phase == Phase::Waiting;
    drop(state);
    if !is_waiting {
        step_after(module, Duration::ZERO);
    }
}

/// What a write has made of a key may be of an earlier shape: it was sent before the change was known.
pub fn check_shape(module: &Module, settled: &Settled) {
    if matches!(settled.state, RowState::Present(_)) && module.catalog.is_reshaped(&settled.mapping)
    {
        reread(module, &settled.target);
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
    module.state().sync.is_beginning = false;
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
        module.state().sync.phase = Phase::Done;
        return;
    }
    module.state().sync.earlier = earlier.clone();
    module.journal_reader.start(position, earlier);
    module.shared.health.nudge();
}

/// A timer: takes the monitor's news.
fn news(ctx: &Ctx) {
    let Some(module) = module() else { return };
    if ffi::server_flags().is_following() || !ctx.select(module.config.db) {
        return;
    }
    let Some(news) = module.journal_reader.take() else { return };
    let gone = std::mem::take(&mut module.state().sync.earlier);
    if !gone.is_empty() {
        sessions::are_gone(module, gone);
    }
    match news {
        News::Changed(mut keys, position) => {
            keys.retain(|key| ctx.open(&Str::new(key)).kind() == Kind::Hash);
            let mut state = module.state();
            state.sync.keys.append(&mut keys);
            state.reach(position);
            if state.sync.phase == Phase::Waiting {
                state.sync.phase = Phase::Running;
            }
        }
        News::Unknown(position) => {
            let mut state = module.state();
            // It was followed, and the journal has been cut off or replaced.
            if state.sync.is_following {
                drop(state);
                return check_all();
            }
            if let Some(position) = position {
                state.reach(position);
            }
            if state.sync.phase == Phase::Waiting {
                state.sync.phase = Phase::Running;
                state.sync.scan = Some(Scan::of(None));
            }
        }
    }
    module.state().sync.is_following = true;
    step_after(module, Duration::ZERO);
}

impl State {
    /// The data set is at this position once the writes that are on their way now are settled. An
    /// earlier one goes first.
    fn reach(&mut self, position: Position) {
        let last = self.last_id();
        self.sync.reached.get_or_insert((position, last));
    }
}
