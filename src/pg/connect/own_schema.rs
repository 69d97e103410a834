//! The schema `writethrough`, where the module keeps what it makes in the database.

use postgres::{Client, Error};

use super::session::LOCK_TIMEOUT;

/// What is kept there, and the advisory lock under which it is changed: one server after the other, so that
/// none makes what another one has just made.
#[derive(Debug, Clone, Copy)]
#[repr(i64)]
pub enum Kept {
    /// The journal.
    Journal = 8_319_104_478,
    /// The tokens of WT.ONCE.
    Tokens = 8_319_104_479,
    /// The triggers that follow other programs.
    Triggers = 8_319_104_480,
    /// The positions of queues that are written behind.
    Behind = 8_319_104_481,
}

/// Makes the schema where it is missing, under a lock that all share. A role that may make tables in it need not
/// be allowed to make it.
const SCHEMA: &str = "DO $$ BEGIN IF to_regnamespace('writethrough') IS NULL THEN \
                      PERFORM pg_advisory_xact_lock(8319104477); \
                      IF to_regnamespace('writethrough') IS NULL THEN CREATE SCHEMA writethrough; END IF; \
                      END IF; END $$;";

/// Makes tables, and the schema where it is missing: all of it or nothing.
pub fn create(client: &mut Client, what: Kept, tables: &str) -> Result<(), Error> {
    run(client, what, SCHEMA, tables)
}

/// Runs these statements, each with its `;`: all of them or none.
pub fn change(client: &mut Client, what: Kept, statements: &str) -> Result<(), Error> {
    run(client, what, "", statements)
}

/// For other servers it waits as long as a statement may take; a table that somebody uses is not waited for: those
/// who come after us would have to wait, too.
fn run(client: &mut Client, what: Kept, before: &str, statements: &str) -> Result<(), Error> {
    let (lock, limit) = (what as i64, LOCK_TIMEOUT.as_millis());
    let sql = format!(
        "BEGIN; SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock({lock}); {before} \
         SET LOCAL lock_timeout = {limit}; {statements} COMMIT"
    );
    let done = client.batch_execute(&sql);
    if done.is_err() {
        // A transaction that failed half-way must not stay open; the error is what counts.
        let _ = client.batch_execute("ROLLBACK");
    }
    done
}
