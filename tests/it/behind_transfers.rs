//! RENAME, RENAMENX, COPY and RESTORE onto a key that is written behind.

use serde_json::json;

use crate::behind::{flush, items, row, ITEMS};
use crate::support::*;

/// A hash as RESTORE takes it.
fn dump(s: &Stack, fields: &str) -> Vec<u8> {
    assert!(s.run(&format!("HSET dumped {fields}")).is_int());
    let dumped = s.run("DUMP dumped").bytes().to_vec();
    assert_eq!(s.run("DEL dumped"), int(1));
    dumped
}

/// The commands in order, and what they are answered. `to` makes the key that is written.
fn answers(s: &Stack, to: fn(i64) -> String) -> Vec<Reply> {
    let run = |line: String| s.run(&line);
    let restore = |id: i64, fields: &str, more: &[&str]| {
        let (key, payload) = (to(id).into_bytes(), dump(s, fields));
        let words: [&[u8]; 4] = [b"RESTORE", &key, b"0", &payload];
        let words: Vec<&[u8]> =
            words.into_iter().chain(more.iter().map(|w| w.as_bytes())).collect();
        s.cmd(&words)
    };
    run("HSET a name a n 1 note x".into());
    run("HSET b name b".into());
    run("SET text x".into());
    vec![
        run(format!("COPY a {}", to(1))),
        run(format!("RENAME a {}", to(2))),
        run("EXISTS a".into()),
        run(format!("RENAMENX b {}", to(3))),
        restore(4, "id 4 name d n 4", &[]),
        // A row that isn't cached: what the hash doesn't name stays.
        restore(5, "name e", &["REPLACE"]),
        run("HMGET items:5 name n".into()),
        // None of these is a row.
        run(format!("RENAME none {}", to(6))),
        run(format!("COPY none {}", to(6))),
        run(format!("COPY text {}", to(6))),
        restore(6, "id 7 name g", &[]),
        restore(6, "nick g", &[]),
        run("EXISTS items:6".into()),
        run("TYPE text".into()),
    ]
}

#[test]
fn they_are_answered_as_where_the_mapping_is_written_through() {
    for plain_writes in ["allow", "through"] {
        let to = match plain_writes {
            "allow" => |id| format!("__{{items:{id}}}"),
            _ => |id| format!("items:{id}"),
        };
        let through = json!({ "table": "items", "plain_writes": plain_writes });
        let through = Stack::new().sql(ITEMS).mapping(through).start();
        let behind = items().with("plain_writes", plain_writes).start();
        let all = [&through, &behind].map(|s| {
            s.execute("insert into items values (5, 'old', 5)");
            let answers = answers(s, to);
            assert_eq!(s.run("KEYS __*"), Reply::Array(vec![]));
            answers
        });
        assert_eq!(all[1], all[0]);
        flush(&behind);
        let table =
            "select string_agg(concat_ws(' ', id, name, n, note), ', ' order by id) from items";
        assert_eq!(behind.one(table), "1 a 1 x, 2 a 1 x, 3 b, 4 d 4, 5 e 5");
        assert_eq!(through.one(table), behind.one(table));
        (1..=5).for_each(|id| assert_eq!(behind.hgetall(&format!("items:{id}")), row(&behind, id)));
    }
}

#[test]
fn a_row_that_is_there_is_kept() {
    let s = items().with("plain_writes", "through").start();
    s.execute("insert into items values (1, 'a', 1)");
    let payload = dump(&s, "name b");
    assert_eq!(s.run("HSET b name b"), int(1));
    // Not cached, and then cached.
    for _ in 0..2 {
        assert_eq!(s.run("RENAMENX b items:1"), int(0));
        assert_eq!(s.run("COPY b items:1"), int(0));
        let words: [&[u8]; 4] = [b"RESTORE", b"items:1", b"0", &payload];
        s.cmd(&words).assert_error("BUSYKEY ");
        assert_eq!(s.run("EXISTS b"), int(1));
        assert_eq!(s.run("WT.REFRESH items:1"), int(1));
    }
    assert_eq!(s.run("COPY b items:1 REPLACE"), int(1));
    flush(&s);
    assert_eq!(s.one("select name || n from items"), "b1");
}

#[test]
fn the_hash_and_its_entry_are_one_unit() {
    let s = items().redis_conf("appendonly yes").redis_conf("appendfsync always").start();
    s.execute("insert into items values (1, 'a', 1)");
    assert_eq!(s.run("WT.REFRESH items:1"), int(1));
    let lock = s.database.hold("lock table items in exclusive mode");
    assert_eq!(s.run("HSET draft name b"), int(1));
    assert_eq!(s.run("RENAME draft __{items:1}"), ok());
    assert_eq!(s.run("HGET items:1 name"), bulk("b"), "before the table has it");
    assert_eq!(s.run("XLEN {writethrough}:behind:items"), int(1));
    let payload = dump(&s, "note r");
    let words: [&[u8]; 5] = [b"RESTORE", b"__{items:1}", b"0", &payload, b"REPLACE"];
    assert_eq!(s.cmd(&words), ok());
    s.restart_redis("KILL");
    assert_eq!(s.run("XLEN {writethrough}:behind:items"), int(2));
    assert_eq!(s.run("HMGET items:1 name note"), Reply::Array(vec![bulk("b"), bulk("r")]));
    assert_eq!(s.run("EXISTS draft __{items:1}"), int(0));
    lock.rollback();
    flush(&s);
    assert_eq!(s.one("select concat_ws(' ', name, n, note) from items"), "b 1 r");
}

#[test]
fn a_refused_command_leaves_all_as_it_was() {
    let s = items().option("behind_max", 1).start();
    assert_eq!(s.run("HSET __{items:1} n 1"), int(1));
    flush(&s);
    let lock = s.database.hold("lock table items in exclusive mode");
    assert_eq!(s.run("HINCRBY __{items:1} n 1"), int(2));
    assert_eq!(s.run("HSET draft name b"), int(1));
    for line in ["RENAME draft __{items:1}", "COPY draft __{items:1}", "RENAMENX draft __{items:1}"]
    {
        s.run(line).assert_error("WTBUSY ");
    }
    assert_eq!(s.run("HGET draft name"), bulk("b"));
    assert_eq!(s.run("HGET items:1 name"), Reply::Nil);
    assert_eq!(s.run("EXISTS __{items:1}"), int(0));
    lock.rollback();
    flush(&s);
    assert_eq!(s.run("RENAME draft __{items:1}"), ok());
    flush(&s);
    assert_eq!(s.one("select name || n from items"), "b2");
}
