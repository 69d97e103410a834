use super::*;
use crate::model::input_syntax::InputSyntax;
use crate::model::table::{DefaultValue, Index};

/// A text column.
pub fn column(name: &str) -> TableColumn {
    TableColumn {
        name: name.into(),
        cast: "text".into(),
        type_name: "text".into(),
        base: "text".into(),
        input: InputSyntax::Text(None),
        verbatim: true,
        is_identity: true,
        is_toasted: true,
        ..TableColumn::default()
    }
}

/// `users (id integer primary key, username text not null, email text not null, dob date)`,
/// `email` unique.
pub fn users() -> Table {
    let id = TableColumn {
        cast: "integer".into(),
        input: InputSyntax::Integer(i32::MIN.into(), i32::MAX.into()),
        verbatim: false,
        not_null: true,
        default: DefaultValue::Other,
        ..column("id")
    };
    let dob = TableColumn {
        cast: "date".into(),
        input: InputSyntax::Date,
        verbatim: false,
        ..column("dob")
    };
    let required = |name| TableColumn { not_null: true, ..column(name) };
    Table {
        schema: "public".into(),
        name: "users".into(),
        columns: vec![id, required("username"), required("email"), dob],
        primary_key: vec![0],
        indexes: vec![unique(0), unique(2)],
        is_ordinary: true,
        ..Table::default()
    }
}

/// A unique index over one column.
pub fn unique(column: usize) -> Index {
    Index {
        key: vec![column],
        columns: Some(vec![column]),
        is_unique: true,
        is_arbiter: true,
        is_exact: true,
        is_builtin: true,
    }
}

/// The mapping of `json` onto `table`.
pub fn resolve(json: &str, table: &Table) -> Result<Mapping, String> {
    let config: MappingConfig = serde_json::from_str(json).unwrap();
    Mapping::resolve(0, &config, table).map_err(|e| e.to_string())
}

#[test]
fn fields_and_key_come_from_the_catalog() {
    let m = resolve(r#"{"table":"users"}"#, &users()).unwrap();
    let names: Vec<&str> = m.field_names().collect();
    assert_eq!(names, ["id", "username", "email", "dob"]);
    assert_eq!((m.key_len, m.has_arbiter), (1, true));
    assert_eq!(m.column_of(b"email", 0), Some(2));
    assert_eq!(m.column_of(b"email", 2), Some(2));
    assert_eq!(m.column_of(b"nope", 2), None);
    assert!(m.columns[1].replaces && !m.columns[2].replaces, "email is unique");
    assert!(m.inserts_first(&[1, 2]) && !m.inserts_first(&[1]));
}

#[test]
fn a_key_column_needs_no_field() {
    let m = resolve(r#"{"table":"users","fields":{"mail":"email"}}"#, &users()).unwrap();
    assert_eq!(m.columns.len(), 2);
    assert_eq!(m.columns[0].field, None);
    assert!(!m.inserts_first(&[1]), "a column that an INSERT must name is not mapped");
}

#[test]
fn errors_name_the_place_and_the_right_thing() {
    let error = |json| resolve(json, &users()).unwrap_err();
    assert_eq!(
        error(r#"{"table":"users","fields":{"born":"dbo"}}"#),
        r#"mappings[0].fields.born: table "users" has no column "dbo"; did you mean "dob"?"#
    );
    assert_eq!(
        error(r#"{"table":"users","key":"username"}"#),
        "mappings[0].key: table \"users\" has no unique index on (username); \
         a staged key must name one row"
    );
    assert_eq!(
        error(r#"{"table":"users","fields":{"a":"dob","b":"dob"}}"#),
        r#"mappings[0].fields.b: column "dob" is the column of field "a" already"#
    );
    let keyless = Table { primary_key: vec![], ..users() };
    assert_eq!(
        resolve(r#"{"table":"users"}"#, &keyless).unwrap_err(),
        r#"mappings[0].key: table "users" has no primary key; name the key's columns here"#
    );
}
