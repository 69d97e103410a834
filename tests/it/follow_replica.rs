//! What is written where ordinary triggers don't fire is followed as well: logical replication, sessions with
//! `session_replication_role = replica`, pg_restore; and by triggers that were switched off for a while.

use std::process::Command;
use std::sync::Arc;

use serde_json::json;

use crate::follow::{server, start, SQL};
use crate::support::*;

const TRIGGERS: &str = "
    select string_agg(concat_ws(' ', tgrelid::regclass, tgname, tgenabled), ', ')
    from (select * from pg_trigger order by tgrelid::regclass::text, tgname) g where tgname like 'writethrough%items'";

/// As they have to be on `items`.
const WHOLE: &str = "items writethrough_delete_items O, items writethrough_insert_items O, \
                     items writethrough_replica_items R, items writethrough_truncate_items A, \
                     items writethrough_update_items O";

fn value(s: &Stack, key: &str, field: &str) -> Reply {
    s.run(&format!("HGET {key} {field}"))
}

#[track_caller]
fn wait_for(s: &Stack, key: &str, field: &str, expected: &str) {
    eventually(key, || value(s, key, field) == bulk(expected));
}

#[track_caller]
fn wait_until_gone(s: &Stack, keys: &[&str]) {
    eventually(&keys.join(" "), || s.run(&format!("EXISTS {}", keys.join(" "))) == int(0));
}

/// A table and a partitioned one, with their initial copies.
#[test]
fn logical_replication_is_followed() {
    const TABLES: &str = "
        create table items (id int primary key, name text, n int);
        create table parts (id int, v text, primary key (id)) partition by range (id);
        create table parts_a partition of parts for values from (0) to (100);
        create table parts_b partition of parts for values from (100) to (200);";
    let publisher = PostgresServer::start_new();
    let mut from = publisher.connect("postgres");
    from.batch_execute(TABLES).unwrap();
    from.batch_execute(
        "insert into items select n, 'copied', n from generate_series(1, 50) n;
         insert into parts select n, 'copied' from generate_series(1, 150) n;
         create publication p for table items, parts",
    )
    .unwrap();
    let of = |table| json!({ "table": table, "read_through": true, "negative_ttl_ms": 600_000 });
    let s = Stack::new()
        .postgres(&Arc::new(PostgresServer::start_new()))
        .sql(TABLES)
        .option("follow", true)
        .mapping(of("items"))
        .mapping(of("parts"))
        .start();
    s.wait_until_in_sync();
    for key in ["items:1", "parts:1", "parts:150"] {
        assert_eq!(s.run(&format!("HLEN {key}")), int(0));
    }
    s.execute(&format!(
        "create subscription s connection 'host=127.0.0.1 port={} user=postgres dbname=postgres' publication p",
        publisher.port()
    ));
    wait_for(&s, "items:1", "name", "copied");
    wait_for(&s, "parts:1", "v", "copied");
    wait_for(&s, "parts:150", "v", "copied");
    let ready = "select count(*) from pg_subscription_rel where srsubstate <> 'r'";
    eventually("what comes now is streamed", || s.one(ready) == "0");
    for key in ["items:2", "items:3", "items:4", "parts:2", "parts:99", "parts:151"] {
        s.run(&format!("HLEN {key}"));
    }
    // Not there yet, which is remembered.
    assert_eq!(value(&s, "items:60", "name"), Reply::Nil);
    from.batch_execute(
        "insert into items values (51, 'new', 1); insert into parts values (151, 'new');
         update items set name = 'changed' where id = 1; update parts set v = 'changed' where id in (1, 150);
         update items set id = 60 where id = 2; update parts set id = 160 where id = 2;
         delete from items where id = 3; delete from parts where id = 99",
    )
    .unwrap();
    for (key, field, expected) in [
        ("items:51", "name", "new"),
        ("parts:151", "v", "new"),
        ("items:1", "name", "changed"),
        ("parts:1", "v", "changed"),
        ("parts:150", "v", "changed"),
        ("items:60", "name", "copied"),
        ("parts:160", "v", "copied"),
    ] {
        wait_for(&s, key, field, expected);
    }
    wait_until_gone(&s, &["items:2", "items:3", "parts:2", "parts:99"]);
    from.batch_execute("truncate items, parts").unwrap();
    wait_until_gone(&s, &["items:1", "items:4", "items:60", "parts:1", "parts:150", "parts:160"]);
}

#[test]
fn sessions_in_the_role_of_a_replica_are_followed() {
    let s = start();
    let mut pg = s.pg();
    pg.batch_execute(
        "insert into items select n, 'a', n from generate_series(1, 9) n;
         insert into parts values (1, 'a'), (150, 'a');
         insert into \"Odd \"\"one\" values ('\\x00ff', true, 'ab', '2024-02-29 12:00+00', 'v');
         set session_replication_role = replica",
    )
    .unwrap();
    let d = s.one("select d::text from \"Odd \"\"one\"");
    let odd = [b"odd:\x00\xff:true:ab:", d.as_bytes()].concat();
    assert_eq!(s.cmd(&[&b"WT.REFRESH"[..], &odd]), int(1));
    for key in ["items:1", "items:2", "items:3", "items:4", "items:70", "parts:1", "parts:150"] {
        s.run(&format!("WT.REFRESH {key}"));
    }
    assert_eq!(value(&s, "items:70", "name"), Reply::Nil);
    pg.batch_execute("set timezone = 'Asia/Tokyo'; update \"Odd \"\"one\" set v = 'w'").unwrap();
    eventually("keys of all kinds", || s.cmd(&[&b"HGET"[..], &odd, b"v"]) == bulk("w"));
    pg.batch_execute("update items set n = n + 100 where id < 3").unwrap();
    wait_for(&s, "items:1", "n", "101");
    wait_for(&s, "items:2", "n", "102");
    pg.batch_execute("update items set id = 70 where id = 3").unwrap();
    wait_for(&s, "items:70", "n", "3");
    wait_until_gone(&s, &["items:3"]);
    pg.batch_execute("delete from items where id = 4; insert into items values (80, 'b', 1)")
        .unwrap();
    wait_until_gone(&s, &["items:4"]);
    wait_for(&s, "items:80", "name", "b");
    pg.batch_execute("update parts set v = 'b'").unwrap();
    wait_for(&s, "parts:1", "v", "b");
    wait_for(&s, "parts:150", "v", "b");
    pg.batch_execute("update parts_b set v = 'c'; delete from parts_a").unwrap();
    wait_for(&s, "parts:150", "v", "c");
    wait_until_gone(&s, &["parts:1"]);
    pg.batch_execute("truncate parts_b").unwrap();
    wait_until_gone(&s, &["parts:150"]);
    pg.batch_execute("truncate items").unwrap();
    wait_until_gone(&s, &["items:1", "items:2", "items:70", "items:80"]);
    // And each is noted once, whichever trigger it is that fires.
    for role in ["replica", "origin"] {
        s.execute("truncate writethrough.journal");
        pg.batch_execute(&format!(
            "set session_replication_role = {role}; insert into words values ('{role}', 'x')"
        ))
        .unwrap();
        assert_eq!(s.one("select string_agg(key, ',') from writethrough.journal"), role);
    }
}

/// `DISABLE TRIGGER ALL`, a COPY, `ENABLE TRIGGER ALL`.
#[test]
fn pg_restore_without_triggers_is_followed() {
    let s = start();
    s.execute("insert into items select n, 'dumped', n from generate_series(1, 20) n");
    let folder = tempfile::tempdir().expect("a folder");
    let run = |program: &str, args: &[&str]| {
        let mut command = Command::new(postgres_program(program));
        command.args(args).args(["-d", &s.database.url()]);
        let output = command.output().expect(program);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let file = folder.path().join("dump").display().to_string();
    run("pg_dump", &["-Fc", "-a", "-t", "items", "-f", &file]);
    s.execute("delete from items; insert into items values (100, 'later', 1)");
    assert_eq!(value(&s, "items:7", "name"), Reply::Nil);
    assert_eq!(value(&s, "items:100", "name"), bulk("later"));
    run("pg_restore", &["--disable-triggers", "--data-only", &file]);
    wait_for(&s, "items:7", "name", "dumped");
    eventually("they are as before", || s.one(TRIGGERS) == WHOLE);
    s.execute("update items set name = 'followed'");
    wait_for(&s, "items:7", "name", "followed");
    wait_for(&s, "items:100", "name", "followed");
}

/// What was written while a trigger was missing or disabled is read by every server on the table.
#[test]
fn what_a_missing_trigger_has_missed_is_read() {
    let s = start();
    let whole = json!({ "table": "items", "preload": true });
    let other = Stack::new().option("url", s.database.url()).option("follow", true).mapping(whole);
    let other = other.start();
    other.wait_until_in_sync();
    s.execute("insert into items select n, 'a', n from generate_series(1, 10) n");
    for server in [&s, &other] {
        wait_for(server, "items:1", "name", "a");
    }
    for (n, off, on) in [
        (1, "drop trigger writethrough_update_items on items", ""),
        (2, "alter table items disable trigger all", ""),
        (3, "alter table items disable trigger user", "alter table items enable trigger user"),
        (
            4,
            "alter table items disable trigger writethrough_update_items",
            "alter table items enable trigger writethrough_update_items",
        ),
        (5, "alter table items disable trigger writethrough_update_items", "select 1"),
    ] {
        // At once, so that nobody mends it before it is all done.
        s.execute(&format!(
            "begin; {off}; update items set name = 'missed{n}';
             insert into items values ({n}00, 'new{n}', 0); commit; {on}"
        ));
        for server in [&s, &other] {
            wait_for(server, "items:1", "name", &format!("missed{n}"));
            wait_for(server, &format!("items:{n}00"), "name", &format!("new{n}"));
        }
        eventually("they are as before", || s.one(TRIGGERS) == WHOLE);
    }
    // One that was away meanwhile.
    other.wait_for_position();
    other.redis.stop("TERM");
    s.execute("alter table items disable trigger writethrough_update_items");
    s.execute("update items set name = 'away'");
    wait_for(&s, "items:1", "name", "away");
    eventually("they are as before", || s.one(TRIGGERS) == WHOLE);
    other.start_again();
    wait_for(&other, "items:1", "name", "away");
}

/// TRIGGER on a table isn't enough to make those that fire elsewhere than in ordinary sessions.
#[test]
fn a_role_that_owns_no_table_follows_ordinary_sessions() {
    let role = format!("wt_trigger_{}", std::process::id());
    let s = Stack::new()
        .sql(SQL)
        .sql(&format!(
            "drop role if exists {role}; create role {role} login;
             create schema writethrough authorization {role};
             grant select, insert, update, delete, trigger on items to {role}"
        ))
        .option("url", format!("postgres://{role}@@DB@"))
        .option("follow", true)
        .mapping(json!({ "table": "items" }))
        .start();
    s.wait_until_in_sync();
    s.wait_for_log("the triggers that follow \"items\" can't be made: some of them only the tables' owner can make");
    s.run("HSET __{items:1} n 1");
    s.database.execute("update items set n = 2");
    wait_for(&s, "items:1", "n", "2");
    let shown = s.run("WT.TRIGGERS items");
    let map = shown.array()[0].array();
    let field = |name: &str| {
        let at = map.iter().position(|field| *field == bulk(name)).expect("a field");
        &map[at + 1]
    };
    let missing: Vec<String> = field("missing").array().iter().map(Reply::text).collect();
    assert_eq!(missing, ["TRUNCATE on public.items", "REPLICA on public.items"]);
    s.database.execute(&field("sql").text());
    assert_eq!(s.one(TRIGGERS), WHOLE);
    s.database.execute("set session_replication_role = replica; update items set n = 3");
    wait_for(&s, "items:1", "n", "3");
}

/// Names that would end a literal.
#[test]
fn a_name_may_hold_what_quotes_a_function() {
    let s = server()
        .sql(SQL)
        .sql("create table \"$follow0$\" (\"$follow0$ '\" int primary key, v text)")
        .mapping(json!({ "table": "$follow0$", "name": "$follow1$'" }))
        .start();
    s.wait_until_in_sync();
    assert_eq!(s.cmd(&["HSET", "__{$follow1$':1}", "v", "a"]), int(1));
    s.execute("set session_replication_role = replica; update \"$follow0$\" set v = 'b'");
    eventually("it arrives", || s.cmd(&["HGET", "$follow1$':1", "v"]) == bulk("b"));
}
