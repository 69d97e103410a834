//! What changes values without a write: the hashes follow, and nobody is told `in_sync:1` before.

use serde_json::{json, Value};

use crate::support::*;

const SQL: &str = "
create type mood as enum ('sad', 'happy');
create type pair as (n int, t text);
create domain short as text check (length(value) < 50);
create table things (id int primary key, a text, n numeric(10,2), m mood, ms mood[], p pair, d short);
insert into things values (1, 'x', 1.25, 'happy', '{sad,happy}', '(1,x)', 'd'), (2, 'y', 2.5, 'sad', '{}', null, null);
create table parts (id int primary key, v text) partition by range (id);
create table parts_1 partition of parts for values from (1) to (100);
create table parts_2 (id int primary key, v text);
insert into parts values (1, 'one'); insert into parts_2 values (101, 'two');
create table base (id int primary key, v text, m mood);
insert into base values (1, 'one', 'happy'), (2, 'two', 'sad');
create function shout(text) returns text language sql immutable as 'select upper($1)';
create view seen as select id, shout(v) as v, m::text as m from base where id < 10";

/// Every row of these tables is cached.
const TABLES: [&str; 3] = ["things", "parts", "seen"];

fn builder() -> Builder {
    let tables = Stack::new().sql(SQL).mapping(json!({ "table": "things" }));
    let tables = tables.mapping(json!({ "table": "parts" }));
    tables.mapping(json!({ "table": "seen", "key": "id" }))
}

fn cache_all(s: &Stack) {
    for table in TABLES {
        for row in s.database.rows(&format!("select id from {table}")) {
            assert_eq!(s.run(&format!("WT.REFRESH {table}:{}", row["id"])), int(1));
        }
    }
    s.wait_until_in_sync();
}

/// What is cached of the table is what its rows say.
fn is_as_the_table(s: &Stack, table: &str) -> bool {
    let prefix = format!("{table}:");
    let keys = s.keys().into_iter().filter(|key| key.starts_with(&prefix));
    keys.into_iter().all(|key| {
        let id = &key[prefix.len()..];
        s.hgetall(&key) == s.row(&format!("select * from {table} where id::text = '{id}'"))
    })
}

/// The statements, a key, and fields that its hash has then.
type Change = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// What changes values.
const CHANGES: &[Change] = &[
    ("alter table things add b text default 'new'", "things:2", &[("b", "new")]),
    ("alter table things add b int generated always as (id * 2) stored", "things:2", &[("b", "4")]),
    ("alter table things alter n type numeric(10,1)", "things:1", &[("n", "1.3")]),
    ("alter table things alter a type text using a || '!'", "things:1", &[("a", "x!")]),
    ("alter table things alter a type varchar(1) using 'z'", "things:1", &[("a", "z")]),
    ("alter table things alter id type text using 'k' || id", "things:1", &[]),
    ("alter table things drop column a", "things:2", &[("n", "2.50"), ("m", "sad"), ("ms", "{}")]),
    ("alter table things drop a; alter table things add a text default 'w'", "things:1", &[("a", "w")]),
    ("alter table things rename a to c", "things:1", &[("c", "x")]),
    ("alter type mood rename value 'happy' to 'glad'", "things:1", &[("m", "glad"), ("ms", "{sad,glad}")]),
    ("alter type pair add attribute more int", "things:1", &[("p", "(1,x,)")]),
    ("alter type pair drop attribute t", "things:1", &[("p", "(1)")]),
    ("truncate things", "things:1", &[]),
    ("alter table things rename to old; create table things (id int primary key, a text); \
      insert into things values (1, 'other')", "things:1", &[("a", "other")]),
    ("alter table parts detach partition parts_1", "parts:1", &[]),
    ("alter table parts alter v type text using 'part'", "parts:1", &[("v", "part")]),
    ("truncate parts_1", "parts:1", &[]),
    ("drop table parts_1", "parts:1", &[]),
    ("create or replace view seen as select id, shout(v || '?') as v, m::text as m from base",
     "seen:1", &[("v", "ONE?")]),
    ("create or replace view seen as select id, shout(v) as v, m::text as m from base where id < 2",
     "seen:2", &[]),
    ("create or replace function shout(text) returns text language sql immutable as 'select lower($1)'",
     "seen:1", &[("v", "one")]),
    ("alter type mood rename value 'happy' to 'glad'", "seen:1", &[("m", "glad")]),
    ("truncate base", "seen:1", &[]),
];

#[test]
fn what_changes_values_is_noticed() {
    for (sql, key, fields) in CHANGES {
        let s = builder().start();
        cache_all(&s);
        s.execute(sql);
        let table = key.split(':').next().expect("a table");
        eventually(sql, || is_as_the_table(&s, table));
        s.wait_until_in_sync();
        let hash = s.hgetall(key);
        let is_there = |(name, text): &(&str, &str)| hash.get(*name).is_some_and(|t| t == text);
        assert!(fields.iter().all(is_there), "{sql}: {hash:?}");
    }
}

/// The only worker is busy, so nothing can be read again: who takes over the catalog says so first.
#[test]
fn nobody_is_told_that_it_is_in_sync_before() {
    for (sql, key, _) in CHANGES {
        let s = builder().one_worker().start();
        cache_all(&s);
        let held = s.hold();
        s.execute(sql);
        assert_eq!(s.run("WT.RELOAD"), ok(), "{sql}");
        assert!(!s.is_in_sync(), "{sql}");
        held.release();
        s.wait_until_in_sync();
        let table = key.split(':').next().expect("a table");
        assert!(is_as_the_table(&s, table), "{sql}: {:?}", s.keys());
    }
}

/// Rows come, and they may be those of keys that nobody has cached: nothing to be seen but the look.
#[test]
fn a_partition_that_is_attached_is_noticed() {
    let s = builder().one_worker().start();
    cache_all(&s);
    let held = s.hold();
    s.execute("alter table parts attach partition parts_2 for values from (100) to (200)");
    assert_eq!(s.run("WT.RELOAD"), ok());
    assert!(!s.is_in_sync());
    held.release();
    s.wait_until_in_sync();
    assert_eq!(s.run("WT.REFRESH parts:101"), int(1));
}

/// A row that a policy hides is none.
#[test]
fn a_policy_is_noticed() {
    let s = Stack::new()
        .sql(SQL)
        .sql("create role wt_policy login; grant all on things to wt_policy")
        .option("url", "postgres://wt_policy@@DB@")
        .mapping(json!({ "table": "things" }))
        .start();
    assert_eq!(s.run("WT.REFRESH things:1 things:2"), int(2));
    let exist = |n: i64| eventually("they follow", || s.run("EXISTS things:1 things:2") == int(n));
    s.execute("create policy p on things for select using (id > 0)");
    s.execute("alter table things enable row level security");
    s.execute("alter policy p on things using (id = 2)");
    exist(1);
    s.execute("alter policy p on things using (false)");
    exist(0);
    s.execute("alter table things disable row level security");
    eventually("rows are seen again", || s.run("WT.REFRESH things:1 things:2") == int(2));
    s.wait_until_in_sync();
    s.execute("drop owned by wt_policy; drop role wt_policy");
}

/// What changes no value: nothing is read again.
const NO_CHANGES: &[&str] = &[
    "alter table things add check (id > 0)",
    "alter table things alter a set not null",
    "alter table things alter a set default 'x'",
    "alter table things alter a set statistics 7",
    "create index on things (a)",
    "create unique index on things (n)",
    "comment on table things is 'x'",
    "grant select on things to public",
    "analyze things",
    "vacuum things",
    "create function f() returns trigger language plpgsql as 'begin return new; end'; \
     create trigger t before insert on things for each row execute function f()",
    "alter table things alter n type numeric(12,2)",
    "alter table things alter a type varchar",
    "alter type mood add value 'glad' before 'happy'",
    "alter type pair rename attribute n to number",
    "create type other as enum ('a'); alter type other rename value 'a' to 'b'",
    "create table more (id int primary key); alter table more add x int default 1",
    "alter table base add x int default 1",
    "alter domain short drop constraint short_check",
    "alter table things add constraint f foreign key (id) references base deferrable not valid",
    "alter table parts rename constraint parts_pkey to other",
    "alter view seen alter v set default 'x'",
];

#[test]
fn what_changes_no_value_leaves_it_in_sync() {
    let s = builder().one_worker().start();
    cache_all(&s);
    for sql in NO_CHANGES {
        let held = s.hold();
        s.execute(sql);
        assert_eq!(s.run("WT.RELOAD"), ok(), "{sql}");
        assert!(s.is_in_sync(), "{sql}");
        held.release();
    }
    assert!(TABLES.iter().all(|table| is_as_the_table(&s, table)));
}

/// A document with other fields, another table or other rules for what is not mapped.
#[test]
fn what_changes_in_the_document_is_noticed() {
    let things = |extra: Value| {
        let mut mapping = json!({ "name": "things", "table": "things" });
        mapping.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        mapping
    };
    let keep = json!({ "unmapped": "keep" });
    for (before, after, expected) in [
        (json!({}), json!({ "fields": { "title": "a" } }), hash(&[("title", "x")])),
        (
            json!({ "fields": { "t": "a", "u": "n" } }),
            json!({ "fields": { "u": "a", "t": "n" } }),
            hash(&[("u", "x"), ("t", "1.25")]),
        ),
        (
            json!({ "fields": { "t": "a" } }),
            json!({ "table": "base", "fields": { "t": "v" } }),
            hash(&[("t", "one")]),
        ),
        (keep, json!({ "fields": { "t": "a" } }), hash(&[("t", "x")])),
    ] {
        let s = Stack::new().sql(SQL).mapping(things(before.clone())).one_worker().start();
        assert_eq!(s.run("WT.REFRESH things:1"), int(1));
        let held = s.hold();
        s.edit_document(|d| d["mappings"][0] = things(after.clone()));
        assert_eq!(s.run("WT.RELOAD"), ok());
        assert!(!s.is_in_sync(), "{before} {after}");
        held.release();
        s.wait_until_in_sync();
        assert_eq!(s.hgetall("things:1"), expected, "{before} {after}");
    }
}

fn journaled() -> Stack {
    let s = builder().option("journal", true).start();
    cache_all(&s);
    s
}

/// Waits until the data set's position is one of now, and ends redis-server.
fn stop(s: &Stack) {
    s.wait_for_position();
    assert_eq!(s.run("SAVE"), ok());
    s.redis.stop("KILL");
}

/// The journal names no key, and all are looked at.
#[track_caller]
fn start_again(s: &Stack) {
    s.restart_redis("KILL");
    s.wait_until_in_sync();
    for table in TABLES {
        assert!(is_as_the_table(s, table), "{table}: {:?}", s.keys());
    }
}

#[test]
fn what_changed_while_redis_was_down_is_noticed() {
    for (sql, key, fields) in CHANGES.iter().step_by(4) {
        let s = journaled();
        stop(&s);
        s.execute(sql);
        start_again(&s);
        let hash = s.hgetall(key);
        let is_there = |(name, text): &(&str, &str)| hash.get(*name).is_some_and(|t| t == text);
        assert!(fields.iter().all(is_there), "{sql}: {hash:?}");
    }
}

#[test]
fn another_document_or_other_settings_are_noticed_at_the_start() {
    let s = journaled();
    stop(&s);
    s.edit_document(|d| d["mappings"][0]["fields"] = json!({ "title": "a" }));
    s.restart_redis("KILL");
    s.wait_until_in_sync();
    assert_eq!(s.hgetall("things:1"), hash(&[("title", "x")]));

    let s = journaled();
    s.execute("alter table things add at timestamptz default '2024-07-01 12:00:00Z'");
    eventually("it is noticed", || s.run("HGET things:1 at") == bulk("2024-07-01 12:00:00+00"));
    s.wait_until_in_sync();
    stop(&s);
    s.edit_document(|d| d["session"] = json!({ "TimeZone": "Europe/Berlin" }));
    s.restart_redis("KILL");
    s.wait_until_in_sync();
    assert_eq!(s.run("HGET things:1 at"), bulk("2024-07-01 14:00:00+02"));
    stop(&s);
    s.edit_document(|d| d["session"] = json!({}));
    s.execute(
        "do $$ begin execute format('alter database %I set TimeZone = ''Asia/Tokyo''',
            current_database()); end $$",
    );
    s.restart_redis("KILL");
    s.wait_until_in_sync();
    assert_eq!(s.run("HGET things:1 at"), bulk("2024-07-01 21:00:00+09"));
}

/// A position says what the data set has: one of a new shape is not stored before that is so.
#[test]
fn the_position_waits_for_what_is_read_again() {
    let s = builder().option("journal", true).one_worker().start();
    cache_all(&s);
    s.wait_for_position();
    let shape = || s.hgetall("{writethrough}:applied")["shape"].clone();
    let before = shape();
    let held = s.hold();
    s.execute("alter table things add b text default 'new'");
    assert_eq!(s.run("WT.RELOAD"), ok());
    // The journal is read meanwhile.
    let reads = "select count(*) from pg_stat_activity where datname = current_database()
                 and query like '%writethrough.trimmed%' and query_start > now() - interval '1 second'";
    let mut seen = 0;
    eventually("the journal is read", || {
        seen += usize::from(s.one(reads) != "0");
        seen > 3
    });
    assert_eq!(shape(), before);
    assert_eq!(s.run("SAVE"), ok());
    drop(held);
    s.restart_redis("KILL");
    s.wait_until_in_sync();
    assert_eq!(s.run("HGET things:1 b"), bulk("new"));
    eventually("the position is of the new shape", || shape() != before);
}
