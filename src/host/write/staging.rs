//! What tells a change that a command of ours makes from a change that others make.

/// Bytes; keys are shorter.
const STAGING_KEPT: usize = 4096;

/// The staged key that a command of ours is writing. The buffer is kept from write to write, unless
/// it has grown past [`STAGING_KEPT`].
#[derive(Default)]
pub struct Staging {
    key: Vec<u8>,
    staged: bool,
}

impl Staging {
    /// A command of ours is going to change `key`.
    pub fn begin(&mut self, key: &[u8]) {
        self.staged = false;
        self.key.clear();
        self.key.extend_from_slice(key);
    }

    /// A key has changed. True when it is the one: the change is staged.
    pub fn notice(&mut self, key: &[u8]) -> bool {
        let is_it = self.key == key;
        self.staged |= is_it;
        is_it
    }

    /// The command has run. True when the change is staged.
    pub fn end(&mut self) -> bool {
        self.key.clear();
        self.key.shrink_to(STAGING_KEPT);
        std::mem::take(&mut self.staged)
    }
}
