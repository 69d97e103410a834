//! The text of the function and the triggers.

use crate::config::settings::Setting;
use crate::model::mapping::{Column, Mapping};
use crate::pg::catalog::describe::tree;
use crate::pg::connect::settings::SessionSettings;
use crate::sql::quote;

/// A function's source, where it is there.
pub const FUNCTION: &str = "
    SELECT p.prosrc FROM pg_proc p JOIN pg_namespace s ON s.oid = p.pronamespace
    WHERE s.nspname = 'writethrough' AND p.proname = $1";

/// The table, and its partitions at every level: quoted, whether it has rows of its own, whether this role may
/// change its triggers; and the triggers on it that call this function: name, when it fires, and which transaction
/// wrote it last. Foreign tables have no such triggers.
pub const TRIGGERS: &str = concat!(
    "WITH RECURSIVE ",
    tree!("to_regclass($1)::oid"),
    ", ours AS (
        SELECT g.tgrelid, g.tgname, g.tgenabled, g.xmin
        FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
        JOIN pg_namespace o ON o.oid = p.pronamespace
        WHERE o.nspname = 'writethrough' AND p.proname = $2)
    SELECT format('%I.%I', s.nspname, c.relname), c.relkind = 'r', pg_has_role(c.relowner, 'USAGE'),
           g.tgname::text, g.tgenabled::text, g.xmin::text
    FROM tree JOIN pg_class c USING (oid) JOIN pg_namespace s ON s.oid = c.relnamespace
    LEFT JOIN ours g ON g.tgrelid = c.oid
    WHERE c.relkind IN ('r', 'p') ORDER BY 1"
);

/// All rows of a mapping may be others than before: triggers that are made have not seen what was written before.
pub fn note_all(mapping: &Mapping) -> String {
    let name = literal(&mapping.name);
    format!("INSERT INTO writethrough.journal (name, key) VALUES ({name}, '');")
}

/// These statements as one, which is done or not, and in one transaction without a savepoint in it.
pub fn together(statements: &str) -> String {
    format!("DO {};", quoted_by_dollars(&format!("BEGIN\n{statements}\nEND ")))
}

/// A text that holds anything, as a literal that one can still read.
fn quoted_by_dollars(text: &str) -> String {
    let tag = (0..).map(|n| format!("$follow{n}$")).find(|tag| !text.contains(tag.as_str()));
    let tag = tag.unwrap_or_default();
    format!("{tag}{text}{tag}")
}

/// The function that notes the keys of a mapping.
pub struct Function<'a> {
    mapping: &'a Mapping,
    settings: &'a SessionSettings,
}

impl Function<'_> {
    /// Of this mapping, for sessions with these settings.
    pub fn of<'a>(mapping: &'a Mapping, settings: &'a SessionSettings) -> Function<'a> {
        Function { mapping, settings }
    }

    /// Its name, in the schema `writethrough`.
    pub fn name(&self) -> String {
        short(format!("follow_{}", self.mapping.name))
    }

    /// Its source.
    pub fn body(&self) -> String {
        let name = literal(&self.mapping.name);
        let note = |rows: String| {
            format!(
                "INSERT INTO writethrough.journal (name, key) \
                 SELECT DISTINCT {name}, k FROM ({rows}) AS r WHERE k <> '';"
            )
        };
        let of = |table: &str| format!("SELECT {} AS k FROM {table}", self.key(table));
        let of_row =
            |row: &str, but: &str| format!("SELECT {} AS k WHERE TG_OP <> '{but}'", self.key(row));
        format!(
            "\n-- writethrough{settings}\nBEGIN\n\
             IF TG_LEVEL = 'ROW' THEN {row}\n\
             ELSIF TG_OP = 'UPDATE' THEN {update}\n\
             ELSIF TG_OP = 'INSERT' THEN {insert}\n\
             ELSIF TG_OP = 'DELETE' THEN {delete}\n\
             ELSE {all}\n\
             END IF;\nRETURN NULL;\nEND ",
            settings = self.set(),
            row = note(format!("{} UNION {}", of_row("new", "DELETE"), of_row("old", "INSERT"))),
            update = note(format!("{} UNION {}", of("new_rows"), of("old_rows"))),
            insert = note(of("new_rows")),
            delete = note(of("old_rows")),
            all = note_all(self.mapping),
        )
    }

    /// The key of a row, as the journal has it.
    fn key(&self, row: &str) -> String {
        let columns = &self.mapping.columns[..self.mapping.key_len];
        let parts: Vec<String> = columns.iter().map(|column| printed(row, column).1).collect();
        parts.join(" || ':' || ")
    }

    /// The settings on which the text of the key depends, as the module's own sessions have them.
    fn set(&self) -> String {
        let columns = &self.mapping.columns[..self.mapping.key_len];
        if columns.iter().all(|column| printed("", column).0) {
            return String::new();
        }
        let set = |(setting, value): (Setting, &str)| match setting {
            // A list of words.
            Setting::DateStyle => format!(" SET {} = {value}", setting.name()),
            _ => format!(" SET {} = {}", setting.name(), literal(value)),
        };
        self.settings.all().map(set).collect()
    }

    /// Makes it. It runs with its owner's rights: who writes a table need not be allowed the journal.
    pub fn create(&self) -> String {
        format!(
            "CREATE OR REPLACE FUNCTION writethrough.{}() RETURNS trigger LANGUAGE plpgsql \
             SECURITY DEFINER SET search_path = pg_catalog, pg_temp{} AS {};",
            quote(&self.name()),
            self.set(),
            quoted_by_dollars(&self.body()),
        )
    }

    /// Takes it away.
    pub fn drop(&self) -> String {
        format!("DROP FUNCTION IF EXISTS writethrough.{}();", quote(&self.name()))
    }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A key column as a session of the module's prints it; true where no setting matters to that.
fn printed(row: &str, column: &Column) -> (bool, String) {
    let name = format!("{row}.{}", quote(&column.info.name));
    match column.info.base.as_str() {
        _ if column.info.bytea => (true, format!("encode({name}, 'hex')")),
        "boolean" => (true, format!("CASE WHEN {name} THEN 'true' ELSE 'false' END")),
        "bpchar" | "character" => (true, format!("rtrim(format('%s', {name}), ' ')")),
        "smallint" | "integer" | "bigint" | "uuid" | "text" | "character varying" | "numeric" => {
            (true, format!("{name}::text"))
        }
        // By the type's output, not by a cast, which may be somebody's own.
        _ => (false, format!("format('%s', {name})")),
    }
}

/// What fires a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Insert,
    Update,
    Delete,
    Truncate,
    /// Each row that is written where `session_replication_role` is `replica`: by logical replication, which fires
    /// no trigger once a statement, and where somebody has set it. It costs others nothing.
    Replica,
}

impl Event {
    const ALL: [Event; 5] =
        [Event::Insert, Event::Update, Event::Delete, Event::Truncate, Event::Replica];

    /// As its trigger is named.
    fn name(self) -> &'static str {
        match self {
            Event::Insert => "INSERT",
            Event::Update => "UPDATE",
            Event::Delete => "DELETE",
            Event::Truncate => "TRUNCATE",
            Event::Replica => "REPLICA",
        }
    }

    /// `AFTER … ON`
    fn events(self) -> &'static str {
        match self {
            Event::Replica => "INSERT OR UPDATE OR DELETE",
            other => other.name(),
        }
    }

    /// For what it is called.
    fn rows(self) -> &'static str {
        match self {
            Event::Insert => " REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT",
            Event::Update => {
                " REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT"
            }
            Event::Delete => " REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT",
            Event::Truncate => " FOR EACH STATEMENT",
            Event::Replica => " FOR EACH ROW",
        }
    }

    /// When it fires, as `pg_trigger.tgenabled` says it, and what makes it so.
    fn fires(self) -> (&'static str, Option<&'static str>) {
        match self {
            Event::Insert | Event::Update | Event::Delete => ("O", None),
            Event::Truncate => ("A", Some("ALWAYS")),
            Event::Replica => ("R", Some("REPLICA")),
        }
    }
}

/// One trigger.
#[derive(Debug)]
pub struct Trigger {
    /// Its table, quoted, with the schema.
    pub table: String,
    event: Event,
    /// The mapping's name.
    of: String,
    /// The function that it calls.
    function: String,
}

/// An identifier has so many bytes, at most.
const NAME_MAX: usize = 63;

/// A name of that length.
fn short(name: String) -> String {
    if name.len() <= NAME_MAX {
        return name;
    }
    // FNV-1a: what is cut off still tells names apart, and stays the same from build to build.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let cut = (0..=NAME_MAX - 17).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    format!("{}_{hash:016x}", &name[..cut])
}

impl Trigger {
    /// Those that a mapping needs on this table. One with partitions has no rows of its own, and what is made for
    /// each row there would be made on the partitions, too.
    pub fn all(function: &Function, table: &str, has_rows: bool) -> Vec<Trigger> {
        let (of, function) = (&function.mapping.name, function.name());
        let events = Event::ALL.into_iter().filter(|event| has_rows || *event != Event::Replica);
        let trigger = |event| {
            let (of, function) = (of.clone(), function.clone());
            Trigger { table: table.into(), event, of, function }
        };
        events.map(trigger).collect()
    }

    /// Its name.
    pub fn name(&self) -> String {
        short(format!("writethrough_{}_{}", self.event.name().to_lowercase(), self.of))
    }

    /// `UPDATE on public.users`
    pub fn shown(&self) -> String {
        format!("{} on {}", self.event.name(), self.table)
    }

    /// When it has to fire, as `pg_trigger.tgenabled` says it.
    pub fn fires(&self) -> &'static str {
        self.event.fires().0
    }

    /// It is of some use without what only the table's owner may do: those that fire for ordinary sessions.
    pub fn serves_ordinary_sessions(&self) -> bool {
        self.event != Event::Replica
    }

    /// Makes it, for a role that may only make triggers.
    pub fn create(&self) -> String {
        let Trigger { table, event, function, .. } = self;
        format!(
            "CREATE TRIGGER {} AFTER {} ON {table}{} \
             WHEN (coalesce(current_setting('writethrough.origin', true), '') = '' \
             OR pg_trigger_depth() > 0) EXECUTE FUNCTION writethrough.{}();",
            quote(&self.name()),
            event.events(),
            event.rows(),
            quote(function),
        )
    }

    /// Makes it as it has to be, in place of another one of its name: for the table's owner.
    pub fn replace(&self) -> String {
        let (table, name) = (&self.table, quote(&self.name()));
        let fires = self
            .event
            .fires()
            .1
            .map(|when| format!(" ALTER TABLE {table} ENABLE {when} TRIGGER {name};"));
        format!(
            "DROP TRIGGER IF EXISTS {name} ON {table}; {}{}",
            self.create(),
            fires.unwrap_or_default()
        )
    }
}
