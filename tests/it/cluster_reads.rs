//! Redis Cluster: rows that are loaded while their slot moves.

use serde_json::json;

use crate::cluster::{close_slot, database, migrate, nodes, open_slot};
use crate::support::*;

/// The node that has the slot of users:1, whose row is not cached, and another one.
fn two_nodes() -> (Stack, Stack) {
    let (from, to) = nodes(|builder| builder.with("read_through", true));
    from.add_user(1);
    assert_eq!(from.run("DEL users:1"), int(1));
    (from, to)
}

const READS: [&str; 5] = [
    "HGET users:1 username",
    "HMGET users:1 username email",
    "EXISTS users:1",
    "HEXISTS users:1 username",
    "TYPE users:1",
];

fn expected(line: &str) -> Reply {
    match line.split(' ').next().expect("a command") {
        "HGET" => bulk("u1"),
        "HMGET" => Reply::Array(vec![bulk("u1"), bulk("u1@example.com")]),
        "EXISTS" | "HEXISTS" => int(1),
        _ => Reply::Status("hash".into()),
    }
}

/// It says so where the key is not there, and the other one answers the row.
#[test]
fn the_node_to_which_a_slot_moves_answers_the_row() {
    let (from, to) = two_nodes();
    open_slot(&from, &to);
    let mut there = to.conn();
    for line in READS {
        from.run(line).assert_error("ASK ");
        assert_eq!(there.run("ASKING"), ok());
        assert_eq!(there.run(line), expected(line), "{line}");
        to.run(line).assert_error("MOVED ");
    }
    for node in [&from, &to] {
        assert_eq!(node.run("DBSIZE"), int(0), "it is cached nowhere");
    }
    close_slot(&from, &to);
    for line in READS {
        assert_eq!(to.run(line), expected(line), "{line}");
        from.run(line).assert_error("MOVED ");
    }
}

/// The client reads the row, and no hash of it stays where nobody looks after it.
#[test]
fn a_load_that_a_move_overtakes() {
    for is_over in [false, true] {
        for line in READS {
            let (from, to) = two_nodes();
            let database = database(&from, &to);
            let lock = database.hold("lock table users in access exclusive mode");
            let mut reader = from.send(line);
            database.wait_for_lock_waiters(1);
            open_slot(&from, &to);
            if is_over {
                close_slot(&from, &to);
            }
            lock.rollback();
            let reply = reader.receive();
            assert!(
                reply == expected(line) || reply.text().starts_with("TRYAGAIN "),
                "{line}: {reply:?}"
            );
            assert_eq!(from.run("DBSIZE"), int(0), "{line}");
            if !is_over {
                assert_eq!(from.cmd(&migrate(&to, &["users:1"])), Reply::Status("NOKEY".into()));
                close_slot(&from, &to);
            }
            database.execute("update users set username = 'u2', email = 'u2@x'");
            assert_eq!(to.run("HGET users:1 username"), bulk("u2"));
        }
    }
}

/// A key whose braces are no tag. Its row is answered by a name in the key's own slot.
#[test]
fn a_row_that_cannot_be_cached_is_answered_whatever_its_key() {
    let sql = "create table texts (id text primary key, name text);
               insert into texts select n || '}b', 'n' || n from generate_series(1, 100) n";
    let mapping = json!({ "table": "texts", "read_through": true });
    let (from, _to) = nodes(|builder| builder.sql(sql).mapping(mapping.clone()));
    assert_eq!(from.run("CONFIG SET maxmemory 1"), ok());
    let slot = |key: &str| from.run(&format!("CLUSTER KEYSLOT {key}")).int();
    let is_here = |key: &str| (slot(key) < 8192) == (slot("users:1") < 8192);
    // Only the whole key is of this node, not what is before its brace.
    let elsewhere = |n: &i32| is_here(&format!("texts:{n}}}b")) && !is_here(&format!("texts:{n}"));
    let found: Vec<i32> = (1..=100).filter(elsewhere).collect();
    assert!(!found.is_empty());
    for n in found {
        let key = format!("texts:{n}}}b");
        assert_eq!(from.run(&format!("HGET {key} name")), bulk(format!("n{n}")), "{key}");
    }
    assert_eq!(from.run("DBSIZE"), int(0));
}
