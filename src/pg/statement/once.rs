//! What is done once: its token in a table, with the reply, written with what it does.

use postgres::error::SqlState;

use crate::engine::Once;
use crate::model::key::Show;
use crate::pg::connect::own_schema::{self, Kept};
use crate::pg::connect::session::Session;

/// Like the journal's tables: made where it is missing, by whoever may.
const CREATE: &str = "
    CREATE TABLE IF NOT EXISTS writethrough.once (
        token bytea PRIMARY KEY,
        command bytea NOT NULL,
        at timestamptz NOT NULL DEFAULT now(),
        until timestamptz NOT NULL,
        reply bytea);
    CREATE INDEX IF NOT EXISTS once_until ON writethrough.once (until);";

const INSERT: &str = "
    INSERT INTO writethrough.once (token, command, until)
    VALUES ($1, sha256($2), now() + make_interval(secs => $3)) ON CONFLICT DO NOTHING";

const FIND: &str = "
    SELECT reply, command = sha256($2) FROM writethrough.once WHERE token = $1";

const STORE: &str = "UPDATE writethrough.once SET reply = $2 WHERE token = $1";

/// Tokens that are kept, at most: past it those whose time is up first go earlier.
const KEPT: i64 = 10_000_000;

/// What a token says.
pub enum Begun {
    /// It is new.
    Now,
    /// It was done, with this reply.
    Before(Vec<u8>),
    /// It was another command's.
    Other,
    /// There is no table: the transaction has failed.
    NoTable,
}

/// In a transaction: notes the token, or finds what was done before.
pub fn begin(session: &mut Session, once: &Once) -> Result<Begun, postgres::Error> {
    let inserted = match insert(session, once) {
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {
            return Ok(Begun::NoTable);
        }
        inserted => inserted?,
    };
    if inserted == 1 {
        return Ok(Begun::Now);
    }
    let find = session.prepare_text(FIND)?;
    let Some(row) = session.client.query_opt(&find, &[&once.token, &once.command])? else {
        // Its time was up in between.
        return Ok(if insert(session, once)? == 1 { Begun::Now } else { Begun::Other });
    };
    Ok(match (row.get::<_, Option<bool>>(1), row.get(0)) {
        (Some(true), Some(reply)) => Begun::Before(reply),
        _ => Begun::Other,
    })
}

/// Makes the table.
pub fn create(session: &mut Session) -> Result<(), postgres::Error> {
    own_schema::create(&mut session.client, Kept::Tokens, CREATE)
}

fn insert(session: &mut Session, once: &Once) -> Result<u64, postgres::Error> {
    let insert = session.prepare_text(INSERT)?;
    session.client.execute(&insert, &[&once.token, &once.command, &(once.ttl as f64)])
}

/// In the same transaction, at its end: stores the reply.
pub fn end(session: &mut Session, once: &Once, reply: &[u8]) -> Result<(), postgres::Error> {
    let store = session.prepare_text(STORE)?;
    session.client.execute(&store, &[&once.token, &reply]).map(drop)
}

/// The error of a token that is another command's.
pub fn other(token: &[u8]) -> String {
    format!("token {} was used for another command", Show(token))
}

/// Deletes tokens whose time is up, or that are too many, a few milliseconds at a time. True when there may
/// be more.
pub fn trim(session: &mut Session) -> Result<bool, postgres::Error> {
    let old = format!(
        "until < greatest(now(), (
             SELECT until FROM writethrough.once ORDER BY until DESC OFFSET {KEPT} LIMIT 1))
         ORDER BY until"
    );
    own_schema::trim(&mut session.client, "writethrough.once", &old)
}
