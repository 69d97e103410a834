//! Keys in doubt are read, some at a time, until none is left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Phase, Scan, ToRead, PAUSE, SYNC};
use crate::command::{Reply, Write};
use crate::host::cache::{follow, leftovers, position};
use crate::host::ffi::{self, Closed, Ctx, Kind, Str, Writable, ASK_AGAIN};
use crate::host::module::{module, negative, Module};
use crate::host::write::pending::pending;
use crate::host::write::submit::submit;
use crate::host::write::waiter::{Completed, Waiter};
use crate::model::failure::Failure;
use crate::model::id;
use crate::model::mapping::{Mapping, Mappings};
use crate::pg::journal::Position;

/// The position is stored no sooner than so long after the last one.
const STORED_AFTER: Duration = Duration::from_millis(900);

/// How long the main thread looks at keys in one turn: so much later is another client served.
const TURN: Duration = Duration::from_micros(200);

/// Rows that are being read at once, at most.
const OUTSTANDING: usize = 500;

/// Keys that are found at once.
const SCAN_COUNT: &[u8] = b"500";

/// The next reads are sent after this pause, unless a turn is due already.
pub fn step_after(pause: Duration) {
    if !std::mem::replace(&mut SYNC.get().is_stepping, true) {
        ffi::timer(pause, step);
    }
}

/// A timer: sends the next reads, or ends.
fn step(ctx: &Ctx) {
    let Some(module) = module() else { return };
    SYNC.get().is_stepping = false;
    if ffi::server_flags().is_following() || !ctx.select(module.config.db) {
        return;
    }
    let mappings = match module.catalog.mappings() {
        Ok(mappings) if module.shared.health.is_up() => mappings,
        _ => return step_after(PAUSE),
    };
    // The workers have something to do while the next ones are sent.
    if SYNC.get().outstanding > OUTSTANDING / 2 {
        return;
    }
    SYNC.get().keys.extend(module.stale_keys.take().into_iter().map(ToRead::cached));
    if SYNC.get().keys.is_empty() {
        scan(ctx, &mappings);
    }
    let until = Instant::now() + TURN;
    while SYNC.get().outstanding < OUTSTANDING && Instant::now() < until {
        let Some(to_read) = SYNC.get().keys.pop_front() else { break };
        look_at(ctx, module, &mappings, &to_read);
    }
    let (outstanding, has_more) = {
        let sync = SYNC.get();
        (sync.outstanding, !sync.keys.is_empty())
    };
    if has_more && outstanding <= OUTSTANDING / 2 {
        // A timer made in a timer waits for a millisecond; a one-shot doesn't.
        ffi::wake(|| step_after(Duration::ZERO));
    } else if outstanding == 0 {
        rest(ctx, module);
    }
}

/// Adds the keys that the SCAN finds in one go.
fn scan(ctx: &Ctx, mappings: &Mappings) {
    let Some(scan) = SYNC.get().scan.take() else { return };
    if scan.cursor == b"0" {
        // Not cached yet, and a moment later with what is an older row.
        let targets: Vec<Vec<u8>> = pending().targets().map(|target| target.to_vec()).collect();
        let wanted = targets.into_iter().filter(|key| is_wanted(mappings, &scan, key));
        SYNC.get().keys.extend(wanted.map(ToRead::cached));
    }
    let args = [&scan.cursor[..], b"COUNT", SCAN_COUNT, b"TYPE", b"hash"].map(Str::new);
    let reply = ctx.read(c"SCAN", &args.each_ref());
    let next = reply.texts().first().map(|cursor| cursor.to_vec()).unwrap_or_default();
    let found = reply.element(1);
    let keys = found.texts().into_iter().filter(|key| is_wanted(mappings, &scan, key));
    let mut sync = SYNC.get();
    sync.keys.extend(keys.map(|key| ToRead::cached(key.to_vec())));
    let has_more = !next.is_empty() && next != b"0";
    sync.scan = has_more.then_some(Scan { cursor: next, ..scan });
}

fn is_wanted(mappings: &Mappings, scan: &Scan, key: &[u8]) -> bool {
    let colon = key.iter().position(|&b| b == b':');
    let name = colon.map(|colon| &key[..colon]);
    name.is_some_and(|name| mappings.get(name).is_some() && scan.wants(name))
}

fn look_at(ctx: &Ctx, module: &Module, mappings: &Mappings, to_read: &ToRead) {
    let key = &to_read.key[..];
    if to_read.is_named {
        negative::end(key);
        pending().evicted(key);
    }
    let Some(colon) = key.iter().position(|&b| b == b':') else { return };
    let Some(mapping) = mappings.get(&key[..colon]) else { return };
    if !id::is_cached_row(mapping, &key[colon + 1..]) {
        return;
    }
    let row = Row { is_new: false, is_preloaded: to_read.is_preloaded };
    let is_on_its_way = pending().has(key);
    match ctx.open(&Str::new(key)).kind() {
        Kind::Hash => send(module, mapping, key, row),
        Kind::Empty if row.is_preloaded && follow::may_load(ctx, module, mapping, key) => {
            send(module, mapping, key, Row { is_new: true, ..row });
        }
        // A write that has its row already will cache it, and that row may be older.
        Kind::Empty if is_on_its_way => send(module, mapping, key, row),
        Kind::Empty | Kind::Other => {}
    }
}

/// Reads a row, in order with the writes of its key; the cached hash becomes it.
pub fn read(module: &Module, mapping: &Arc<Mapping>, key: &[u8]) {
    send(module, mapping, key, Row { is_new: false, is_preloaded: false });
}

fn send(module: &Module, mapping: &Arc<Mapping>, key: &[u8], row: Row) {
    SYNC.get().outstanding += 1;
    follow::reads_one();
    submit(module, mapping, key, Write::read(Reply::Done), Box::new(row), None);
}

/// Nothing is on its way: more follows, or all is done.
fn rest(ctx: &Ctx, module: &Module) {
    let mut sync = SYNC.get();
    if !sync.keys.is_empty() || sync.scan.is_some() {
        drop(sync);
        return step_after(Duration::ZERO);
    }
    let has_leftovers = !leftovers::are_dealt_with() || !module.stale_keys.is_empty();
    if sync.phase == Phase::Running && has_leftovers {
        drop(sync);
        return step_after(PAUSE);
    }
    if sync.phase == Phase::Running {
        sync.phase = Phase::Done;
        let (checked, repaired) = (sync.checked, sync.repaired);
        drop(sync);
        let text = format!("in sync: {checked} cached keys checked, {repaired} repaired");
        ffi::log(ffi::Level::Notice, &text);
        sync = SYNC.get();
    }
    // Of a newer shape the position says more than what has been read: that comes first.
    if sync.reshapings != module.catalog.reshapings() {
        return;
    }
    let Some((position, last, asked)) = &sync.reached else { return };
    // What these writes have committed is part of the position.
    if pending().jobs.keys().any(|id| id <= last) {
        drop(sync);
        return step_after(PAUSE);
    }
    follow::reached(*asked);
    // It is a write, for replicas and the append-only file, too.
    let is_enough =
        |(stored, at): &(Position, Instant)| stored == position || at.elapsed() < STORED_AFTER;
    if sync.stored.as_ref().is_some_and(is_enough) || ctx.flags().is_cluster() {
        sync.reached = None;
        return;
    }
    let ctx = match ctx.writable() {
        Ok(ctx) => ctx,
        Err(Closed::Paused) => {
            drop(sync);
            return step_after(ASK_AGAIN);
        }
        Err(Closed::Following) => return,
    };
    let position = position.clone();
    sync.reached = None;
    sync.stored = Some((position.clone(), Instant::now()));
    drop(sync);
    position::store(&ctx, module, &position);
}

/// A row is waited for.
struct Row {
    /// It is not cached, and is to be.
    is_new: bool,
    /// It is loaded where it isn't cached.
    is_preloaded: bool,
}

impl Waiter for Row {
    fn compares(&self) -> bool {
        !self.is_new
    }

    fn differs(&self, _: &[u8]) -> bool {
        SYNC.get().repaired += 1;
        true
    }

    /// The cache is as it is; or the row could not be read.
    fn completed(self: Box<Self>, _: Option<&Writable>, completed: Completed) {
        let failed = completed.failure.is_some_and(|f| !matches!(f, Failure::Refused(_)));
        let left = {
            let mut sync = SYNC.get();
            sync.outstanding = sync.outstanding.saturating_sub(1);
            match failed {
                true => sync.keys.push_back(ToRead {
                    key: completed.key.to_vec(),
                    is_named: false,
                    is_preloaded: self.is_preloaded,
                }),
                false => sync.checked += 1,
            }
            sync.outstanding
        };
        if left == 0 || left == OUTSTANDING / 2 {
            step_after(if failed { PAUSE } else { Duration::ZERO });
        }
    }
}
