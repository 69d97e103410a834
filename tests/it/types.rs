//! Every common type: what goes in comes out as the database prints it.

use serde_json::json;

use crate::support::*;

/// A column type, a value as a client writes it, and how the database prints it.
const TYPES: &[(&str, &str, &str)] = &[
    ("smallint", " -7 ", "-7"),
    ("integer", "2147483647", "2147483647"),
    ("bigint", "-9223372036854775808", "-9223372036854775808"),
    ("numeric", "1e3", "1000"),
    ("numeric(10,2)", "1.005", "1.01"),
    ("numeric", "NaN", "NaN"),
    ("numeric", "0.1000", "0.1000"),
    ("real", "0.1", "0.1"),
    ("double precision", "0.30000000000000004", "0.30000000000000004"),
    ("double precision", "-inf", "-Infinity"),
    ("text", " a b ", " a b "),
    ("varchar(5)", "käse☃", "käse☃"),
    ("char(5)", "ab", "ab"),
    ("boolean", "yes", "true"),
    ("boolean", "0", "false"),
    ("date", "July 4, 1999", "1999-07-04"),
    ("date", "infinity", "infinity"),
    ("time", "23:59", "23:59:00"),
    ("timestamp", "2024-02-29T12:00:00.123456", "2024-02-29 12:00:00.123456"),
    ("timestamp(0)", "2024-01-01 00:00:00.6", "2024-01-01 00:00:01"),
    ("timestamptz", "2024-01-01 12:00+05", "2024-01-01 07:00:00+00"),
    ("interval", "90 min", "01:30:00"),
    ("json", r#"{"b": 1,  "a":[]}"#, r#"{"b": 1,  "a":[]}"#),
    ("jsonb", r#"{"b": 1,  "a":[], "b":2}"#, r#"{"a": [], "b": 2}"#),
    ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("inet", "10.0.0.1/8", "10.0.0.1/8"),
    ("inet", "2001:DB8::1", "2001:db8::1"),
    ("cidr", "10/8", "10.0.0.0/8"),
    ("macaddr", "08-00-2b-01-02-03", "08:00:2b:01:02:03"),
    ("int[]", "{1, 2,NULL}", "{1,2,NULL}"),
    ("text[]", r#"{a,"b c","d\"e"}"#, r#"{a,"b c","d\"e"}"#),
    ("text[][]", "{{a,b},{c,d}}", "{{a,b},{c,d}}"),
    ("int4range", "[1,5]", "[1,6)"),
    ("numrange", "(1.5,2]", "(1.5,2]"),
    ("daterange", "[2024-01-01,2024-01-31]", "[2024-01-01,2024-02-01)"),
    ("tstzrange", "[2024-01-01 12:00+05,)", "[\"2024-01-01 07:00:00+00\",)"),
    ("int4multirange", "{[1,3), [2,5]}", "{[1,6)}"),
    ("point", "1,2", "(1,2)"),
    ("bit(3)", "101", "101"),
    ("varbit", "10", "10"),
    ("mood", "happy", "happy"),
    ("posint", "7", "7"),
    ("pair", "(1,\"a b\")", "(1,\"a b\")"),
    ("pair", "(,\"\")", "(,\"\")"),
    ("pair[]", "{\"(1,a)\",NULL}", "{\"(1,a)\",NULL}"),
    ("posint[]", "{1,2}", "{1,2}"),
    ("mood[]", "{sad,happy}", "{sad,happy}"),
    ("xml", "<a/>", "<a/>"),
    ("tsvector", "a b", "'a' 'b'"),
    ("money", "1.5", "$1.50"),
];

const OWN_TYPES: &str = "
create type mood as enum ('sad', 'happy');
create domain posint as int check (value > 0);
create type pair as (n int, t text);
";

/// `create table types (id int primary key, c0 smallint, …)`, in UTC.
fn types_stack() -> Stack {
    let columns: Vec<String> =
        TYPES.iter().enumerate().map(|(i, (name, ..))| format!("c{i} {name}")).collect();
    let table = format!("create table types (id int primary key, {})", columns.join(", "));
    let zone = "do $$ begin execute format('alter database %I set timezone = utc', \
                current_database()); end $$";
    Stack::new().sql(zone).sql(OWN_TYPES).sql(&table).mapping(json!({ "table": "types" })).start()
}

#[test]
fn each_type_is_cached_as_the_database_prints_it() {
    let s = types_stack();
    for (i, (name, written, printed)) in TYPES.iter().enumerate() {
        let column = format!("c{i}");
        let key = format!("__{{types:{i}}}");
        assert_eq!(s.cmd(&["HSET", &key, &column, written]), int(1), "{name} {written:?}");
        let expected = hash(&[("id", &i.to_string()), (&column, printed)]);
        assert_eq!(s.hgetall(&format!("types:{i}")), expected, "{name}");
        // What the cache says can be written again, and is the same value.
        assert_eq!(s.cmd(&["HSET", &key, &column, printed]), int(0), "{name} {printed:?}");
        assert_eq!(s.hgetall(&format!("types:{i}")), expected, "{name}");
    }
}

#[test]
fn each_type_is_filled_once_and_cleared() {
    let s = types_stack();
    for (i, (name, written, printed)) in TYPES.iter().enumerate() {
        let column = format!("c{i}");
        let key = format!("__{{types:{i}}}");
        assert_eq!(s.cmd(&["HSETNX", &key, &column, written]), int(1), "{name} {written:?}");
        assert_eq!(s.cmd(&["HSETNX", &key, &column, printed]), int(0), "{name} {printed:?}");
        let expected = hash(&[("id", &i.to_string()), (&column, printed)]);
        assert_eq!(s.hgetall(&format!("types:{i}")), expected, "{name}");
        assert_eq!(s.cmd(&["HDEL", &key, &column]), int(1), "{name}");
        assert_eq!(s.hgetall(&format!("types:{i}")), hash(&[("id", &i.to_string())]), "{name}");
        assert_eq!(s.cmd(&["HDEL", &key, &column]), int(0), "{name}");
    }
}

#[test]
fn all_types_in_one_row() {
    let s = types_stack();
    let mut words = vec!["HSET".to_string(), "__{types:1}".to_string()];
    let mut columns = vec!["id::text".to_string()];
    for (i, (name, written, _)) in TYPES.iter().enumerate() {
        words.extend([format!("c{i}"), written.to_string()]);
        // The cast of inet alone says more than the database prints.
        columns.push(match *name {
            "inet" => format!("abbrev(c{i}) as c{i}"),
            _ => format!("c{i}::text as c{i}"),
        });
    }
    assert_eq!(s.cmd(&words), int(TYPES.len() as i64));
    let row = s.row(&format!("select {} from types", columns.join(", ")));
    assert_eq!(s.hgetall("types:1"), row);
    assert_eq!(row["c0"], "-7");
}

#[test]
fn each_types_bad_input_is_the_databases_own_error() {
    let s = types_stack();
    for (i, (name, ..)) in TYPES.iter().enumerate() {
        let bad = match *name {
            "text" | "tsvector" => continue,
            "varchar(5)" | "char(5)" => "sixsix",
            "posint" => "0",
            "bit(3)" => "1010",
            _ => "@bad<",
        };
        let direct =
            s.pg().simple_query(&format!("insert into types (id, c{i}) values (0, '{bad}')"));
        let direct = direct.expect_err(name);
        let direct = direct.as_db_error().expect("an error of the database");
        let text = s.assert_refused(&["HSET", "__{types:1}", &format!("c{i}"), bad], "WTERR ");
        let expected = format!("WTERR {} {}", direct.code().code(), direct.message());
        assert!(text.starts_with(&expected), "{name}: `{expected}…`, got `{text}`");
    }
}

#[test]
fn bytea_carries_any_byte() {
    let sql =
        "create table blobs (id int primary key, body bytea, other bytea not null default '')";
    let s = Stack::new().sql(sql).mapping(json!({ "table": "blobs" })).start();
    let all: Vec<u8> = (0..=255).collect();
    let bodies =
        [&all[..], b"", b"\0", b"\\x41", b"\\000", b"\xff\xfe", b"it's {\"a\",NULL}", b"\r\n"];
    for (id, body) in bodies.into_iter().enumerate() {
        let key = format!("__{{blobs:{id}}}");
        assert_eq!(s.cmd(&[b"HSET".as_slice(), key.as_bytes(), b"body", body]), int(1));
        let read = s.cmd(&["HGET", &format!("blobs:{id}"), "body"]);
        assert_eq!(read, bulk(body));
        let stored = s.pg().query_one("select body from blobs where id = $1", &[&(id as i32)]);
        assert_eq!(stored.unwrap().get::<_, Vec<u8>>(0), body);
    }
    // A write of another column reads it back, too.
    assert_eq!(s.run("HSET __{blobs:0} other x"), int(0));
    assert_eq!(s.run("HGET blobs:0 body"), bulk(&all));
}

#[test]
fn bytea_takes_the_synchronous_path_whole() {
    let sql = "create table blobs (id int primary key, body bytea)";
    let s = Stack::new().sql(sql).mapping(json!({ "table": "blobs" })).start();
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(s.run("MULTI"), ok());
    s.cmd(&[b"HSET".as_slice(), b"__{blobs:1}", b"body", &all]);
    assert_eq!(s.run("EXEC"), Reply::Array(vec![int(1)]));
    assert_eq!(s.run("HGET blobs:1 body"), bulk(&all));
    assert_eq!(s.one("select octet_length(body) from blobs"), "256");
}

#[test]
fn keys_of_many_types() {
    let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    let keys = [
        ("uuid", uuid, "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"),
        ("bigint", "-5", "-05"),
        ("date", "2024-02-29", "20240229"),
        ("mood", "happy", ""),
        ("boolean", "true", "t"),
        ("varchar(3)", "abc", ""),
        ("numeric", "1.50", "01.50"),
    ];
    for (name, id, other_spelling) in keys {
        let s = Stack::new()
            .sql(OWN_TYPES)
            .sql(&format!("create table things (id {name} primary key, v text)"))
            .mapping(json!({ "table": "things" }))
            .start();
        let key = format!("__{{things:{id}}}");
        assert_eq!(s.cmd(&["HSET", &key, "v", "a"]), int(1), "{name}");
        assert_eq!(s.cmd(&["HSET", &key, "v", "b"]), int(0), "{name}");
        assert_eq!(s.hgetall(&format!("things:{id}")), hash(&[("id", id), ("v", "b")]));
        if !other_spelling.is_empty() {
            let key = format!("__{{things:{other_spelling}}}");
            s.assert_refused(&["HSET", &key, "v", "c"], "ERR writethrough: ");
        }
    }
}
