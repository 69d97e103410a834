//! What the database's catalog says of one table, in terms that need no database.
//!
//! `pg::catalog` fills it; [`crate::mapping`] checks the document against it.

use crate::literal::Literal;

/// A table (or view) as the catalog describes it.
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
    /// A view: it has no indexes, and an INSTEAD OF trigger may stand behind it.
    pub is_view: bool,
    /// The primary key, as indexes of `columns`; empty where there is none.
    pub primary_key: Vec<usize>,
    /// The columns of each unique index that `ON CONFLICT` can name.
    pub unique: Vec<Vec<usize>>,
    /// The columns of each CHECK, UNIQUE, EXCLUDE and FOREIGN KEY constraint: what one column may
    /// hold depends on the others of its group.
    pub guards: Vec<Vec<usize>>,
    /// Groups of `guards` that are CHECK constraints.
    pub checks: Vec<Vec<usize>>,
    /// Groups of `guards` that are CHECK constraints made of comparisons only.
    pub ranges: Vec<Vec<usize>>,
    /// A trigger that fires after the row was returned may change it (AFTER, INSTEAD OF).
    pub reread: bool,
    /// A trigger, rule or row-level security policy of the user's sees every single write.
    pub watched: bool,
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
    pub literal: Literal,
    /// The type is `bytea`: any bytes, sent and read as they are.
    pub bytea: bool,
    /// The type prints every text as it was given (`text`, `varchar`).
    pub verbatim: bool,
    /// NULL is refused.
    pub not_null: bool,
    /// A row without this column gets a value: a default, an identity, a generated column.
    pub fills_itself: bool,
    /// GENERATED ALWAYS AS IDENTITY.
    pub identity_always: bool,
}
