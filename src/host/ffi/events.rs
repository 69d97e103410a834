//! What the server tells the module of.

use std::ffi::{c_char, c_int, c_void, CStr};

use redis_module::raw;

use super::guard;
use super::string::bytes;
use super::Ctx;
use super::Filtered;
use super::Info;
use super::OnLoad;

/// What the server tells the module of. One implementation: the host.
pub trait Host {
    /// Every command, before it is looked up.
    fn filter(command: &mut Filtered);
    /// A key changed.
    fn keyspace(change: &KeyChange);
    /// Something happened to the server, which may be in the middle of it: no key is touched.
    fn event(event: Event);
    /// INFO wants the module's sections.
    fn info(out: &mut Info);
}

/// A change of a key, in the middle of the write that makes it. What is written now would be
/// replicated before it: what is to follow from it is done by a timer.
pub struct KeyChange<'a> {
    ctx: Ctx,
    /// What happened: `hset`, `del`.
    pub event: &'a [u8],
    /// The key's name.
    pub key: &'a [u8],
}

impl KeyChange<'_> {
    /// Its database.
    pub fn db(&self) -> i32 {
        self.ctx.db()
    }
}

/// Something that happened to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A database was emptied; `None`: all of them.
    Flushed(Option<i32>),
    /// Two databases changed places.
    Swapped(i32, i32),
    /// A data set was loaded.
    Loaded,
    /// This server is a master now.
    Promoted,
    /// This server follows another one now.
    Demoted,
    /// A replica has taken over the data set.
    Replicated,
    /// The client of this id has disconnected.
    ClientGone(u64),
    /// The server ends.
    Shutdown,
    /// All commands that have come are executed; the server is about to wait for more.
    Idle,
}

impl OnLoad {
    /// Registers the callbacks. False when the server will not have one.
    pub fn subscribe<H: Host>(&self) -> bool {
        extern "C" fn filter<H: Host>(raw: *mut raw::RedisModuleCommandFilterCtx) {
            guard("the command filter", || H::filter(&mut Filtered { raw }));
        }
        extern "C" fn keyspace<H: Host>(
            ctx: *mut raw::RedisModuleCtx,
            _: c_int,
            event: *const c_char,
            key: *mut raw::RedisModuleString,
        ) -> c_int {
            // SAFETY: the server passes a C string and a string that live during the callback.
            let (event, key) = unsafe { (CStr::from_ptr(event).to_bytes(), bytes(key)) };
            let change = KeyChange { ctx: Ctx { raw: ctx }, event, key };
            guard("the keyspace handler", || H::keyspace(&change));
            raw::REDISMODULE_OK as c_int
        }
        extern "C" fn event<H: Host>(
            _: *mut raw::RedisModuleCtx,
            id: raw::RedisModuleEvent,
            sub: u64,
            data: *mut c_void,
        ) {
            // SAFETY: the server documents which structure `data` is for each event.
            let event = unsafe { decode(id.id, sub, data) };
            if let Some(event) = event {
                guard("an event handler", || H::event(event));
            }
        }
        extern "C" fn info<H: Host>(raw: *mut raw::RedisModuleInfoCtx, _: c_int) {
            guard("INFO", || H::info(&mut Info { raw }));
        }
        const EVENTS: [u64; 8] = [
            raw::REDISMODULE_EVENT_EVENTLOOP,
            raw::REDISMODULE_EVENT_FLUSHDB,
            raw::REDISMODULE_EVENT_SWAPDB,
            raw::REDISMODULE_EVENT_LOADING,
            raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED,
            raw::REDISMODULE_EVENT_REPLICA_CHANGE,
            raw::REDISMODULE_EVENT_SHUTDOWN,
            raw::REDISMODULE_EVENT_CLIENT_CHANGE,
        ];
        // SAFETY: `self.raw` is the context of OnLoad; the callbacks are functions of this crate,
        // which is never unloaded once OnLoad has succeeded.
        unsafe {
            let types = raw::REDISMODULE_NOTIFY_HASH | raw::REDISMODULE_NOTIFY_GENERIC;
            let no_self = raw::REDISMODULE_CMDFILTER_NOSELF as c_int;
            let keyspace = raw::RedisModule_SubscribeToKeyspaceEvents.unwrap()(
                self.raw,
                types,
                Some(keyspace::<H>),
            );
            let events = EVENTS.iter().all(|&id| {
                let id = raw::RedisModuleEvent { id, dataver: 1 };
                raw::RedisModule_SubscribeToServerEvent.unwrap()(self.raw, id, Some(event::<H>))
                    == raw::REDISMODULE_OK as c_int
            });
            let info = raw::RedisModule_RegisterInfoFunc.unwrap()(self.raw, Some(info::<H>));
            let filter = raw::RedisModule_RegisterCommandFilter.unwrap()(
                self.raw,
                Some(filter::<H>),
                no_self,
            );
            events && keyspace == 0 && info == 0 && !filter.is_null()
        }
    }
}

/// # Safety
/// `data` is what the server documents for the event.
unsafe fn decode(id: u64, sub: u64, data: *mut c_void) -> Option<Event> {
    match (id, sub) {
        (raw::REDISMODULE_EVENT_FLUSHDB, raw::REDISMODULE_SUBEVENT_FLUSHDB_START) => {
            let info = data.cast::<raw::RedisModuleFlushInfo>().as_ref()?;
            Some(Event::Flushed((info.dbnum >= 0).then_some(info.dbnum)))
        }
        (raw::REDISMODULE_EVENT_SWAPDB, _) => {
            let info = data.cast::<raw::RedisModuleSwapDbInfo>().as_ref()?;
            Some(Event::Swapped(info.dbnum_first, info.dbnum_second))
        }
        (raw::REDISMODULE_EVENT_LOADING, raw::REDISMODULE_SUBEVENT_LOADING_ENDED) => {
            Some(Event::Loaded)
        }
        (
            raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED,
            raw::REDISMODULE_EVENT_REPLROLECHANGED_NOW_MASTER,
        ) => Some(Event::Promoted),
        (
            raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED,
            raw::REDISMODULE_EVENT_REPLROLECHANGED_NOW_REPLICA,
        ) => Some(Event::Demoted),
        (
            raw::REDISMODULE_EVENT_REPLICA_CHANGE,
            raw::REDISMODULE_SUBEVENT_REPLICA_CHANGE_ONLINE,
        ) => Some(Event::Replicated),
        (
            raw::REDISMODULE_EVENT_CLIENT_CHANGE,
            raw::REDISMODULE_SUBEVENT_CLIENT_CHANGE_DISCONNECTED,
        ) => Some(Event::ClientGone(data.cast::<raw::RedisModuleClientInfo>().as_ref()?.id)),
        (raw::REDISMODULE_EVENT_SHUTDOWN, _) => Some(Event::Shutdown),
        (raw::REDISMODULE_EVENT_EVENTLOOP, raw::REDISMODULE_SUBEVENT_EVENTLOOP_BEFORE_SLEEP) => {
            Some(Event::Idle)
        }
        _ => None,
    }
}
