//! The server's state.

use std::ptr::null_mut;

use redis_module::raw;

/// The server's state, of this moment, without a client.
pub fn server_flags() -> Flags {
    // SAFETY: RM_GetContextFlags takes a NULL context.
    Flags(unsafe { raw::RedisModule_GetContextFlags.unwrap()(null_mut()) } as u32)
}

/// True while the server must not write to its replicas (CLIENT PAUSE, a failover, a shutdown).
pub(super) fn avoid_replica_traffic() -> bool {
    // SAFETY: no arguments; a server that lacks it has no such state.
    unsafe { raw::RedisModule_AvoidReplicaTraffic.is_some_and(|f| f() != 0) }
}

/// What RM_GetContextFlags says.
#[derive(Debug, Clone, Copy)]
pub struct Flags(pub(super) u32);

impl Flags {
    const UNBLOCKABLE: u32 = raw::REDISMODULE_CTX_FLAGS_MULTI
        | raw::REDISMODULE_CTX_FLAGS_LUA
        | raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING;
    const FOLLOWING: u32 = raw::REDISMODULE_CTX_FLAGS_SLAVE
        | raw::REDISMODULE_CTX_FLAGS_LOADING
        | raw::REDISMODULE_CTX_FLAGS_ASYNC_LOADING;

    /// The client can't be made to wait: MULTI/EXEC, a script, another module's call.
    pub fn cannot_block(self) -> bool {
        self.0 & Self::UNBLOCKABLE != 0
    }

    /// The data comes from elsewhere (a master, a file): it is not to be written through.
    pub fn is_following(self) -> bool {
        self.0 & Self::FOLLOWING != 0
    }

    /// This server follows another one.
    pub fn is_replica(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_SLAVE != 0
    }

    /// EXEC runs a transaction.
    pub fn is_transaction(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_MULTI != 0
    }

    /// There is an append-only file.
    pub fn has_aof(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_AOF != 0
    }

    /// Redis Cluster.
    pub fn is_cluster(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_CLUSTER != 0
    }
}
