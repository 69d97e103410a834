//! Which masters may have sessions in the database that are at work on the rows of this data set.
//!
//! Each term of a master has a tag, which its sessions hold as an advisory lock. The data set takes
//! the tags along, to replicas and through restarts, so that whoever has it next can end those
//! sessions. Only a data set that somebody else can have, or can have again, needs that: one with
//! an append-only file, or a replica.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::engine::Tag;
use crate::host::ffi::{self, Closed, Ctx, Kind, Str, Writable, ASK_AGAIN};
use crate::host::module::{module, MainThread, Module};

/// The set of the tags. It is replicated and persisted with the data set that it speaks of.
const KEY: &[u8] = b"{writethrough}:sessions";

/// How often it is looked at: there is no event for each way in which a key, or our part of it, can
/// go.
const PAUSE: Duration = Duration::from_secs(1);

/// What the main thread knows of it.
#[derive(Default)]
struct Sessions {
    /// A replica has been attached.
    is_replicated: bool,
    /// A timer for a look is set.
    is_looking: bool,
    /// The sessions with these tags are gone.
    gone: Vec<Tag>,
}

static KNOWN: MainThread<Sessions> = MainThread::new();

/// The tags of earlier masters, among them this server itself. In a cluster there is no such key:
/// none stays with one node, and a node that has a key can't be reset.
pub fn earlier(ctx: &Ctx, module: &Module) -> Vec<Tag> {
    let mut tags: BTreeSet<Tag> = module.shared.terms.earlier_tags().into_iter().collect();
    if !ctx.flags().is_cluster() {
        let reply = ctx.read(c"SMEMBERS", &[&Str::new(KEY)]);
        let texts = reply.texts().into_iter();
        tags.extend(texts.filter_map(|tag| std::str::from_utf8(tag).ok()?.parse::<Tag>().ok()));
    }
    tags.remove(&own(module));
    tags.into_iter().collect()
}

/// These sessions are gone; the data set needs to know of them no more.
pub fn are_gone(tags: Vec<Tag>) {
    KNOWN.get().gone.extend(tags);
    look();
}

/// A replica is attached.
pub fn replicated() {
    KNOWN.get().is_replicated = true;
    look();
}

/// How many keys of the database are ours.
pub fn keys(ctx: &Ctx) -> i64 {
    ctx.read(c"EXISTS", &[&Str::new(KEY)]).integer()
}

/// Looks again and again, from the first turn of the event loop on.
pub fn watch() {
    look();
    ffi::timer(PAUSE, |_| watch());
}

/// The key may be gone, or be needed now.
pub fn look() {
    if !std::mem::replace(&mut KNOWN.get().is_looking, true) {
        ffi::timer(Duration::ZERO, keep);
    }
}

/// True when `key` is the one that tells of the sessions.
pub fn is_key(key: &[u8]) -> bool {
    key == KEY
}

fn keep(ctx: &Ctx) {
    let Some(module) = module() else { return };
    let gate = ctx.writable();
    if gate.as_ref().is_err_and(|closed| *closed == Closed::Paused) {
        return ffi::timer(ASK_AGAIN, keep);
    }
    KNOWN.get().is_looking = false;
    if let Some(ctx) = gate.ok().filter(|ctx| ctx.select(module.config.db)) {
        note(&ctx, module);
    }
}

/// Makes the data set tell of this server's sessions, where it has to, and of none that are gone.
pub fn note(ctx: &Writable, module: &Module) {
    let (key, own) = (Str::new(KEY), Str::new(own(module).to_string().as_bytes()));
    let gone = std::mem::take(&mut KNOWN.get().gone);
    let is_there = ctx.open(&key).kind() != Kind::Empty;
    let is_needed = is_there || ctx.flags().has_aof() || is_replicated(ctx);
    if ctx.flags().is_cluster() || !is_needed {
        return;
    }
    module.apply(|| {
        if ctx.read(c"SISMEMBER", &[&key, &own]).integer() != 1
            && ctx.call(c"SADD", &[&key, &own]).error().is_some()
        {
            // Somebody has put something else there.
            ctx.call(c"UNLINK", &[&key]);
            ctx.call(c"SADD", &[&key, &own]);
        }
        if !gone.is_empty() {
            let gone: Vec<Str> =
                gone.iter().map(|tag| Str::new(tag.to_string().as_bytes())).collect();
            let args: Vec<&Str> = std::iter::once(&key).chain(&gone).collect();
            ctx.call(c"SREM", &args);
        }
    });
}

fn own(module: &Module) -> Tag {
    let terms = &module.shared.terms;
    terms.tag(terms.now())
}

/// A replica is, or was, attached: also before the module was loaded.
fn is_replicated(ctx: &Ctx) -> bool {
    if KNOWN.get().is_replicated {
        return true;
    }
    let info = ctx.read(c"INFO", &[&Str::new(b"replication")]);
    let is_replicated = String::from_utf8_lossy(info.text()).contains("repl_backlog_active:1");
    KNOWN.get().is_replicated = is_replicated;
    is_replicated
}
