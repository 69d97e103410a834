//! What is written behind: the position of a queue moves in the transaction that writes its rows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use postgres::error::SqlState;

use super::store::{is_final, unfit, PgStore};
use super::transact::{reread_all, statement};
use crate::engine::behind::{BehindStore, Moved, Position, KEPT};
use crate::engine::{Job, Outcome, Permit, Store, StoreError};
use crate::model::entry_id::{now_ms, EntryId};
use crate::model::failure::{Failure, Refusal};
use crate::pg::connect::own_schema::{self, Kept};
use crate::pg::connect::session::Session;
use crate::pg::error::SendError;
use crate::plan::group::Group;

/// Made where they are missing, by whoever may.
const CREATE: &str = "
    CREATE TABLE IF NOT EXISTS writethrough.behind (
        identity text PRIMARY KEY,
        mapping text NOT NULL,
        ms bigint NOT NULL,
        seq bigint NOT NULL,
        since_ms bigint NOT NULL,
        at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE IF NOT EXISTS writethrough.behind_refused (
        identity text NOT NULL,
        ms bigint NOT NULL,
        seq bigint NOT NULL,
        sqlstate text NOT NULL,
        message text NOT NULL,
        at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (identity, ms, seq));";

/// A transaction that moves one and whose end isn't known yet is waited for. Who asks needs them: they are kept.
const READ: &str = "
    INSERT INTO writethrough.behind (identity, mapping, ms, seq, since_ms)
    SELECT identity, $2, 0, 0, $3 FROM unnest($1::text[]) AS identity ORDER BY identity
    ON CONFLICT (identity) DO UPDATE SET at = now() RETURNING ms, seq, identity, since_ms";

const REFUSED: &str = "
    SELECT ms, seq, identity, sqlstate, message FROM writethrough.behind_refused
    WHERE identity = ANY($1::text[])";

const MOVE: &str = "
    UPDATE writethrough.behind AS b SET ms = m.ms, seq = m.seq, at = now()
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
        AS m (identity, ms, seq, from_ms, from_seq)
    WHERE b.identity = m.identity AND b.ms = m.from_ms AND b.seq = m.from_seq";

const REFUSE: &str = "
    INSERT INTO writethrough.behind_refused (identity, ms, seq, sqlstate, message)
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";

/// Entries that are older can't be told from written ones where nothing is known of their identity: it may have been
/// deleted. A day less, since clocks differ.
const TOLD: Duration = KEPT.saturating_sub(Duration::from_secs(24 * 3600));

/// In place of an SQLSTATE, where the module itself has refused.
const OURS: &str = "";

impl BehindStore for PgStore {
    fn positions(
        &mut self,
        permit: &Permit,
        name: &str,
        identities: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, Position>, StoreError> {
        let all: Vec<&str> = identities.iter().map(|identity| &**identity).collect();
        self.in_own_tables(|session| {
            permit.to_write()?;
            session.begin()?;
            let read = session.prepare_text(READ)?;
            let since = now_ms().saturating_sub(TOLD.as_millis() as u64) as i64;
            let rows = session.client.query(&read, &[&all, &name, &since])?;
            let refused = session.prepare_text(REFUSED)?;
            let refused = session.client.query(&refused, &[&all])?;
            session.client.batch_execute("COMMIT")?;
            let identity = |row: &postgres::Row| Arc::<str>::from(row.get::<_, &str>(2));
            let position = |row: &postgres::Row| {
                let since = EntryId { ms: row.get::<_, i64>(3) as u64, seq: 0 };
                Position { at: id(row), since, refused: HashMap::new() }
            };
            let mut positions: HashMap<Arc<str>, Position> =
                rows.iter().map(|row| (identity(row), position(row))).collect();
            for row in &refused {
                let (sqlstate, message): (String, String) = (row.get(3), row.get(4));
                let failure = match &*sqlstate {
                    OURS => Failure::Input(message),
                    _ => Failure::Refused(Refusal { sqlstate, message, ..Refusal::default() }),
                };
                if let Some(position) = positions.get_mut(&identity(row)) {
                    position.refused.insert(id(row), failure);
                }
            }
            Ok(positions)
        })
    }

    fn write(
        &mut self,
        permit: &Permit,
        moved: &[Moved],
        groups: &[Group<Job>],
    ) -> Result<Vec<Vec<Outcome>>, StoreError> {
        let newer = groups.iter().find_map(|group| self.catalog.successors(&group.mapping));
        if let Some(mappings) = newer {
            return Err(StoreError::Stale(mappings));
        }
        let mut session = self.connect()?;
        let rows: usize = groups.iter().map(|group| group.rows.len()).sum();
        let problem = groups.iter().find_map(|group| unfit(&group.mapping, &group.form));
        let written = match problem {
            Some(problem) => Err(StoreError::Unfit(problem)),
            None => write(&mut session, permit, moved, groups),
        };
        match written {
            Ok(outcomes) => {
                self.session = Some(session);
                Ok(outcomes)
            }
            Err(error) => {
                let is_final = is_final(&error, rows);
                let Some(group) = groups.first() else { return Err(error) };
                Err(self.explain(session, error, &group.mapping, is_final))
            }
        }
    }

    fn refuse(
        &mut self,
        permit: &Permit,
        identity: &str,
        at: EntryId,
        failure: &Failure,
    ) -> Result<(), StoreError> {
        let (sqlstate, message) = match failure {
            Failure::Refused(refusal) => (&*refusal.sqlstate, refusal.message.clone()),
            Failure::Input(problem) => (OURS, problem.clone()),
            other => (OURS, other.to_string()),
        };
        // No text of PostgreSQL's holds a NUL.
        let message = message.replace('\0', " ");
        self.in_own_tables(|session| {
            permit.to_write()?;
            let refuse = session.prepare_text(REFUSE)?;
            let (ms, seq) = numbers(at);
            session.client.execute(&refuse, &[&identity, &ms, &seq, &sqlstate, &message])?;
            Ok(())
        })
    }

    fn release(&mut self) {
        Store::release(self);
    }
}

impl PgStore {
    /// Runs this with a connection, once more where the tables had to be made first.
    fn in_own_tables<T>(
        &mut self,
        run: impl Fn(&mut Session) -> Result<T, SendError>,
    ) -> Result<T, StoreError> {
        let mut session = self.connect()?;
        let mut done = run(&mut session);
        let is_missing = |error: &SendError| {
            let code = |error: &postgres::Error| {
                let missing = [&SqlState::UNDEFINED_TABLE, &SqlState::INVALID_SCHEMA_NAME];
                error.code().is_some_and(|code| missing.contains(&code))
            };
            matches!(error, SendError::Database(error) if code(error))
        };
        if done.as_ref().is_err_and(is_missing) {
            session.roll_back();
            done = own_schema::create(&mut session.client, Kept::Behind, CREATE)
                .map_err(SendError::from)
                .and_then(|()| run(&mut session));
        }
        match done {
            Ok(done) => {
                self.session = Some(session);
                Ok(done)
            }
            Err(error) => {
                let error = error.classify(&session.backend.clone());
                session.roll_back();
                if matches!(error, StoreError::Lost(_) | StoreError::Retry(_)) {
                    session.retire();
                }
                Err(error)
            }
        }
    }
}

/// One transaction. Where its COMMIT is lost, the positions say what became of it.
fn write(
    session: &mut Session,
    permit: &Permit,
    moved: &[Moved],
    groups: &[Group<Job>],
) -> Result<Vec<Vec<Outcome>>, StoreError> {
    let backend = session.backend.clone();
    let failed = |error: SendError| error.classify(&backend);
    let work = |session: &mut Session| {
        permit.to_write()?;
        let sent = |error: postgres::Error| failed(error.into());
        session.begin().map_err(sent)?;
        let step = session.prepare_text(MOVE).map_err(sent)?;
        let identities: Vec<&str> = moved.iter().map(|moved| moved.identity).collect();
        let to = moved.iter().map(|moved| numbers(moved.to));
        let from = moved.iter().map(|moved| numbers(moved.from));
        let (ms, seq): (Vec<i64>, Vec<i64>) = to.unzip();
        let (from_ms, from_seq): (Vec<i64>, Vec<i64>) = from.unzip();
        let params: [&(dyn postgres::types::ToSql + Sync); 5] =
            [&identities, &ms, &seq, &from_ms, &from_seq];
        let stepped = session.client.execute(&step, &params).map_err(sent)?;
        if stepped != moved.len() as u64 {
            let reason = "the position of the queue is another one than it was";
            return Err(StoreError::Retry(reason.into()));
        }
        let mut all = Vec::with_capacity(groups.len());
        for group in groups {
            all.push(statement(session, permit, group, &failed)?);
        }
        // A statement may have waited, for a lock or a slow database.
        permit.to_write()?;
        Ok(all)
    };
    let mut outcomes = match work(session) {
        Ok(outcomes) => outcomes,
        Err(error) => {
            session.roll_back();
            return Err(error);
        }
    };
    let lost = |error: postgres::Error| failed(error.into());
    session.client.batch_execute("COMMIT").map_err(lost)?;
    reread_all(session, groups, &mut outcomes).map_err(lost)?;
    Ok(outcomes)
}

/// Deletes positions, and refused entries, that nobody has touched for long. True when there may be more.
pub fn trim(session: &mut Session) -> Result<bool, postgres::Error> {
    let old = format!("at < now() - make_interval(secs => {})", KEPT.as_secs());
    let mut has_more = false;
    for table in ["writethrough.behind", "writethrough.behind_refused"] {
        has_more |= own_schema::trim(&mut session.client, table, &old)?;
    }
    Ok(has_more)
}

fn id(row: &postgres::Row) -> EntryId {
    let (ms, seq): (i64, i64) = (row.get(0), row.get(1));
    EntryId { ms: ms as u64, seq: seq as u64 }
}

/// As PostgreSQL keeps them: a time that it can't hold is none that a clock tells.
fn numbers(id: EntryId) -> (i64, i64) {
    (id.ms as i64, id.seq as i64)
}
