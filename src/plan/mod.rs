//! From writes to statements: which writes share one, which become one, which row of one is bad.

pub mod bad_row;
pub mod batch;
pub mod group;
pub mod merge;
pub mod mixed;
