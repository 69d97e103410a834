//! What object mappers send to Redis, command by command, on plain keys that are written through.

use serde_json::{json, Value};

use crate::support::*;

/// `seen` is no field of the programs' objects. Spring's `_class` is no column.
const PEOPLE: &str = "
create table people (
    id int primary key, name text not null, email text unique, age int, seen text default 'never'
)";

fn people(on_delete: &str) -> Stack {
    let mapping = json!({
        "table": "people", "unmapped": "keep", "read_through": true,
        "plain_writes": "through", "on_delete": on_delete,
    });
    Stack::new().sql(PEOPLE).mapping(mapping).start()
}

fn row(s: &Stack) -> String {
    s.one(
        "select coalesce(string_agg(concat_ws(' ', id, name, email, age, seen), ', '), 'none')
         from people",
    )
}

/// The hash is the row and what the program keeps beside its columns.
#[track_caller]
fn assert_cached(s: &Stack, id: i64, kept: &[(&str, &str)]) {
    let mut expected = s.row_of("people", id);
    expected.extend(hash(kept));
    assert_eq!(s.hgetall(&format!("people:{id}")), expected);
}

const CLASS: (&str, &str) = ("_class", "org.example.Person");

/// Spring Data Redis' `save()` of an entity with an index and a time to live.
fn spring_saves(s: &Stack, fields: &str) -> Vec<Reply> {
    let set = format!("_class {} id 1 {fields}", CLASS.1);
    let mut conn = s.conn();
    let is_new = conn.run("DEL people:1") == int(0);
    let lines = [
        &format!("HMSET people:1 {set}"),
        "SADD people 1",
        "EXPIRE people:1 300",
        "DEL people:1:phantom",
        &format!("HMSET people:1:phantom {set}"),
        "EXPIRE people:1:phantom 600",
        "SADD people:email:a@x 1",
        "SADD people:1:idx people:email:a@x",
    ];
    let sent = lines.into_iter().filter(|line| is_new || *line != "SADD people 1");
    sent.map(|line| conn.run(line)).collect()
}

#[test]
fn spring_data_saves_and_reads() {
    for on_delete in ["evict", "delete"] {
        let s = people(on_delete);
        let first = spring_saves(&s, "name ann email a@x age 7");
        assert_eq!(first, [ok(), int(1), int(1), int(0), ok(), int(1), int(1), int(1)]);
        assert_eq!(row(&s), "1 ann a@x 7 never");
        assert_cached(&s, 1, &[CLASS]);
        assert!((1..=300).contains(&s.run("TTL people:1").int()));

        // Sets and the phantom are Redis' own.
        let keys = ["people", "people:1", "people:1:idx", "people:1:phantom", "people:email:a@x"];
        assert_eq!(s.keys(), keys);
        assert_eq!(s.run("SMEMBERS people:1:idx"), Reply::Array(vec![bulk("people:email:a@x")]));
        assert_eq!(s.run("HGET people:1:phantom _class"), bulk(CLASS.1));

        // A property that has become null isn't sent: only a deletion of the row forgets it.
        s.execute("update people set seen = 'today'");
        assert_eq!(spring_saves(&s, "name anne email a@x")[..2], [ok(), int(1)]);
        let expected = match on_delete {
            "evict" => "1 anne a@x 7 today",
            _ => "1 anne a@x never",
        };
        assert_eq!(row(&s), expected);
        assert_cached(&s, 1, &[CLASS]);
    }
}

#[test]
fn spring_data_deletes() {
    for (on_delete, left) in [("evict", 1), ("delete", 0)] {
        let s = people(on_delete);
        spring_saves(&s, "name ann email a@x");
        assert_eq!(s.hgetall("people:1")["name"], "ann");
        assert_eq!(s.run("DEL people:1"), int(1));
        assert_eq!(s.run("SREM people 1"), int(1));
        assert_eq!(s.run("SMEMBERS people:1:idx").array().len(), 1);
        assert_eq!(s.run("DEL people:1:idx people:1:phantom"), int(2));
        assert_eq!(s.run("SREM people:email:a@x 1"), int(1));
        assert_eq!(s.count("people"), left, "{on_delete}");
        assert_eq!(s.run("EXISTS people:1"), int(left), "{on_delete}: what is there, is read");
    }
}

#[test]
fn what_spring_data_expires_stays_in_the_table() {
    let s = people("delete");
    spring_saves(&s, "name ann email a@x");
    let reads = || s.info_int("loads");
    let before = reads();
    assert_eq!(s.run("PEXPIRE people:1 1"), int(1));
    // A read would bring it back.
    eventually("it has expired", || s.run("TTL people:1") == int(-2));
    assert_eq!(row(&s), "1 ann a@x never");
    assert_eq!(s.run("HGET people:1 name"), bulk("ann"));
    assert_eq!(reads(), before + 1);
    assert_cached(&s, 1, &[]);
}

#[test]
fn what_the_database_refuses_spring_data_reads() {
    for (on_delete, left) in [("evict", "1 ann a@x 7 never"), ("delete", "none")] {
        let s = people(on_delete);
        spring_saves(&s, "name ann email a@x age 7");
        let again = spring_saves(&s, "name ann age old");
        again[0].assert_error("WTERR 22P02 ");
        // With `delete`, DEL was a write by itself, and was committed.
        assert_eq!(row(&s), left);
    }
}

#[test]
fn redis_om_for_node() {
    for on_delete in ["evict", "delete"] {
        let s = people(on_delete);
        let save = |fields: &str| {
            let line = format!("HSET people:1 {fields}");
            transaction(&mut s.conn(), &["UNLINK people:1", &line])
        };
        assert_eq!(save("name ann email a@x age 7"), [int(0), int(3)]);
        assert_eq!(row(&s), "1 ann a@x 7 never");
        assert_eq!(save("name anne email a@x")[0], int(1));
        // A server from 7.2 on replaces the row; on 7.0 these are two writes.
        let is_forgotten = s.redis_version() >= (7, 2) || on_delete == "delete";
        let expected = if is_forgotten { "1 anne a@x never" } else { "1 anne a@x 7 never" };
        assert_eq!(row(&s), expected, "{on_delete}");
        assert_cached(&s, 1, &[]);
        assert_eq!(s.run("EXPIRE people:1 300"), int(1));
        assert_eq!(s.run("UNLINK people:1"), int(1));
        assert_eq!(s.count("people"), i64::from(on_delete == "evict"));
    }
}

/// Redis OM .NET's scripts: to replace an object, to set one only where it is there (or isn't), and to write
/// what has changed of one.
const REPLACE: &str =
    "redis.call('UNLINK', KEYS[1]) return redis.call('HSET', KEYS[1], unpack(ARGV))";
const SET_WHERE: &str = "
if redis.call('EXISTS', KEYS[1]) ~= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
if ARGV[2] ~= '-1' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1";
const CHANGE: &str = "
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HDEL', KEYS[1], ARGV[3])
return redis.call('PEXPIRE', KEYS[1], ARGV[4])";

#[test]
fn redis_om_dotnet() {
    for on_delete in ["evict", "delete"] {
        let s = people(on_delete);
        let eval = |script: &str, args: &str| {
            let words = args.split(' ').collect::<Vec<_>>();
            s.cmd(&[&["EVAL", script, "1", "people:1"], &words[..]].concat())
        };
        assert_eq!(eval(SET_WHERE, "1 -1 name none"), int(0), "there is none to change");
        assert_eq!(s.run("HSET people:1 name ann email a@x age 7"), int(3));
        assert_eq!(eval(SET_WHERE, "0 -1 name twice"), int(0), "it is there");
        assert_eq!(eval(SET_WHERE, "1 60000 name anne"), int(1));
        assert_eq!(row(&s), "1 anne a@x 7 never");
        assert!((1..=60000).contains(&s.run("PTTL people:1").int()));

        assert_eq!(eval(CHANGE, "name ann email 90000"), int(1));
        assert_eq!(row(&s), "1 ann 7 never");
        assert!(s.run("PTTL people:1").int() > 60000);
        assert_cached(&s, 1, &[]);

        // What isn't cached is there as well.
        assert_eq!(s.run("PEXPIRE people:1 1"), int(1));
        eventually("it has expired", || s.run("TTL people:1") == int(-2));
        assert_eq!(eval(SET_WHERE, "0 -1 name twice"), int(0));

        // In a script these are two writes.
        eval(REPLACE, "name new");
        let expected = if on_delete == "evict" { "1 new 7 never" } else { "1 new never" };
        assert_eq!(row(&s), expected);
        assert_cached(&s, 1, &[]);
        let error = eval(REPLACE, "age old");
        assert!(error.assert_error("").contains("22P02"), "{error:?}");
        assert_eq!(s.count("people"), i64::from(on_delete == "evict"));
    }
}

/// The texts that these libraries make ids of.
#[test]
fn ids_that_are_no_numbers() {
    let mapping = |table: &str| -> Value {
        json!({ "table": table, "plain_writes": "through", "on_delete": "delete" })
    };
    let mut texts = mapping("texts");
    texts["id_pattern"] = "[0-9A-HJKMNP-TV-Z]{26}".into();
    let s = Stack::new()
        .sql("create table uuids (id uuid primary key, name text)")
        .sql("create table texts (id text primary key, name text)")
        .mapping(mapping("uuids"))
        .mapping(texts)
        .start();
    let ids = [
        ("uuids", "f47ac10b-58cc-4372-a567-0e02b2c3d479"),
        ("texts", "01J9ZQ3V5X8K2M4N6P7R8S9T0A"),
    ];
    for (table, id) in ids {
        assert_eq!(s.run(&format!("HSET {table}:{id} name ann")), int(1));
        assert_eq!(s.run(&format!("SADD {table}:{id}:idx {table}:name:ann")), int(1));
        assert_eq!(s.run(&format!("SADD {table}:name:ann {id}")), int(1));
        assert_eq!(s.run(&format!("HSET {table}:{id}:phantom name ann")), int(1));
        assert_eq!(s.run(&format!("SADD {table} {id}")), int(1));
        assert_eq!(
            s.one(&format!("select concat_ws(' ', id, name) from {table}")),
            format!("{id} ann")
        );
        assert_eq!(s.run(&format!("DEL {table}:{id}:idx {table}:{id}:phantom")), int(2));
        assert_eq!(s.count(table), 1);
        assert_eq!(s.run(&format!("DEL {table}:{id}")), int(1));
        assert_eq!(s.count(table), 0);
    }
}
