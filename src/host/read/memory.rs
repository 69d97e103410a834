//! Whether a row may be cached while `maxmemory` is reached.

use std::time::{Duration, Instant};

use crate::host::ffi::{Ctx, Str};
use crate::host::module::MainThread;

/// How long the policy is believed.
const BELIEVED: Duration = Duration::from_secs(1);

/// `maxmemory-policy`, and when the server was asked for it.
static POLICY: MainThread<Option<(Instant, Evicts)>> = MainThread::new();

/// What the server evicts when its memory is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evicts {
    Nothing,
    /// Keys with a time to live.
    Volatile,
    /// Any key.
    All,
}

/// There is memory for one more row, or the server makes room for it at its next command. `expires`:
/// the row gets a time to live, so that a volatile policy can evict it again.
pub fn has_room(ctx: &Ctx, expires: bool) -> bool {
    !ctx.is_out_of_memory()
        || match policy(ctx) {
            Evicts::Nothing => false,
            Evicts::Volatile => expires,
            Evicts::All => true,
        }
}

fn policy(ctx: &Ctx) -> Evicts {
    let now = Instant::now();
    let is_new = |asked: &Instant| now.saturating_duration_since(*asked) < BELIEVED;
    if let Some((_, policy)) = POLICY.get().filter(|(asked, _)| is_new(asked)) {
        return policy;
    }
    let args = [&b"GET"[..], b"maxmemory-policy"].map(Str::new);
    let reply = ctx.read(c"CONFIG", &args.each_ref());
    let policy = match reply.texts().get(1) {
        Some(name) if name.starts_with(b"allkeys-") => Evicts::All,
        Some(name) if name.starts_with(b"volatile-") => Evicts::Volatile,
        _ => Evicts::Nothing,
    };
    *POLICY.get() = Some((now, policy));
    policy
}
