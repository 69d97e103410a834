//! What the writes of one transaction have in common: they are committed together, or not at all.

use std::sync::{Arc, OnceLock};

use super::job::JobId;
use super::once::Once;

/// The writes of a transaction have one of these in common. Each key's are handed over when nothing else of
/// the key is on its way; when all are, they go to a worker together.
#[derive(Debug)]
pub struct Transaction {
    /// Its number. Its writes have later ones.
    pub id: JobId,
    /// It is done once, however often it is sent.
    pub once: Option<Once>,
    reply: OnceLock<Vec<u8>>,
}

impl Transaction {
    /// The transaction with this number.
    pub fn new(id: JobId, once: Option<Once>) -> Arc<Transaction> {
        Arc::new(Transaction { id, once, reply: OnceLock::new() })
    }

    /// What the database has stored as the reply, in RESP: of [`Transaction::once`] only, when it is done.
    pub fn reply(&self) -> Option<&[u8]> {
        self.reply.get().map(Vec::as_slice)
    }

    /// Keeps the reply, now that the transaction is done.
    pub(super) fn keep_reply(&self, reply: Vec<u8>) {
        // A second try finds what the first one has stored.
        let _ = self.reply.set(reply);
    }
}
