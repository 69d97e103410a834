//! Reads of rows that are not cached: what they answer, and what they leave.

use std::sync::Arc;

use serde_json::json;

use crate::support::*;

const TABLE: &str = "create table items (id bigint primary key, name text, price numeric(10,2));
    insert into items values (1, 'pen', 1.50), (2, 'ink', null), (3, 'pad', 2.25)";

/// A table of items that is read through.
fn builder() -> Builder {
    Stack::new().sql(TABLE).mapping(json!({ "table": "items", "read_through": true }))
}

#[test]
fn each_read_answers_as_if_the_row_were_cached() {
    let s = builder().start();
    let reads = [
        "HGET items:1 name",
        "HGET items:1 nothing",
        "HGET items:2 price",
        "HMGET items:1 price name nothing",
        "HGETALL items:1",
        "HEXISTS items:1 name",
        "HEXISTS items:2 price",
        "HLEN items:1",
        "HLEN items:2",
        "HKEYS items:1",
        "HVALS items:1",
        "HSTRLEN items:1 name",
        "HRANDFIELD items:1 -3",
        "HRANDFIELD items:1 3 WITHVALUES",
        "HSCAN items:1 0",
        "HSCAN items:1 0 COUNT 100",
        "EXISTS items:1",
        "EXISTS items:1 items:2 items:1 items:9 other",
        "TYPE items:1",
        // Of no row.
        "HGET items:9 name",
        "HGETALL items:9",
        "HLEN items:9",
        "EXISTS items:9",
        "TYPE items:9",
        "HSCAN items:9 0",
        "HMGET items:9 name price",
        // What the server refuses, it refuses.
        "HSCAN items:1 0 COUNT x",
        "HRANDFIELD items:1 x",
        "HGET items:1",
    ];
    for read in reads {
        s.run("DEL items:1 items:2 items:9");
        let missed = s.run(read);
        if !read.starts_with("HRANDFIELD items:1 -3") {
            assert_eq!(missed, s.run(read), "{read}");
        }
    }
    assert_eq!(s.run("HGET items:3 name"), bulk("pad"));
    assert_eq!(s.hgetall("items:3"), hash(&[("id", "3"), ("name", "pad"), ("price", "2.25")]));
}

#[test]
fn one_row_is_read_once_and_then_cached() {
    let s = builder().start();
    assert_eq!(s.run("HGET items:1 name"), bulk("pen"));
    s.execute("update items set name = 'changed'");
    assert_eq!(s.run("HGET items:1 name"), bulk("pen"), "a hit");
    assert_eq!((s.info_int("loads"), s.info_int("load_misses")), (1, 0));
    // Until somebody evicts it.
    assert_eq!(s.run("DEL items:1"), int(1));
    assert_eq!(s.run("HGET items:1 name"), bulk("changed"));
}

#[test]
fn a_missing_row_is_remembered_for_a_while() {
    let mapping = json!({ "table": "items", "read_through": true, "negative_ttl_ms": 3_600_000 });
    let s = Stack::new().sql(TABLE).mapping(mapping).start();
    assert_eq!(s.run("HGET items:9 name"), Reply::Nil);
    s.execute("insert into items values (9, 'late', 1)");
    assert_eq!(s.run("HGET items:9 name"), Reply::Nil);
    assert_eq!((s.info_int("load_misses"), s.info_int("negative_hits")), (1, 1));
    // DEL ends it, and so does a write.
    assert_eq!(s.run("DEL items:9"), int(0));
    assert_eq!(s.run("HGET items:9 name"), bulk("late"));
    assert_eq!(s.run("HGET items:8 name"), Reply::Nil);
    assert_eq!(s.run("HSET __{items:8} name new"), int(1));
    assert_eq!(s.run("HGET items:8 name"), bulk("new"));
    // What can't be a number isn't asked for.
    assert_eq!(s.run("HGET items:abc name"), Reply::Nil);
    assert_eq!(s.run("HGET items:1:2 name"), Reply::Nil);
    // What the database doesn't take as one, and another spelling of one, is no row.
    assert_eq!(s.run("HGET items:1x name"), Reply::Nil);
    assert_eq!(s.run("HGET items:01 name"), Reply::Nil);
    assert_eq!(s.run("HGET items:99999999999999999999 name"), Reply::Nil);
}

#[test]
fn in_transactions_and_scripts_the_server_waits() {
    let s = builder().start();
    let mut conn = s.conn();
    assert_eq!(conn.run("MULTI"), ok());
    for read in ["HGET items:1 name", "HGETALL items:9", "EXISTS items:1 items:3"] {
        assert_eq!(conn.run(read), Reply::Status("QUEUED".into()));
    }
    assert_eq!(conn.run("EXEC"), Reply::Array(vec![bulk("pen"), Reply::Array(vec![]), int(2)]));
    for eval in ["EVAL", "EVAL_RO"] {
        s.run("DEL items:2");
        let script = "return redis.call('HGET', KEYS[1], 'name')";
        assert_eq!(s.cmd(&[eval, script, "1", "items:2"]), bulk("ink"), "{eval}");
    }
}

#[test]
fn what_cannot_be_known_is_an_error_and_no_nil() {
    let server = Arc::new(PostgresServer::start_new());
    let s = builder().postgres(&server).told_soon_of_outages().start();
    assert_eq!(s.run("HGET items:1 name"), bulk("pen"));
    server.stop_fast();
    let is_down = || format!("{:?}", s.run("HGET items:2 name")).contains("WTDOWN ");
    eventually("it is known to be away", is_down);
    assert_eq!(s.run("HGET items:1 name"), bulk("pen"), "a hit needs no database");
}

#[test]
fn a_locked_row_and_a_thousand_clients_make_one_read() {
    let s = builder().start();
    let lock = s.database.hold("lock table items in access exclusive mode");
    let mut readers: Vec<Conn> = (0..200).map(|_| s.send("HGET items:1 name")).collect();
    s.wait_for_blocked(200);
    lock.rollback();
    for reader in &mut readers {
        assert_eq!(reader.receive(), bulk("pen"));
    }
    assert_eq!((s.info_int("loads"), s.info_int("load_shared")), (1, 199));
}
