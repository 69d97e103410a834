use super::*;
use crate::literal::Literal;

/// A text column.
pub fn column(name: &str) -> TableColumn {
    TableColumn {
        name: name.into(),
        cast: "text".into(),
        type_name: "text".into(),
        literal: Literal::Text(None),
        verbatim: true,
        ..TableColumn::default()
    }
}

/// `users (id integer primary key, username text not null, email text not null, dob date)`,
/// `email` unique.
pub fn users() -> Table {
    let id = TableColumn {
        cast: "integer".into(),
        literal: Literal::Integer(i32::MIN.into(), i32::MAX.into()),
        verbatim: false,
        not_null: true,
        fills_itself: true,
        ..column("id")
    };
    let dob = TableColumn {
        cast: "date".into(),
        literal: Literal::Date,
        verbatim: false,
        ..column("dob")
    };
    let required = |name| TableColumn { not_null: true, ..column(name) };
    Table {
        schema: "public".into(),
        name: "users".into(),
        columns: vec![id, required("username"), required("email"), dob],
        primary_key: vec![0],
        unique: vec![vec![0], vec![2]],
        guards: vec![vec![0], vec![2]],
        ..Table::default()
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
    assert!(m.columns[1].required && !m.columns[0].required && !m.required_unmapped);
    assert_eq!(m.columns[2].guarded_by, [2]);
}

#[test]
fn a_key_column_needs_no_field() {
    let m = resolve(r#"{"table":"users","fields":{"mail":"email"}}"#, &users()).unwrap();
    assert_eq!(m.columns.len(), 2);
    assert_eq!(m.columns[0].field, None);
    assert!(m.required_unmapped);
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
