//! Names and defaults that would break a statement put together carelessly; and no statement that
//! holds a value.

use serde_json::json;

use crate::support::*;

/// Each of them is a table and, with a suffix, its columns.
const NAMES: [&str; 8] = [
    r#"a"; drop table users; --"#,
    "quote'd $1 $$ %s%n",
    "{braces} :colon, \\back\\slash",
    "ünïcödé ☃ 表",
    "select",
    "UPPER lower",
    "a.b",
    "tab\tand\nline",
];

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn table(schema: &str, name: &str) -> String {
    let (table, id, text) =
        (quote(name), quote(&format!("{name} id")), quote(&format!("{name} t")));
    let (n, given) = (quote(&format!("{name} n")), quote(&format!("{name} d")));
    let default = name.replace('\'', "''");
    format!(
        "create table {schema}{table} ({id} text primary key, {text} text not null, {n} numeric,
             {given} text default '{default}')"
    )
}

#[test]
fn any_name_of_a_table_or_column_is_only_a_name() {
    let mut builder = Stack::users();
    for (i, name) in NAMES.iter().enumerate() {
        // `a.b` is a table in a schema to the document.
        let schema = if name.contains('.') { "\"in.schema\"." } else { "" };
        if !schema.is_empty() {
            continue;
        }
        builder = builder.sql(&table(schema, name)).mapping(json!({
            "table": name, "name": format!("m{i}"),
            "key": format!("{name} id"),
            "fields": { "t": format!("{name} t"), "n": format!("{name} n"), "d": format!("{name} d") }
        }));
    }
    let s = builder.start();
    s.add_user(1);
    for (i, name) in NAMES.iter().enumerate().filter(|(_, name)| !name.contains('.')) {
        for id in ["1", "'; drop table users; --", "$1 %s \" {x", "☃"] {
            let key = format!("__{{m{i}:{id}}}");
            let plain = format!("m{i}:{id}");
            assert_eq!(s.cmd(&["HSET", &key, "t", "'; --", "n", "5"]), int(2), "{name}");
            assert_eq!(s.hgetall(&plain)["d"], *name, "its default");
            assert_eq!(s.cmd(&["HINCRBY", &key, "n", "2"]), int(7), "{name}");
            assert_eq!(s.cmd(&["HINCRBYFLOAT", &key, "n", "0.5"]), bulk("7.5"), "{name}");
            assert_eq!(s.cmd(&["HSET", &key, "t", "b"]), int(0), "{name}");
            assert_eq!(s.cmd(&["HSETNX", &key, "d", "b"]), int(0), "{name}");
            assert_eq!(s.cmd(&["HDEL", &key, "d"]), int(1), "{name}");
            assert_eq!(s.cmd(&["HSETNX", &key, "d", "b"]), int(1), "{name}");
            let text = s.cmd(&["HDEL", &key, "t"]);
            text.assert_error("WTERR 23502 ");
            assert_eq!(s.cmd(&["DEL", &plain]), int(1), "evicted");
            assert_eq!(s.cmd(&["WT.REFRESH", &plain]), int(1), "{name}");
            assert_eq!(s.hgetall(&plain)["n"], "7.5");
        }
        let verified = s.cmd(&["WT.VERIFY", &format!("m{i}")]).text();
        assert!(verified.contains("checked 4 equal 4 differing 0"), "{name}: {verified}");
        assert_eq!(s.cmd(&["UNLINK", &format!("__{{m{i}:1}}")]), int(1), "{name}");
        assert_eq!(s.count(&quote(name)), 3);
    }
    s.assert_user_cached(1);
    assert!(!s.run("WT.MAPPINGS").is_error());
}

/// The document names a table that isn't there: the answer is an error, no injection.
#[test]
fn a_hostile_document_is_refused() {
    let s = Stack::users().without_module().start();
    for name in NAMES.iter().chain(&["", "'", "\"", "\0", "users; drop table users", "%n%n"]) {
        for field in ["table", "key"] {
            let document = s.document_with(|d| d["mappings"][0][field] = (*name).into());
            s.load_with(&["JSON", &document.to_string()]).assert_error("ERR ");
        }
        let document = s.document_with(|d| d["mappings"][0]["fields"][name] = (*name).into());
        s.load_with(&["JSON", &document.to_string()]).assert_error("ERR ");
    }
    assert_eq!(s.load(), ok());
    s.add_user(1);
    s.assert_user_cached(1);
}

#[test]
fn types_of_any_name_are_cast_to() {
    let sql = r#"
create schema "s; --";
create type "s; --"."e""num $1" as enum ('a''b', '%s');
create domain "s; --"."do'main" as text check (value <> '');
create table odd (id int primary key, e "s; --"."e""num $1", d "s; --"."do'main")"#;
    let s = Stack::new().sql(sql).mapping(json!({ "table": "odd" })).start();
    assert_eq!(s.run("HSET __{odd:1} e a'b d x"), int(2));
    s.assert_row_cached("odd", 1);
    s.assert_line_refused("HSET __{odd:1} e ab", "WTERR 22P02 ");
    s.assert_refused(&["HSET", "__{odd:1}", "d", ""], "WTERR 23514 ");
}

/// The server's own log of statements, without their parameters, holds no value.
#[test]
fn every_value_is_a_parameter() {
    const VALUE: &str = "v4lu3";
    let server = std::sync::Arc::new(PostgresServer::start_new());
    let set = "alter system set log_statement = 'all';
               alter system set log_parameter_max_length = 0;
               select pg_reload_conf()";
    for sql in set.split(';') {
        server.connect("postgres").batch_execute(sql).expect(sql);
    }
    eventually("statements are logged", || {
        server.connect("postgres").batch_execute("select 'the mark'").expect("select");
        server.log().contains("the mark")
    });
    let sql = "create table items (id text primary key, v text, w text not null default '', n int)";
    let s = Stack::new().postgres(&server).sql(sql).mapping(json!({ "table": "items" })).start();
    let run = |line: &str| {
        let reply = s.run(&line.replace('@', VALUE));
        assert!(!reply.is_error(), "{line}: {reply:?}");
    };
    let lines = [
        "HSET __{items:@} v @ w @",
        "HSET __{items:@} v @2",
        "HMSET __{items:@3} v @ n 123454321",
        "HSETNX __{items:@} v @",
        "HSETNX __{items:@4} v @",
        "HINCRBY __{items:@} n 123454321",
        "HINCRBYFLOAT __{items:@} n 123454321",
        "HDEL __{items:@} v",
        "WT.REFRESH items:@ items:@3",
        "WT.VERIFY items REPAIR",
        "HSET plain v @ n 123454321",
        "RENAME plain __{items:@5}",
        "DEL __{items:@5} __{items:@4}",
        "UNLINK __{items:@}",
    ];
    lines.iter().for_each(|line| run(line));
    run("MULTI");
    lines[..6].iter().for_each(|line| run(line));
    run("EXEC");
    let log = server.log();
    assert!(log.contains("INSERT INTO \"public\".\"items\""), "the statements are in the log");
    for value in [VALUE, "123454321"] {
        let line = log.lines().find(|line| line.contains(value));
        assert_eq!(line, None, "a statement holds a value");
    }
}
