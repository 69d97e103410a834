//! Tables for the planner's model, each with other rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::input_syntax::InputSyntax;
use crate::model::mapping::tests::unique;
use crate::model::mapping::Mapping;
use crate::model::range::Range;
use crate::model::table::{Constraint, DefaultValue, Index, Table, TableColumn};

/// A row: column number → text.
pub type Columns = BTreeMap<usize, Vec<u8>>;

/// The number in `count`.
pub fn number(row: &Columns) -> Option<i64> {
    row.get(&COUNT).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok())
}

pub const NAME: usize = 1;
pub const EMAIL: usize = 2;
pub const BORN: usize = 3;
pub const COUNT: usize = 4;
pub const NOTE: usize = 5;

/// What looks at `count`, and what a new row gets in `note`: a table of its own for each pair.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub count: Rule,
    /// `note text default 'bad' check (note <> 'bad')`: a row can't be added without one.
    pub is_note_needed: bool,
}

#[derive(Debug, Clone, Copy)]
pub enum Rule {
    Nothing,
    /// `check (count >= low and count < 100)`
    Range(i64),
    /// `check (count <> 7)`
    NotSeven,
    /// A foreign key to a table that holds these.
    OneOf([i64; 3]),
    Unique,
    /// An index on `(100 / count)`.
    Divides,
    /// A plain index, which takes any number.
    Indexed,
}

impl Rules {
    /// By a random byte.
    pub fn of(byte: u8) -> Rules {
        let count = match byte % 8 {
            0 => Rule::Nothing,
            1 | 2 => Rule::Range(i32::MIN.into()),
            3 => Rule::Range(5),
            4 => Rule::NotSeven,
            5 => Rule::OneOf([0, 7, 10]),
            6 if byte & 16 == 0 => Rule::Unique,
            6 => Rule::Indexed,
            _ => Rule::Divides,
        };
        Rules { count, is_note_needed: byte & 8 != 0 }
    }

    pub fn allows(self, row: &Columns, others: impl Iterator<Item = Option<i64>>) -> bool {
        let Some(count) = number(row) else { return true };
        let mut others = others.flatten();
        match self.count {
            Rule::Nothing | Rule::Indexed => true,
            Rule::Range(low) => (low..100).contains(&count),
            Rule::NotSeven => count != 7,
            Rule::OneOf(numbers) => numbers.contains(&count),
            Rule::Unique => !others.any(|other| other == count),
            Rule::Divides => count != 0,
        }
    }

    fn constraints(self) -> Vec<Constraint> {
        let of_count = Constraint { is_check: true, columns: Some(vec![COUNT]), ranges: None };
        let mut constraints = match self.count {
            Rule::Range(low) => {
                let ranges = Some(vec![(COUNT, Range { low, high: 99 })]);
                vec![Constraint { ranges, ..of_count }]
            }
            Rule::NotSeven => vec![of_count],
            Rule::OneOf(_) => vec![Constraint { is_check: false, ..of_count }],
            Rule::Nothing | Rule::Unique | Rule::Divides | Rule::Indexed => Vec::new(),
        };
        if self.is_note_needed {
            let columns = Some(vec![NOTE]);
            constraints.push(Constraint { is_check: true, columns, ranges: None });
        }
        constraints
    }

    fn indexes(self) -> Vec<Index> {
        let of_count = match self.count {
            Rule::Unique => Some(unique(COUNT)),
            Rule::Divides => Some(Index { is_builtin: true, ..Index::default() }),
            Rule::Indexed => Some(Index { is_unique: false, is_arbiter: false, ..unique(COUNT) }),
            _ => None,
        };
        [unique(0), unique(EMAIL)].into_iter().chain(of_count).collect()
    }
}

/// `people (id, name not null, email unique, born date, count int, note)` with these rules.
pub fn mapping(rules: Rules) -> Arc<Mapping> {
    let column = |name: &str, cast: &str, literal| TableColumn {
        name: name.into(),
        cast: cast.into(),
        base: cast.into(),
        type_name: cast.into(),
        numeric: cast == "integer",
        input: literal,
        is_toasted: true,
        is_identity: true,
        ..TableColumn::default()
    };
    let whole = InputSyntax::Integer(i32::MIN.into(), i32::MAX.into());
    let text = |name| column(name, "text", InputSyntax::Text(None));
    let note = match rules.is_note_needed {
        true => DefaultValue::Constant(None),
        false => DefaultValue::Null,
    };
    let columns = vec![
        TableColumn { not_null: true, ..column("id", "integer", whole) },
        TableColumn { not_null: true, ..text("name") },
        text("email"),
        column("born", "date", InputSyntax::Date),
        column("count", "integer", whole),
        TableColumn { default: note, ..text("note") },
    ];
    let table = Table {
        schema: "public".into(),
        name: "people".into(),
        columns,
        primary_key: vec![0],
        indexes: rules.indexes(),
        constraints: rules.constraints(),
        is_ordinary: true,
        ..Table::default()
    };
    let config = serde_json::from_str(r#"{"table":"people"}"#).expect("a document");
    Arc::new(Mapping::resolve(0, &config, &table).expect("it fits the table"))
}
