//! What the database's catalog says of the mapped tables.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postgres::types::Type;
use postgres::Client;

use super::error::explain;
use super::session::Session;
use super::types::literal;
use crate::config::{ConfigError, MappingConfig};
use crate::mapping::{Mapping, Mappings};
use crate::range::is_range;
use crate::sql::quote;
use crate::suggest;
use crate::table::{Table, TableColumn};

/// Why the mappings could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The document does not fit the tables.
    #[error("{0}")]
    Mapping(#[from] ConfigError),
    /// The database could not be asked.
    #[error("{}", explain(.0))]
    Database(#[from] postgres::Error),
}

/// The mappings as the catalog confirmed them, once somebody has read it.
pub struct Catalog {
    state: Mutex<State>,
    /// Mappings of a lower version are of a document that is not in use any more.
    oldest: AtomicU64,
    /// One reads at a time, so that what was read last is the newest.
    reading: Mutex<()>,
}

struct State {
    configs: Arc<Vec<MappingConfig>>,
    read: Option<Result<Arc<Mappings>, String>>,
}

impl Catalog {
    /// A catalog for the document's mappings, not read yet.
    pub fn new(configs: Vec<MappingConfig>) -> Catalog {
        let state = Mutex::new(State { configs: Arc::new(configs), read: None });
        Catalog { state, oldest: AtomicU64::new(0), reading: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The document's mappings.
    pub fn configs(&self) -> Arc<Vec<MappingConfig>> {
        self.state().configs.clone()
    }

    /// The mappings; `Err(Some(why))` when the document does not fit the tables, `Err(None)` while
    /// the database was not reached yet.
    pub fn mappings(&self) -> Result<Arc<Mappings>, Option<String>> {
        match &self.state().read {
            Some(read) => read.clone().map_err(Some),
            None => Err(None),
        }
    }

    /// Reads the catalog and checks every mapping: all of it or, when one is wrong, none.
    pub fn read(&self, client: &mut Client) -> Result<Arc<Mappings>, CatalogError> {
        let _turn = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = load(client, &self.configs());
        if let Err(CatalogError::Mapping(error)) = &loaded {
            let mut state = self.state();
            // What was right once goes on being used.
            if !matches!(state.read, Some(Ok(_))) {
                state.read = Some(Err(error.to_string()));
            }
        }
        loaded.map(|mappings| self.take_over(None, mappings))
    }

    /// The same for other mappings, which take the place of those in use.
    pub fn replace(
        &self,
        client: &mut Client,
        configs: Vec<MappingConfig>,
    ) -> Result<Arc<Mappings>, CatalogError> {
        let _turn = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let mappings = load(client, &configs)?;
        Ok(self.take_over(Some(configs), mappings))
    }

    fn take_over(&self, configs: Option<Vec<MappingConfig>>, mappings: Mappings) -> Arc<Mappings> {
        let mappings = Arc::new(mappings);
        let mut state = self.state();
        state.read = Some(Ok(mappings.clone()));
        if let Some(configs) = configs.filter(|configs| *configs != *state.configs) {
            state.configs = Arc::new(configs);
            let oldest = mappings.iter().map(|mapping| mapping.version).min();
            self.oldest.store(oldest.unwrap_or_default(), Ordering::Release);
        }
        mappings
    }

    /// The document's mappings of now, when `mapping` is of an earlier one and has a successor. A
    /// table that was read again makes nobody wait: its statements tell.
    pub fn successors(&self, mapping: &Mapping) -> Option<Arc<Mappings>> {
        match mapping.version < self.oldest.load(Ordering::Acquire) {
            true => self.newer_than(mapping),
            false => None,
        }
    }

    fn newer_than(&self, mapping: &Mapping) -> Option<Arc<Mappings>> {
        let mappings = self.mappings().ok()?;
        let is_other = |m: &Arc<Mapping>| m.version != mapping.version;
        mappings.get(mapping.name.as_bytes()).is_some_and(is_other).then_some(mappings)
    }

    /// A newer reading, when the table of `mapping` is not what it was.
    pub fn newer(
        &self,
        session: &mut Session,
        mapping: &Mapping,
    ) -> Result<Option<Arc<Mappings>>, CatalogError> {
        if let Some(mappings) = self.newer_than(mapping) {
            return Ok(Some(mappings));
        }
        let statement = session.prepare_text(FINGERPRINT)?;
        let row = session.client.query_opt(&statement, &[&mapping.relation])?;
        match row.map(|row| row.get::<_, String>(0)) {
            Some(fingerprint) if fingerprint != mapping.fingerprint => {
                self.read(&mut session.client).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// Reads the catalog for every mapping of the document and checks it.
fn load(client: &mut Client, configs: &[MappingConfig]) -> Result<Mappings, CatalogError> {
    let mut mappings = Vec::with_capacity(configs.len());
    for (index, config) in configs.iter().enumerate() {
        let table = table(client, index, config)?;
        mappings.push(Mapping::resolve(index, config, &table)?);
    }
    Ok(Mappings::new(mappings))
}

const RELATION: &str = "
    WITH triggers AS (
        SELECT g.tgtype FROM pg_trigger g
        WHERE NOT g.tgisinternal AND g.tgenabled <> 'D'
          -- Those that note changes in the journal make nothing of a write.
          AND NOT EXISTS (SELECT FROM pg_proc p JOIN pg_namespace s ON s.oid = p.pronamespace
                          WHERE p.oid = g.tgfoid AND s.nspname = 'writethrough')
          AND (g.tgrelid = to_regclass($1)
               OR g.tgrelid IN (SELECT relid FROM pg_partition_tree(to_regclass($1)))))
    SELECT c.oid, n.nspname, c.relname, c.relkind::text,
           c.relkind IN ('v', 'f') OR c.relrowsecurity
           OR EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN')
           OR EXISTS (SELECT FROM triggers),
           -- Neither BEFORE (2): a trigger that comes after the row was returned.
           c.relkind IN ('v', 'f') OR EXISTS (SELECT FROM triggers WHERE tgtype & 2 = 0)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = to_regclass($1)";

const COLUMNS: &str = "
    SELECT a.attnum, a.attname, format_type(a.atttypid, -1), format_type(a.atttypid, a.atttypmod),
           CASE WHEN t.typtype = 'd' THEN 0::oid ELSE a.atttypid END, a.atttypmod,
           b.oid = 'bytea'::regtype,
           a.attnotnull OR t.typnotnull,
           a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL,
           a.attidentity = 'a', a.attgenerated <> '', format_type(b.oid, -1), b.typcategory = 'N'
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

const INDEXES: &str = "
    SELECT i.indisprimary, (i.indkey::int2[])[0:i.indnkeyatts - 1],
           i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
    FROM pg_index i WHERE i.indrelid = $1 AND i.indisunique";

const CONSTRAINTS: &str = "
    SELECT contype = 'c', conkey, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = $1 AND contype IN ('c', 'f', 'x') AND conkey IS NOT NULL";

/// Changes when something changes that a [`Table`] holds.
const FINGERPRINT: &str = "
    SELECT md5(concat_ws(',', c.oid, c.relrowsecurity, c.relhasrules,
        (SELECT string_agg(concat_ws(':', attnum, attname, atttypid, atttypmod, attnotnull,
                                     atthasdef, attidentity, attgenerated), ',' ORDER BY attnum)
         FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
        (SELECT string_agg(oid::text, ',' ORDER BY oid) FROM pg_constraint WHERE conrelid = c.oid),
        (SELECT string_agg(indexrelid::text, ',' ORDER BY indexrelid)
         FROM pg_index WHERE indrelid = c.oid),
        (SELECT string_agg(concat(oid, tgenabled), ',' ORDER BY oid)
         FROM pg_trigger WHERE tgrelid = c.oid)))
    FROM pg_class c WHERE c.oid = to_regclass($1)";

fn table(client: &mut Client, index: usize, config: &MappingConfig) -> Result<Table, CatalogError> {
    let (schema, name) = config.schema_and_table();
    let regclass = match schema {
        Some(schema) => format!("{}.{}", quote(schema), quote(name)),
        None => quote(name),
    };
    let path = format!("mappings[{index}].table");
    let Some(relation) = client.query_opt(RELATION, &[&regclass])? else {
        return Err(unknown(client, path, config)?);
    };
    let (oid, kind): (u32, String) = (relation.get(0), relation.get(3));
    if !["r", "p", "v", "f"].contains(&kind.as_str()) {
        let problem = format!("{:?} is neither a table nor a view", config.table);
        return Err(ConfigError::at(path, problem).into());
    }
    let mut table = Table {
        schema: relation.get(1),
        name: relation.get(2),
        fingerprint: client.query_one(FINGERPRINT, &[&regclass])?.get(0),
        watched: relation.get(4),
        reread: relation.get(5),
        relation: regclass,
        is_view: kind == "v" || kind == "f",
        ..Table::default()
    };
    let mut numbers: Vec<i16> = Vec::new();
    let mut generated = Vec::new();
    for row in client.query(COLUMNS, &[&oid])? {
        numbers.push(row.get(0));
        generated.push(row.get::<_, bool>(10));
        table.columns.push(column(&row));
    }
    let positions = |attnums: Vec<i16>| -> Vec<usize> {
        attnums.iter().filter_map(|n| numbers.iter().position(|number| number == n)).collect()
    };
    // What a generated column or an expression depends on is not listed: it may be any column.
    let all = || (0..numbers.len()).collect::<Vec<_>>();
    let widen = |columns: Vec<usize>| match columns.iter().any(|&c| generated[c]) {
        true => all(),
        false => columns,
    };
    for row in client.query(INDEXES, &[&oid])? {
        let columns = positions(row.get(1));
        if row.get(2) {
            if row.get(0) {
                table.primary_key.clone_from(&columns);
            }
            table.unique.push(columns.clone());
            table.guards.push(widen(columns));
        } else {
            table.guards.push(all());
        }
    }
    for row in client.query(CONSTRAINTS, &[&oid])? {
        let columns = widen(positions(row.get(1)));
        if row.get(0) {
            table.checks.push(columns.clone());
            if is_range(row.get(2)) {
                table.ranges.push(columns.clone());
            }
        }
        table.guards.push(columns);
    }
    Ok(table)
}

fn unknown(
    client: &mut Client,
    path: String,
    config: &MappingConfig,
) -> Result<CatalogError, postgres::Error> {
    const NAMES: &str = "
        SELECT CASE WHEN pg_table_is_visible(c.oid) THEN c.relname
                    ELSE n.nspname || '.' || c.relname END
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'f')
          AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')";
    let names: Vec<String> = client.query(NAMES, &[])?.iter().map(|row| row.get(0)).collect();
    let near = suggest::among(&config.table, names.iter().map(String::as_str));
    Ok(ConfigError::at(path, format!("the database has no table {:?}{near}", config.table)).into())
}

fn column(row: &postgres::Row) -> TableColumn {
    // The type's oid; 0 for a domain, whose constraints may refuse what its base type accepts.
    let ty = Type::from_oid(row.get(4));
    let modifier: i32 = row.get(5);
    TableColumn {
        name: row.get(1),
        cast: row.get(2),
        base: row.get(11),
        numeric: row.get(12),
        type_name: row.get(3),
        literal: literal(ty.as_ref(), modifier),
        bytea: row.get(6),
        verbatim: matches!(ty, Some(Type::TEXT | Type::VARCHAR)),
        not_null: row.get(7),
        fills_itself: row.get::<_, bool>(8) || row.get::<_, bool>(10),
        identity_always: row.get(9),
    }
}
