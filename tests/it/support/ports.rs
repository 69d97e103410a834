//! Free ports on 127.0.0.1.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Mutex;

/// A port that is free now and that this process hasn't handed out before. Another process can
/// still take it before the server listens: whoever starts a server tries again.
pub fn free_port() -> u16 {
    static HANDED_OUT: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("no free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        // Redis' cluster bus would sit 10000 above; keep to ports where that exists.
        if port < 55_000 && HANDED_OUT.lock().unwrap().insert(port) {
            return port;
        }
    }
}
