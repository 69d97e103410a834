//! The cache and the table: whether each cached hash is its row, and what makes it so.

pub mod follow;
pub mod in_sync;
pub mod leftovers;
pub mod load_all;
pub mod position;
pub mod preload;
pub mod sessions;
pub mod verify;
