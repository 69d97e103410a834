//! What the bytes of an answer amount to, in either protocol.

/// Whether an answer is complete.
pub enum Scan {
    Partial,
    /// With its error, if it is one.
    Done(Option<String>),
}
