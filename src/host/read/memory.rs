//! Whether a row may be cached while `maxmemory` is reached.

use crate::host::ffi::Ctx;
use crate::host::module::setting::Setting;

static POLICY: Setting<Evicts> = Setting::new(c"maxmemory-policy", evicts);

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
        || match POLICY.get(ctx) {
            Evicts::Nothing => false,
            Evicts::Volatile => expires,
            Evicts::All => true,
        }
}

fn evicts(policy: Option<&[u8]>) -> Evicts {
    match policy {
        Some(name) if name.starts_with(b"allkeys-") => Evicts::All,
        Some(name) if name.starts_with(b"volatile-") => Evicts::Volatile,
        _ => Evicts::Nothing,
    }
}
