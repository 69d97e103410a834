//! The journal: a table that names each key that was changed, written with the change.
//!
//! A transaction's number is given before it commits, so entries appear out of order. A position
//! in the journal is therefore a snapshot (`xmin:xmax:those in between that had not ended`): the
//! entries that it has not seen are those of transactions that it names as running or that came
//! later.

mod preloaded;
pub mod reader;

use std::fmt;

use postgres::types::Type;
use postgres::Client;

use super::catalog::shape;
use super::catalog::CatalogError;
use super::connect::own_schema::{self, Kept};
use super::connect::session::Session;
use super::connect::timeline;
use super::error::explain;
use crate::config::ConfigError;
use crate::model::mapping::Mappings;

/// How long entries are kept.
const KEPT: &str = "1 day";

/// How many entries are kept.
const KEPT_ROWS: i64 = 1_000_000;

/// Entries deleted by one statement.
const TRIMMED_AT_ONCE: i64 = 10_000;

/// Past so many changed keys, all cached keys are verified instead.
const KEYS_MAX: usize = 100_000;

/// The defaults are for the triggers of other programs' writes. REPLICA IDENTITY lets entries be deleted where everything is published.
const CREATE: &str = "
    CREATE TABLE IF NOT EXISTS writethrough.journal (
        xid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
        at timestamptz NOT NULL DEFAULT now(),
        origin bigint NOT NULL DEFAULT 0,
        name text NOT NULL,
        key text NOT NULL);
    CREATE INDEX IF NOT EXISTS journal_xid ON writethrough.journal (xid);
    ALTER TABLE writethrough.journal REPLICA IDENTITY FULL;
    CREATE TABLE IF NOT EXISTS writethrough.trimmed (below bigint NOT NULL);
    INSERT INTO writethrough.trimmed SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint
        WHERE NOT EXISTS (SELECT FROM writethrough.trimmed);";

const USABLE: &str = "
    SELECT has_table_privilege('writethrough.journal', 'SELECT')
       AND has_table_privilege('writethrough.journal', 'INSERT')
       AND has_table_privilege('writethrough.journal', 'DELETE')
       AND has_table_privilege('writethrough.trimmed', 'SELECT')
       AND has_table_privilege('writethrough.trimmed', 'UPDATE')";

/// Where a data set is in the journal: what came before is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// Which timeline the snapshot belongs to.
    pub timeline: String,
    /// `pg_current_snapshot()` as text.
    pub snapshot: String,
    /// What gave the values their text: [`of_all`](super::catalog::shape::of_all).
    pub shape: String,
}

impl Position {
    /// xmin, xmax, and the transactions below xmax that had not ended.
    fn parts(&self) -> Option<(i64, i64, Vec<i64>)> {
        let mut parts = self.snapshot.splitn(3, ':');
        let xmin = parts.next()?.parse().ok()?;
        let xmax = parts.next()?.parse().ok()?;
        let running = parts.next()?.split(',').filter(|xid| !xid.is_empty());
        Some((xmin, xmax, running.map(str::parse).collect::<Result<_, _>>().ok()?))
    }
}

/// A final key that others have changed.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    /// The key.
    pub key: Vec<u8>,
    /// Its row is one of those that `preload` names: it is loaded where it isn't cached.
    pub is_preloaded: bool,
}

/// What others have changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// These final keys.
    pub keys: Vec<Named>,
    /// Any key of the mappings of these names: the table was emptied, or its triggers were missing for a while.
    pub any_of: Vec<String>,
    /// The mappings of these names may have new rows that `preload` names.
    pub loaded_again: Vec<String>,
}

/// What the journal says.
#[derive(Debug, PartialEq, Eq)]
pub enum Entries {
    /// This was changed by others since the position that was given.
    Changed(Changes),
    /// It doesn't say what was.
    Unknown(Why),
}

/// Why the journal doesn't say what has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// No position was given.
    NoPosition,
    /// What was committed then may be missing now: a failover, or a restored database.
    AnotherTimeline,
    /// It was trimmed past the position.
    Trimmed,
    /// So many keys at once that it is no slower to look at all.
    TooMany,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Why::NoPosition => f.write_str("it isn't known since when"),
            Why::AnotherTimeline => f.write_str("the database's timeline is another one"),
            Why::Trimmed => f.write_str("it was trimmed meanwhile"),
            Why::TooMany => write!(f, "more than {KEYS_MAX} keys at once"),
        }
    }
}

/// Makes the tables where they are missing. True when they were: what has changed before is not in them.
pub fn create(client: &mut Client) -> Result<bool, CatalogError> {
    let exists = "SELECT to_regclass('writethrough.journal') IS NOT NULL \
                  AND to_regclass('writethrough.trimmed') IS NOT NULL";
    let made = client.query_one(exists, &[]).and_then(|row| match row.get(0) {
        true => Ok(false),
        false => own_schema::create(client, Kept::Journal, CREATE).map(|()| true),
    });
    let usable = made.and_then(|made| Ok((made, client.query_one(USABLE, &[])?.get(0))));
    match usable {
        Ok((made, true)) => Ok(made),
        Ok((_, false)) => {
            let problem = "the role needs SELECT, INSERT and DELETE on writethrough.journal, and \
                           SELECT and UPDATE on writethrough.trimmed";
            Err(ConfigError::at("journal", problem).into())
        }
        Err(error) => match error.as_db_error() {
            Some(_) => Err(ConfigError::at("journal", explain(&error)).into()),
            None => Err(error.into()),
        },
    }
}

/// What others than `except` have changed since `from`, and the position after that. One statement,
/// so one snapshot.
pub fn read(
    session: &mut Session,
    except: i64,
    from: Option<&Position>,
    mappings: &Mappings,
) -> Result<Option<(Entries, Position)>, postgres::Error> {
    let sql = format!(
        "SELECT s.now::text, {}, t.below <= $4, $2 <= pg_snapshot_xmax(s.now)::text::bigint,
                j.name, j.key
         FROM (SELECT pg_current_snapshot() AS now) s
         LEFT JOIN (SELECT max(below) AS below FROM writethrough.trimmed) t ON true
         LEFT JOIN (SELECT DISTINCT name, key FROM writethrough.journal
                    WHERE (xid = ANY($1) OR xid >= $2) AND origin <> $3 LIMIT {}) j ON true",
        timeline::SQL,
        KEYS_MAX + 1,
    );
    let parts = from.and_then(Position::parts);
    let (xmin, xmax, running) = parts.unwrap_or((i64::MIN, i64::MAX, Vec::new()));
    let types = [Type::INT8_ARRAY, Type::INT8, Type::INT8, Type::INT8];
    let statement = session.client.prepare_typed(&sql, &types)?;
    let rows = session.client.query(&statement, &[&running, &xmax, &except, &xmin])?;
    let Some(first) = rows.first() else { return Ok(None) };
    // A standby has no timeline, and nothing to say.
    let Some(timeline) = first.get::<_, Option<String>>(1) else { return Ok(None) };
    let shape = shape::of_all(mappings, &session.settings);
    let position = Position { timeline, snapshot: first.get(0), shape };
    let reaches_back = first.get::<_, Option<bool>>(2) == Some(true);
    // A position of the future is one of a database that was set back.
    let is_same = from.is_some_and(|from| from.timeline == position.timeline) && first.get(3);
    let why = match from {
        None => Some(Why::NoPosition),
        Some(_) if !is_same => Some(Why::AnotherTimeline),
        Some(_) if !reaches_back => Some(Why::Trimmed),
        Some(_) => (rows.len() > KEYS_MAX).then_some(Why::TooMany),
    };
    if let Some(why) = why {
        return Ok(Some((Entries::Unknown(why), position)));
    }
    let mut changes = Changes::default();
    for row in &rows {
        let (Some(name), Some(key)) =
            (row.get::<_, Option<String>>(4), row.get::<_, Option<String>>(5))
        else {
            continue;
        };
        match key.is_empty() {
            true => changes.any_of.push(name),
            false => {
                let key = final_key(mappings, &name, &key);
                changes.keys.extend(key.map(|key| Named { key, is_preloaded: false }));
            }
        }
    }
    Ok(Some((Entries::Changed(changes), position)))
}

/// The final key that an entry names; `None` for one of a table that is not mapped here.
fn final_key(mappings: &Mappings, name: &str, key: &str) -> Option<Vec<u8>> {
    let mapping = mappings.get(name.as_bytes())?;
    let mut target = name.as_bytes().to_vec();
    for (part, column) in key.splitn(mapping.key_len, ':').zip(&mapping.columns) {
        target.push(b':');
        match column.info.bytea {
            true => target.extend(bytes_of_hex(part)?),
            false => target.extend_from_slice(part.as_bytes()),
        }
    }
    Some(target)
}

fn bytes_of_hex(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = hex.chars().map(|c| c.to_digit(16)).collect();
    Some(digits?.chunks(2).map(|pair| pair.iter().fold(0, |n, d| n * 16 + *d as u8)).collect())
}

/// Deletes entries that are too old or too many, and says up to where in `trimmed`. A few
/// milliseconds at a time; true when there may be more.
pub fn trim(client: &mut Client) -> Result<bool, postgres::Error> {
    // What a running transaction may still add is not trimmed past.
    let sql = format!(
        "WITH bound AS (
             SELECT least(b.below, pg_snapshot_xmin(pg_current_snapshot())::text::bigint) AS below
             FROM (SELECT greatest(
                 (SELECT xid FROM writethrough.journal ORDER BY xid DESC OFFSET {KEPT_ROWS} LIMIT 1),
                 (SELECT max(xid) + 1 FROM (SELECT xid, at FROM writethrough.journal
                     ORDER BY xid LIMIT {TRIMMED_AT_ONCE}) o WHERE at < now() - '{KEPT}'::interval)
             ) AS below) b WHERE b.below IS NOT NULL),
         old AS (
             SELECT xid, ctid FROM writethrough.journal WHERE xid < (SELECT below FROM bound)
             ORDER BY xid LIMIT {TRIMMED_AT_ONCE}),
         mark AS (
             UPDATE writethrough.trimmed SET below = m.xid + 1
             FROM (SELECT max(xid) AS xid FROM old) m WHERE below <= m.xid),
         gone AS (
             DELETE FROM writethrough.journal WHERE ctid = ANY(ARRAY(SELECT ctid FROM old))
             RETURNING 1)
         SELECT count(*) FROM gone",
    );
    Ok(client.query_one(&sql, &[])?.get::<_, i64>(0) == TRIMMED_AT_ONCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::mapping::tests::{resolve, users};

    #[test]
    fn a_snapshot_has_three_parts() {
        let parts = |text: &str| Position { snapshot: text.into(), ..Position::default() }.parts();
        assert_eq!(parts("10:20:10,14"), Some((10, 20, vec![10, 14])));
        assert_eq!(parts("10:10:"), Some((10, 10, vec![])));
        assert_eq!(parts("10"), None);
        assert_eq!(parts("a:b:c"), None);
    }

    #[test]
    fn an_entry_names_a_final_key() {
        let mappings =
            Mappings::new(vec![resolve(r#"{"table":"users"}"#, &users()).unwrap().into()]);
        assert_eq!(final_key(&mappings, "users", "7"), Some(b"users:7".to_vec()));
        assert_eq!(final_key(&mappings, "others", "7"), None);
        assert_eq!(bytes_of_hex("00ff61"), Some(vec![0, 255, 97]));
    }
}
