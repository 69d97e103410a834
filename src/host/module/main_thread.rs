//! State that only the main thread uses, a part for each room that changes it.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError, TryLockError};

/// One part. It is a `static` of the file whose functions change it.
pub struct MainThread<T>(LazyLock<Mutex<T>>);

impl<T: Default> MainThread<T> {
    /// The part, empty.
    pub const fn new() -> MainThread<T> {
        MainThread(LazyLock::new(Mutex::default))
    }

    /// The main thread's, or that of a thread that holds the server's lock. It must be let go before
    /// the server is called: the server calls back.
    pub fn get(&self) -> MutexGuard<'_, T> {
        match self.0.try_lock() {
            Ok(part) => part,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => {
                panic!("the main thread's state is held across a call to the server")
            }
        }
    }
}
