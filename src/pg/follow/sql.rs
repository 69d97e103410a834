//! The text of the function and the triggers.

use crate::config::settings::Setting;
use crate::model::mapping::{Column, Mapping};
use crate::pg::connect::settings::SessionSettings;
use crate::sql::quote;

/// The function's source, where it is there.
pub const FUNCTION: &str = "
    SELECT p.prosrc FROM pg_proc p JOIN pg_namespace s ON s.oid = p.pronamespace
    WHERE s.nspname = 'writethrough' AND p.proname = 'follow'";

/// The table, and its partitions at every level, quoted. Foreign tables have no such triggers.
pub const RELATIONS: &str = "
    WITH RECURSIVE tree AS (
        SELECT to_regclass($1)::oid AS oid
        UNION SELECT i.inhrelid FROM tree t JOIN pg_class c ON c.oid = t.oid AND c.relkind = 'p'
        JOIN pg_inherits i ON i.inhparent = t.oid)
    SELECT format('%I.%I', s.nspname, c.relname)
    FROM tree JOIN pg_class c USING (oid) JOIN pg_namespace s ON s.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p')";

/// Their triggers that call the function: table, name, arguments.
pub const TRIGGERS: &str = "
    WITH RECURSIVE tree AS (
        SELECT to_regclass($1)::oid AS oid
        UNION SELECT i.inhrelid FROM tree t JOIN pg_class c ON c.oid = t.oid AND c.relkind = 'p'
        JOIN pg_inherits i ON i.inhparent = t.oid)
    SELECT format('%I.%I', s.nspname, c.relname), g.tgname::text, g.tgargs
    FROM tree JOIN pg_class c USING (oid) JOIN pg_namespace s ON s.oid = c.relnamespace
    JOIN pg_trigger g ON g.tgrelid = c.oid JOIN pg_proc p ON p.oid = g.tgfoid
    JOIN pg_namespace o ON o.oid = p.pronamespace
    WHERE o.nspname = 'writethrough' AND p.proname = 'follow' AND g.tgenabled <> 'D'";

/// When no trigger calls it.
pub const DROP_FUNCTION: &str = "
    DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
                       JOIN pg_namespace s ON s.oid = p.pronamespace
                       WHERE s.nspname = 'writethrough' AND p.proname = 'follow') THEN
            DROP FUNCTION IF EXISTS writethrough.follow();
        END IF;
    END $$;";

/// A key is written as a session of the module's prints it. The columns' names come as arguments, with a letter
/// for how the type is printed: nothing that a trigger's maker says is run.
const BODY: &str = r"
DECLARE
    part text := '';
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO writethrough.journal (name, key) VALUES (TG_ARGV[0], '');
        RETURN NULL;
    END IF;
    FOR i IN 1 .. TG_NARGS - 1 LOOP
        part := part || CASE WHEN i > 1 THEN ' || '':'' || ' ELSE '' END
             || format(CASE left(TG_ARGV[i], 1)
                    WHEN 'x' THEN 'encode(%I, ''hex'')'
                    WHEN 'b' THEN 'CASE WHEN %I THEN ''true'' ELSE ''false'' END'
                    WHEN 'c' THEN 'rtrim(format(''%%s'', %I), '' '')'
                    ELSE 'format(''%%s'', %I)' END, substr(TG_ARGV[i], 2));
    END LOOP;
    EXECUTE format('INSERT INTO writethrough.journal (name, key) SELECT DISTINCT %L, k FROM (%s) r WHERE k <> ''''',
        TG_ARGV[0], CASE TG_OP
            WHEN 'INSERT' THEN format('SELECT %s AS k FROM new_rows', part)
            WHEN 'DELETE' THEN format('SELECT %s AS k FROM old_rows', part)
            ELSE format('SELECT %1$s AS k FROM new_rows UNION SELECT %1$s FROM old_rows', part) END);
    RETURN NULL;
END ";

/// The function's source. It says which settings the function has, so that others are noticed.
pub fn body(settings: &SessionSettings) -> String {
    format!("\n-- writethrough, {}{BODY}", settings.text().replace('\n', ", "))
}

/// Makes the function. It runs with its owner's rights: who writes a table need not be allowed the journal.
pub fn create_function(settings: &SessionSettings) -> String {
    let set = settings.all().map(|(setting, value)| {
        let value = value.replace('\'', "''");
        match setting {
            // A list of words.
            Setting::DateStyle => format!(" SET {} = {value}", setting.name()),
            _ => format!(" SET {} = '{value}'", setting.name()),
        }
    });
    format!(
        "CREATE OR REPLACE FUNCTION writethrough.follow() RETURNS trigger LANGUAGE plpgsql \
         SECURITY DEFINER SET search_path = pg_catalog, pg_temp{} AS $follow${}$follow$;",
        set.collect::<String>(),
        body(settings),
    )
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
    /// The mapping's name, then the key's columns.
    args: Vec<String>,
}

/// An identifier has so many bytes, at most.
const NAME_MAX: usize = 63;

impl Trigger {
    /// Those that a mapping needs on this table.
    pub fn all(mapping: &Mapping, table: &str) -> [Trigger; 4] {
        let key = mapping.columns[..mapping.key_len].iter().map(printed);
        let args: Vec<String> = std::iter::once(mapping.name.clone()).chain(key).collect();
        Event::ALL.map(|event| Trigger { table: table.into(), event, args: args.clone() })
    }

    /// Its name.
    pub fn name(&self) -> String {
        let name = format!("writethrough_{}_{}", self.event.name().to_lowercase(), self.args[0]);
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

    /// Its arguments, as the catalog has them.
    pub fn args(&self) -> Vec<u8> {
        self.args.iter().flat_map(|arg| arg.bytes().chain([0])).collect()
    }

    /// `UPDATE on public.users`
    pub fn shown(&self) -> String {
        format!("{} on {}", self.event.name(), self.table)
    }

    /// Makes it, in place of another one of its name.
    pub fn create(&self) -> String {
        let Trigger { table, event, args } = self;
        let name = quote(&self.name());
        let args: Vec<String> =
            args.iter().map(|arg| format!("'{}'", arg.replace('\'', "''"))).collect();
        format!(
            "DROP TRIGGER IF EXISTS {name} ON {table}; CREATE TRIGGER {name} AFTER {} ON {table}{} \
             FOR EACH STATEMENT WHEN (coalesce(current_setting('writethrough.origin', true), '') = '' \
             OR pg_trigger_depth() > 0) EXECUTE FUNCTION writethrough.follow({});",
            event.name(),
            event.rows(),
            args.join(", "),
        )
    }
}

/// A key column, behind the letter that says how its type is printed.
fn printed(column: &Column) -> String {
    let kind = match column.info.base.as_str() {
        _ if column.info.bytea => 'x',
        "boolean" => 'b',
        "bpchar" | "character" => 'c',
        _ => 's',
    };
    format!("{kind}{}", column.info.name)
}
