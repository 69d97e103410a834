//! Pending writes, as the main thread remembers them, and the lines in which those of one key wait.

use std::collections::hash_map::{Entry, HashMap};
use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use super::acknowledge::Acknowledgement;
use super::deadlines::Deadlines;
use super::gathering::Gathering;
use super::touched;
use super::waiter::Waiter;
use crate::command::{CacheOnly, KeptChange, Named, Reply, Staged};
use crate::config::limits::Limit;
use crate::config::Unmapped;
use crate::engine::{Claim, Job, JobId, Numbered, Progress, Settled, Stage, Term};
use crate::host::module::error_log::Late;
use crate::host::module::MainThread;
use crate::model::action::{Action, Bytes};
use crate::model::map::Map;
use crate::model::mapping::Mapping;

/// Writes of one key that go to the workers together, at most: they stay in one batch.
const TOGETHER_MAX: usize = 512;

/// A write on its way.
pub struct Pending {
    /// The table.
    pub mapping: Arc<Mapping>,
    /// Who waits; `None`: nobody any more.
    pub waiter: Option<Box<dyn Waiter>>,
    /// For what.
    pub progress: Progress,
    /// The command, for the log.
    pub command: &'static str,
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
    /// What the staged hash holds of what this write sets, unless a later one has written it.
    pub staged: Staged,
    /// Where what becomes of it is told, too.
    pub acknowledgement: Option<Acknowledgement>,
    /// Whether it may still be sent, or given up.
    pub claim: Arc<Claim>,
    /// It reads the row and changes nothing, neither in the database nor in Redis.
    pub only_looks: bool,
    /// The row is read to be loaded: it is alone in its group, and nothing is done with it but by its
    /// waiter.
    pub loads: bool,
    /// Its time was up while a statement was on its way: it was given a little more.
    pub is_overdue: bool,
    /// [`PendingWrites::epoch`] when it was staged.
    pub epoch: u64,
    /// In which term: in a later one, the data set may hold what came after it.
    pub term: Term,
    /// When it was staged.
    pub since: Instant,
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

    /// Its client's time is up: what the log says of it.
    pub fn late(&self) -> Late {
        let limit = self.waiter.as_ref().and_then(|waiter| waiter.limit());
        Late {
            mapping: self.mapping.clone(),
            stage: self.progress.stage(),
            limit: limit.unwrap_or(Limit::Timeout),
        }
    }
}

/// The writes of one final key that are on their way. One key, one worker: so its writes keep their
/// order, and those that come while it is at work go together afterwards.
#[derive(Default)]
pub(super) struct Line {
    /// What they wait for.
    pub(super) progress: Progress,
    /// How many the workers have, or a transaction that gathers its writes.
    pub(super) sent: usize,
    /// Those that wait for these.
    pub(super) behind: VecDeque<Job>,
    /// Since these were sent, somebody has evicted the key: a row that they read may be older.
    pub(super) is_evicted: bool,
}

/// All writes on their way.
#[derive(Default)]
pub struct PendingWrites {
    /// By number.
    pub jobs: Numbered<Pending>,
    /// By final key.
    pub(super) lines: Map<Arc<[u8]>, Line>,
    /// Transactions of which some writes are behind others of their keys, by number.
    pub(super) gathering: HashMap<JobId, Gathering>,
    /// When clients' time is up, in order.
    pub deadlines: Deadlines,
    /// Counts flushes: a write that is older must not bring its key back.
    pub epoch: u64,
    /// The final key whose staged hash must outlive its write: a refused RENAME gives it back.
    pub held: Option<Box<[u8]>>,
    last_id: JobId,
}

static PENDING: MainThread<PendingWrites> = MainThread::new();

/// The writes on their way.
pub fn pending() -> MutexGuard<'static, PendingWrites> {
    PENDING.get()
}

/// What [`PendingWrites::remove`] takes out.
pub struct Removed {
    /// The writes; `None` for one that is not known any more.
    pub pendings: Vec<Option<Pending>>,
    /// The writes behind them, which go to the workers now.
    pub next: VecDeque<Job>,
    /// The staged key has done its duty: no further write of the key is on its way.
    pub is_last: bool,
    /// The key was evicted after they were sent.
    pub is_evicted: bool,
    /// What they have waited for last.
    pub stage: Stage,
    /// When a statement with them was sent first.
    pub sent: Option<Instant>,
}

impl PendingWrites {
    /// A number for one more write.
    pub fn next_id(&mut self) -> JobId {
        self.last_id += 1;
        self.last_id
    }

    /// The number of the last write.
    pub fn last_id(&self) -> JobId {
        self.last_id
    }

    /// True while a write of this final key is on its way.
    pub fn has(&self, target: &[u8]) -> bool {
        self.lines.contains_key(target)
    }

    /// The final keys with writes on their way.
    pub fn targets(&self) -> impl Iterator<Item = &Arc<[u8]>> {
        self.lines.keys()
    }

    /// What the writes of a final key wait for.
    pub fn progress(&self, target: &[u8]) -> Progress {
        self.lines.get(target).map(|line| line.progress.clone()).unwrap_or_default()
    }

    /// Puts a write in its key's line. Returns it when it may go at once.
    pub fn line_up(&mut self, job: Job) -> Option<Job> {
        match self.lines.entry(job.change.target.clone()) {
            Entry::Occupied(mut line) => {
                line.get_mut().behind.push_back(job);
                None
            }
            Entry::Vacant(place) => {
                let progress = job.progress.clone();
                place.insert(Line { progress, sent: 1, ..Line::default() });
                Some(job)
            }
        }
    }

    /// Takes out writes that are settled.
    pub fn remove(&mut self, settled: &Settled) -> Removed {
        touched::note(&settled.target);
        let pendings = settled.answers.iter().map(|(id, _)| self.jobs.remove(id)).collect();
        let jobs = &self.jobs;
        self.deadlines.forget_answered(jobs.len(), |id| jobs.contains_key(&id));
        let Entry::Occupied(mut place) = self.lines.entry(settled.target.clone()) else {
            return Removed {
                pendings,
                next: VecDeque::new(),
                is_last: true,
                is_evicted: false,
                stage: Stage::Queued,
                sent: None,
            };
        };
        let line = place.get_mut();
        // Those behind them begin anew.
        let (stage, sent) = (line.progress.stage(), line.progress.first_sent());
        line.sent = line.sent.saturating_sub(settled.answers.len());
        let is_evicted = line.is_evicted;
        let (mut next, mut transaction) = (VecDeque::new(), None);
        let loads = |job: &Job| {
            job.change.action == Action::Read
                && jobs.get(&job.id()).is_some_and(|pending| pending.loads)
        };
        let has_kept_change = |job: &Job| {
            job.change.mapping.unmapped == Unmapped::Keep
                && jobs.get(&job.id()).is_some_and(|pending| pending.kept_change.is_some())
        };
        if line.sent == 0 {
            let most = line.behind.len().min(TOGETHER_MAX);
            // What may have to be sent again ends a group: nothing of its key goes before it.
            // A load is a group of its own, and so are the writes of a transaction.
            let is_apart = |job: &Job| loads(job) || job.transaction.is_some();
            let ends =
                line.behind.iter().take(most).position(|job| is_apart(job) || has_kept_change(job));
            transaction = line.behind.front().and_then(|job| job.transaction.clone());
            let most = match ends {
                Some(0) if transaction.is_some() => {
                    let first = &line.behind[0];
                    line.behind.iter().take_while(|job| job.goes_with(first)).count()
                }
                Some(at) if at > 0 && is_apart(&line.behind[at]) => at,
                Some(at) => at + 1,
                None => most,
            };
            let rest = line.behind.split_off(most);
            line.is_evicted = false;
            next = std::mem::replace(&mut line.behind, rest);
            line.sent = next.len();
            line.progress.set(Stage::Queued);
        }
        let is_write = |job: &Job| job.change.action != Action::Read || has_kept_change(job);
        let is_last = line.sent == next.len() && !next.iter().chain(&line.behind).any(is_write);
        if line.sent == 0 {
            place.remove();
        }
        let is_last = is_last && self.held.as_deref() != Some(&*settled.target);
        if let Some(transaction) = transaction {
            next = self.gather(transaction.id, next);
        }
        Removed { pendings, next, is_last, is_evicted, stage, sent }
    }

    /// Somebody has evicted the key: what is being read of it may be older than the reason for that.
    pub fn evicted(&mut self, target: &[u8]) {
        touched::note(target);
        if let Some(line) = self.lines.get_mut(target) {
            line.is_evicted = true;
        }
    }

    /// What stands first in the key's line is sent only now: nothing has happened to the key since.
    pub fn sent_now(&mut self, target: &[u8]) {
        if let Some(line) = self.lines.get_mut(target) {
            line.is_evicted = false;
        }
    }

    /// All keys of the database are others now.
    pub fn all_evicted(&mut self) {
        self.lines.values_mut().for_each(|line| line.is_evicted = true);
    }

    /// The data set was emptied.
    pub fn flushed(&mut self) {
        self.epoch += 1;
    }

    /// The data set that was emptied came back: it may hold what a write replaces.
    pub fn came_back(&mut self) {
        let epoch = self.epoch;
        self.jobs.values_mut().for_each(|pending| pending.epoch = epoch);
    }
}
