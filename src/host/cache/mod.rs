//! The cache and the table: whether each cached hash is its row, and what makes it so.

pub mod in_sync;
pub mod leftovers;
pub mod position;
pub mod sessions;
pub mod verify;
