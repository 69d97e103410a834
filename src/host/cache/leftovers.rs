//! Staged keys that a crash, a restart or a promotion left behind.
//!
//! Whether their writes were committed is not known. Their rows are read, the final keys follow
//! the database, and the staged keys go.

use std::time::Duration;

use super::in_sync;
use crate::command;
use crate::config::MappingConfig;
use crate::host::ffi::{self, Closed, Ctx, Kind, Str, ASK_AGAIN};
use crate::host::module::{module, MainThread, Module};
use crate::host::write::pending::pending;
use crate::model::key;

/// Keys looked at in one turn, so that clients are served in between.
const SCAN_COUNT: &[u8] = b"1000";

/// Rows read in one turn.
const READS: usize = 1000;

/// The pause while the database is away.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Staged keys whose writes this server doesn't know, or that are not where their writes are.
#[derive(Default)]
struct Leftovers {
    /// The cursor of the SCAN for them, while one is running.
    scan: Option<Vec<u8>>,
    /// Those that were found, whose rows are to be read. While there are any, a timer is set.
    found: Vec<Vec<u8>>,
    /// Those that a SWAPDB has carried into this database, from where they are to be removed. While
    /// there are any, a timer is set.
    strays: Vec<(i32, Vec<u8>)>,
}

static LEFTOVERS: MainThread<Leftovers> = MainThread::new();

/// True when all of the data set was looked at, and every row is being read.
pub fn are_dealt_with() -> bool {
    let leftovers = LEFTOVERS.get();
    leftovers.scan.is_none() && leftovers.found.is_empty()
}

impl Leftovers {
    fn add(&mut self, found: impl IntoIterator<Item = Vec<u8>>) {
        let is_set = !self.found.is_empty();
        self.found.extend(found);
        if !is_set && !self.found.is_empty() {
            ffi::timer(Duration::ZERO, read);
        }
    }
}

/// Looks for leftover staged keys, from a timer: a load may just be ending.
pub fn look() {
    LEFTOVERS.get().scan = Some(b"0".to_vec());
    ffi::timer(Duration::ZERO, scan);
}

/// Two databases changed places. From ours, the staged keys of writes on their way have gone into the
/// other one.
pub fn swapped(module: &Module, a: i32, b: i32) {
    let ours = module.config.db;
    if a == b {
        return;
    }
    let mut leftovers = LEFTOVERS.get();
    let are_set = !leftovers.strays.is_empty();
    for (db, _) in &mut leftovers.strays {
        *db = other_of(*db, a, b);
    }
    // They are back where they belong: the look that follows finds those without a write.
    leftovers.strays.retain(|(db, _)| *db != ours);
    let other = other_of(ours, a, b);
    if other != ours {
        let prefix = module.config.prefix.as_bytes();
        let pending = pending();
        leftovers.strays.extend(pending.targets().map(|key| (other, key::staged(prefix, key))));
    }
    if !are_set && !leftovers.strays.is_empty() {
        ffi::timer(Duration::ZERO, remove_strays);
    }
    drop(leftovers);
    if other != ours {
        in_sync::check_all();
    }
}

/// Where a database is after `a` and `b` changed places.
fn other_of(db: i32, a: i32, b: i32) -> i32 {
    match db {
        _ if db == a => b,
        _ if db == b => a,
        _ => db,
    }
}

/// A staged key has come from another node of the cluster. Its write is on its way there, and not to
/// be done again here; how it ends is seen in the row, when it must have ended.
pub fn migrated(module: &Module, name: &[u8]) {
    if let Ok(staged) = key::parse(module.config.prefix.as_bytes(), name) {
        module.stale_keys.add_later(staged.target, module.shared.limits.timeout() * 2);
    }
    LEFTOVERS.get().add([name.to_vec()]);
}

/// A timer: removes staged keys from where they don't belong.
fn remove_strays(ctx: &Ctx) {
    let Some(module) = module() else { return };
    let gate = ctx.writable();
    if gate.as_ref().is_err_and(|closed| *closed == Closed::Paused) {
        return ffi::timer(ASK_AGAIN, remove_strays);
    }
    let strays = std::mem::take(&mut LEFTOVERS.get().strays);
    let Ok(ctx) = gate else { return };
    module.apply(|| {
        for (db, name) in strays {
            if ctx.select(db) {
                ctx.call(c"UNLINK", &[&Str::new(&name)]);
            }
        }
    });
}

/// A timer: one turn of a SCAN over the data set.
fn scan(ctx: &Ctx) {
    let Some(module) = module() else { return };
    let Some(cursor) = LEFTOVERS.get().scan.take() else {
        return;
    };
    if ffi::server_flags().is_following() || !ctx.select(module.config.db) {
        return;
    }
    let pattern = [escape_glob(module.config.prefix.as_bytes()), b"{*".to_vec()].concat();
    let args = [&cursor[..], b"MATCH", &pattern, b"COUNT", SCAN_COUNT].map(Str::new);
    let reply = ctx.read(c"SCAN", &args.each_ref());
    let next = reply.texts().first().map(|cursor| cursor.to_vec()).unwrap_or_default();
    let keys = reply.element(1);
    let configs = module.catalog.configs();
    let is_leftover = |key: &&[u8]| is_leftover(module, &configs, key);
    let found = keys.texts().into_iter().filter(is_leftover).map(<[u8]>::to_vec);
    let mut leftovers = LEFTOVERS.get();
    leftovers.add(found);
    if !next.is_empty() && next != b"0" {
        leftovers.scan = Some(next);
        ffi::timer(Duration::ZERO, scan);
    }
}

/// A staged key of one of our mappings with no write on its way.
fn is_leftover(module: &Module, configs: &[MappingConfig], key: &[u8]) -> bool {
    key::parse(module.config.prefix.as_bytes(), key).is_ok_and(|staged| {
        !pending().has(staged.target) && configs.iter().any(|m| m.name().as_bytes() == staged.name)
    })
}

/// A timer: reads the rows of what was found, as soon as the database can be reached.
fn read(ctx: &Ctx) {
    let Some(module) = module() else { return };
    let ctx = match ctx.writable() {
        Ok(ctx) if ctx.select(module.config.db) => ctx,
        Err(Closed::Paused) => return ffi::timer(ASK_AGAIN, read),
        // A promotion begins with a look of its own.
        _ => return LEFTOVERS.get().found.clear(),
    };
    let mappings = match module.catalog.mappings() {
        Ok(mappings) if module.shared.health.is_up() => mappings,
        _ => return ffi::timer(RETRY_PAUSE, read),
    };
    let some = {
        let mut leftovers = LEFTOVERS.get();
        let rest = leftovers.found.len().saturating_sub(READS);
        leftovers.found.split_off(rest)
    };
    for name in &some {
        let Ok(staged) = key::parse(module.config.prefix.as_bytes(), name) else {
            continue;
        };
        let Some(mapping) = mappings.get(staged.name) else {
            continue;
        };
        if ctx.open(&Str::new(name)).kind() != Kind::Hash {
            continue;
        }
        if command::check_id(mapping, staged.id).is_err() {
            module.apply(|| ctx.call(c"UNLINK", &[&Str::new(name)]));
            continue;
        }
        in_sync::read(module, mapping, staged.target);
    }
    if !LEFTOVERS.get().found.is_empty() {
        ffi::timer(Duration::from_millis(1), read);
    }
}

/// A glob that matches `text` and nothing else.
pub fn escape_glob(text: &[u8]) -> Vec<u8> {
    let escape = |&b: &u8| match b {
        b'*' | b'?' | b'[' | b']' | b'\\' | b'^' => vec![b'\\', b],
        _ => vec![b],
    };
    text.iter().flat_map(escape).collect()
}
