//! `HSET __users:1 …`, the braces forgotten: no ordinary key is made in silence.

use serde_json::json;

use crate::support::*;

const REFUSAL: &str =
    r#"ERR writethrough: "__users:1" lacks the braces of a staged key; write to "__{users:1}""#;

#[test]
fn what_writes_a_hash_is_told_the_right_spelling() {
    let s = Stack::users().start();
    s.add_user(1);
    assert_eq!(s.run("HSET draft first x"), int(1));
    for line in [
        "HSET __users:1 first x",
        "hset __users:1 first x last y",
        "HMSET __users:1 first x",
        "HSETNX __users:1 first x",
        "HINCRBY __users:1 first 1",
        "HINCRBYFLOAT __users:1 first 1",
        "HDEL __users:1 first",
        "RENAME draft __users:1",
        "RENAMENX draft __users:1",
        "COPY draft __users:1",
        "WT.HSET __users:1 first x",
    ] {
        assert_eq!(s.assert_line_refused(line, "ERR"), REFUSAL, "{line}");
    }
    assert_eq!(s.info_int("writes_refused_bad_input"), 11);
    let key = format!("__users:{}", "x".repeat(100));
    let text = s.assert_refused(&["HSET", &key, "first", "x"], "ERR writethrough: \"__users:xxx");
    assert!(text.contains("write to \"__{users:xxx"), "{text}");
}

#[test]
fn in_transactions_and_scripts() {
    let s = Stack::users().start();
    let replies = transaction(&mut s.conn(), &["HSET __users:1 first x", "SET a b"]);
    assert_eq!(replies, [error(REFUSAL), ok()]);
    let script = "return redis.pcall('HSET', KEYS[1], 'first', 'x')";
    let reply = s.cmd(&["EVAL", script, "1", "__users:1"]);
    assert!(reply.error().starts_with(REFUSAL), "{reply:?}");
    assert_eq!(s.keys(), ["a"]);
}

/// Who reads what became of a write in a stream finds it there.
#[test]
fn it_is_acknowledged() {
    let s = Stack::users().start();
    assert_eq!(s.run("HSET __users:1 # =u-1 first x"), error(REFUSAL));
    let told = s.run("XRANGE {users:1}u-1 - +").text();
    assert!(told.contains("failed") && told.contains("lacks the braces"), "{told}");
}

#[test]
fn one_that_is_there_is_read_and_deleted() {
    let s = Stack::users().without_module().start();
    assert_eq!(s.run("HSET __users:1 first x"), int(1));
    assert_eq!(s.run("HSET __users:2 first x"), int(1));
    assert_eq!(s.run("HSET __users:3 first x"), int(1));
    assert_eq!(s.load(), ok());
    s.assert_line_refused("HSET __users:1 first y", "ERR writethrough: ");
    assert_eq!(s.run("HGET __users:1 first"), bulk("x"));
    assert_eq!(s.run("RENAME __users:1 elsewhere"), ok());
    assert_eq!(s.run("DEL __users:2"), int(1));
    assert_eq!(s.run("UNLINK __users:3 __users:4"), int(1));
    assert_eq!(s.keys(), ["elsewhere"]);
}

#[test]
fn other_names_are_ordinary() {
    let odd = json!({ "table": "users", "name": "__odd" });
    let s = Stack::users().mapping(odd).mapping(json!({ "table": "users", "name": "odd" })).start();
    for key in ["__nobody:1", "__users", "_users:1", "users:1", "x__users:1", "__odd:1"] {
        assert_eq!(s.cmd(&["HSET", key, "first", "x"]), int(1), "{key}");
    }
    assert_eq!(s.run("HGET __odd:1 first"), bulk("x"));
    s.assert_line_refused("HSET __users:1", "ERR wrong number of arguments for 'hset' command");
}

/// As with staged keys: the user needs the module's command and the key.
#[test]
fn rights_come_first() {
    let s = Stack::users().start();
    for (name, rules) in [("plain", "~* +@all -wt.hset"), ("other", "~other* +@all")] {
        s.user(name, rules).run("HSET __users:1 first x").assert_error("NOPERM ");
    }
    assert!(s.keys().is_empty());
}

#[test]
fn a_replica_takes_what_its_master_sends() {
    let master = Stack::users().without_module().start();
    let replica = Stack::users().start();
    assert_eq!(replica.run(&format!("REPLICAOF 127.0.0.1 {}", master.redis.port())), ok());
    assert_eq!(master.run("HSET __users:1 first x"), int(1));
    eventually("it is there", || replica.run("HGET __users:1 first") == bulk("x"));
}

#[test]
fn the_prefix_may_be_another() {
    let s = Stack::users().option("prefix", "w:").start();
    let text = s.assert_line_refused("HSET w:users:1 first x", "ERR writethrough: ");
    assert!(text.ends_with(r#"write to "w:{users:1}""#), "{text}");
    assert_eq!(s.run("HSET __users:1 first x"), int(1));
}
