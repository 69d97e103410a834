//! Statements that run: in a transaction or alone, what they return, and what became of a lost one.

pub mod behind;
pub mod once;
pub mod pages;
pub mod resolve;
pub mod returned;
pub mod steps;
pub mod store;
pub mod transact;
pub mod transaction;
