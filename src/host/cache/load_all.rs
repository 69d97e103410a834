//! WT.LOAD: the rows of a table become hashes, where there is no key yet.
//!
//! A thread reads pages of rows; timers of the main thread make hashes of them, a little at a time, so
//! that other clients are served meanwhile. The next page is asked for when a quarter of one is left.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::preload;
use crate::engine::{JobId, Term};
use crate::host::ffi::{self, Blocked, Level, Value};
use crate::host::module::{MainThread, Module};
use crate::host::write::admit;
use crate::host::write::touched;
use crate::model::failure::Failure;
use crate::model::mapping::Mapping;
use crate::pg::statement::pages::{Page, Pages};

mod command;
mod keys;
mod progress;
mod turn;

pub use command::run;
pub use progress::{fields, Field};

/// One that is running.
struct Load {
    /// As the catalog was read last.
    mapping: Arc<Mapping>,
    /// Rows that may be loaded.
    limit: usize,
    /// Who waits for it, and by which number; `None`: it is in the background.
    client: Option<(Blocked, JobId)>,
    pages: Pages,
    /// The number of the page that was asked for last.
    asked: u64,
    /// It has not come yet.
    is_asked: bool,
    /// The page that is being filled in, its number, and the next row of it.
    filling: Option<(Page, u64, usize)>,
    /// The key of the last row that has come.
    came: Vec<Vec<u8>>,
    /// The key of the last row that is done: where it goes on after a fault.
    done: Vec<Vec<u8>>,
    /// All rows have come.
    is_all: bool,
    /// Histories of the database that were known when the page was asked for.
    timelines: u64,
    term: Term,
    /// When the first page was asked for.
    began: Option<Instant>,
    /// When a page is asked for again.
    again: Option<Instant>,
    /// Why it waits.
    waits: Option<String>,
    about: Option<u64>,
    loaded: usize,
    left_alone: usize,
    unusable: usize,
    /// It is to end.
    end: Option<End>,
}

/// Why one has ended.
enum End {
    AllRows,
    Limit,
    Stopped,
    ClientGone,
    Emptied,
    Removed,
    OutOfMemory,
    Failed(Failure),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            End::AllRows => "all rows",
            End::Limit => "the limit is reached",
            End::Stopped => "stopped by WT.LOAD STOP",
            End::ClientGone => "its client has gone",
            End::Emptied => "the database was flushed or swapped",
            End::Removed => "its mapping was removed",
            End::OutOfMemory => "maxmemory is reached",
            End::Failed(failure) => return failure.fmt(f),
        })
    }
}

#[derive(Default)]
struct Loads {
    /// By the mappings' names.
    running: BTreeMap<String, Load>,
    /// A timer for the next turn is set.
    is_due: bool,
    /// How the last one has ended.
    last: Option<String>,
    /// Rows that were loaded by those that have ended.
    loaded: usize,
    left_alone: usize,
}

static LOADS: MainThread<Loads> = MainThread::new();

fn must_not_run(name: &[u8]) -> Result<(), Failure> {
    let is_it = |running: &String| running.as_bytes() == name;
    match LOADS.get().running.keys().any(is_it) {
        true => Err(Failure::Input(format!(
            "the rows of {:?} are being loaded already; see WT.STATUS",
            String::from_utf8_lossy(name)
        ))),
        false => Ok(()),
    }
}

/// Begins to load a mapping's rows.
pub fn start(module: &Module, name: &[u8], limit: usize) -> Result<(), Failure> {
    must_not_run(name)?;
    let mapping = admit::named(&*admit::mappings(module)?, name)?;
    let pages = Pages::start(module.manager.clone(), module.catalog.clone(), || {
        ffi::wake(|| turn_after(Duration::ZERO));
    });
    let pages = pages.map_err(|e| Failure::Down(format!("a thread could not be started: {e}")))?;
    let name = mapping.name.clone();
    let load = Load {
        mapping,
        limit,
        client: None,
        pages,
        asked: 0,
        is_asked: false,
        filling: None,
        came: Vec::new(),
        done: Vec::new(),
        is_all: false,
        timelines: module.manager.timeline.changes(),
        term: module.shared.terms.now(),
        began: None,
        again: None,
        waits: None,
        about: None,
        loaded: 0,
        left_alone: 0,
        unusable: 0,
        end: None,
    };
    LOADS.get().running.insert(name, load);
    turn_after(Duration::ZERO);
    Ok(())
}

/// The next turn comes after this pause, unless one is due already.
fn turn_after(pause: Duration) {
    if !std::mem::replace(&mut LOADS.get().is_due, true) {
        ffi::timer(pause, turn::run);
    }
}

/// Those for which this is true end. False when there is none.
fn end_where(end: End, is_it: impl Fn(&str, &Load) -> bool) -> bool {
    let mut end = Some(end);
    let mut found = false;
    for (name, load) in LOADS.get().running.iter_mut() {
        if is_it(name, load) {
            found = true;
            let why = end.take().unwrap_or(End::Emptied);
            load.end.get_or_insert(why);
        }
    }
    if found {
        turn_after(Duration::ZERO);
    }
    found
}

/// There are no keys any more, or others: somebody wants it so.
pub fn emptied() {
    end_where(End::Emptied, |_, _| true);
}

/// The client of one of them has gone.
fn left(numbers: &[JobId]) {
    let is_its = |load: &Load| load.client.as_ref().is_some_and(|(_, n)| numbers.contains(n));
    end_where(End::ClientGone, |_, load| is_its(load));
}

/// One has ended.
fn finish(mut load: Load, end: &End) {
    let name = load.mapping.name.clone();
    touched::end(&name);
    let counts = load.counts();
    let (level, text) = match end {
        End::AllRows => (Level::Notice, format!("the rows of {name:?} are loaded: {counts}")),
        End::Limit | End::Stopped | End::ClientGone => {
            (Level::Notice, format!("the load of {name:?} has ended, {end}: {counts}"))
        }
        _ => (Level::Warning, format!("the load of {name:?} has ended, {end}: {counts}")),
    };
    ffi::log(level, &text);
    {
        let mut loads = LOADS.get();
        loads.loaded += load.loaded;
        loads.left_alone += load.left_alone;
        loads.last = Some(format!("{name}: {end}; {counts}"));
    }
    let value = match end {
        End::AllRows | End::Limit | End::Stopped | End::ClientGone => load.report(end),
        End::OutOfMemory => Value::error(format!("OOM writethrough: {end}; {counts}")),
        End::Failed(failure) => Value::from(failure),
        End::Emptied | End::Removed => {
            Value::from(&Failure::Input(format!("the load has ended, {end}; {counts}")))
        }
    };
    if let Some((client, _)) = load.client.take() {
        client.answer(value);
    }
    preload::ended(&name);
}

impl Load {
    fn report(&self, end: &End) -> Value {
        let number = |n: usize| Value::Integer(n as i64);
        Value::Map(vec![
            ("mapping".into(), Value::text(&*self.mapping.name)),
            ("ended".into(), Value::text(end.to_string())),
            ("loaded".into(), number(self.loaded)),
            ("left_alone".into(), number(self.left_alone)),
            ("unusable".into(), number(self.unusable)),
        ])
    }
}
