//! WT.BATCH of keys that are written behind, also with others; WT.TRANSACTION and WT.ONCE are refused.

use serde_json::json;

use crate::behind::{flush, items, ITEMS};
use crate::support::*;

const NOTES: &str = "create table notes (id text primary key, body text check (body <> 'bad'))";

/// The items are written behind, the notes through.
fn with_notes() -> Builder {
    let behind = json!({ "table": "items", "write": "behind", "unmapped": "keep" });
    Stack::new().sql(ITEMS).sql(NOTES).mapping(behind).mapping(json!({ "table": "notes" }))
}

#[test]
fn each_command_of_a_batch_is_answered_as_it_is_alone() {
    let lines = [
        "HSET __{items:1} name a n 1",
        "HSET __{notes:a} body x",
        "HINCRBY __{items:1} n 2",
        "HMSET __{items:1} name b",
        "HSETNX __{items:1} name c",
        "HSETNX __{items:1} price 1.5",
        "HINCRBYFLOAT __{items:1} price 0.25",
        "HDEL __{items:1} name",
        "HDEL __{items:1} name",
        "HSET __{notes:b} body bad",
        "HINCRBY __{items:1} price 1",
        "HINCRBY __{items:1} n x",
        "HSET __{items:1} id 2",
        "HSET __{items:2} name a",
        "DEL __{items:2} __{items:3} __{items:2}",
        "UNLINK __{notes:a}",
        "HSET __{items:2} name again nick x",
        "HINCRBY __{items:2} count 3",
        "HSET __{items:2} note y # +",
        "HSET __{items:2} n 1",
        "HINCRBY __{items:4} n 5000",
    ];
    let alone = with_notes().start();
    let expected: Vec<Reply> = lines.iter().map(|line| alone.run(line)).collect();
    let s = with_notes().start();
    assert_eq!(s.cmd(&batch_of(&lines)), Reply::Array(expected));
    for s in [&alone, &s] {
        flush(s);
        assert_eq!(
            s.one("select string_agg(concat_ws(' ', id, name, n, price), ', ' order by id) from items"),
            "1 3 1.75, 2 again 1"
        );
        assert_eq!(s.count("notes"), 0);
        assert_eq!(s.info_int("behind_failed"), 1);
        assert_eq!(s.hgetall("items:2").get("count"), Some(&"3".to_string()));
        assert_eq!(s.run("KEYS __*"), Reply::Array(vec![]));
    }
}

#[test]
fn rows_that_are_not_cached_are_read_first() {
    let s = items().start();
    s.execute("insert into items select i, 'a', 10 from generate_series(1, 3000) i");
    let lines: Vec<String> = (1..=3000)
        .flat_map(|id| {
            let key = format!("__{{items:{id}}}");
            [
                format!("HINCRBY {key} n 5"),
                format!("HSET {key} n {} note x", id % 900),
                format!("HINCRBY {key} n 1"),
            ]
        })
        .collect();
    // More than are on their way at once, each key's in order.
    let replies = s.cmd(&batch_of(&lines));
    for (id, three) in (1..).zip(replies.array().chunks(3)) {
        assert_eq!(three, [int(15), int(1), int(id % 900 + 1)], "{id}");
    }
    flush(&s);
    assert_eq!(s.one("select count(*) from items where note = 'x' and n = id % 900 + 1"), "3000");
    // And more than are done in one turn.
    let lines: Vec<String> =
        (1..=5000).map(|i| format!("HINCRBY __{{items:1}} n {}", i % 2)).collect();
    let replies = s.cmd(&batch_of(&lines));
    let expected: Vec<Reply> = (1..=5000).map(|i: i64| int(2 + (i + 1) / 2)).collect();
    assert!(replies == Reply::Array(expected), "{:?}", replies.array().last());
}

#[test]
fn a_batch_needs_no_database_where_nothing_has_to_be_read() {
    let s = items().start();
    s.execute("insert into items values (1, 'a', 1), (2, 'b', 2)");
    assert_eq!(s.run("WT.REFRESH items:1"), int(1));
    let lock = s.database.hold("lock table items in access exclusive mode");
    let mut late = s.conn();
    let lines = ["HINCRBY __{items:1} n 1", "HINCRBY __{items:2} n 1", "HINCRBY __{items:1} n 1"];
    late.send(&batch_of(&lines));
    s.wait_for_blocked(1);
    // Only the one waits that has to be read.
    eventually("the others are done", || s.run("HGET items:1 n") == bulk("3"));
    lock.rollback();
    assert_eq!(late.receive(), Reply::Array(vec![int(2), int(3), int(3)]));
    flush(&s);
    assert_eq!(s.one("select string_agg(n::text, ' ' order by id) from items"), "3 3");
}

#[test]
fn a_batch_in_multi_and_in_a_script() {
    let s = with_notes().start();
    s.execute("insert into items values (1, 'a', 1), (2, 'b', 2)");
    let lines = ["HINCRBY __{items:1} n 1", "HSET __{notes:a} body x", "HINCRBY __{items:1} n 1"];
    let mut c = s.conn();
    c.run("MULTI");
    assert_eq!(c.cmd(&batch_of(&lines)), Reply::Status("QUEUED".into()));
    let one = Reply::Array(vec![int(2), int(1), int(3)]);
    assert_eq!(c.run("EXEC"), Reply::Array(vec![one]));
    let script = "return redis.call('WT.BATCH', 2, 4, 'HINCRBY', '__{items:2}', 'n', 1,
        4, 'HINCRBY', '__{items:2}', 'n', 1)";
    assert_eq!(s.cmd(&["EVAL", script, "0"]), Reply::Array(vec![int(3), int(4)]));
    flush(&s);
    assert_eq!(s.one("select string_agg(n::text, ' ' order by id) from items"), "3 4");
}

#[test]
fn plain_keys_of_a_batch() {
    let s = items().with("plain_writes", "through").start();
    let lines = ["HSET items:1 name a", "DEL items:1", "HINCRBY items:1 n 1", "UNLINK items:9"];
    let expected = Reply::Array(vec![int(1), int(1), int(1), int(0)]);
    // DEL evicts the hash. The next one stands behind the entries of the row.
    assert_eq!(s.cmd(&batch_of(&lines)), expected);
    flush(&s);
    assert_eq!(s.one("select name || n from items"), "a1");
    let s = items().with("plain_writes", "through").with("on_delete", "delete").start();
    assert_eq!(s.cmd(&batch_of(&lines)), expected);
    flush(&s);
    assert_eq!(s.one("select concat(name, n) from items"), "1");
}

#[test]
fn a_full_queue_refuses_the_rest_of_a_batch() {
    let s = items().option("behind_max", 2).start();
    assert_eq!(s.run("HSET __{items:1} n 1"), int(1));
    flush(&s);
    let lock = s.database.hold("lock table items in exclusive mode");
    let replies = s.cmd(&batch_of(&["HINCRBY __{items:1} n 1"; 3]));
    assert_eq!(replies.array()[..2], [int(2), int(3)]);
    replies.array()[2].assert_error("WTBUSY ");
    lock.rollback();
    flush(&s);
    assert_eq!(s.one("select n from items"), "3");
}

#[test]
fn all_or_nothing_is_refused() {
    let s = with_notes().start();
    let problem = "ERR writethrough: \"items\" is written behind, so PostgreSQL decides after the answer, and \
                   WT.TRANSACTION and WT.ONCE can't promise what they do; use WT.BATCH, or \"write\": \"through\" \
                   in the mapping";
    let lines = ["HSET __{notes:a} body x", "HSET __{items:1} name a"];
    s.cmd(&transaction_of(&lines)).assert_error(problem);
    s.run("WT.ONCE t 4 HSET __{items:1} name a").assert_error(problem);
    s.cmd(&transaction_of(&["WT.EXPECT __{items:1} name a"])).assert_error(problem);
    assert_eq!(s.count("notes"), 0);
    assert_eq!(s.run("XLEN {writethrough}:behind:items"), int(0));
    assert_eq!(s.run("KEYS *"), Reply::Array(vec![]));
}
