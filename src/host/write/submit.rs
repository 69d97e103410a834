//! A write goes to the workers, behind those of its key.

use std::sync::Arc;
use std::time::Instant;

use super::acknowledge::Acknowledgement;
use super::behind;
use super::part::Prepared;
use super::pending::{pending, Pending, PendingWrites};
use super::timeout::{abandon, deadline, time_limit, watch_deadlines};
use super::waiter::Waiter;
use crate::command::Write;
use crate::config::limits::Limit;
use crate::engine::{Claim, Job, JobId, Transaction};
use crate::host::module::{negative, Module};
use crate::model::change::Change;
use crate::model::mapping::Mapping;

/// Hands a write to the workers. The waiter is told when it is completed.
pub fn submit(
    module: &Module,
    mapping: &Arc<Mapping>,
    target: &[u8],
    write: Write,
    waiter: Box<dyn Waiter>,
    acknowledgement: Option<Acknowledgement>,
) -> JobId {
    let (id, first) = {
        let mut pending = pending();
        let (since, claim) = (Instant::now(), Arc::default());
        let of = (mapping, target, acknowledgement);
        let job = take_in(module, &mut pending, of, write, waiter, (since, claim));
        (job.id(), pending.line_up(job))
    };
    behind::send(module, first);
    id
}

/// The same of the writes of a transaction, which go when nothing else of their keys is on its way.
pub fn submit_together(
    module: &Module,
    transaction: &Arc<Transaction>,
    writes: impl IntoIterator<Item = (Prepared, Box<dyn Waiter>)>,
) {
    let mut pending = pending();
    // Who gives one of them up gives up all.
    let (since, claim) = (Instant::now(), Arc::<Claim>::default());
    let mut jobs = Vec::new();
    for (prepared, waiter) in writes {
        let Prepared { mapping, target, write, acknowledgement, .. } = prepared;
        let of = (&mapping, &*target, acknowledgement);
        let mut job = take_in(module, &mut pending, of, write, waiter, (since, claim.clone()));
        job.transaction = Some(transaction.clone());
        jobs.push(job);
    }
    module.engine.submit(pending.line_up_together(transaction.id, jobs));
}

/// Remembers a write. Returns it as the workers know it.
fn take_in(
    module: &Module,
    pending: &mut PendingWrites,
    (mapping, target, acknowledgement): (&Arc<Mapping>, &[u8], Option<Acknowledgement>),
    write: Write,
    waiter: Box<dyn Waiter>,
    (since, claim): (Instant, Arc<Claim>),
) -> Job {
    let limit = time_limit(&module.shared.limits, waiter.limit());
    let deadline = deadline(since, &limit);
    let has_deadline = waiter.limit() == Some(Limit::Timeout);
    let only_looks = write.only_looks();
    let change = Change::new(mapping, target, write.action);
    if !change.action.only_looks() {
        negative::end(target);
    }
    let term = module.shared.terms.now();
    let progress = pending.progress(target);
    let (id, epoch) = (pending.next_id(), pending.epoch);
    waiter.waits_for(id, abandon);
    let write = Pending {
        mapping: mapping.clone(),
        loads: waiter.loads(),
        waiter: Some(waiter),
        progress: progress.clone(),
        command: write.command,
        reply: write.reply,
        kept: write.kept,
        dropped: write.dropped,
        kept_change: write.kept_change,
        cache: write.cache,
        staged: write.staged,
        acknowledgement,
        claim: claim.clone(),
        only_looks,
        is_overdue: false,
        epoch,
        term,
        since,
    };
    pending.jobs.insert(id, write);
    if has_deadline && pending.deadlines.add(deadline, id) {
        watch_deadlines(pending, Instant::now());
    }
    module.shared.stats.waiting.add(1);
    let mut job = Job::new(id, change, deadline, term, module.inbox.clone());
    (job.claim, job.limit, job.progress) = (claim, limit, progress);
    job
}
