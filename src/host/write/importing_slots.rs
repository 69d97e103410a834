//! Cluster: keys that were written here while their slot was arriving. What comes from the other node
//! under such a name is old, and is removed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::host::ffi::{self, is_elsewhere, Closed, Ctx, Str, ASK_AGAIN};
use crate::host::module::{module, MainThread, Module};
use crate::model::key;
use crate::model::slot::Slot;

/// How often it is looked whether the slots have arrived.
const LOOK: Duration = Duration::from_secs(1);

/// Final keys that may still come from another node.
#[derive(Default)]
struct Importing {
    keys: HashSet<Arc<[u8]>>,
    /// A timer is set that looks after them.
    is_watched: bool,
    /// Those that came, to be removed. While there are any, a timer is set.
    came: Vec<Vec<u8>>,
}

static IMPORTING: MainThread<Importing> = MainThread::new();

/// The key was written, and is not in the data set, since its slot is moving.
pub fn add(key: Arc<[u8]>) {
    let mut importing = IMPORTING.get();
    if !std::mem::replace(&mut importing.is_watched, true) {
        ffi::timer(LOOK, look);
    }
    importing.keys.insert(key);
}

/// The key is written once more.
pub fn forget(key: &[u8]) {
    IMPORTING.get().keys.remove(key);
}

/// True when a call for these keys would be refused: their slot is on its way from or to this
/// node, or has left it.
pub fn is_moving(ctx: &Ctx, module: &Module, target: &[u8]) -> bool {
    if !ffi::server_flags().is_cluster() {
        return false;
    }
    forget(target);
    let keys = [Str::new(target), Str::new(&key::staged(module.config.prefix.as_bytes(), target))];
    ctx.read(c"EXISTS", &keys.each_ref()).error().is_some_and(is_elsewhere)
}

/// A plain key has come by RESTORE.
pub fn arrived(key: &[u8]) {
    let mut importing = IMPORTING.get();
    if importing.keys.remove(key) {
        if importing.came.is_empty() {
            ffi::timer(Duration::ZERO, remove);
        }
        importing.came.push(key.to_vec());
    }
}

/// A timer: removes what came.
fn remove(ctx: &Ctx) {
    let Some(module) = module() else { return };
    let gate = ctx.writable();
    if gate.as_ref().is_err_and(|closed| *closed == Closed::Paused) {
        return ffi::timer(ASK_AGAIN, remove);
    }
    let came = std::mem::take(&mut IMPORTING.get().came);
    if let Some(ctx) = gate.ok().filter(|ctx| ctx.select(module.config.db)) {
        module.apply(|| came.iter().for_each(|key| ctx.remove(&Str::new(key))));
    }
}

/// A timer: forgets the keys of slots that are not arriving any more.
fn look(ctx: &Ctx) {
    let arriving = arriving_slots(ctx);
    let is_arriving = |key: &Arc<[u8]>| arriving.contains(&Slot::of(key));
    let mut keys = std::mem::take(&mut IMPORTING.get().keys);
    match arriving.is_empty() {
        true => keys.clear(),
        false => keys.retain(is_arriving),
    }
    let is_watched = !keys.is_empty();
    if is_watched {
        ffi::timer(LOOK, look);
    }
    let mut importing = IMPORTING.get();
    (importing.keys, importing.is_watched) = (keys, is_watched);
}

/// The slots that this node is importing: `[93-<-<node>]` in its line of CLUSTER NODES.
fn arriving_slots(ctx: &Ctx) -> HashSet<Slot> {
    let reply = ctx.read(c"CLUSTER", &[&Str::new(b"NODES")]);
    let text = reply.text();
    let nodes = String::from_utf8_lossy(text);
    let myself = nodes.lines().find(|line| {
        line.split(' ').nth(2).is_some_and(|flags| flags.split(',').any(|flag| flag == "myself"))
    });
    let words = myself.unwrap_or_default().split(' ');
    let number = |word: &str| word.strip_prefix('[')?.split_once("-<-")?.0.parse().ok();
    let slot = |word| number(word).map(Slot::numbered);
    words.filter_map(slot).collect()
}
