//! The module's one instance, and what only the main thread knows.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::error_log::{ErrorLog, Late};
use super::inbox::Inbox;
use crate::command::{CacheOnly, KeptChange, Named, Reply};
use crate::config::{Config, Unmapped};
use crate::engine::{Claim, Engine, Job, JobId, Progress, Settled, Shared, Stage, Term};
use crate::host::cache::in_sync::Sync;
use crate::host::cache::leftovers::Leftovers;
use crate::host::cache::sessions::Sessions;
use crate::host::cache::verify::Verify;
use crate::host::ffi::Value;
use crate::host::ffi::{Blocked, Str, Timer};
use crate::host::operator::refresh_many::Refreshes;
use crate::host::write::acknowledge::Acknowledgement;
use crate::host::write::deadlines::Deadlines;
use crate::host::write::elsewhere::Changed;
use crate::host::write::overtaken::Overtaken;
use crate::host::write::several::Gather;
use crate::host::write::staging::Staging;
use crate::model::change::{Action, Bytes};
use crate::model::failure::{Failure, Outage};
use crate::model::mapping::Mapping;
use crate::pg::catalog::Catalog;
use crate::pg::connect::connections::Connections;
use crate::pg::connect::pool::Manager;
use crate::pg::journal::reader::JournalReader;

/// The loaded module.
pub struct Module {
    /// The document and the load arguments; what can change is in [`Shared::limits`] and in the
    /// catalog.
    pub config: Config,
    /// The arguments of MODULE LOAD.
    pub args: Vec<Vec<u8>>,
    /// The document as it was read last, with the arguments laid over it.
    pub document: Mutex<Config>,
    /// The mappings, when the catalog has been read.
    pub catalog: Arc<Catalog>,
    /// What the workers share.
    pub shared: Arc<Shared>,
    /// Where the workers put what they have done.
    pub inbox: Arc<Inbox>,
    /// The workers.
    pub engine: Engine,
    /// Their connections.
    pub connections: Connections,
    /// Makes connections outside the pool.
    pub manager: Manager,
    /// What the database tells of changed keys.
    pub journal_reader: Arc<JournalReader>,
    /// The thread that watches the database.
    pub monitor: JoinHandle<()>,
    /// True from the first turn of the event loop after OnLoad.
    pub is_loaded: AtomicBool,
    /// What only the main thread knows.
    pub main: MainThread,
}

/// What only the main thread knows, and the log's lines.
#[derive(Default)]
pub struct MainThread {
    state: Mutex<State>,
    error_log: Mutex<ErrorLog>,
}

static MODULE: RwLock<Option<&'static Module>> = RwLock::new(None);

/// The loaded module. Callbacks can come before OnLoad has ended: then there is none yet.
pub fn module() -> Option<&'static Module> {
    *MODULE.read().unwrap_or_else(PoisonError::into_inner)
}

/// What only the main thread knows (or another thread while it holds the server's lock).
#[derive(Default)]
pub struct State {
    /// Writes on their way, by number.
    pub jobs: HashMap<JobId, Pending>,
    /// The writes that are on their way, by final key.
    pub keys: HashMap<Arc<[u8]>, Line>,
    /// What the workers have done and the data set does not show yet, in order.
    pub settled: VecDeque<Settled>,
    /// When clients' time is up, in order.
    pub deadlines: Deadlines,
    /// The timer for the first deadline.
    pub deadline_timer: Option<Timer>,
    /// Final keys that were written here while their slot was arriving.
    pub overtaken: Overtaken,
    /// How long the server itself has waited for a write, at most, since LATENCY was told.
    pub slow_sync: Duration,
    /// `latency-monitor-threshold`, and when the server was asked for it.
    pub latency_threshold: Option<(Instant, Duration)>,
    /// Counts flushes: a write that is older must not bring its key back.
    pub epoch: u64,
    /// The staged key that a command of ours is writing now.
    pub staging: Staging,
    /// The final key whose staged hash must outlive its write: a refused RENAME gives it back.
    pub held: Option<Box<[u8]>>,
    /// The module itself is changing keys: nothing is to be written through.
    pub applying: bool,
    /// The answer of the write that the main thread waits for.
    pub sync_answer: Option<(JobId, Value)>,
    /// Changes of staged keys that no command of ours has made.
    pub elsewhere: VecDeque<Changed>,
    /// Staged keys whose writes are not known here.
    pub leftovers: Leftovers,
    /// The verification that is running.
    pub verify: Option<Verify>,
    /// How the cache stands to the table.
    pub sync: Sync,
    /// Whose sessions may be at work on the data set's rows.
    pub sessions: Sessions,
    /// The hash fields of each mapping as the server's strings, by the mapping's version.
    pub fields: HashMap<u64, Arc<Vec<Option<Str>>>>,
    /// WT.REFRESH, for the clients that wait for one.
    pub refreshes: Refreshes,
    last_id: JobId,
}

/// The writes of one final key that are on their way. One key, one worker: so its writes keep their
/// order, and those that come while it is at work go together afterwards.
#[derive(Default)]
pub struct Line {
    /// What they wait for.
    progress: Progress,
    /// How many the workers have.
    sent: usize,
    /// Those that wait for these.
    behind: VecDeque<Job>,
}

/// A write on its way, as the main thread remembers it.
pub struct Pending {
    /// The table.
    pub mapping: Arc<Mapping>,
    /// Who waits.
    pub waiter: Waiter,
    /// For what.
    pub progress: Progress,
    /// What its client reads when it is committed.
    pub reply: Reply,
    /// Fields that are kept in Redis only.
    pub kept: Vec<(Bytes, Bytes)>,
    /// Such fields that leave.
    pub dropped: Vec<Bytes>,
    /// A field that is kept in Redis only and changes by what it holds.
    pub kept_change: Option<KeptChange>,
    /// What happens to the final key when the database has no part in it.
    pub cache: Option<CacheOnly>,
    /// Where what becomes of it is told, too.
    pub acknowledgement: Option<Acknowledgement>,
    /// Who has the say over it.
    pub claim: Arc<Claim>,
    /// It changes nothing in the database.
    pub only_looks: bool,
    /// Its time was up while a statement was on its way: it was given a little more.
    pub is_overdue: bool,
    /// [`State::epoch`] when it was staged.
    pub epoch: u64,
    /// In which term: in a later one, the data set may hold what came after it.
    pub term: Term,
    /// When it was staged.
    pub since: Instant,
}

/// Readings of a mapping whose fields are kept as strings.
const FIELDS_MAX: usize = 1024;

/// Writes of one key that go to the workers together, at most: they stay in one batch.
const TOGETHER_MAX: usize = 512;

/// What [`State::remove`] takes out.
pub struct Removed {
    /// The writes; `None` for one that is not known any more.
    pub pendings: Vec<Option<Pending>>,
    /// The writes behind them, which go to the workers now.
    pub next: VecDeque<Job>,
    /// The staged key has done its duty: no further write of the key is on its way.
    pub is_last: bool,
}

/// Who waits for a write.
pub enum Waiter {
    /// A blocked client.
    Client(Blocked),
    /// A blocked client, for several writes.
    Part(Arc<Mutex<Gather>>),
    /// The main thread.
    Server,
    /// WT.VERIFY.
    Verify,
    /// WT.REFRESH, the one of this number.
    Refresh(JobId),
    /// The cache held against the table after a fault.
    Sync,
    /// Nobody any more.
    Nobody,
}

impl Pending {
    /// The hash field that the write names.
    pub fn field(&self, name: Named) -> &[u8] {
        match name {
            Named::Column(c) => self.mapping.columns[c].field.as_deref().unwrap_or_default(),
            Named::Kept(k) => &self.kept[k].0,
            Named::Dropped(d) => &self.dropped[d],
        }
    }
}

impl Module {
    /// Makes it the instance, which lives until the server ends.
    pub fn install(self) {
        let module = Box::leak(Box::new(self));
        *MODULE.write().unwrap_or_else(PoisonError::into_inner) = Some(module);
    }

    /// There is no instance any more: the server has taken the load back.
    pub fn uninstall() {
        *MODULE.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The main thread's state. It must be let go before the server is called: the server calls
    /// back.
    pub fn state(&self) -> MutexGuard<'_, State> {
        match self.main.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                panic!("the state is held across a call to the server")
            }
        }
    }

    /// Counts an answer that a client reads. `late` is who has waited in vain.
    pub fn count(&self, failure: Option<&Failure>, late: Option<Late>) {
        let stats = &self.shared.stats;
        match failure {
            None => stats.acknowledged.add(1),
            Some(Failure::Refused(refusal)) => stats.refuse(refusal.class()),
            Some(Failure::Down(reason)) => {
                stats.down.add(1);
                stats.read_only.add(usize::from(Outage::of(reason) == Outage::ReadOnly));
            }
            Some(Failure::TimedOut(_)) => stats.timed_out.add(1),
            Some(Failure::Busy(_)) => stats.busy.add(1),
            Some(Failure::Input(_)) => stats.bad_input.add(1),
        }
        if let Some(failure) = failure {
            let error_log = &self.main.error_log;
            error_log.lock().unwrap_or_else(PoisonError::into_inner).add(self, failure, late);
        }
    }

    /// Runs `change` while the module's own changes of keys are not written through.
    pub fn apply<T>(&self, change: impl FnOnce() -> T) -> T {
        struct Reset<'a>(&'a Module, bool);
        impl Drop for Reset<'_> {
            fn drop(&mut self) {
                self.0.state().applying = self.1;
            }
        }
        let before = std::mem::replace(&mut self.state().applying, true);
        let _reset = Reset(self, before);
        change()
    }
}

impl State {
    /// Registers a write on its way, and numbers it.
    pub fn add(&mut self, pending: Pending) -> JobId {
        let number = self.number();
        self.jobs.insert(number, pending);
        number
    }

    /// A number that nothing else has.
    pub fn number(&mut self) -> JobId {
        self.last_id += 1;
        self.last_id
    }

    /// The number of the last write.
    pub fn last_id(&self) -> JobId {
        self.last_id
    }

    /// What the writes of a final key wait for.
    pub fn progress(&self, target: &[u8]) -> Progress {
        self.keys.get(target).map(|line| line.progress.clone()).unwrap_or_default()
    }

    /// Puts a write in its key's line. Returns it when it may go at once.
    pub fn line_up(&mut self, job: Job) -> Option<Job> {
        match self.keys.get_mut(&job.change.target) {
            Some(line) => {
                line.behind.push_back(job);
                None
            }
            None => {
                let progress = job.progress.clone();
                let line = Line { progress, sent: 1, ..Line::default() };
                self.keys.insert(job.change.target.clone(), line);
                Some(job)
            }
        }
    }

    /// Takes out writes that are settled.
    pub fn remove(&mut self, settled: &Settled) -> Removed {
        let pendings = settled.answers.iter().map(|(id, _)| self.jobs.remove(id)).collect();
        let jobs = &self.jobs;
        self.deadlines.forget_answered(jobs.len(), |id| jobs.contains_key(&id));
        let Some(line) = self.keys.get_mut(&settled.target) else {
            return Removed { pendings, next: VecDeque::new(), is_last: true };
        };
        line.sent = line.sent.saturating_sub(settled.answers.len());
        let mut next = VecDeque::new();
        let has_kept_change = |job: &Job| {
            job.change.mapping.unmapped == Unmapped::Keep
                && jobs.get(&job.id()).is_some_and(|pending| pending.kept_change.is_some())
        };
        if line.sent == 0 {
            let most = line.behind.len().min(TOGETHER_MAX);
            // What may have to be sent again ends a group: nothing of its key goes before it.
            let ends = line.behind.iter().take(most).position(has_kept_change);
            let rest = line.behind.split_off(ends.map_or(most, |at| at + 1));
            next = std::mem::replace(&mut line.behind, rest);
            line.sent = next.len();
            line.progress.set(Stage::Queued);
        }
        let is_write = |job: &Job| job.change.action != Action::Read || has_kept_change(job);
        let is_last = line.sent == next.len() && !next.iter().chain(&line.behind).any(is_write);
        if line.sent == 0 {
            self.keys.remove(&settled.target);
        }
        let is_last = is_last && self.held.as_deref() != Some(&*settled.target);
        Removed { pendings, next, is_last }
    }

    /// The mapping's hash fields as the server's strings.
    pub fn field_strings(&mut self, mapping: &Mapping) -> Arc<Vec<Option<Str>>> {
        let make = || {
            let columns = mapping.columns.iter();
            Arc::new(columns.map(|c| c.field.as_deref().map(Str::new)).collect())
        };
        // Each reading of the catalog has versions of its own; those in use are soon made again.
        if self.fields.len() >= FIELDS_MAX {
            self.fields.clear();
        }
        self.fields.entry(mapping.version).or_insert_with(make).clone()
    }
}
