//! One table as PostgreSQL's catalog describes it.

use postgres::types::Type;
use postgres::{Client, Row};

use super::types::{input_syntax, is_identity};
use crate::config::suggest;
use crate::config::{ConfigError, MappingConfig};
use crate::model::input_syntax::InputSyntax;
use crate::model::range::{ranges, Range};
use crate::model::table::{Constraint, DefaultValue, Index, Kind, Table, TableColumn};
use crate::pg::catalog::CatalogError;
use crate::sql::quote;

mod queries;

pub(crate) use queries::tree;
pub use queries::FINGERPRINT;
use queries::{CALLS_FUNCTIONS, COLUMNS, CONSTRAINTS, INDEXES, RELATION};

/// A default of this text, of PostgreSQL's own functions, is the time or a random uuid.
const HARMLESS: [&str; 11] = [
    "now()",
    "CURRENT_TIMESTAMP",
    "LOCALTIMESTAMP",
    "CURRENT_DATE",
    "transaction_timestamp()",
    "statement_timestamp()",
    "clock_timestamp()",
    "timezone('utc'::text, now())",
    "(now() AT TIME ZONE 'utc'::text)",
    "(CURRENT_TIMESTAMP AT TIME ZONE 'utc'::text)",
    "gen_random_uuid()",
];

/// Reads the table of the document's `mappings[index]`.
pub fn table(
    client: &mut Client,
    index: usize,
    config: &MappingConfig,
) -> Result<Table, CatalogError> {
    let (schema, name) = config.schema_and_table();
    let regclass = match schema {
        Some(schema) => format!("{}.{}", quote(schema), quote(name)),
        None => quote(name),
    };
    let path = format!("mappings[{index}].table");
    let Some(relation) = client.query_opt(RELATION, &[&regclass])? else {
        return Err(unknown(client, path, config)?);
    };
    let oid: u32 = relation.get(0);
    let kind = match relation.get::<_, String>(3).as_str() {
        "r" => Kind::Table,
        "p" => Kind::Partitioned,
        "v" | "f" => Kind::View,
        _ => {
            let problem = format!("{:?} is neither a table nor a view", config.table);
            return Err(ConfigError::at(path, problem).into());
        }
    };
    // Its UPDATE would reach the children's rows, and ON CONFLICT doesn't see them.
    if relation.get(6) {
        let problem = format!(
            "other tables inherit from {:?}, and their rows show in it; expected a table without \
             children (map these), or a partitioned table",
            config.table
        );
        return Err(ConfigError::at(path, problem).into());
    }
    let is_utf8: bool = relation.get(10);
    let mut numbers: Vec<i16> = Vec::new();
    let mut columns = Vec::new();
    for row in client.query(COLUMNS, &[&oid])? {
        numbers.push(row.get(0));
        columns.push(column(&row, is_utf8));
    }
    let place = |number: &i16| numbers.iter().position(|other| other == number);
    let places = |numbers: Vec<i16>| -> Option<Vec<usize>> { numbers.iter().map(place).collect() };
    let mut table = Table {
        schema: relation.get(1),
        name: relation.get(2),
        fingerprint: client.query_one(FINGERPRINT, &[&regclass])?.get(0),
        relation: regclass,
        columns,
        kind,
        watched: relation.get(4),
        reread: relation.get(5),
        is_ordinary: relation.get(7),
        compares_rows: relation.get(8),
        partitions_differ: relation.get(9),
        calls_functions: client.query_one(CALLS_FUNCTIONS, &[&oid])?.get(0),
        ..Table::default()
    };
    for row in client.query(INDEXES, &[&oid])? {
        let looks_at_columns: bool = row.get(3);
        let key = looks_at_columns.then(|| places(row.get(1))).flatten();
        if row.get(0) {
            table.primary_key = key.clone().unwrap_or_default();
        }
        table.indexes.push(Index {
            is_arbiter: key.is_some() && row.get(5),
            key: key.unwrap_or_default(),
            columns: looks_at_columns.then(|| places(row.get(2))).flatten(),
            is_unique: row.get(4),
            is_exact: row.get(6),
            is_builtin: row.get(7),
        });
    }
    let constraints = client.query(CONSTRAINTS, &[&oid])?;
    table.constraints = constraints.iter().map(|row| constraint(row, &table, &places)).collect();
    Ok(table)
}

fn constraint(
    row: &Row,
    table: &Table,
    places: &dyn Fn(Vec<i16>) -> Option<Vec<usize>>,
) -> Constraint {
    let (is_check, is_own): (bool, bool) = (row.get(0), row.get(4));
    let columns = row.get::<_, Option<Vec<i16>>>(1).filter(|columns| is_own && !columns.is_empty());
    let is_understood = is_check && is_own && row.get(3);
    let ranges = is_understood.then(|| ranges(row.get(2))).flatten();
    let place = |(name, range): (String, Range)| {
        let at = table.columns.iter().position(|column| column.name == name)?;
        let is_whole = matches!(table.columns[at].input, InputSyntax::Integer(..));
        is_whole.then_some((at, range))
    };
    Constraint {
        is_check,
        columns: columns.and_then(places),
        ranges: ranges.and_then(|ranges| ranges.into_iter().map(place).collect()),
    }
}

fn unknown(
    client: &mut Client,
    path: String,
    config: &MappingConfig,
) -> Result<CatalogError, postgres::Error> {
    // A name with a dot in it needs its schema: the first dot is read as the schema's end.
    const NAMES: &str = "
        SELECT CASE WHEN pg_table_is_visible(c.oid) AND strpos(c.relname, '.') = 0 THEN c.relname
                    ELSE n.nspname || '.' || c.relname END, c.relname
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'f')
          AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')";
    let given = &config.table;
    let names: Vec<(String, String)> =
        client.query(NAMES, &[])?.iter().map(|row| (row.get(0), row.get(1))).collect();
    let problem = match names.iter().find(|(_, table)| table == given) {
        Some((name, _)) => format!("what stands before the first dot is a schema; write {name:?}"),
        None => {
            let near = suggest::among(given, names.iter().map(|(name, _)| name.as_str()));
            format!("the database has no table {given:?}{near}")
        }
    };
    Ok(ConfigError::at(path, problem).into())
}

fn column(row: &Row, is_utf8: bool) -> TableColumn {
    // The type's oid; 0 for a domain, whose constraints may refuse what its base type accepts.
    let ty = Type::from_oid(row.get(4));
    let modifier: i32 = row.get(5);
    TableColumn {
        name: row.get(1),
        cast: row.get(2),
        base: row.get(10),
        numeric: row.get(11),
        type_name: row.get(3),
        input: input_syntax(ty.as_ref(), modifier, is_utf8),
        bytea: row.get(6),
        // `varchar(n)` cuts blanks off: such an id is written in another way.
        verbatim: matches!(ty, Some(Type::TEXT | Type::VARCHAR)) && modifier < 0,
        is_identity: is_identity(ty.as_ref(), row.get(13)),
        is_domain: row.get(12),
        is_toasted: row.get(14),
        not_null: row.get(7),
        default: default(row, ty.as_ref()),
        is_generated: row.get(9),
        identity_always: row.get(8),
    }
}

fn default(row: &Row, ty: Option<&Type>) -> DefaultValue {
    if row.get(15) {
        return DefaultValue::Other;
    }
    let Some(text) = row.get::<_, Option<&str>>(18) else { return DefaultValue::Null };
    let (is_constant, is_null): (bool, bool) = (row.get(16), row.get(17));
    let needs_nothing: bool = row.get(19);
    match ty {
        _ if is_constant && is_null => DefaultValue::Null,
        _ if is_constant => DefaultValue::Constant(whole_number(text)),
        Some(&(Type::DATE | Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::UUID | Type::TEXT))
            if needs_nothing && HARMLESS.contains(&text) =>
        {
            DefaultValue::Harmless
        }
        _ => DefaultValue::Other,
    }
}

/// `5`, `'-5'::integer`
fn whole_number(text: &str) -> Option<i64> {
    let text = text.split_once("::").map_or(text, |(text, _)| text);
    text.trim_matches('\'').parse().ok()
}
