//! `atomic_multi`: the writes of one MULTI/EXEC are one PostgreSQL transaction, where the server tells whose
//! commands it queues (7.2 and later).

use serde_json::json;

use crate::support::*;

const SQL: &str = "
create table accounts (id int primary key, owner text, balance int not null default 0 check (balance >= 0));
insert into accounts values (1, 'ann', 100), (2, 'bob', 100);
create table notes (id text primary key, body text, code int unique)";

fn bank(is_atomic: bool) -> Builder {
    Stack::new()
        .sql(SQL)
        .mapping(json!({ "table": "accounts", "unmapped": "keep" }))
        .mapping(json!({ "table": "notes", "plain_writes": "through", "on_delete": "delete" }))
        .option("atomic_multi", is_atomic)
}

/// A bank whose server can do it; one that can't has been told so.
fn start() -> Option<Stack> {
    let plain = bank(false).start();
    if plain.redis_version() >= (7, 2) {
        return Some(bank(true).start());
    }
    let refused = bank(true).try_start().err().expect("it can't be loaded");
    let why = "atomic_multi: it needs Redis 7.2 or later, or Valkey";
    assert!(refused.contains(why), "{refused}");
    None
}

fn run(s: &Stack, lines: &[&str]) -> Vec<Reply> {
    transaction(&mut s.conn(), lines)
}

fn balances(s: &Stack) -> String {
    s.one("select string_agg(balance::text, ' ' order by id) from accounts")
}

const ABORTED: &str = "WTABORT another command of the transaction was refused; nothing was written";

#[test]
fn a_multi_is_one_transaction() {
    let Some(s) = start() else { return };
    let commits = "select xact_commit from pg_stat_database where datname = current_database()";
    assert!(s.one(commits).parse::<i64>().is_ok());
    let before = s.info_int("transactions");
    let replies = run(
        &s,
        &[
            "HINCRBY __{accounts:1} balance -10",
            "SET other x",
            "HINCRBY __{accounts:2} balance 10",
            "HGET accounts:2 balance",
            "HSET notes:a body x",
            "DEL __{accounts:3} __{accounts:4}",
        ],
    );
    assert_eq!(replies, [int(90), ok(), int(110), bulk("110"), int(1), int(0)]);
    assert_eq!(s.info_int("transactions"), before + 1);
    let same = s.one("select count(distinct xmin::text) from accounts");
    assert_eq!(same, "1", "one transaction has written both");
    for id in [1, 2] {
        s.assert_row_cached("accounts", id);
    }
    // One write is one transaction anyway.
    assert_eq!(run(&s, &["HINCRBY __{accounts:1} balance -10"]), [int(80)]);
    assert_eq!(s.info_int("transactions"), before + 1);
}

#[test]
fn a_refused_one_takes_the_others_with_it() {
    let Some(s) = start() else { return };
    let replies = run(
        &s,
        &[
            "HINCRBY __{accounts:2} balance 1000",
            "SET other x",
            "HINCRBY __{accounts:1} balance -1000",
            "HSET notes:a body x",
        ],
    );
    assert_eq!((&replies[0], &replies[1], &replies[3]), (&error(ABORTED), &ok(), &error(ABORTED)));
    replies[2].assert_error("WTERR 23514 ");
    assert_eq!((balances(&s).as_str(), s.count("notes")), ("100 100", 0));
    assert_eq!(s.keys(), ["other"]);
    // What is wrong before the database, and what can't be part of it.
    for (bad, problem) in [
        ("HSET __{accounts:1} nobody", "ERR wrong number of arguments"),
        ("HINCRBY __{accounts:1} balance x", "ERR value is not an integer"),
        ("HSET __{nobody:1} a b", "ERR writethrough: no mapping is named"),
        ("HINCRBY __{accounts:1} nick 1", "ERR writethrough: field \"nick\" is kept in Redis only"),
        (
            "RENAME other __{accounts:1}",
            "ERR writethrough: \"RENAME\" can't be part of a batch or a transaction",
        ),
        (
            "SET __{accounts:1} x",
            "ERR writethrough: \"SET\" can't be part of a batch or a transaction",
        ),
    ] {
        let mut conn = s.conn();
        conn.run("MULTI");
        conn.run("HINCRBY __{accounts:2} balance 1");
        let queued = conn.run(bad);
        conn.run("HSET notes:a body x");
        let done = conn.run("EXEC");
        // The server itself refuses what it can't queue.
        match queued.is_error() {
            true => drop(done.assert_error("EXECABORT ")),
            false => {
                assert_eq!(done.array()[0], error(ABORTED), "{bad}");
                done.array()[1].assert_error(problem);
                assert_eq!(done.array()[2], error(ABORTED), "{bad}");
            }
        }
        assert_eq!((balances(&s).as_str(), s.count("notes")), ("100 100", 0), "{bad}");
        assert_eq!(s.run("KEYS __*"), Reply::Array(vec![]), "{bad}");
    }
    s.set("transaction-max", 2);
    let three = ["HINCRBY __{accounts:1} balance 1"; 3];
    for reply in run(&s, &three) {
        reply.assert_error(
            "ERR writethrough: 3 writes in one MULTI are more than transaction_max = 2",
        );
    }
}

#[test]
fn what_is_discarded_aborted_or_watched_is_not_done() {
    let Some(s) = start() else { return };
    let mut conn = s.conn();
    for end in ["DISCARD", "RESET"] {
        conn.run("MULTI");
        conn.run("HINCRBY __{accounts:1} balance -10");
        conn.run("HINCRBY __{accounts:2} balance 10");
        conn.run(end);
    }
    conn.run("SET watched a");
    conn.run("WATCH watched");
    conn.run("MULTI");
    conn.run("HINCRBY __{accounts:1} balance -10");
    conn.run("HINCRBY __{accounts:2} balance 10");
    s.run("SET watched b");
    assert_eq!(conn.run("EXEC"), Reply::Nil);
    assert_eq!(balances(&s), "100 100");
    // What comes then is of its own.
    let lines = ["HINCRBY __{accounts:1} balance -1", "HINCRBY __{accounts:2} balance 1"];
    assert_eq!(transaction(&mut conn, &lines), [int(99), int(101)]);
    assert_eq!(conn.run("HINCRBY __{accounts:1} balance -1"), int(98));
    // Interleaved clients.
    let (mut one, mut two) = (s.conn(), s.conn());
    for conn in [&mut one, &mut two] {
        conn.run("MULTI");
        conn.run("HINCRBY __{accounts:1} balance -1");
    }
    one.run("HINCRBY __{accounts:2} balance 1");
    two.run("HINCRBY __{accounts:2} balance -1000");
    assert_eq!(one.run("EXEC"), Reply::Array(vec![int(97), int(102)]));
    let refused = two.run("EXEC");
    assert_eq!(refused.array()[0], error(ABORTED));
    refused.array()[1].assert_error("WTERR 23514 ");
    // A client that goes in the middle.
    let mut gone = s.conn();
    gone.run("MULTI");
    gone.run("HINCRBY __{accounts:1} balance -1");
    drop(gone);
    assert_eq!(balances(&s), "97 102");
}

#[test]
fn replacements_scripts_and_other_databases() {
    let Some(s) = start() else { return };
    assert!(s.run("HSET notes:a body x code 7").is_int());
    let lines = ["DEL notes:a", "HSET notes:a body y", "HSET notes:b code 7"];
    assert_eq!(run(&s, &lines), [int(1), int(1), int(1)]);
    assert_eq!(s.hgetall("notes:a"), hash(&[("id", "a"), ("body", "y")]));
    let mut conn = s.conn();
    conn.run("MULTI");
    conn.run("HINCRBY __{accounts:1} balance 1");
    conn.run("SELECT 1");
    conn.run("HINCRBY __{accounts:2} balance 1");
    let replies = conn.run("EXEC");
    for at in [0, 2] {
        replies.array()[at]
            .assert_error("ERR writethrough: with atomic_multi SELECT goes before MULTI");
    }
    conn.run("SELECT 0");
    // A script writes by itself.
    conn.run("MULTI");
    conn.run("HINCRBY __{accounts:1} balance -1000");
    conn.run("HINCRBY __{accounts:2} balance 1000");
    conn.cmd(&[
        "EVAL",
        "return redis.call('HINCRBY', KEYS[1], 'balance', 5)",
        "1",
        "__{accounts:2}",
    ]);
    let replies = conn.run("EXEC");
    replies.array()[0].assert_error("WTERR 23514 ");
    assert_eq!(replies.array()[1..], [error(ABORTED), int(105)]);
    // The server's time is over.
    s.set("sync-timeout-ms", 100);
    let lock = s.database.hold("select from accounts where id = 1 for update");
    for reply in run(&s, &["HINCRBY __{accounts:2} balance 1", "HINCRBY __{accounts:1} balance 1"])
    {
        reply.assert_error("WTTIMEOUT 55P03 ");
    }
    lock.rollback();
    eventually("nothing is in flight", || s.info_int("in_flight") == 0);
    assert_eq!(balances(&s), "100 105");
}
