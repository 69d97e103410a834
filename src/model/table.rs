//! What the database's catalog says of one table, in terms that need no database.
//!
//! `pg::catalog` fills it; [`super::mapping`] checks the document against it, and
//! [`super::certain`] says what may be done more quickly on such a table.

use super::input_syntax::InputSyntax;
use super::range::Range;

/// A table (or view) as the catalog describes it. Columns are named by their place in `columns`.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Schema, unquoted.
    pub schema: String,
    /// Name, unquoted.
    pub name: String,
    /// Schema and name as the document gives them, quoted: what the table is looked up by.
    pub relation: String,
    /// Changes when the table does.
    pub fingerprint: String,
    /// Columns in the order of the table.
    pub columns: Vec<TableColumn>,
    /// What kind of relation it is.
    pub kind: Kind,
    /// The primary key, as indexes of `columns`; empty where there is none.
    pub primary_key: Vec<usize>,
    /// Its indexes.
    pub indexes: Vec<Index>,
    /// Its CHECK, FOREIGN KEY and EXCLUDE constraints.
    pub constraints: Vec<Constraint>,
    /// A trigger, a rule or row-level security sees every single write, or it is no table.
    pub watched: bool,
    /// A trigger that fires after the row was returned may change it (AFTER, INSTEAD OF).
    pub reread: bool,
    /// An expression of the table (CHECK, default, generated column, index, domain) calls a function
    /// of the user's, which may look at other rows.
    pub calls_functions: bool,
    /// A constraint compares rows of this table when the statement or the transaction ends: one that
    /// is deferrable, or a foreign key to the table itself.
    pub compares_rows: bool,
    /// Its partitions have constraints of their own.
    pub partitions_differ: bool,
    /// Nothing in how it is stored or published can refuse a second write of a row: a heap of no
    /// more than 200 columns, no partition, with a replica identity where it is published.
    pub is_ordinary: bool,
}

/// What kind of relation it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// A table.
    #[default]
    Table,
    /// A partitioned table.
    Partitioned,
    /// A view or a foreign table: it has no indexes, and anything may stand behind it.
    View,
}

/// One index.
#[derive(Debug, Clone, Default)]
pub struct Index {
    /// Its key columns.
    pub key: Vec<usize>,
    /// All columns that it looks at; `None` where an expression or a condition may look at any.
    pub columns: Option<Vec<usize>>,
    /// It refuses a second row of the same key.
    pub is_unique: bool,
    /// `ON CONFLICT (key)` can name it.
    pub is_arbiter: bool,
    /// It takes two keys for equal only where their texts are: no operator class of somebody's own,
    /// no nondeterministic collation.
    pub is_exact: bool,
    /// Of one of PostgreSQL's own methods that take any value of a small type.
    pub is_builtin: bool,
}

/// One CHECK, FOREIGN KEY or EXCLUDE constraint.
#[derive(Debug, Clone, Default)]
pub struct Constraint {
    /// It is a CHECK.
    pub is_check: bool,
    /// The columns that it looks at; `None` where it may look at any.
    pub columns: Option<Vec<usize>>,
    /// A CHECK that is understood whole, and that every row is known to keep.
    pub ranges: Option<Vec<(usize, Range)>>,
}

/// One column as the catalog describes it.
#[derive(Debug, Clone, Default)]
pub struct TableColumn {
    /// Name, unquoted.
    pub name: String,
    /// The type as SQL spells it, without its modifier (`character varying`, `numeric`), since a
    /// cast to `varchar(3)` would cut the text where the assignment refuses it.
    pub cast: String,
    /// `cast`, but for a domain the type under it: an increment need not fit the domain.
    pub base: String,
    /// A number can be added to it.
    pub numeric: bool,
    /// The type as a person reads it, with its modifier.
    pub type_name: String,
    /// Which literals the type is known to accept.
    pub input: InputSyntax,
    /// The type is `bytea`: any bytes, sent and read as they are.
    pub bytea: bool,
    /// The type prints every text as it was given (`text`, `varchar` without a length).
    pub verbatim: bool,
    /// Two values of the type are equal only where their texts are the same: a key of this type
    /// names one row.
    pub is_identity: bool,
    /// The type is a domain.
    pub is_domain: bool,
    /// Values are stored apart from the row where they are long.
    pub is_toasted: bool,
    /// NULL is refused.
    pub not_null: bool,
    /// What a row without this column gets.
    pub default: DefaultValue,
    /// GENERATED ALWAYS AS (…): computed from other columns.
    pub is_generated: bool,
    /// GENERATED ALWAYS AS IDENTITY.
    pub identity_always: bool,
}

impl TableColumn {
    /// The type that an id is cast to, to see how the database writes it: `varchar` with its length,
    /// which cuts off what the column would cut off or refuse.
    pub fn id_cast(&self) -> &str {
        match self.cast.as_str() {
            "character varying" => &self.type_name,
            cast => cast,
        }
    }
}

/// What a row gets in a column that an INSERT doesn't name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DefaultValue {
    /// NULL.
    #[default]
    Null,
    /// Always the same value; the number, where it is a whole one.
    Constant(Option<i64>),
    /// The time, or a random uuid: computing it can't fail and uses nothing up.
    Harmless,
    /// Anything else: a sequence, a function, a generated column.
    Other,
}
