//! DEL of a plain key and then HSET of it, in one MULTI: to Redis that is a hash with these fields and no
//! other, so the row's other columns get their defaults, in one statement. Nothing is deleted.
//!
//! When DEL runs, its HSET has been queued already: the filter has seen both, where the server tells it
//! whose command it is (7.2 and later).

use std::collections::{HashMap, VecDeque};

use crate::host::ffi::{Ctx, Filtered};
use crate::host::module::{multi, MainThread, Module};

/// A key that a command of a transaction deletes, and no other.
struct Deletion {
    key: Box<[u8]>,
    /// The next command sets its fields.
    is_replaced: bool,
}

/// What one client has queued.
#[derive(Default)]
struct Transaction {
    deletions: VecDeque<Deletion>,
    /// The last command that was queued is the last of these.
    ends_with_deletion: bool,
    /// EXEC has come: the commands run.
    runs: bool,
    /// The deletion of this key has just run, and its HSET follows.
    replacing: Option<Box<[u8]>>,
}

static TRANSACTIONS: MainThread<HashMap<u64, Transaction>> = MainThread::new();

/// Every command, before it is queued or run.
pub fn notice(module: &Module, command: &Filtered) {
    let is = |name: &[u8]| command.get(0).eq_ignore_ascii_case(name);
    let in_multi = multi::is_in(command);
    let mut transactions = TRANSACTIONS.get();
    if !in_multi && transactions.is_empty() {
        return;
    }
    let Some(client) = command.client() else { return };
    if !in_multi {
        // EXEC has left the set of those in MULTI already.
        match transactions.get_mut(&client) {
            Some(transaction) if is(b"exec") => transaction.runs = true,
            _ => drop(transactions.remove(&client)),
        }
        return;
    }
    // What is left of an EXEC that ran nothing: another MULTI has begun.
    if transactions.get(&client).is_some_and(|transaction| transaction.runs) {
        transactions.remove(&client);
    }
    if deletes_one(module, command) {
        let transaction = transactions.entry(client).or_default();
        let deletion = Deletion { key: command.get(1).into(), is_replaced: false };
        transaction.deletions.push_back(deletion);
        transaction.ends_with_deletion = true;
        return;
    }
    let Some(transaction) = transactions.get_mut(&client) else { return };
    let follows = std::mem::take(&mut transaction.ends_with_deletion);
    let sets = (is(b"hset") || is(b"hmset")) && command.len() >= 4;
    if let Some(deletion) = transaction.deletions.back_mut().filter(|_| follows && sets) {
        deletion.is_replaced = *deletion.key == *command.get(1);
    }
}

/// A DEL or UNLINK of one plain key that is written through, in MULTI.
pub fn deletes_one(module: &Module, command: &Filtered) -> bool {
    let is = |name: &[u8]| command.get(0).eq_ignore_ascii_case(name);
    command.len() == 2
        && (is(b"del") || is(b"unlink"))
        && multi::is_in(command)
        && module.catalog.plain_key(command.get(1)).is_some()
}

/// DEL of this key runs. True when its HSET follows.
pub fn begins(ctx: &Ctx, key: &[u8]) -> bool {
    let mut transactions = TRANSACTIONS.get();
    let transaction = transactions.get_mut(&ctx.client());
    let Some(transaction) = transaction.filter(|transaction| transaction.runs) else {
        return false;
    };
    let deletion = transaction.deletions.pop_front();
    let replaced = deletion.filter(|deletion| deletion.is_replaced && *deletion.key == *key);
    transaction.replacing = replaced.map(|deletion| deletion.key);
    transaction.replacing.is_some()
}

/// HSET of this key runs. True when it replaces what DEL has left.
pub fn ends(ctx: &Ctx, key: &[u8]) -> bool {
    let mut transactions = TRANSACTIONS.get();
    let transaction = transactions.get_mut(&ctx.client());
    transaction.and_then(|t| t.replacing.take()).is_some_and(|replaced| *replaced == *key)
}

/// A client has gone.
pub fn client_gone(client: u64) {
    TRANSACTIONS.get().remove(&client);
}
