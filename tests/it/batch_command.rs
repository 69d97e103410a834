//! WT.BATCH: many writes in one command, each for itself.

use serde_json::json;

use crate::support::*;

const SQL: &str = "
create table items (id int primary key, name text, n int not null default 0 check (n >= 0));
create table notes (id text primary key, body text)";

fn items() -> Builder {
    Stack::new()
        .sql(SQL)
        .mapping(json!({ "table": "items", "unmapped": "keep" }))
        .mapping(json!({ "table": "notes", "plain_writes": "through", "on_delete": "delete" }))
}

#[test]
fn each_write_has_its_reply_in_order() {
    let s = items().start();
    let replies = s.cmd(&batch_of(&[
        "HSET __{items:1} name pen n 3",
        "HSET __{items:2} name ink kept x",
        "HINCRBY __{items:1} n 4",
        "HINCRBY __{items:1} n -100",
        "HINCRBYFLOAT __{items:1} n 1",
        "HINCRBYFLOAT __{items:2} kept2 1.5",
        "HSETNX __{items:2} name ball",
        "HDEL __{items:2} name",
        "HMSET notes:a body text",
        "HSET notes:b body text",
        "DEL notes:a",
        "UNLINK __{items:2}",
        "hset __{nobody:1} a b",
        "HSET __{items:1} n many",
        "HINCRBY __{items:1} n x",
        "HSET __{items:1} n",
        "GET x",
        "SET __{items:1} x",
        "DEL __{items:8} __{items:9} __{items:8}",
        "WT.BATCH 1 1 PING",
    ]));
    let replies = replies.array();
    assert_eq!(replies[..3], [int(2), int(2), int(7)]);
    replies[3].assert_error("WTERR 23514 ");
    assert_eq!(
        replies[4..12],
        [bulk("8"), bulk("1.5"), int(0), int(1), ok(), int(1), int(1), int(1),]
    );
    replies[12].assert_error("ERR writethrough: no mapping is named \"nobody\"");
    replies[13].assert_error("WTERR 22P02 ");
    assert_eq!(replies[14], error("ERR value is not an integer or out of range"));
    assert_eq!(replies[15], error("ERR wrong number of arguments for 'hset' command"));
    for reply in &replies[16..18] {
        assert!(
            reply.error().contains("can't be part of a batch or a transaction; HSET, HMSET"),
            "{reply:?}"
        );
    }
    assert_eq!(replies[18], int(0));
    replies[19]
        .assert_error("ERR writethrough: \"WT.BATCH\" can't be part of a batch or a transaction");
    assert_eq!(s.one("select string_agg(concat(id, name, n), ' ') from items"), "1pen8");
    assert_eq!(s.one("select string_agg(id, ' ') from notes"), "b");
    s.assert_row_cached("items", 1);
    assert_eq!(s.keys(), ["items:1", "notes:b"]);
}

#[test]
fn they_share_statements_and_one_row_of_many_is_refused() {
    let s = items().one_worker().start();
    let before = s.info_int("statements");
    let lines: Vec<String> = (1..=1000)
        .map(|id| format!("HSET __{{items:{id}}} name x n {}", if id == 500 { -1 } else { id }))
        .collect();
    let replies = s.cmd(&batch_of(&lines));
    for (at, reply) in replies.array().iter().enumerate() {
        match at + 1 == 500 {
            true => drop(reply.assert_error("WTERR 23514 ")),
            false => assert_eq!(*reply, int(2), "{at}"),
        }
    }
    assert_eq!(s.count("items"), 999);
    assert!(s.info_int("statements") - before < 50, "{} statements", s.info_int("statements"));
}

/// More than may be on their way at once; and others are served meanwhile.
#[test]
fn a_hundred_thousand_in_one_command() {
    let s = items().start();
    let lines: Vec<String> =
        (0..100_000).map(|n| format!("HINCRBY __{{items:{}}} n 1", n % 1000)).collect();
    let mut conn = s.conn();
    conn.send(&batch_of(&lines));
    assert_eq!(s.run("HSET other a b"), int(1));
    let reply = conn.receive();
    assert!(reply.array().iter().all(Reply::is_int));
    assert_eq!(s.one("select sum(n) from items"), "100000");
    assert_eq!(s.one("select count(*) from items where n = 100"), "1000");
    assert_eq!(s.info_int("in_flight"), 0);
}

#[test]
fn in_order_with_other_writes_of_the_keys() {
    let s = items().start();
    assert!(s.run("HSET __{items:1} n 1").is_int());
    let lock = s.database.hold("select from items where id = 1 for update");
    let mut before = s.send("HINCRBY __{items:1} n 1");
    s.wait_for_blocked(1);
    let mut conn = s.conn();
    conn.send(&batch_of(&[
        "HINCRBY __{items:1} n 10",
        "HSET __{items:2} n 5",
        "HINCRBY __{items:1} n 10",
    ]));
    s.wait_for_blocked(2);
    let mut after = s.send("HINCRBY __{items:1} n 100");
    s.wait_for_blocked(3);
    // One that doesn't wait for the row is done at once, and answered with the others.
    eventually("the other row is written", || s.count("items") == 2);
    assert!(!conn.has_reply());
    lock.rollback();
    assert_eq!(before.receive(), int(2));
    assert_eq!(conn.receive(), Reply::Array(vec![int(12), int(1), int(22)]));
    assert_eq!(after.receive(), int(122));
}

#[test]
fn counts_that_do_not_fit_are_told() {
    let s = items().start();
    for (line, problem) in [
        ("WT.BATCH 2 4 HSET __{items:1} n 1", "2 commands are said to follow, and there are 1"),
        ("WT.BATCH 1 5 HSET __{items:1} n 1", "command 1 of 1: 5 arguments are said to follow"),
        ("WT.BATCH 1 3 HSET __{items:1} n 1", "1 arguments are left after the 1 commands"),
        ("WT.BATCH x 4 HSET __{items:1} n 1", "\"x\" is no number of commands"),
        ("WT.BATCH 0 4 HSET", "\"0\" is no number of commands"),
        ("WT.BATCH 1 y HSET", "command 1 of 1: expected its number of arguments before it"),
    ] {
        let text = s.assert_line_refused(line, "ERR writethrough: ");
        assert!(text.contains(problem), "{line}: {text}");
    }
    s.assert_line_refused("WT.BATCH 1", "ERR wrong number of arguments");
}

#[test]
fn in_transactions_and_scripts() {
    let s = items().start();
    let line =
        batch_of(&["HSET __{items:1} n 1", "HSET __{items:1} n -1", "HINCRBY __{items:1} n 1"]);
    let mut conn = s.conn();
    conn.run("MULTI");
    conn.cmd(&line);
    conn.run("HGET items:1 n");
    let replies = conn.run("EXEC");
    let inner = replies.array()[0].array();
    assert_eq!((&inner[0], &inner[2]), (&int(1), &int(2)));
    inner[1].assert_error("WTERR 23514 ");
    assert_eq!(replies.array()[1], bulk("2"));
    let script =
        "return redis.call('WT.BATCH', 2, 4, 'HSET', KEYS[1], 'n', 7, 4, 'HSET', KEYS[2], 'n', 8)";
    let reply = s.cmd(&["EVAL", script, "2", "__{items:1}", "__{items:3}"]);
    assert_eq!(reply, Reply::Array(vec![int(0), int(1)]));
    // The server's time is over: what was not sent isn't written.
    s.set("sync-timeout-ms", 100);
    let lock = s.database.hold("select from items where id = 1 for update");
    let script = "return redis.call('WT.BATCH', 1, 4, 'HSET', KEYS[1], 'n', 9)";
    let reply = s.cmd(&["EVAL", script, "1", "__{items:1}"]);
    // Valkey 9.1 gives a script the first error in place of the list.
    assert!(reply.text().contains("WTTIMEOUT 55P03 "), "{reply:?}");
    lock.rollback();
    eventually("nothing is in flight", || s.info_int("in_flight") == 0);
    assert_eq!(s.one("select n from items where id = 1"), "7");
}

#[test]
fn rights_and_keys_are_those_of_the_commands() {
    let s = items().start();
    let run = |name: &str, rules: &str| {
        s.user(name, rules).cmd(&batch_of(&["HSET __{items:1} n 1", "HDEL __{items:1} name"]))
    };
    let reply = run("may", "~__{items:*} +wt.batch +hset");
    assert_eq!(reply.array()[0], int(1));
    reply.array()[1].assert_error("NOPERM ");
    let reply = run("less", "~__{items:*} +wt.batch +hdel");
    reply.array()[0].assert_error("NOPERM ");
    run("other", "~x* +wt.batch +hset").assert_error("NOPERM ");
    run("none", "~* +hset +wt.hset").assert_error("NOPERM ");
    let keys = [vec!["COMMAND".to_string(), "GETKEYS".into()], batch_of(&["HSET a b c", "DEL d"])]
        .concat();
    assert_eq!(s.cmd(&keys), Reply::Array(vec![bulk("a"), bulk("d")]));
}

#[test]
fn a_client_that_leaves_takes_what_was_not_sent() {
    let s = items().start();
    assert!(s.run("HSET __{items:1} n 1").is_int());
    let lock = s.database.hold("select from items where id = 1 for update");
    let mut conn = s.conn();
    let id = conn.id();
    let lines: Vec<String> = (0..5000).map(|_| "HINCRBY __{items:1} n 1".to_string()).collect();
    conn.send(&batch_of(&lines));
    s.wait_for_blocked(1);
    s.database.wait_for_lock_waiters(1);
    assert_eq!(s.run(&format!("CLIENT KILL ID {id}")), int(1));
    lock.rollback();
    eventually("nothing is in flight", || s.info_int("in_flight") == 0);
    let n: i64 = s.one("select n from items").parse().unwrap();
    assert!(n <= 2, "{n}: what waits behind the first one was never sent");
    s.assert_row_cached("items", 1);
}

#[test]
fn where_there_is_no_room_the_rest_is_told_so() {
    let s = items().option("queue_max", 50).one_worker().start();
    let held = s.hold();
    let lines: Vec<String> = (1..=80).map(|id| format!("HSET __{{items:{id}}} n 1")).collect();
    let mut conn = s.conn();
    conn.send(&batch_of(&lines));
    s.wait_for_blocked(2);
    held.release();
    let reply = conn.receive();
    let busy = reply.array().iter().filter(|reply| reply.is_error()).count();
    reply
        .array()
        .iter()
        .filter(|reply| reply.is_error())
        .for_each(|reply| assert!(reply.error().starts_with("WTBUSY ")));
    assert!((29..=32).contains(&busy), "{busy}");
    assert_eq!(s.count("items"), 80 - busy as i64);
}
