//! `atomic_multi`: the writes of one MULTI/EXEC are one transaction of the database's.
//!
//! When EXEC comes, the filter has seen all that the client has queued. The first write that runs has all of them
//! done, and each later one only gives its reply. What is aborted, discarded or not watched any more never
//! runs, and is forgotten with the client's next command.

use std::collections::{HashMap, VecDeque};

use super::transaction;
use crate::config::limits::Limit;
use crate::host::ffi::{Args, Filtered, Str, Value, Writable};
use crate::host::module::{module, multi, MainThread, Module};
use crate::model::failure::Failure;

/// The writes that one client has queued.
#[derive(Default)]
struct Queued {
    commands: Vec<Vec<Str>>,
    /// Another database is selected in between.
    selects: bool,
    /// EXEC has come: the commands run.
    runs: bool,
    /// The replies of those that have not run yet; `None`: the transaction is not done.
    replies: Option<VecDeque<Value>>,
}

static QUEUED: MainThread<HashMap<u64, Queued>> = MainThread::new();

/// Every command, before it is queued or run. `is_write`: it is a write of ours.
pub fn notice(module: &Module, command: &Filtered, is_write: bool) {
    if !module.config.atomic_multi {
        return;
    }
    let in_multi = multi::is_in(command);
    let mut all = QUEUED.get();
    if !in_multi && all.is_empty() {
        return;
    }
    let Some(client) = command.client() else { return };
    // What is left of an EXEC that ran nothing: another MULTI has begun.
    if in_multi && all.get(&client).is_some_and(|queued| queued.runs) {
        all.remove(&client);
    }
    let is = |name: &[u8]| command.get(0).eq_ignore_ascii_case(name);
    if !in_multi {
        // EXEC has left the set of those in MULTI already.
        match all.get_mut(&client) {
            Some(queued) if is(b"exec") => queued.runs = true,
            _ => drop(all.remove(&client)),
        }
    } else if is_write {
        let words = (0..command.len()).map(|at| Str::new(command.get(at))).collect();
        all.entry(client).or_default().commands.push(words);
    } else if is(b"select") {
        all.entry(client).or_default().selects = true;
    }
}

/// A write of ours runs: by itself, or within a transaction that is done already, or now.
pub fn run(
    ctx: &Writable,
    args: Args,
    alone: impl FnOnce(&Writable, Args) -> Option<Value>,
) -> Option<Value> {
    reply(ctx).or_else(|| alone(ctx, args))
}

/// The reply of the next write of a transaction; `None` where it is none.
fn reply(ctx: &Writable) -> Option<Value> {
    let module = module().filter(|module| module.config.atomic_multi)?;
    let client = ctx.client();
    let (commands, selects) = {
        let mut all = QUEUED.get();
        let queued = all.get_mut(&client).filter(|queued| queued.runs)?;
        if let Some(replies) = &mut queued.replies {
            return replies.pop_front();
        }
        // One write is a transaction anyway.
        if queued.commands.len() < 2 {
            return None;
        }
        (std::mem::take(&mut queued.commands), queued.selects)
    };
    let most = module.shared.limits.get(Limit::TransactionMax);
    let problem = match commands.len() as u64 > most {
        true => Some(format!(
            "{} writes in one MULTI are more than transaction_max = {most}",
            commands.len()
        )),
        false if selects => Some("with atomic_multi SELECT goes before MULTI".into()),
        false => None,
    };
    let mut replies: VecDeque<Value> = match problem {
        Some(problem) => {
            vec![super::admit::refuse(module, &Failure::Input(problem)); commands.len()].into()
        }
        None => {
            let commands: Vec<Args> = commands.iter().map(|words| Args::of(words)).collect();
            transaction::run_each(ctx, module, &commands).into()
        }
    };
    let first = replies.pop_front();
    if let Some(queued) = QUEUED.get().get_mut(&client) {
        queued.replies = Some(replies);
    }
    first
}

/// A client has gone.
pub fn client_gone(client: u64) {
    QUEUED.get().remove(&client);
}
