//! The replies of a command's writes, until all are there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::pending::pending;
use super::synchronous;
use super::timeout::{give_up, GRACE};
use crate::engine::JobId;
use crate::host::ffi::{Blocked, Value, Writable};
use crate::host::module::Module;

#[derive(Default)]
struct Inner {
    /// `None`: the server waits.
    client: Option<Blocked>,
    replies: Vec<Option<Value>>,
    /// How many of them each command's reply is made of.
    spans: Vec<usize>,
    /// Those without a reply.
    left: usize,
    /// Those on their way, where the server waits, each with its place.
    sent: Vec<(JobId, usize)>,
}

/// A reply for each write, in order. That of a command of several writes is the sum of theirs, or the first
/// error.
#[derive(Clone)]
pub struct Collected(Arc<Mutex<Inner>>);

impl Collected {
    /// Each command has so many writes.
    pub fn new(spans: Vec<usize>) -> Collected {
        let left = spans.iter().sum();
        let inner = Inner { replies: vec![None; left], spans, left, ..Inner::default() };
        Collected(Arc::new(Mutex::new(inner)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reply of one of them.
    pub fn reply(&self, at: usize, value: Value) {
        let mut inner = self.lock();
        if inner.replies[at].replace(value).is_none() {
            inner.left -= 1;
        }
    }

    /// This client reads them.
    pub fn belong_to(&self, client: Blocked) {
        self.lock().client = Some(client);
    }

    /// A client reads them, and has not gone.
    pub fn has_client(&self) -> bool {
        self.lock().client.as_ref().is_none_or(Blocked::waits)
    }

    /// The write at this place has this number.
    pub fn waits_for(&self, write: JobId, at: usize, left: fn(&[JobId])) {
        let mut inner = self.lock();
        match &inner.client {
            Some(client) => client.waits_for(write, left),
            None => inner.sent.push((write, at)),
        }
    }

    /// All are there.
    pub fn is_complete(&self) -> bool {
        self.lock().left == 0
    }

    /// All of them, one for each command.
    pub fn take(&self) -> Vec<Value> {
        let Inner { replies, spans, .. } = &mut *self.lock();
        let lost = || Value::error("ERR writethrough: the reply was lost");
        let mut replies = replies.drain(..).map(|reply| reply.unwrap_or_else(lost));
        spans.drain(..).map(|span| sum(replies.by_ref().take(span))).collect()
    }

    /// Answers the client when all are there, with what is made of them.
    pub fn answer_when_complete(&self, make: impl FnOnce(Vec<Value>) -> Value) {
        let client = match self.is_complete() {
            true => self.lock().client.take(),
            false => None,
        };
        if let Some(client) = client {
            client.answer(make(self.take()));
        }
    }

    /// The server waits for the writes of these keys, for `sync_timeout_ms` at most. Afterwards all replies are
    /// there.
    pub fn wait(&self, ctx: &Writable, module: &Module, targets: &[Vec<u8>]) {
        module.shared.stats.sync.add(1);
        let targets: Vec<&[u8]> = targets.iter().map(Vec::as_slice).collect();
        let until = Instant::now() + module.shared.limits.sync_timeout();
        let done = || self.is_complete().then_some(());
        if synchronous::serve_until(ctx, module, &targets, until, done).is_some() {
            return;
        }
        let limit = synchronous::limit(module);
        let sent = std::mem::take(&mut self.lock().sent);
        let has_reply = |at: usize| self.lock().replies[at].is_some();
        let given_up = |(id, at): (JobId, usize)| (id, at, give_up(&pending(), id, &limit));
        let late: Vec<_> =
            sent.into_iter().filter(|(_, at)| !has_reply(*at)).map(given_up).collect();
        if late.iter().any(|(.., failure)| failure.is_none()) {
            // A statement waits no longer for a locked row.
            synchronous::serve_until(ctx, module, &targets, until + GRACE, done);
        }
        for (id, at, failure) in late {
            if has_reply(at) {
                continue;
            }
            let given_up = failure.or_else(|| give_up(&pending(), id, &limit));
            let reply = synchronous::end(module, id, given_up, false);
            self.reply(at, reply);
        }
    }
}

/// The only one; or the first error of several, or their sum.
fn sum(mut replies: impl Iterator<Item = Value>) -> Value {
    let first = replies.next().unwrap_or(Value::Integer(0));
    replies.fold(first, |sum, next| match (sum, next) {
        (Value::Integer(sum), Value::Integer(next)) => Value::Integer(sum + next),
        (error @ Value::Error(_), _) | (_, error) => error,
    })
}
