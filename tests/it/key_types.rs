//! Keys of every type, spelt in more than one way: a write changes the row that it names or nothing, and
//! its client is told which.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::*;

/// A key's type, and spellings: the first is a row's own, as the database prints it. The others are
/// equal to it for the database, or nearly.
const KEYS: &[(&str, &[&str])] = &[
    ("smallint", &["1", "01", "+1"]),
    ("integer", &["-7", "-07"]),
    ("bigint", &["9223372036854775807"]),
    ("oid", &["5", "05"]),
    ("numeric", &["1.0", "1", "1.00", "1e0"]),
    ("numeric(10,2)", &["1.00", "1", "1.001"]),
    ("real", &["0", "-0", "0.0"]),
    ("double precision", &["1", "1.0", "1e0"]),
    ("double precision", &["-0", "0"]),
    ("money", &["$1.00", "1"]),
    ("text", &["Abc", "abc", "Abc "]),
    ("text collate nd", &["Abc", "abc", "ABC"]),
    ("varchar(3)", &["ab", "ab ", "abc"]),
    ("varchar(3) collate nd", &["ab", "AB"]),
    ("char(3)", &["ab", "ab ", "ab  "]),
    ("bpchar", &["ab", "ab "]),
    ("name", &["ab", "ab "]),
    ("\"char\"", &["a", "ab"]),
    ("citext", &["Ann@x.org", "ann@x.org", "ANN@X.ORG"]),
    ("any_case", &["Ann", "ann"]),
    ("whole", &["5", "05"]),
    ("mood", &["happy", "sad"]),
    ("boolean", &["true", "t", "yes"]),
    ("date", &["2024-02-29", "20240229"]),
    ("time", &["12:00:00", "12:00"]),
    ("time(0)", &["12:00:00", "12:00:00.4"]),
    ("timestamp", &["2024-01-01 00:00:00", "2024-01-01T00:00:00"]),
    ("timestamp(0)", &["2024-01-01 00:00:00", "2024-01-01 00:00:00.3"]),
    ("timestamptz", &["2024-01-01 00:00:00+00", "2024-01-01 01:00:00+01"]),
    ("interval", &["1 day", "24:00:00", "24 hours"]),
    ("interval", &["1 mon", "30 days"]),
    ("uuid", &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"]),
    ("inet", &["10.0.0.1", "10.0.0.1/32", "10.0.0.1/8"]),
    ("cidr", &["10.0.0.0/8", "10/8"]),
    ("macaddr", &["08:00:2b:01:02:03", "08-00-2b-01-02-03"]),
    ("bit(3)", &["101", "1010"]),
    ("varbit", &["101", "1010"]),
    ("jsonb", &["{\"a\": 1}", "{\"a\":1}", "{\"a\": 1.0}"]),
    ("int[]", &["{1,2}", "{1, 2}"]),
    ("numeric[]", &["{1}", "{1.0}"]),
    ("citext[]", &["{a}", "{A}"]),
    ("int4range", &["[1,5)", "[1,4]"]),
    ("numrange", &["[1,2)", "[1.0,2)"]),
    ("pair", &["(1,a)", "(01,a)"]),
    ("wide_pair", &["(1,a)", "(1.0,a)"]),
    ("pg_lsn", &["0/1", "0/01"]),
    ("tsvector", &["'a' 'b'", "'b' 'a'"]),
];

/// The same for keys of several columns.
const COMPOSITE: &[(&[&str], &[&str])] = &[
    (&["int", "text"], &["1:a", "01:a", "1:a:b"]),
    (&["numeric", "citext"], &["1.0:Q:r", "1:Q:r", "1.0:q:R", "1.00:q:r"]),
    (&["text", "text"], &["a:b:c", "a:b"]),
    (&["text collate nd", "date"], &["A:2024-02-29", "a:2024-02-29", "A:20240229"]),
];

const TYPES: &str = "
create extension citext;
create collation nd (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create domain any_case as citext;
create domain whole as numeric check (value > 0);
create type mood as enum ('sad', 'happy');
create type pair as (n int, t text);
create type wide_pair as (n numeric, t text);
";

const COMMANDS: &[&[&str]] = &[
    &["HSET", "", "a", "w"],
    &["HSET", "", "a", "w", "n", "5"],
    &["HMSET", "", "n", "6"],
    &["HSETNX", "", "b", "w"],
    &["HSETNX", "", "a", "w"],
    &["HINCRBY", "", "n", "5"],
    &["HINCRBYFLOAT", "", "n", "2"],
    &["HDEL", "", "a"],
    &["DEL", ""],
    &["UNLINK", ""],
];

/// Each row's values, by the text of its id.
type Rows = BTreeMap<String, String>;

fn rows(client: &mut postgres::Client) -> Rows {
    let sql = "select id_text(k), concat_ws('|', a, b, n) from k";
    client.query(sql, &[]).expect(sql).iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// The rows differ in no other than this one.
fn differ_only_in(before: &Rows, after: &Rows, id: &str) -> bool {
    let others = |rows: &Rows| rows.iter().filter(|(key, _)| *key != id).count();
    others(before) == others(after)
        && before.iter().filter(|(key, _)| *key != id).all(|(key, row)| after.get(key) == Some(row))
}

#[track_caller]
fn check(what: &str, command: &[&str], id: &str, reply: &Reply, before: &Rows, after: &Rows) {
    let what = format!("{what}, {} of {id:?} answered {reply:?}", command.join(" "));
    if reply.is_error() {
        assert_eq!(before, after, "{what}: a refused write has changed a row");
        return;
    }
    assert!(differ_only_in(before, after, id), "{what}: {before:?} {after:?}");
    match command[0] {
        "DEL" | "UNLINK" => {
            let was_there = before.contains_key(id);
            assert_eq!(*reply, int(was_there.into()), "{what}: {before:?}");
            assert!(!after.contains_key(id), "{what}");
        }
        "HDEL" => assert!(reply.int() == 0 || before != after, "{what}"),
        _ => assert!(after.contains_key(id), "{what}: the row isn't there: {after:?}"),
    }
}

fn staged<'a>(command: &[&'a str], key: &'a str) -> Vec<&'a str> {
    command.iter().map(|word| if word.is_empty() { key } else { word }).collect()
}

/// One type: each command for each spelling, where the row is there and where it isn't.
fn one_type(s: &Stack, client: &mut postgres::Client, what: &str, spellings: &[&str]) {
    let own = spellings[0];
    let fill = |client: &mut postgres::Client, present: bool| {
        client.batch_execute("delete from k").expect("delete");
        if present {
            let columns = "select string_agg(attname, ',' order by attnum), count(*)
                from pg_attribute where attrelid = 'k'::regclass and attname like 'id%'";
            let columns = client.query_one(columns, &[]).expect(columns);
            let (columns, count): (String, i64) = (columns.get(0), columns.get(1));
            let own =
                own.replace('\'', "''").splitn(count as usize, ':').collect::<Vec<_>>().join("','");
            let sql = format!("insert into k ({columns}, a, n) values ('{own}', 'old', 1)");
            client.batch_execute(&sql).expect(&sql);
        }
    };
    let mut conn = s.conn();
    for present in [true, false] {
        for id in spellings {
            let key = format!("__{{k:{id}}}");
            for command in COMMANDS {
                for in_multi in [false, true] {
                    fill(client, present);
                    let before = rows(client);
                    let words = staged(command, &key);
                    let reply = match in_multi {
                        false => conn.cmd(&words),
                        true => {
                            conn.cmd(&["MULTI"]);
                            conn.cmd(&words);
                            conn.cmd(&["EXEC"]).array()[0].clone()
                        }
                    };
                    let after = rows(client);
                    check(what, command, id, &reply, &before, &after);
                    let cached = s.cmd(&["EXISTS", &format!("k:{id}")]).int() == 1;
                    assert!(!cached || after.contains_key(*id), "{what}: k:{id} is no row");
                    let left = s.cmd(&["EXISTS", &key]);
                    assert_eq!(left, int(0), "{what}: {key} is staged still");
                    s.cmd(&["UNLINK", &format!("k:{id}")]);
                }
            }
        }
    }
    // All spellings in one batch, twice: what was answered is what is there.
    for command in [&["HINCRBY", "", "n", "5"][..], &["HSET", "", "n", "5"], &["DEL", ""]] {
        fill(client, true);
        let before = rows(client);
        let held = s.hold();
        let mut conns = Vec::new();
        for id in spellings.iter().chain(spellings) {
            let mut conn = s.conn();
            conn.send(&staged(command, &format!("__{{k:{id}}}")));
            conns.push((*id, conn));
            s.wait_for_blocked(conns.len() + 1);
        }
        held.release();
        let replies: Vec<(&str, Reply)> =
            conns.iter_mut().map(|(id, conn)| (*id, conn.receive())).collect();
        let after = rows(client);
        for id in spellings {
            let done = replies.iter().filter(|(of, reply)| of == id && !reply.is_error()).count();
            let number = |rows: &Rows| -> Option<i64> {
                rows.get(*id).map(|row| row.rsplit('|').next().unwrap().parse().unwrap_or(0))
            };
            let (was, is) = (number(&before), number(&after));
            let what = format!("{what}, a batch of {command:?} of {id:?}: {replies:?}");
            match command[0] {
                "HINCRBY" if done > 0 => {
                    assert_eq!(is, Some(was.unwrap_or(0) + 5 * done as i64), "{what}");
                }
                "HSET" if done > 0 => assert_eq!(is, Some(5), "{what}"),
                "DEL" if done > 0 => assert_eq!(is, None, "{what}"),
                _ => assert_eq!(is, was, "{what}"),
            }
        }
        for id in spellings {
            s.cmd(&["UNLINK", &format!("k:{id}")]);
        }
    }
}

/// A table of which `id_text(k)` is a row's id, as the database prints it.
fn table(key: &[&str], more: &str) -> String {
    let named = key.iter().enumerate();
    let columns: Vec<String> = named.clone().map(|(n, ty)| format!("id{n} {ty}, ")).collect();
    let names: Vec<String> = named.clone().map(|(n, _)| format!("id{n}")).collect();
    let text = |(n, ty): (usize, &&str)| match *ty {
        "inet" => format!("abbrev($1.id{n})"),
        _ => format!("$1.id{n}::text"),
    };
    format!(
        "create table k ({} a text, b text, n int default 0, primary key ({}));
         create function id_text(k) returns text language sql as $$ select {} $$; {more}",
        columns.concat(),
        names.join(", "),
        named.map(text).collect::<Vec<_>>().join(" || ':' || "),
    )
}

of_the_staged_key! {
#[test]
fn a_write_changes_the_row_that_it_names_or_nothing() {
    // A document of which WT.RELOAD finds another table each time.
    let s = Stack::new()
        .sql(TYPES)
        .sql(&table(&["int"], ""))
        .sql(
            "do $$ begin execute format('alter database %I set timezone = utc',
              current_database()); end $$",
        )
        .mapping(json!({ "table": "k" }))
        .one_worker()
        .start();
    let mut client = s.pg();
    for (name, spellings) in KEYS {
        let sql = format!("drop table k cascade; {}", table(&[name], ""));
        if let Err(error) = client.batch_execute(&sql) {
            panic!("{name}: {error:?}");
        }
        assert_eq!(s.run("WT.RELOAD"), ok(), "{name}");
        one_type(&s, &mut client, name, spellings);
    }
    for (key, spellings) in COMPOSITE {
        let sql = format!("drop table k cascade; {}", table(key, ""));
        client.batch_execute(&sql).expect(&sql);
        assert_eq!(s.run("WT.RELOAD"), ok(), "{key:?}");
        one_type(&s, &mut client, &key.join(", "), spellings);
    }
}
}

/// Triggers that make another key of it, and keys of two columns.
#[test]
fn a_trigger_that_changes_the_key_changes_nothing_else() {
    let lower = "create function lower_id() returns trigger language plpgsql as
            $$ begin new.id0 := lower(new.id0); return new; end $$;";
    let s = Stack::new()
        .sql(lower)
        .sql(&table(&["text"], ""))
        .mapping(json!({ "table": "k" }))
        .one_worker()
        .start();
    let mut client = s.pg();
    for when in ["insert", "update", "insert or update"] {
        let trigger =
            format!("create trigger t before {when} on k for each row execute function lower_id()");
        client
            .batch_execute(&format!("drop table k cascade; {}", table(&["text"], &trigger)))
            .expect("DDL");
        assert_eq!(s.run("WT.RELOAD"), ok());
        one_type(&s, &mut client, &format!("text, lower() before {when}"), &["abc", "ABC", "Abc"]);
    }
}

of_the_staged_key! {
#[test]
fn the_error_says_how_the_database_writes_the_id() {
    let s = Stack::new()
        .sql(TYPES)
        .sql(
            "create table acct (id citext primary key, n int);
             insert into acct values ('Ann@x.org', 1);
             create table pairs (x numeric, y citext, n int, primary key (x, y));
             insert into pairs values (1.0, 'Q:r', 1);",
        )
        .mapping(json!({ "table": "acct" }))
        .mapping(json!({ "table": "pairs" }))
        .start();
    let told = |line: &str, expected: &str| {
        s.assert_line_refused(line, &format!("ERR writethrough: {expected}"));
    };
    let ann = r#"the database writes the id "ann@x.org" as "Ann@x.org"; use that"#;
    for line in ["HSET __{acct:ann@x.org} n 5", "HINCRBY __{acct:ann@x.org} n 5"] {
        told(line, ann);
    }
    told("DEL __{acct:ann@x.org}", ann);
    told("HDEL __{acct:ann@x.org} n", ann);
    assert_eq!(s.run("HINCRBY __{acct:Ann@x.org} n 5"), int(6));
    assert_eq!(s.run("DEL __{acct:bob}"), int(0));
    told(
        "HINCRBY __{pairs:1:q:R} n 5",
        r#"the database writes the id "1:q:R" as "1.0:Q:r"; use that"#,
    );
    assert_eq!(s.run("HINCRBY __{pairs:1.0:Q:r} n 5"), int(6));
}
}

/// An UPDATE of the parent reaches the children's rows, and ON CONFLICT doesn't see them.
#[test]
fn a_parent_of_inherited_tables_is_no_table_of_rows() {
    let sql = "create table base (id int primary key, a text);
               create table child () inherits (base);";
    let s = Stack::new().sql(sql).mapping(json!({ "table": "base" })).without_module().start();
    assert!(s.load().is_error());
    assert!(
        s.log().contains("mappings[0].table: other tables inherit from \"base\""),
        "{}",
        s.log()
    );

    // A child that comes afterwards is not touched.
    let s = Stack::new()
        .sql("create table base (id int primary key, a text)")
        .mapping(json!({ "table": "base" }))
        .start();
    s.execute("create table child () inherits (base); insert into child values (7, 'child')");
    for line in ["HDEL __{base:7} a", "DEL __{base:7}", "HSET __{base:8} a new"] {
        s.run(line);
        assert_eq!(s.one("select a from child"), "child", "{line}");
    }
}
