//! A write goes to the workers, behind those of its key.

use std::sync::Arc;
use std::time::Instant;

use super::acknowledge::Acknowledgement;
use super::pending::{pending, Pending};
use super::timeout::{abandon, deadline, time_limit, watch_deadlines};
use super::waiter::Waiter;
use crate::command::Write;
use crate::config::limits::Limit;
use crate::engine::{Claim, Job, JobId};
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
    let since = Instant::now();
    let limit = time_limit(&module.shared.limits, waiter.limit());
    let deadline = deadline(since, &limit);
    let has_deadline = waiter.limit() == Some(Limit::Timeout);
    let only_looks = write.only_looks();
    let change = Change::new(mapping, target, write.action);
    if !change.action.only_looks() {
        negative::end(target);
    }
    let claim = Arc::new(Claim::default());
    let term = module.shared.terms.now();
    let mut pending = pending();
    let progress = pending.progress(target);
    let (id, epoch) = (pending.next_id(), pending.epoch);
    waiter.waits_for(id, abandon);
    let write = Pending {
        mapping: mapping.clone(),
        loads: waiter.loads(),
        waiter: Some(waiter),
        progress: progress.clone(),
        reply: write.reply,
        kept: write.kept,
        dropped: write.dropped,
        kept_change: write.kept_change,
        cache: write.cache,
        is_staged: write.is_staged,
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
        watch_deadlines(&pending, Instant::now());
    }
    module.shared.stats.waiting.add(1);
    let mut job = Job::new(id, change, deadline, term, module.inbox.clone());
    (job.claim, job.limit, job.progress) = (claim, limit, progress);
    if let Some(job) = pending.line_up(job) {
        module.engine.submit([job]);
    }
    id
}
