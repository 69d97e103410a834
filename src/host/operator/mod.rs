//! What an operator sees and says: WT.* commands, INFO, options.

pub mod help;
pub mod loaded_twice;
pub mod options;
pub mod refresh;
pub mod refresh_many;
pub mod reload;
pub mod report;
pub mod triggers;
