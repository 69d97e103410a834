//! Which queue a row's entries are in, and the names of its streams.
//!
//! A mapping has one queue. In a cluster it has one for each slot, whose streams are in that slot: they move with
//! their keys.

use std::sync::LazyLock;

use crate::host::ffi::{self, Ctx, Str};
use crate::model::slot::Slot;

static IS_CLUSTER: LazyLock<bool> = LazyLock::new(|| ffi::server_flags().is_cluster());

/// Redis Cluster.
pub fn is_cluster() -> bool {
    *IS_CLUSTER
}

/// The slot of a key's queue. Without a cluster there is one.
pub fn slot_of(key: &[u8]) -> Slot {
    match is_cluster() {
        true => Slot::of(key),
        false => Slot::default(),
    }
}

/// All that there can be.
pub fn slots() -> usize {
    match is_cluster() {
        true => Slot::COUNT,
        false => 1,
    }
}

/// The two streams of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The entries that wait.
    Waiting,
    /// Those that were refused.
    Failed,
}

impl Which {
    fn word(self) -> &'static str {
        match self {
            Which::Waiting => "behind",
            Which::Failed => "failed",
        }
    }
}

/// The name of a stream.
pub fn stream(which: Which, name: &str, slot: Slot) -> Str {
    let word = which.word();
    let text = match is_cluster() {
        true => format!("{{{}}}:{word}:{name}", slot.tag()),
        false => format!("{{writethrough}}:{word}:{name}"),
    };
    Str::new(text.as_bytes())
}

/// Whose stream it is, by its name.
pub fn of_stream(key: &[u8]) -> Option<(Which, &str, Slot)> {
    if !key.starts_with(b"{") {
        return None;
    }
    let text = std::str::from_utf8(key).ok()?;
    let (_, rest) = text.split_once("}:")?;
    let (word, name) = rest.split_once(':')?;
    let which = [Which::Waiting, Which::Failed].into_iter().find(|which| which.word() == word)?;
    let slot = slot_of(key);
    (stream(which, name, slot).as_bytes() == key).then_some((which, name, slot))
}

/// Whether this node may make keys in the slot of this one, whatever it holds, or change the key where it is there.
/// `false`: the slot is another node's, or on its way.
pub fn is_here(key: &Str) -> bool {
    !is_cluster() || Ctx::of_nobody().read(c"EXISTS", &[key]).error().is_none()
}

/// How many keys of a slot are here.
pub fn keys_in(slot: Slot) -> i64 {
    let args = [&Str::new(b"COUNTKEYSINSLOT"), &Str::new(slot.number().to_string().as_bytes())];
    Ctx::of_nobody().read(c"CLUSTER", &args).integer()
}

/// The keys of a slot that are here.
pub fn keys_of(slot: Slot) -> Vec<Vec<u8>> {
    let (number, most) = (slot.number().to_string(), keys_in(slot).to_string());
    let args = [b"GETKEYSINSLOT", number.as_bytes(), most.as_bytes()].map(Str::new);
    let reply = Ctx::of_nobody().read(c"CLUSTER", &args.each_ref());
    reply.texts().into_iter().map(<[u8]>::to_vec).collect()
}
