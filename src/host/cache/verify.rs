//! WT.VERIFY: compares the cache with the table, in order with the writes on their way.
//!
//! A turn looks at some keys of the data set and reads their rows through the workers. A row
//! arrives in its key's order, so what is cached then is what the row must be.

use std::sync::Arc;
use std::time::Duration;

use super::leftovers::escape_glob;
use crate::command::{Reply, Write};
use crate::host::ffi::{self, Args, Blocked, Closed, Ctx, Str, Value, Writable};
use crate::host::module::{module, MainThread, Module};
use crate::host::write::admit::{self, not_ready, refuse};
use crate::host::write::submit::submit;
use crate::host::write::waiter::{Completed, Waiter};
use crate::model::failure::Failure;
use crate::model::id;
use crate::model::mapping::Mapping;

/// Keys looked at in one turn.
const TURN: &[u8] = b"500";

/// Differing keys that the answer names.
const SHOWN: usize = 10;

/// A verification that is running.
struct Verify {
    mapping: Arc<Mapping>,
    repair: bool,
    sample: usize,
    client: Option<Blocked>,
    cursor: Option<Vec<u8>>,
    outstanding: usize,
    checked: usize,
    differing: usize,
    repaired: usize,
    keys: Vec<Vec<u8>>,
    failure: Option<Failure>,
}

static RUNNING: MainThread<Option<Verify>> = MainThread::new();

/// How far it is, for WT.STATUS.
pub fn progress() -> Option<String> {
    RUNNING.get().as_ref().map(Verify::progress)
}

impl Verify {
    fn progress(&self) -> String {
        format!("{}: {} checked, {} differing", self.mapping.name, self.checked, self.differing)
    }

    fn report(&self) -> Value {
        let number = |n: usize| Value::Integer(n as i64);
        Value::Map(vec![
            ("mapping".into(), Value::text(&*self.mapping.name)),
            ("checked".into(), number(self.checked)),
            ("equal".into(), number(self.checked - self.differing)),
            ("differing".into(), number(self.differing)),
            ("repaired".into(), number(self.repaired)),
            ("keys".into(), Value::List(self.keys.iter().cloned().map(Value::Bytes).collect())),
        ])
    }
}

/// `WT.VERIFY name [REPAIR] [SAMPLE n]`.
pub fn run(ctx: &Ctx, args: Args) -> Option<Value> {
    let Some(module) = module() else { return Some(not_ready()) };
    // What is to be repaired waits for the end of a pause.
    if let Err(closed @ Closed::Following) = ctx.writable() {
        return Some(closed.into());
    }
    match start(ctx, module, args) {
        Ok(()) => None,
        Err(failure) => Some(refuse(module, &failure)),
    }
}

fn start(ctx: &Ctx, module: &Module, args: Args) -> Result<(), Failure> {
    let input = |problem: &str| Failure::Input(problem.to_string());
    let (mut repair, mut sample) = (false, usize::MAX);
    let mut options = args.from(2);
    while let Some(option) = options.next() {
        if option.eq_ignore_ascii_case(b"REPAIR") {
            repair = true;
        } else if option.eq_ignore_ascii_case(b"SAMPLE") {
            let n = options.next().and_then(|n| std::str::from_utf8(n).ok()?.parse().ok());
            sample = n.filter(|n| *n > 0).ok_or_else(|| input("SAMPLE needs a number of keys"))?;
        } else {
            return Err(input("expected WT.VERIFY name [REPAIR] [SAMPLE n]"));
        }
    }
    let mapping = admit::named(&*admit::mappings(module)?, args.get(1))?;
    admit::in_our_database(ctx, module)?;
    admit::ready(module)?;
    if RUNNING.get().is_some() {
        return Err(input("a verification is running; see WT.STATUS"));
    }
    let client =
        ctx.block().ok_or_else(|| input("WT.VERIFY can't wait in a transaction or a script"))?;
    *RUNNING.get() = Some(Verify {
        mapping,
        repair,
        sample,
        client: Some(client),
        cursor: Some(b"0".to_vec()),
        outstanding: 0,
        checked: 0,
        differing: 0,
        repaired: 0,
        keys: Vec::new(),
        failure: None,
    });
    ffi::timer(Duration::ZERO, turn);
    Ok(())
}

/// A timer: the next keys, or the end.
fn turn(ctx: &Ctx) {
    let Some(module) = module() else { return };
    let (mapping, cursor, room) = {
        let mut running = RUNNING.get();
        let Some(verify) = &mut *running else { return };
        let room = verify.sample - verify.checked;
        match verify.cursor.take() {
            Some(cursor) if room > 0 && verify.failure.is_none() => {
                (verify.mapping.clone(), cursor, room)
            }
            _ => {
                let end = running.take();
                drop(running);
                return end.map_or((), finish);
            }
        }
    };
    if ffi::server_flags().is_following() || !ctx.select(module.config.db) {
        fail(Failure::Down("this server is no master".into()));
        return ffi::timer(Duration::ZERO, turn);
    }
    let pattern = [escape_glob(mapping.name.as_bytes()), b":*".to_vec()].concat();
    let words = [&cursor[..], b"MATCH", &pattern, b"COUNT", TURN, b"TYPE", b"hash"].map(Str::new);
    let reply = ctx.read(c"SCAN", &words.each_ref());
    let next = reply.texts().first().map(|cursor| cursor.to_vec()).unwrap_or_default();
    let found = reply.element(1);
    let is_ours = |key: &&[u8]| id::is_cached_row(&mapping, &key[mapping.name.len() + 1..]);
    let keys: Vec<&[u8]> = found.texts().into_iter().filter(is_ours).take(room).collect();
    {
        let mut running = RUNNING.get();
        let Some(verify) = &mut *running else { return };
        verify.outstanding = keys.len();
        verify.cursor = (!next.is_empty() && next != b"0").then_some(next);
    }
    if keys.is_empty() {
        return ffi::timer(Duration::ZERO, turn);
    }
    for key in keys {
        submit(module, &mapping, key, Write::read(Reply::Done), Box::new(Row), None);
    }
}

/// The verification waits for a row.
struct Row;

impl Waiter for Row {
    fn compares(&self) -> bool {
        true
    }

    fn differs(&self, key: &[u8]) -> bool {
        let mut running = RUNNING.get();
        let Some(verify) = &mut *running else { return false };
        verify.differing += 1;
        if verify.keys.len() < SHOWN {
            verify.keys.push(key.to_vec());
        }
        verify.repaired += usize::from(verify.repair);
        verify.repair
    }

    /// The last row of a turn starts the next one.
    fn completed(self: Box<Self>, _: Option<&Writable>, completed: Completed) {
        let failure = completed.failure.filter(|f| !matches!(f, Failure::Refused(_)));
        if let Some(failure) = failure {
            fail(failure.clone());
        }
        let mut running = RUNNING.get();
        let Some(verify) = &mut *running else { return };
        verify.checked += 1;
        verify.outstanding -= 1;
        if verify.outstanding == 0 {
            ffi::timer(Duration::ZERO, turn);
        }
    }
}

fn fail(failure: Failure) {
    if let Some(verify) = &mut *RUNNING.get() {
        verify.failure.get_or_insert(failure);
    }
}

fn finish(mut verify: Verify) {
    let value = match &verify.failure {
        Some(failure) => Value::from(failure),
        None => verify.report(),
    };
    if let Some(client) = verify.client.take() {
        client.answer(value);
    }
}
