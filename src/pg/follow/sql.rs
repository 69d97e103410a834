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

/// The table, and its partitions at every level, quoted. Foreign tables have no such triggers.
pub const RELATIONS: &str = concat!(
    "WITH RECURSIVE ",
    tree!("to_regclass($1)::oid"),
    "
    SELECT format('%I.%I', s.nspname, c.relname)
    FROM tree JOIN pg_class c USING (oid) JOIN pg_namespace s ON s.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p')"
);

/// Their triggers that call this function: table, name.
pub const TRIGGERS: &str = concat!(
    "WITH RECURSIVE ",
    tree!("to_regclass($1)::oid"),
    "
    SELECT format('%I.%I', s.nspname, c.relname), g.tgname::text
    FROM tree JOIN pg_class c USING (oid) JOIN pg_namespace s ON s.oid = c.relnamespace
    JOIN pg_trigger g ON g.tgrelid = c.oid JOIN pg_proc p ON p.oid = g.tgfoid
    JOIN pg_namespace o ON o.oid = p.pronamespace
    WHERE o.nspname = 'writethrough' AND p.proname = $2 AND g.tgenabled <> 'D'"
);

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
        let columns = &self.mapping.columns[..self.mapping.key_len];
        let key: Vec<String> = columns.iter().map(|column| printed(column).1).collect();
        let key = key.join(" || ':' || ");
        let name = literal(&self.mapping.name);
        let note = |rows: String| {
            format!(
                "INSERT INTO writethrough.journal (name, key) \
                 SELECT DISTINCT {name}, k FROM ({rows}) AS r WHERE k <> '';"
            )
        };
        let of = |table: &str| format!("SELECT {key} AS k FROM {table}");
        format!(
            "\n-- writethrough{settings}\nBEGIN\n\
             IF TG_OP = 'UPDATE' THEN {update}\n\
             ELSIF TG_OP = 'INSERT' THEN {insert}\n\
             ELSIF TG_OP = 'DELETE' THEN {delete}\n\
             ELSE INSERT INTO writethrough.journal (name, key) VALUES ({name}, '');\n\
             END IF;\nRETURN NULL;\nEND ",
            settings = self.set(),
            update = note(format!("{} UNION {}", of("new_rows"), of("old_rows"))),
            insert = note(of("new_rows")),
            delete = note(of("old_rows")),
        )
    }

    /// The settings on which the text of the key depends, as the module's own sessions have them.
    fn set(&self) -> String {
        let columns = &self.mapping.columns[..self.mapping.key_len];
        if columns.iter().all(|column| printed(column).0) {
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
             SECURITY DEFINER SET search_path = pg_catalog, pg_temp{} AS $follow${}$follow$;",
            quote(&self.name()),
            self.set(),
            self.body(),
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
fn printed(column: &Column) -> (bool, String) {
    let name = quote(&column.info.name);
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
#[derive(Debug, Clone, Copy)]
enum Event {
    Insert,
    Update,
    Delete,
    Truncate,
}

impl Event {
    const ALL: [Event; 4] = [Event::Insert, Event::Update, Event::Delete, Event::Truncate];

    fn name(self) -> &'static str {
        match self {
            Event::Insert => "INSERT",
            Event::Update => "UPDATE",
            Event::Delete => "DELETE",
            Event::Truncate => "TRUNCATE",
        }
    }

    fn rows(self) -> &'static str {
        match self {
            Event::Insert => " REFERENCING NEW TABLE AS new_rows",
            Event::Update => " REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
            Event::Delete => " REFERENCING OLD TABLE AS old_rows",
            Event::Truncate => "",
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
    /// Those that a mapping needs on this table.
    pub fn all(function: &Function, table: &str) -> [Trigger; 4] {
        let (of, function) = (&function.mapping.name, function.name());
        Event::ALL.map(|event| Trigger {
            table: table.into(),
            event,
            of: of.clone(),
            function: function.clone(),
        })
    }

    /// Its name.
    pub fn name(&self) -> String {
        short(format!("writethrough_{}_{}", self.event.name().to_lowercase(), self.of))
    }

    /// `UPDATE on public.users`
    pub fn shown(&self) -> String {
        format!("{} on {}", self.event.name(), self.table)
    }

    /// Makes it, in place of another one of its name.
    pub fn create(&self) -> String {
        let Trigger { table, event, function, .. } = self;
        let name = quote(&self.name());
        format!(
            "DROP TRIGGER IF EXISTS {name} ON {table}; CREATE TRIGGER {name} AFTER {} ON {table}{} \
             FOR EACH STATEMENT WHEN (coalesce(current_setting('writethrough.origin', true), '') = '' \
             OR pg_trigger_depth() > 0) EXECUTE FUNCTION writethrough.{}();",
            event.name(),
            event.rows(),
            quote(function),
        )
    }
}
