//! `"write": "behind"`: the client is answered when Redis has its write; PostgreSQL gets it in order.

use serde_json::json;

use crate::support::*;

pub const ITEMS: &str = "create table items (
    id int primary key, name text, n bigint check (n < 1000), note text, price numeric(8,2))";

/// The table of items, written behind.
pub fn items() -> Builder {
    Stack::new().sql(ITEMS).mapping(json!({"table": "items", "write": "behind"}))
}

/// Waits until PostgreSQL has all of it, and the hash is what the row is.
#[track_caller]
pub fn flush(s: &Stack) {
    assert_eq!(s.run("WT.FLUSH items"), ok());
    assert_eq!(s.info_int("behind_entries"), 0);
}

/// A row as its hash shows it.
pub fn row(s: &Stack, id: i64) -> Hash {
    let columns = "id::text, name, n::text, note, price::text";
    s.row(&format!("select {columns} from items where id = {id}"))
}

#[track_caller]
fn assert_cached(s: &Stack, id: i64) {
    assert_eq!(s.hgetall(&format!("items:{id}")), row(s, id), "items:{id}");
}

/// Adds one to each of so many rows, which hold `n` then.
#[track_caller]
pub fn count(s: &Stack, rows: i64, n: i64) {
    for id in 1..=rows {
        assert_eq!(s.run(&format!("HINCRBY __{{items:{id}}} n 1")), int(n));
    }
}

/// So many rows that hold 1, in the cache as well; nobody can write them until the transaction ends.
#[track_caller]
pub fn counted_and_locked(s: &Stack, rows: i64) -> OpenTransaction {
    s.execute(&format!("insert into items select i, 'a', 0 from generate_series(1, {rows}) i"));
    count(s, rows, 1);
    flush(s);
    s.database.hold("lock table items in exclusive mode")
}

#[test]
fn a_write_is_answered_and_visible_before_the_database_has_it() {
    let s = items().start();
    s.execute("insert into items values (1, 'a', 1)");
    assert_eq!(s.run("WT.REFRESH items:1"), int(1));
    let lock = s.database.hold("select from items where id = 1 for update");
    assert_eq!(s.run("HSET __{items:1} name b note x"), int(1));
    assert_eq!(s.run("HINCRBY __{items:1} n 5"), int(6));
    assert_eq!(s.run("HGET items:1 name"), bulk("b"));
    assert_eq!(s.run("HGET items:1 n"), bulk("6"));
    assert_eq!(s.one("select name from items"), "a");
    assert_eq!(s.info_int("behind_entries"), 2);
    assert_eq!(s.run("EXISTS __{items:1}"), int(0), "nothing is staged");
    lock.rollback();
    flush(&s);
    assert_eq!(s.one("select name || n from items"), "b6");
    assert_cached(&s, 1);
    assert_eq!(s.run("XLEN {writethrough}:behind:items"), int(0));
}

#[test]
fn each_command_is_answered_as_redis_answers_it() {
    let s = items().start();
    assert_eq!(s.run("HSET __{items:1} name a n 1"), int(2));
    assert_eq!(s.run("HSET __{items:1} name b note c"), int(1));
    assert_eq!(s.run("HMSET __{items:1} name d"), ok());
    assert_eq!(s.run("HSETNX __{items:1} name e"), int(0));
    assert_eq!(s.run("HSETNX __{items:1} price 1.5"), int(1));
    assert_eq!(s.run("HINCRBY __{items:1} n 2"), int(3));
    assert_eq!(s.run("HINCRBYFLOAT __{items:1} price 0.25"), bulk("1.75"));
    assert!(s.run("HDEL __{items:1} note nothing_there").is_error());
    assert_eq!(s.run("HDEL __{items:1} note"), int(1));
    assert_eq!(s.run("HDEL __{items:1} note"), int(0));
    flush(&s);
    assert_eq!(s.one("select concat_ws(' ', name, n, note, price) from items"), "d 3 1.75");
    assert_cached(&s, 1);
    assert_eq!(s.run("DEL __{items:1}"), int(1));
    assert_eq!(s.run("EXISTS items:1"), int(0));
    assert_eq!(s.run("DEL __{items:1}"), int(0));
    flush(&s);
    assert_eq!(s.count("items"), 0);
    assert_eq!(s.run("HSET __{items:1} name again"), int(1));
    assert_eq!(s.run("UNLINK __{items:1} __{items:2}"), int(1));
    flush(&s);
    assert_eq!(s.count("items"), 0);
}

#[test]
fn a_missing_hash_is_read_first() {
    let s = items().start();
    s.execute("insert into items values (1, 'a', 10)");
    assert_eq!(s.run("HINCRBY __{items:1} n 5"), int(15));
    assert_eq!(s.run("HSET __{items:1} name b"), int(0));
    flush(&s);
    assert_eq!(s.one("select name || n from items"), "b15");
    // It is evicted while entries of it wait: the row alone is too old.
    let lock = s.database.hold("select from items where id = 1 for update");
    assert_eq!(s.run("HINCRBY __{items:1} n 1"), int(16));
    assert_eq!(s.run("DEL items:1"), int(1));
    let mut late = s.send("HINCRBY __{items:1} n 1");
    s.wait_for_blocked(1);
    lock.rollback();
    assert_eq!(late.receive(), int(17));
    flush(&s);
    assert_eq!(s.one("select n from items"), "17");
    assert_cached(&s, 1);
}

#[test]
fn what_redis_refuses_leaves_no_entry() {
    let s = items().start();
    assert_eq!(s.run("HSET __{items:1} name a"), int(1));
    flush(&s);
    assert!(s.run("HINCRBY __{items:1} name 1").is_error());
    assert!(s.run("HINCRBY __{items:1} n x").is_error());
    assert!(s.run("HSET __{items:1} nick x").is_error());
    assert!(s.run("HSET __{items:1} id 2").is_error());
    assert_eq!(s.run("SET items:9 text"), ok());
    assert!(s.run("HSET __{items:9} name a").is_error());
    assert_eq!(s.run("XLEN {writethrough}:behind:items"), int(0));
    assert_eq!(s.run("DEL {writethrough}:behind:items"), int(1));
    assert_eq!(s.run("SET {writethrough}:behind:items x"), ok());
    assert!(s.run("HSET __{items:1} name b").is_error());
    assert_eq!(s.run("HGET items:1 name"), bulk("a"), "the hash is as it was");
}

#[test]
fn in_multi_and_scripts() {
    let s = items().start();
    s.execute("insert into items values (1, 'a', 10), (2, 'b', 20)");
    assert_eq!(s.run("WT.REFRESH items:1"), int(1));
    let mut c = s.conn();
    for line in
        ["MULTI", "HINCRBY __{items:1} n 1", "HINCRBY __{items:2} n 1", "HSET __{items:1} note m"]
    {
        c.run(line);
    }
    assert_eq!(c.run("EXEC"), Reply::Array(vec![int(11), int(21), int(1)]));
    let script =
        "redis.call('hincrby', '__{items:1}', 'n', 1) return redis.call('hget', 'items:1', 'n')";
    assert_eq!(s.cmd(&["EVAL", script, "0"]), bulk("12"));
    flush(&s);
    assert_eq!(s.one("select string_agg(n::text, ' ' order by id) from items"), "12 21");
    // The row has to be read, and an entry of it waits: the server waits for both.
    let script = "redis.call('hincrby', '__{items:1}', 'n', 1) redis.call('del', 'items:1') \
                  return redis.call('hincrby', '__{items:1}', 'n', 1)";
    assert_eq!(s.cmd(&["EVAL", script, "0"]), int(14));
    flush(&s);
    assert_eq!(s.one("select n from items where id = 1"), "14");
}

#[test]
fn plain_keys() {
    let s = items().with("plain_writes", "through").with("on_delete", "delete").start();
    assert_eq!(s.run("HSET items:1 name a n 1"), int(2));
    assert_eq!(s.run("HINCRBY items:1 n 1"), int(2));
    flush(&s);
    assert_eq!(s.one("select name || n from items"), "a2");
    assert_eq!(s.run("UNLINK items:1"), int(1));
    flush(&s);
    assert_eq!(s.count("items"), 0);
    // DEL and HSET of one MULTI replace the row.
    assert_eq!(s.run("HSET items:1 name a note x"), int(2));
    let mut c = s.conn();
    for line in ["MULTI", "DEL items:1", "HSET items:1 name b"] {
        c.run(line);
    }
    assert_eq!(c.run("EXEC"), Reply::Array(vec![int(1), int(1)]));
    flush(&s);
    assert_eq!(s.one("select concat_ws(' ', name, note) from items"), "b");
    assert_cached(&s, 1);
}

#[test]
fn a_refused_entry_is_set_aside_and_the_others_go_on() {
    let s = items().start();
    let lock = counted_and_locked(&s, 20);
    count(&s, 20, 2);
    assert_eq!(s.run("HINCRBY __{items:7} n 5000"), int(5002));
    assert_eq!(s.run("HINCRBY __{items:7} n 1"), int(5003));
    assert_eq!(s.run("HSET __{items:8} price dear"), int(1));
    lock.rollback();
    flush(&s);
    assert_eq!(
        s.one("select string_agg(n::text, ' ' order by id) from items where id in (6, 7, 8)"),
        "2 3 2"
    );
    assert_eq!(s.info_int("behind_failed"), 2);
    eventually("the hashes are the rows again", || {
        s.hgetall("items:7").get("n") == Some(&"3".into())
            && !s.hgetall("items:8").contains_key("price")
    });
    let failed = s.run("XRANGE {writethrough}:failed:items - +");
    let first = failed.array()[0].array()[1].array().iter().map(Reply::text).collect::<Vec<_>>();
    assert_eq!(first[2..4], ["sqlstate".to_string(), "23514".into()], "{first:?}");
    assert!(first[5].contains("items_n_check"), "{first:?}");
    assert_eq!(first[6..], ["1.hincrby", "7", "n", "5000"].map(String::from));
    // The table is mended, and they are put back.
    s.execute(
        "alter table items drop constraint items_n_check; alter table items alter price type text",
    );
    assert_eq!(s.run("WT.RETRY items"), int(2));
    flush(&s);
    assert_eq!(s.one("select n from items where id = 7"), "5003");
    assert_eq!(s.one("select price from items where id = 8"), "dear");
    assert_eq!(s.info_int("behind_failed"), 0);
    eventually("the hash follows", || s.hgetall("items:7").get("n") == Some(&"5003".into()));
}
