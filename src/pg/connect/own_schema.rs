//! The schema `writethrough`, where the module keeps what it makes in the database.

use postgres::types::Type;
use postgres::{Client, Error};

use super::session::LOCK_TIMEOUT;

/// Rows that are deleted by one statement.
const TRIMMED_AT_ONCE: i64 = 10_000;

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

/// Deletes rows that are `old`, a condition and perhaps an order: a few milliseconds' work. True when there may be
/// more. Without the table, or the right to delete, nothing is done; a row that somebody is using is left alone.
pub fn trim(client: &mut Client, table: &str, old: &str) -> Result<bool, Error> {
    let may_trim = format!(
        "SELECT to_regclass('{table}') IS NOT NULL \
         AND has_table_privilege(to_regclass('{table}'), 'DELETE')"
    );
    let may_trim: Option<bool> = client.query_one(&may_trim, &[])?.get(0);
    if may_trim != Some(true) {
        return Ok(false);
    }
    let delete = format!(
        "DELETE FROM {table} WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM {table} WHERE {old} LIMIT $1 FOR UPDATE SKIP LOCKED))"
    );
    let delete = client.prepare_typed(&delete, &[Type::INT8])?;
    Ok(client.execute(&delete, &[&TRIMMED_AT_ONCE])? == TRIMMED_AT_ONCE as u64)
}
