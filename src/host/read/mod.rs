//! A read of a row that is not cached: the row is loaded first, and then the plain command answers.

pub mod command;
pub mod filter;
mod load;
pub mod memory;
