//! `follow` with `preload`: the cache stays what `preload` names.

use serde_json::json;

use crate::support::*;

const SQL: &str = "
create table items (id int primary key, state text, n int);
create table odd (c0 text, b bytea, state text, primary key (c0, b))";

fn start(condition: &str) -> Stack {
    let s = Stack::new()
        .sql(SQL)
        .sql("insert into items select n, case when n % 2 = 0 then 'active' else 'old' end, n from generate_series(1, 10) n")
        .option("follow", true)
        .mapping(json!({ "table": "items", "preload": condition }))
        .mapping(json!({ "table": "odd", "preload": "t.state = 'active' -- and c0 is a column" }))
        .start();
    s.wait_until_in_sync();
    eventually("the rows are loaded", || {
        s.run("EXISTS items:2 items:4 items:6 items:8 items:10") == int(5)
    });
    s
}

fn wait_for(s: &Stack, key: &str, n: &str) {
    eventually(key, || s.run(&format!("HGET {key} n")) == bulk(n));
}

#[test]
fn rows_that_come_to_meet_the_condition_are_loaded() {
    let s = start("state = 'active' -- the others are seldom read");
    assert_eq!(s.run("DBSIZE"), int(s.run("KEYS items:*").array().len() as i64 + own_keys(&s)));
    // New ones, and one that comes to meet it; others are not.
    s.execute("insert into items values (11, 'old', 11), (12, 'active', 12)");
    s.execute(
        "update items set state = 'active' where id = 1; update items set n = 33 where id = 3",
    );
    wait_for(&s, "items:12", "12");
    wait_for(&s, "items:1", "1");
    // One that ceases to meet it stays, and follows.
    s.execute("update items set state = 'old', n = 22 where id = 2");
    wait_for(&s, "items:2", "22");
    s.execute("update items set n = 222 where id = 2");
    wait_for(&s, "items:2", "222");
    // Deleted ones go, under their old key as well.
    s.execute("delete from items where id = 4; update items set id = 60 where id = 6");
    wait_for(&s, "items:60", "6");
    eventually("they go", || s.run("EXISTS items:4 items:6") == int(0));
    assert_eq!(s.run("EXISTS items:3 items:5 items:11"), int(0));
    // Keys of several parts, and a column that is named as the module's own statements name theirs.
    s.execute("insert into odd values ('a b', '\\x3a00', 'active'), ('c', '\\x01', 'old')");
    let key = |a: &[u8], b: &[u8]| [b"odd:", a, b":", b].concat();
    eventually("bytea", || {
        s.cmd(&[&b"HGET"[..], &key(b"a b", b":\x00"), b"state"]) == bulk("active")
    });
    assert_eq!(s.cmd(&[&b"EXISTS"[..], &key(b"c", b"\x01")]), int(0));
    // What was inserted while the triggers were missing.
    s.execute(
        "begin; drop trigger writethrough_insert_items on items;
         insert into items values (13, 'old', 13), (14, 'active', 14); commit",
    );
    wait_for(&s, "items:14", "14");
    s.execute("truncate items; insert into items values (15, 'active', 15), (17, 'old', 17)");
    wait_for(&s, "items:15", "15");
    eventually("only that is left", || {
        s.run("KEYS items:*") == Reply::Array(vec![bulk("items:15")])
    });
}

/// Keys of the module's own.
fn own_keys(s: &Stack) -> i64 {
    s.run("KEYS {writethrough}*").array().len() as i64
}

/// More rows than the journal's reader takes at once.
#[test]
fn very_many_new_rows() {
    let s = start("state = 'active'");
    s.execute("insert into items select n, case when n % 1000 = 0 then 'active' else 'old' end, n from generate_series(11, 120000) n");
    eventually("they are loaded", || s.run("KEYS items:*").array().len() == 5 + 120);
    assert_eq!(s.run("HGET items:120000 n"), bulk("120000"));
}

/// The condition is the operator's, and may fail for a row.
#[test]
fn a_condition_that_fails_holds_nothing_up() {
    let s = start("state = 'active' and 100 / n > 0");
    s.execute("update items set n = 77 where id = 2");
    wait_for(&s, "items:2", "77");
    s.execute(
        "update items set n = 0 where id in (2, 3); insert into items values (20, 'active', 20)",
    );
    wait_for(&s, "items:2", "0");
    s.wait_for_log("new rows of \"items\" are not loaded, the condition of preload can't be evaluated: SQLSTATE 22012");
    s.execute("insert into odd values ('a', '\\x62', 'active')");
    eventually("others are loaded", || s.run("EXISTS odd:a:b") == int(1));
    s.execute("update items set n = 1 where n = 0");
    wait_for(&s, "items:2", "1");
}

/// Nobody can ask a locked table; other tables' changes don't wait for it.
#[test]
fn a_locked_table_holds_up_no_other_one() {
    let s = start("state = 'active'");
    // Locked before anybody can have read of the new row.
    s.set("follow-interval-ms", 60_000);
    s.execute("insert into items values (30, 'active', 30)");
    let lock = s.database.hold("lock table items in access exclusive mode");
    s.set("follow-interval-ms", 100);
    s.execute("insert into odd values ('a', '\\x62', 'active')");
    eventually("others are loaded", || s.run("EXISTS odd:a:b") == int(1));
    lock.rollback();
    wait_for(&s, "items:30", "30");
}
