//! The schema `writethrough`, where the module keeps what it makes in the database.

use postgres::{Client, Error};

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

/// Makes the schema where it is missing. A role that may make tables in it need not be allowed to make it.
const SCHEMA: &str = "DO $$ BEGIN IF to_regnamespace('writethrough') IS NULL THEN \
                      CREATE SCHEMA writethrough; END IF; END $$;";

/// Makes tables, and the schema where it is missing: all of it or nothing.
pub fn create(client: &mut Client, what: Kept, tables: &str) -> Result<(), Error> {
    change(client, what, &format!("{SCHEMA} {tables}"))
}

/// Runs these statements, each with its `;`: all of them or none.
pub fn change(client: &mut Client, what: Kept, statements: &str) -> Result<(), Error> {
    let lock = what as i64;
    let sql = format!("BEGIN; SELECT pg_advisory_xact_lock({lock}); {statements} COMMIT");
    let done = client.batch_execute(&sql);
    if done.is_err() {
        // A transaction that failed half-way must not stay open; the error is what counts.
        let _ = client.batch_execute("ROLLBACK");
    }
    done
}
