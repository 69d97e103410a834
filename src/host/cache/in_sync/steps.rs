//! Keys in doubt are read, some at a time, until none is left.

use std::time::{Duration, Instant};

use super::Phase;
use super::Scan;
use super::PAUSE;
use crate::command::{self, Reply, Write};
use crate::host::cache::position;
use crate::host::ffi::{self, Closed, Ctx, Kind, Str, ASK_AGAIN};
use crate::host::module::state::{module, Module, Waiter};
use crate::host::write::pending;
use crate::model::failure::Failure;
use crate::model::mapping::Mappings;

/// Keys looked at in one turn.
const TURN: usize = 500;
const SCAN_COUNT: &[u8] = b"500";

/// The next reads are sent after this pause, unless a turn is due already.
pub fn step_after(module: &Module, pause: Duration) {
    if !std::mem::replace(&mut module.state().sync.is_stepping, true) {
        ffi::timer(pause, step);
    }
}

/// A timer: sends the next reads, or ends.
fn step(ctx: &Ctx) {
    let Some(module) = module() else { return };
    module.state().sync.is_stepping = false;
    if ffi::server_flags().is_following() || !ctx.select(module.config.db) {
        return;
    }
    let mappings = match module.catalog.mappings() {
        Ok(mappings) if module.shared.health.is_up() => mappings,
        _ => return step_after(module, PAUSE),
    };
    if module.state().sync.outstanding > 0 {
        return;
    }
    {
        let mut state = module.state();
        let now = Instant::now();
        let due = state.sync.later.iter().take_while(|(due, _)| *due <= now).count();
        let due: Vec<_> = state.sync.later.drain(..due).map(|(_, key)| key).collect();
        state.sync.keys.extend(due);
    }
    if module.state().sync.keys.is_empty() {
        scan(ctx, module, &mappings);
    }
    let some = {
        let mut state = module.state();
        let rest = state.sync.keys.len().saturating_sub(TURN);
        state.sync.keys.split_off(rest)
    };
    for key in some {
        read(ctx, module, &mappings, &key);
    }
    let is_idle = module.state().sync.outstanding == 0;
    if is_idle {
        rest(ctx, module);
    }
}

/// Adds the keys that the SCAN finds in one go.
fn scan(ctx: &Ctx, module: &Module, mappings: &Mappings) {
    let Some(scan) = module.state().sync.scan.take() else { return };
    let args = [&scan.cursor[..], b"COUNT", SCAN_COUNT, b"TYPE", b"hash"].map(Str::new);
    let reply = ctx.read(c"SCAN", &args.each_ref());
    let next = reply.texts().first().map(|cursor| cursor.to_vec()).unwrap_or_default();
    let found = reply.element(1);
    let keys = found.texts().into_iter().filter(|key| is_wanted(mappings, &scan, key));
    let mut state = module.state();
    state.sync.keys.extend(keys.map(<[u8]>::to_vec));
    let has_more = !next.is_empty() && next != b"0";
    state.sync.scan = has_more.then_some(Scan { cursor: next, ..scan });
}

fn is_wanted(mappings: &Mappings, scan: &Scan, key: &[u8]) -> bool {
    let colon = key.iter().position(|&b| b == b':');
    let name = colon.map(|colon| &key[..colon]);
    name.is_some_and(|name| mappings.get(name).is_some() && scan.wants(name))
}

fn read(ctx: &Ctx, module: &Module, mappings: &Mappings, key: &[u8]) {
    let Some(colon) = key.iter().position(|&b| b == b':') else { return };
    let Some(mapping) = mappings.get(&key[..colon]) else { return };
    if ctx.open(&Str::new(key)).kind() != Kind::Hash
        || command::check_id(mapping, &key[colon + 1..]).is_err()
    {
        return;
    }
    module.state().reading();
    pending::submit(module, mapping, key, Write::read(Reply::Done), Waiter::Sync, None);
}

/// Nothing is on its way: more follows, or all is done.
fn rest(ctx: &Ctx, module: &Module) {
    let mut state = module.state();
    if !state.sync.keys.is_empty() || state.sync.scan.is_some() {
        drop(state);
        return step_after(module, Duration::ZERO);
    }
    let has_leftovers = !state.leftovers.are_dealt_with() || !state.sync.later.is_empty();
    if state.sync.phase == Phase::Running && has_leftovers {
        drop(state);
        return step_after(module, PAUSE);
    }
    if state.sync.phase == Phase::Running {
        state.sync.phase = Phase::Done;
        let (checked, repaired) = (state.sync.checked, state.sync.repaired);
        drop(state);
        let text = format!("in sync: {checked} cached keys checked, {repaired} repaired");
        ffi::log(ffi::Level::Notice, &text);
        state = module.state();
    }
    // Of a newer shape the position says more than what has been read: that comes first.
    if state.sync.reshapings != module.catalog.reshapings() {
        return;
    }
    let Some((position, last)) = &state.sync.reached else { return };
    // What these writes have committed is part of the position.
    if state.jobs.keys().any(|id| id <= last) {
        drop(state);
        return step_after(module, PAUSE);
    }
    if state.sync.stored.as_ref() == Some(position) || ctx.flags().is_cluster() {
        state.sync.reached = None;
        return;
    }
    let ctx = match ctx.writable() {
        Ok(ctx) => ctx,
        Err(Closed::Paused) => {
            drop(state);
            return step_after(module, ASK_AGAIN);
        }
        Err(Closed::Following) => return,
    };
    let position = position.clone();
    state.sync.reached = None;
    state.sync.stored = Some(position.clone());
    drop(state);
    position::store(&ctx, module, &position);
}

/// A row has been read, and the cache is as it is; or it could not be read.
pub fn done(module: &Module, target: &[u8], failure: Option<Failure>) {
    let failed = failure.is_some_and(|failure| !matches!(failure, Failure::Refused(_)));
    let left = {
        let mut state = module.state();
        state.sync.outstanding = state.sync.outstanding.saturating_sub(1);
        match failed {
            true => state.sync.keys.push(target.to_vec()),
            false => state.sync.checked += 1,
        }
        state.sync.outstanding
    };
    if left == 0 {
        step_after(module, if failed { PAUSE } else { Duration::ZERO });
    }
}
