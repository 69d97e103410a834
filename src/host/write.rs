//! A write takes off: checked, staged, and sent to its shard.

use std::ffi::CStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::completion::{self, count};
use super::ffi::{self, Args, Ctx, Kind, Mode, Str};
use super::state::{module, Module, Pending, Reply, Staging, Waiter};
use super::value::Value;
use crate::change::{change, Action};
use crate::command::{self, Write};
use crate::engine::Job;
use crate::failure::Failure;
use crate::key::{self, Show, StagedKey};
use crate::mapping::Mapping;
use crate::suggest;

/// What Redis says of a key of another type.
pub const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

/// `wt.hset` and `wt.hmset`: `plain` is the server's command, `fixed` its answer where that is
/// not the number of new fields.
pub fn hset(ctx: &Ctx, args: Args, plain: &CStr, fixed: Option<Value>) -> Option<Value> {
    let Some(module) = module() else {
        return Some(not_ready());
    };
    if args.len() < 4 || !args.len().is_multiple_of(2) {
        let name = plain.to_string_lossy().to_lowercase();
        return Some(Value::error(format!("ERR wrong number of arguments for '{name}' command")));
    }
    let admitted = admit(ctx, module, args.get(1)).and_then(|(mapping, staged)| {
        let write = command::hset(&mapping, staged.id, args.from(2)).map_err(Failure::Input)?;
        Ok((mapping, staged, write))
    });
    let (mapping, staged, write) = match admitted {
        Ok(admitted) => admitted,
        Err(failure) => return Some(refuse(module, &failure)),
    };
    if let Some(error) = stage(ctx, module, args, plain, staged) {
        return Some(error);
    }
    send(ctx, module, &mapping, staged.target, write, fixed)
}

/// Before the data set is touched: the mapping and the parts of a staged key, or why not.
pub fn admit<'a>(
    ctx: &Ctx,
    module: &Module,
    key: &'a [u8],
) -> Result<(Arc<Mapping>, StagedKey<'a>), Failure> {
    let prefix = &module.config.prefix;
    let staged = key::parse(prefix.as_bytes(), key).map_err(|key::NotStaged| {
        let problem = format!("{} is no staged key, expected {prefix}{{<name>:<id>}}", Show(key));
        Failure::Input(problem)
    })?;
    let health = &module.shared.health;
    let mappings = module.catalog.mappings().map_err(|why| {
        Failure::Down(why.or_else(|| health.refusal()).unwrap_or_else(|| "not ready yet".into()))
    })?;
    let mapping = mappings.get(staged.name).ok_or_else(|| {
        let names = mappings.iter().map(|m| m.name.as_str());
        let near = suggest::among(&String::from_utf8_lossy(staged.name), names);
        Failure::Input(format!("no mapping is named {}{near}", Show(staged.name)))
    })?;
    command::check_id(mapping, staged).map_err(Failure::Input)?;
    let (db, expected) = (ctx.db(), module.config.db);
    if db != expected {
        return Err(Failure::Input(format!(
            "staged keys are written through in database {expected}, and this is database {db}"
        )));
    }
    if ctx.flags().is_cluster() && staged.target.iter().any(|b| matches!(b, b'{' | b'}')) {
        let problem = "an id with { or } is in another slot than its staged key";
        return Err(Failure::Input(problem.into()));
    }
    if let Some(reason) = health.refusal() {
        return Err(Failure::Down(reason));
    }
    let waiting = module.shared.stats.waiting.get() as usize;
    if waiting >= module.config.queue_max {
        return Err(Failure::Busy(waiting));
    }
    Ok((mapping.clone(), staged))
}

/// The answer of a write that was refused before it was staged.
pub fn refuse(module: &Module, failure: &Failure) -> Value {
    count(module, Some(failure));
    Value::from(failure)
}

/// The answer while OnLoad has not ended.
pub fn not_ready() -> Value {
    Value::from(&Failure::Down("the module is being loaded".into()))
}

/// Runs the client's own command on the staged key, with the client's rights. Its keyspace
/// notification is what stages the change. Returns the error, if any: then nothing has changed.
fn stage(ctx: &Ctx, module: &Module, args: Args, plain: &CStr, staged: StagedKey) -> Option<Value> {
    if ctx.open(&Str::new(staged.target)).kind() == Kind::Other {
        return Some(Value::error(WRONG_TYPE));
    }
    let (reply, noticed) =
        staging(module, args.get(1), || ctx.call(plain, Mode::AsUser, &args.strings(1)));
    if let Some(error) = reply.error() {
        return Some(Value::error(as_user_sees(error)));
    }
    (!noticed).then(|| Value::error("ERR writethrough: the server announced no change of the key"))
}

/// Runs `command` while the keyspace handler expects a change of `key`. The second value: it came.
pub fn staging<T>(module: &Module, key: &[u8], command: impl FnOnce() -> T) -> (T, bool) {
    module.state().staging = Some(Staging { key: key.to_vec(), staged: false });
    let result = command();
    let staging = module.state().staging.take();
    (result, staging.is_some_and(|s| s.staged))
}

/// Redis 7.0 answers a call without rights in words of its own.
pub fn as_user_sees(error: &[u8]) -> Vec<u8> {
    const OLD: &[u8] = b"ERR acl verification failed, ";
    match error.strip_prefix(OLD) {
        Some(reason) => [b"NOPERM ", reason].concat(),
        None => error.to_vec(),
    }
}

/// Sends a staged write to its shard. The client is blocked (`None`), or, where it can't be, the
/// server waits and answers.
fn send(
    ctx: &Ctx,
    module: &Module,
    mapping: &Arc<Mapping>,
    target: &[u8],
    write: Write,
    fixed: Option<Value>,
) -> Option<Value> {
    let client = match ctx.flags().cannot_block() {
        true => None,
        false => ctx.block(),
    };
    match client {
        Some(client) => {
            let timeout = module.config.timeout();
            submit(module, mapping, target, write, fixed, Waiter::Client(client), timeout);
            None
        }
        None => Some(wait(ctx, module, mapping, target, write, fixed)),
    }
}

/// The synchronous path: the server waits, for `sync_timeout_ms` at most.
pub fn wait(
    ctx: &Ctx,
    module: &Module,
    mapping: &Arc<Mapping>,
    target: &[u8],
    write: Write,
    fixed: Option<Value>,
) -> Value {
    module.shared.stats.sync.add(1);
    let timeout = module.config.sync_timeout();
    let until = Instant::now() + timeout;
    let id = submit(module, mapping, target, write, fixed, Waiter::Server, timeout);
    loop {
        let arrived = module.inbox.wait(until);
        let mine = {
            let mut state = module.state();
            state.settled.extend(arrived);
            // Earlier writes to this key first, in order; other keys wait for the timer.
            let (mine, rest): (Vec<_>, Vec<_>) =
                state.settled.drain(..).partition(|settled| *settled.target == *target);
            state.settled = rest.into();
            mine
        };
        module
            .apply(|| mine.into_iter().for_each(|settled| completion::apply(ctx, module, settled)));
        let mut state = module.state();
        if let Some((_, value)) = state.sync_answer.take_if(|(answered, _)| *answered == id) {
            return value;
        }
        if Instant::now() >= until {
            if let Some(pending) = state.jobs.get_mut(&id) {
                pending.waiter = Waiter::Nobody;
            }
            drop(state);
            return refuse(module, &too_late("sync_timeout_ms", timeout));
        }
    }
}

fn too_late(option: &str, timeout: Duration) -> Failure {
    Failure::TimedOut(format!(
        "no answer from the database within {option} = {}; the write may still be committed, \
         and if it is, the cache follows",
        timeout.as_millis(),
    ))
}

fn submit(
    module: &Module,
    mapping: &Arc<Mapping>,
    target: &[u8],
    write: Write,
    fixed: Option<Value>,
    waiter: Waiter,
    timeout: Duration,
) -> u64 {
    let Write { sets, named, kept } = write;
    let reply = fixed.map_or(Reply::NewFields(named), Reply::Fixed);
    let change = change(mapping, target, Action::Upsert(sets));
    let deadline = Instant::now() + timeout;
    let mut state = module.state();
    let is_client = matches!(waiter, Waiter::Client(_));
    let epoch = state.epoch;
    let pending = Pending { mapping: mapping.clone(), waiter, reply, kept, epoch };
    let id = state.add(&change.target, pending);
    if is_client {
        state.deadlines.push_back((deadline, id));
        if !std::mem::replace(&mut state.deadline_timer, true) {
            ffi::timer(timeout, end_of_time);
        }
    }
    drop(state);
    module.shared.stats.waiting.add(1);
    module.engine.submit(Job::new(id, change, deadline, module.inbox.clone()));
    id
}

/// A timer: answers the clients whose time is up. Their writes go on.
fn end_of_time(_: &Ctx) {
    let Some(module) = module() else { return };
    let mut late = Vec::new();
    {
        let mut state = module.state();
        let now = Instant::now();
        while let Some((_, id)) = state.deadlines.pop_front_if(|(deadline, _)| *deadline <= now) {
            let Some(pending) = state.jobs.get_mut(&id) else {
                continue;
            };
            late.push(std::mem::replace(&mut pending.waiter, Waiter::Nobody));
        }
        // The next deadline of a write that is still on its way.
        while state.deadlines.front().is_some_and(|(_, id)| !state.jobs.contains_key(id)) {
            state.deadlines.pop_front();
        }
        let next = state.deadlines.front().map(|(deadline, _)| *deadline);
        state.deadline_timer = next.is_some();
        if let Some(next) = next {
            // A millisecond more: timers count whole ones.
            let left = next.saturating_duration_since(now) + Duration::from_millis(1);
            ffi::timer(left, end_of_time);
        }
    }
    for waiter in late {
        if let Waiter::Client(client) = waiter {
            let failure = too_late("timeout_ms", module.config.timeout());
            client.answer(refuse(module, &failure));
        }
    }
}
