//! Whether an id can be one of a mapping's, as far as that is certain without the database: other
//! programs' keys may begin with a mapping's name, like `users:1:idx`.

use super::input_syntax::InputSyntax;
use super::key;
use super::mapping::{Column, Mapping};
use crate::config::{IdPattern, PlainWrites};

/// What an id is to a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Id {
    /// It can be a row's: the database decides.
    Possible,
    /// No row has it.
    Never,
    /// A row can have it, as a text can be anything, but it looks like another program's key: it has a
    /// `:` more than the mapping's ids, and `id_pattern` doesn't say that it is a row's.
    Ambiguous,
}

/// What this id is to the mapping.
pub fn of(mapping: &Mapping, id: &[u8]) -> Id {
    let Some(parts) = key::id_parts(id, mapping.key_len) else { return Id::Never };
    let columns = &mapping.columns[..mapping.key_len];
    let is_allowed = IdPattern::allows(mapping.id_pattern.as_ref(), id);
    if !is_allowed || !parts.iter().zip(columns).all(|(part, column)| may_hold(column, part)) {
        return Id::Never;
    }
    match (&mapping.id_pattern, parts.last(), columns.last()) {
        (None, Some(part), Some(column)) if part.contains(&b':') && may_be_text(column) => {
            Id::Ambiguous
        }
        _ => Id::Possible,
    }
}

/// True when a cached hash of this id has to be a row. Where plain keys are written to as one likes, a hash
/// whose id can be no row's stands for none, and is told of; elsewhere it is an ordinary key.
pub fn is_cached_row(mapping: &Mapping, id: &[u8]) -> bool {
    match mapping.plain_writes {
        PlainWrites::Allow => {
            key::id_parts(id, mapping.key_len).is_some()
                && IdPattern::allows(mapping.id_pattern.as_ref(), id)
        }
        PlainWrites::Refuse | PlainWrites::Through => of(mapping, id) != Id::Never,
    }
}

/// The column's type may take the text.
fn may_hold(column: &Column, text: &[u8]) -> bool {
    // However PostgreSQL reads whole numbers (blanks around them, hexadecimal ones and underscores
    // from 16 on), one has a digit and nothing but these.
    let in_number = |b: &u8| b.is_ascii_hexdigit() || b" \t\n\x0b\x0c\r+-_xXoO".contains(b);
    let in_uuid = |b: &u8| b.is_ascii_hexdigit() || b"-{}".contains(b);
    match column.info.input {
        InputSyntax::Integer(..) => {
            text.iter().any(u8::is_ascii_digit) && text.iter().all(in_number)
        }
        _ if column.info.cast == "uuid" => text.iter().all(in_uuid),
        _ => true,
    }
}

/// Only of these types is it known that a text with a `:` is another program's or well-formed.
fn may_be_text(column: &Column) -> bool {
    !matches!(
        column.info.input,
        InputSyntax::Decimal { .. }
            | InputSyntax::Boolean
            | InputSyntax::Date
            | InputSyntax::Timestamp
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::mapping::tests::{column, resolve, users};
    use crate::model::table::Table;

    fn text_key() -> Table {
        let mut table = users();
        table.columns[0] = column("id");
        table
    }

    #[test]
    fn a_whole_number_is_told_from_other_names() {
        let mapping = resolve(r#"{"table":"users"}"#, &users()).unwrap();
        for id in ["1", "-1", " 7 ", "+7", "0x1F", "1_000", "99999999999999999999"] {
            assert_eq!(of(&mapping, id.as_bytes()), Id::Possible, "{id}");
        }
        for id in ["", "1:idx", "idx", "new", "abc", "1.5", "{1}", "1:phantom", "\u{0661}"] {
            assert_eq!(of(&mapping, id.as_bytes()), Id::Never, "{id}");
        }
    }

    #[test]
    fn a_text_with_a_colon_may_be_another_programs() {
        let mapping = resolve(r#"{"table":"users"}"#, &text_key()).unwrap();
        assert_eq!(of(&mapping, b"ann"), Id::Possible);
        assert_eq!(of(&mapping, b"ann:idx"), Id::Ambiguous);
    }

    #[test]
    fn a_pattern_says_which_ids_are_rows() {
        let json = r#"{"table":"users","id_pattern":"[a-z]+(:[0-9]+)?"}"#;
        let mapping = resolve(json, &text_key()).unwrap();
        for id in ["ann", "ann:1"] {
            assert_eq!(of(&mapping, id.as_bytes()), Id::Possible, "{id}");
        }
        for id in ["ann:idx", "7", "ANN"] {
            assert_eq!(of(&mapping, id.as_bytes()), Id::Never, "{id}");
        }
    }
}
