//! `plain_writes`: what becomes of a write to `users:1` itself.

use serde_json::json;

use crate::other_ways::{known, prepared};
use crate::support::*;

fn through() -> Builder {
    Stack::users().with("plain_writes", "through")
}

#[test]
fn a_plain_key_is_written_through() {
    let s = through().start();
    let line = "HSET users:1 username john email john@example.com pwhash x";
    assert_eq!(s.run(line), int(3));
    assert_eq!(s.one("select username from users"), "john");
    s.assert_user_cached(1);
    assert_eq!(s.run("HMSET users:1 first John"), ok());
    assert_eq!(s.run("HSETNX users:1 first Jim"), int(0));
    assert_eq!(s.run("HDEL users:1 first last"), int(1));
    s.assert_user_cached(1);
    // The staged key goes on working.
    assert_eq!(s.run("HSET __{users:1} last Smith"), int(1));
    assert_eq!(s.run("HSET users:1 last Smyth"), int(0));
    s.assert_user_cached(1);
    s.assert_line_refused("HSET users:1 username x dob never", "WTERR 22007 ");
    s.assert_line_refused(
        "HSET users:1 emial x",
        "ERR writethrough: mapping \"users\" has no field",
    );
    assert_eq!(s.keys(), ["users:1"]);
}

#[test]
fn the_hash_is_the_old_one_until_the_commit() {
    let s = through().start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let mut waiting = s.send("HSET users:1 first John");
    s.wait_for_blocked(1);
    assert_eq!(s.run("HGET users:1 first"), Reply::Nil);
    assert_eq!(s.keys(), ["users:1"], "nothing is staged");
    lock.rollback();
    assert_eq!(waiting.receive(), int(1));
    s.assert_user_cached(1);
}

/// The staged hash of a write before it is another one's.
#[test]
fn behind_a_write_of_the_staged_key() {
    let table = "create table items (id int primary key, name text)";
    let s = Stack::new()
        .sql(table)
        .mapping(json!({ "table": "items", "plain_writes": "through" }))
        .start();
    assert_eq!(s.run("HSET items:1 name old"), int(1));
    for line in ["HSET items:1 name plain", "WT.BATCH 1 4 HSET __{items:1} name batch"] {
        let lock = s.database.hold("select from items where id = 1 for update");
        let mut first = s.send("HSET __{items:1} name staged");
        s.wait_for_blocked(1);
        let mut second = s.send(line);
        s.wait_for_blocked(2);
        lock.rollback();
        assert_eq!(first.receive(), int(0));
        assert!(!second.receive().is_error());
        s.assert_row_cached("items", 1);
    }
    assert_eq!(s.run("HGET items:1 name"), bulk("batch"));
}

#[test]
fn numbers_are_checked_as_redis_does() {
    let s = Stack::new()
        .sql("create table items (id int primary key, n int, x float8)")
        .mapping(json!({ "table": "items", "unmapped": "keep", "plain_writes": "through" }))
        .start();
    assert_eq!(s.run("HINCRBY items:1 n 5"), int(5));
    assert_eq!(s.run("HINCRBYFLOAT items:1 x 0.5"), bulk("0.5"));
    assert_eq!(s.run("HINCRBYFLOAT items:1 x 5e1"), bulk("50.5"));
    for n in ["x", "1.5", "+1", "01", "9223372036854775808"] {
        s.assert_line_refused(&format!("HINCRBY items:1 n {n}"), "ERR value is not an integer or");
        s.assert_line_refused(&format!("HINCRBY items:1 kept {n}"), "ERR value is not an integer");
    }
    for n in ["x", "nan", "1.5x"] {
        s.assert_line_refused(&format!("HINCRBYFLOAT items:1 x {n}"), "ERR value is not a valid");
    }
    assert_eq!(s.run("HINCRBY items:1 kept 2"), int(2));
    assert_eq!(s.run("HINCRBYFLOAT items:1 kept 0.25"), bulk("2.25"));
    assert_eq!(s.run("HSETNX items:1 kept 1"), int(0));
    assert_eq!(s.keys(), ["items:1"]);
}

#[test]
fn what_cannot_be_written_through_is_refused() {
    let s = prepared(through());
    for line in known(&s) {
        let line = line.replace("__{", "").replace('}', "");
        let text = s.assert_line_refused(&line, "ERR writethrough: ");
        assert!(text.contains("can't be written through; a row's key takes HSET"), "{text}");
    }
    s.assert_user_cached(1);
    assert_eq!(s.run("SET string x"), ok());
}

#[test]
fn with_refuse_the_cache_cannot_be_changed_past_the_database() {
    let s = prepared(Stack::users().with("plain_writes", "refuse"));
    let writes = [
        "HSET users:1 first x",
        "HMSET users:1 first x",
        "HSETNX users:1 last x",
        "HINCRBY users:1 n 1",
        "HINCRBYFLOAT users:1 n 1",
        "HDEL users:1 username",
        "RENAME string users:1",
        "RENAMENX string users:1",
        "COPY string users:1 REPLACE",
        "RESTORE users:1 0 x REPLACE",
    ];
    let others = known(&s).into_iter().filter(|line| line.contains("__{users:1}"));
    let others = others.map(|line| line.replace("__{", "").replace('}', ""));
    for line in writes.iter().map(|line| line.to_string()).chain(others) {
        let text = s.assert_line_refused(&line, "ERR writethrough: ");
        assert_eq!(text, "ERR writethrough: users:1 is a row of \"users\"; write to __{users:1}");
    }
    let replies = transaction(&mut s.conn(), &["HSET users:1 first x", "SET a b"]);
    assert!(replies[0].is_error() && replies[1] == ok(), "{replies:?}");
    // Who evicts a key changes nothing of the row.
    assert_eq!(s.run("HSET __{users:1} first x"), int(1));
    assert_eq!(s.run("DEL users:1"), int(1));
    assert_eq!(s.run("HSET __{users:1} last x"), int(1));
    s.assert_user_cached(1);
}

#[test]
fn in_another_database_a_key_is_an_ordinary_one() {
    for mode in ["through", "refuse"] {
        let s = prepared(Stack::users().with("plain_writes", mode));
        let mut other = s.conn();
        assert_eq!(other.run("SELECT 1"), ok());
        assert_eq!(other.run("HSET users:1 any field x y"), int(2));
        assert_eq!(other.run("HINCRBY users:1 n 2"), int(2));
        assert_eq!(other.run("HDEL users:1 x"), int(1));
        assert_eq!(other.run("DEL users:1"), int(1));
        assert_eq!(other.run("SADD users:1 m"), int(1));
        assert_eq!(other.run("SET users:1 text"), ok());
        assert_eq!(other.run("HSET users:1 a b").assert_error("WRONGTYPE "), WRONG_TYPE);
        assert_eq!(other.run("GET users:1"), bulk("text"));
        assert_eq!(other.run("HSET draft first x"), int(1));
        assert_eq!(other.run("RENAME draft users:2"), ok());
        // From there into ours a row's key is not made.
        other.run("COPY users:2 users:3 DB 0").assert_error("ERR writethrough: ");
        assert_eq!(s.run("COPY users:1 users:7 DB 1"), int(1));
        assert_eq!(other.run("HGET users:7 username"), bulk("u1"));
        assert_eq!(s.run("EXISTS users:3 users:7"), int(0));
        s.assert_user_cached(1);
    }
}

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn a_key_whose_id_can_be_no_rows_is_an_ordinary_one() {
    for mode in ["through", "refuse"] {
        let s = Stack::users().with("plain_writes", mode).start();
        assert_eq!(s.run("SADD users:1:idx a"), int(1));
        assert_eq!(s.run("HSET users:1:phantom _class x"), int(1));
        assert_eq!(s.run("SET users:last 7"), ok());
        assert_eq!(s.run("HSET users x y"), int(1));
        assert_eq!(s.run("SADD usersx:1 y"), int(1));
        assert_eq!(s.run("HSET users:1:phantom _class y"), int(0));
        let verified = s.run("WT.VERIFY users REPAIR").text();
        assert!(verified.contains("checked 0"), "{verified}");
        assert_eq!(s.run("HGET users:1:phantom _class"), bulk("y"));
        assert_eq!(s.count("users"), 0);
    }
}

const DOCS: &str = "create table docs (id text primary key, title text)";

#[test]
fn a_pattern_says_which_texts_are_ids() {
    let mapping = json!({ "table": "docs", "plain_writes": "through", "id_pattern": "[a-z]+" });
    let s = Stack::new().sql(DOCS).mapping(mapping).start();
    assert_eq!(s.run("HSET docs:a title x"), int(1));
    assert_eq!(s.run("SADD docs:a:idx m"), int(1));
    assert_eq!(s.run("HSET docs:7 title x"), int(1));
    assert_eq!(s.one("select string_agg(id, ' ') from docs"), "a");
    s.assert_line_refused(
        "HSET __{docs:7} title x",
        r#"ERR writethrough: the id "7" doesn't match the id_pattern of "docs", "[a-z]+""#,
    );
    let wrong = json!({ "table": "docs", "id_pattern": "[a" });
    let log = Stack::new().sql(DOCS).mapping(wrong).try_start().err().expect("a refusal");
    assert!(log.contains(r#"mappings[0].id_pattern: "[a" is no regular expression"#), "{log}");
}

/// It may be another program's, and nobody has said so.
#[test]
fn a_text_that_looks_like_another_programs_key_is_refused() {
    let s = Stack::new()
        .sql(DOCS)
        .mapping(json!({ "table": "docs", "plain_writes": "through", "on_delete": "delete" }))
        .start();
    assert_eq!(s.run("HSET docs:a title x"), int(1));
    for line in ["HSET docs:a:idx title x", "SADD docs:a:idx m", "DEL docs:a:idx"] {
        let text = s.assert_line_refused(line, "ERR writethrough: ");
        assert!(text.ends_with(
            r#""docs:a:idx" may be another program's key; say by id_pattern which ids are rows of "docs""#
        ), "{text}");
    }
    assert_eq!(s.run("HSET __{docs:a:idx} title x"), int(1), "this can only be meant so");
    assert_eq!(s.one("select string_agg(id, ' ' order by id) from docs"), "a a:idx");
}

#[test]
fn a_whole_hash_is_moved_onto_a_plain_key() {
    let s = through().start();
    let draft = |id: i64| {
        let line = format!("HSET draft username u{id} email u{id}@x pwhash h");
        assert_eq!(s.run(&line), int(3));
    };
    draft(1);
    assert_eq!(s.run("RENAME draft users:1"), ok());
    draft(2);
    assert_eq!(s.run("COPY draft users:2"), int(1));
    assert_eq!(s.run("COPY draft users:2"), int(0), "it is there");
    assert_eq!(s.run("RENAMENX draft users:1"), int(0));
    // So is a row that isn't cached.
    assert_eq!(s.run("DEL users:1"), int(1));
    assert_eq!(s.run("RENAMENX draft users:1"), int(0));
    assert_eq!(s.run("COPY draft users:1"), int(0));
    let dump = s.run("DUMP draft");
    let restore = |id: i64, more: &[&[u8]]| {
        let key = format!("users:{id}");
        s.cmd(&[&[b"RESTORE", key.as_bytes(), b"0", dump.bytes()], more].concat())
    };
    restore(1, &[]).assert_error("BUSYKEY ");
    restore(3, &[]).assert_error("WTERR 23505 ");
    assert_eq!(s.run("HSET users:2 username v2 email v2@x"), int(0));
    assert_eq!(restore(3, &[]), ok());
    assert_eq!(s.run("HSET draft username v3 email v3@x"), int(0));
    assert_eq!(s.run("RENAMENX draft users:4"), int(1));
    for id in 1..=4 {
        s.assert_user_cached(id);
    }
    assert_eq!(s.keys(), ["users:1", "users:2", "users:3", "users:4"]);
    assert_eq!(s.run("RENAME users:2 users:2"), ok());
    s.run("RENAME nothing users:2").assert_error("ERR no such key");
    assert_eq!(s.run("COPY nothing users:2"), int(0));
}

#[test]
fn a_refused_move_leaves_what_was_there() {
    let s = through().start();
    s.add_user(1);
    assert_eq!(s.run("HSET draft username u1 email other@x pwhash h"), int(3));
    s.assert_line_refused("RENAME draft users:2", "WTERR 23505 ");
    s.assert_line_refused("COPY draft users:2", "WTERR 23505 ");
    assert_eq!(s.keys(), ["draft", "users:1"]);
    assert_eq!(s.run("SET text x"), ok());
    s.assert_line_refused("RENAME text users:1", "WRONGTYPE ");
}

/// MOVE brings a hash from another database, past the filter.
#[test]
fn what_comes_past_the_database_becomes_the_row() {
    for mode in ["through", "refuse"] {
        let s = Stack::users().with("plain_writes", mode).start();
        s.add_user(1);
        assert_eq!(s.run("DEL users:1"), int(1));
        let mut other = s.conn();
        assert_eq!(other.run("SELECT 1"), ok());
        assert_eq!(other.run("HSET users:1 username forged"), int(1));
        assert_eq!(other.run("HSET users:2 username forged"), int(1));
        assert_eq!(other.run("MOVE users:1 0"), int(1));
        // Valkey 8.1 leaves the client there, when any module listens (valkey-io/valkey#4024).
        assert_eq!(other.run("SELECT 1"), ok());
        assert_eq!(other.run("MOVE users:2 0"), int(1));
        eventually("it is the row", || s.hgetall("users:1") == user_row(&s, 1));
        eventually("there is no such row", || s.run("EXISTS users:2") == int(0));
    }
}

#[test]
fn it_can_change_with_the_document() {
    let s = Stack::users().start();
    assert_eq!(s.run("HSET users:1 any x"), int(1));
    let reload = |mode: &str, on_delete: &str| {
        s.edit_document(|document| {
            document["mappings"][0]["plain_writes"] = mode.into();
            document["mappings"][0]["on_delete"] = on_delete.into();
        });
        s.run("WT.RELOAD")
    };
    assert_eq!(reload("refuse", "evict"), ok());
    s.run("HSET users:1 any y").assert_error("ERR writethrough: users:1 is a row of");
    assert_eq!(reload("through", "evict"), ok());
    s.run("HSET users:1 any y").assert_error("ERR writethrough: mapping \"users\" has no field");
    assert_eq!(s.run("HSET users:1 username a email a@x pwhash h"), int(3));
    assert_eq!(s.run("DEL users:1"), int(1));
    assert_eq!(s.count("users"), 1);
    assert_eq!(reload("through", "delete"), ok());
    assert_eq!(s.run("DEL users:1"), int(1));
    assert_eq!(s.count("users"), 0);
    let wrong =
        "ERR writethrough: mappings[0].on_delete: \"delete\" needs \"plain_writes\": \"through\"";
    assert_eq!(reload("allow", "delete"), error(wrong));
    assert_eq!(s.run("DEL users:1"), int(0));
}

#[test]
fn rights_are_those_of_the_plain_command() {
    let s = through().start();
    s.add_user(1);
    let run = |name: &str, rules: &str| s.user(name, rules).run("HSET users:1 first x");
    for (name, rules) in [
        ("only", "~users:* +wt.hset"),
        ("reads", "%R~users:* +hset +wt.hset +hget"),
        ("other", "~other:* +@all"),
    ] {
        run(name, rules).assert_error("NOPERM ");
        s.assert_user_cached(1);
    }
    assert_eq!(run("may", "~users:* +hset +wt.hset"), int(1));
    s.assert_user_cached(1);
}

#[test]
fn without_memory_nothing_is_written() {
    let s = through().start();
    s.add_user(1);
    assert_eq!(s.run("CONFIG SET maxmemory 1"), ok());
    s.run("HSET users:1 first x").assert_error("OOM ");
    assert_eq!(s.run("CONFIG SET maxmemory 0"), ok());
    s.assert_user_cached(1);
}

#[test]
fn a_client_side_cache_hears_of_a_write() {
    let s = through().start();
    s.add_user(1);
    let mut invalidated = s.conn();
    let id = invalidated.id();
    invalidated.run("SUBSCRIBE __redis__:invalidate");
    let mut conn = s.conn();
    assert_eq!(conn.run(&format!("CLIENT TRACKING ON REDIRECT {id}")), ok());
    assert_eq!(conn.run("HGET users:1 username"), bulk("u1"));
    s.assert_line_refused("HSET users:1 dob never", "WTERR ");
    assert!(!invalidated.has_reply(), "nothing has changed");
    assert_eq!(s.run("HSET users:1 first x"), int(1));
    assert!(format!("{:?}", invalidated.receive()).contains("users:1"));
}

#[test]
fn a_write_is_acknowledged_in_a_stream() {
    let s = through().start();
    assert_eq!(s.run("HSET users:1 # =u-1 username a email a@x pwhash h"), int(3));
    assert_eq!(s.run("XLEN {users:1}u-1"), int(1));
    s.run("HSET users:1 # =u-2 nosuch x").assert_error("ERR writethrough: ");
    let told = s.run("XRANGE {users:1}u-2 - +").text();
    assert!(told.contains("failed") && told.contains("no field"), "{told}");
    assert_eq!(s.run("HSET users:1 # ~"), int(1));
    assert_eq!(s.count("users"), 0);
}

#[test]
fn while_the_database_is_away_from_the_start_nothing_is_written() {
    let s = through().option("url", "postgres://nobody@127.0.0.1:1/none").start();
    s.run("HSET users:1 first x").assert_error("WTDOWN ");
    s.run("HSET users:1:idx first x").assert_error("WTDOWN ");
    assert_eq!(s.run("HSET others:1 first x"), int(1));
    assert_eq!(s.run("DEL users:1"), int(0));
}
