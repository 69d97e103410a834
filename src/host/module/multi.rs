//! Which clients are in MULTI, where the server tells the filter whose command it is (7.2 and later).

use std::collections::HashSet;

use super::main_thread::MainThread;
use crate::host::ffi::Filtered;

static CLIENTS: MainThread<HashSet<u64>> = MainThread::new();

/// A command that may begin or end a transaction.
pub fn notice(command: &Filtered) {
    let begins = command.get(0).eq_ignore_ascii_case(b"multi");
    let ends: [&[u8]; 3] = [b"exec", b"discard", b"reset"];
    if !begins && !ends.iter().any(|name| command.get(0).eq_ignore_ascii_case(name)) {
        return;
    }
    let Some(client) = command.client() else { return };
    match begins {
        true => CLIENTS.get().insert(client),
        false => CLIENTS.get().remove(&client),
    };
}

/// The client of this command is in MULTI.
pub fn is_in(command: &Filtered) -> bool {
    let clients = CLIENTS.get();
    !clients.is_empty() && command.client().is_some_and(|client| clients.contains(&client))
}

/// A client has gone.
pub fn client_gone(client: u64) {
    CLIENTS.get().remove(&client);
}
