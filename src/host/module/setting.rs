//! A setting of the server (CONFIG GET), which is believed for a second.

use std::ffi::CStr;
use std::time::{Duration, Instant};

use super::MainThread;
use crate::host::ffi::{Ctx, Str};

/// How long a setting is believed.
const BELIEVED: Duration = Duration::from_secs(1);

/// A setting, and when the server was asked for it.
pub struct Setting<T: 'static> {
    name: &'static CStr,
    /// What its text says; `None`: the server doesn't have it.
    parse: fn(Option<&[u8]>) -> T,
    known: MainThread<Option<(Instant, T)>>,
}

impl<T: Copy> Setting<T> {
    /// The setting of this name.
    pub const fn new(name: &'static CStr, parse: fn(Option<&[u8]>) -> T) -> Self {
        Self { name, parse, known: MainThread::new() }
    }

    /// What it says, or said a moment ago.
    pub fn get(&'static self, ctx: &Ctx) -> T {
        let now = Instant::now();
        let is_new = |asked: &Instant| now.saturating_duration_since(*asked) < BELIEVED;
        let known = self.known.get().filter(|(asked, _)| is_new(asked));
        if let Some((_, value)) = known {
            return value;
        }
        let args = [b"GET", self.name.to_bytes()].map(Str::new);
        let value = (self.parse)(ctx.read(c"CONFIG", &args.each_ref()).texts().get(1).copied());
        *self.known.get() = Some((now, value));
        value
    }
}
