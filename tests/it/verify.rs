//! `WT.VERIFY name [REPAIR] [SAMPLE n]`: the cache held against the table.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::*;

/// The reply as a map, by RESP2's flat list.
#[track_caller]
fn verify(s: &Stack, options: &str) -> BTreeMap<String, Reply> {
    let reply = s.run(&format!("WT.VERIFY {options}"));
    let pairs = reply.array().chunks(2).map(|pair| (pair[0].text(), pair[1].clone()));
    pairs.collect()
}

/// Checked, equal, differing, repaired.
#[track_caller]
fn counts(report: &BTreeMap<String, Reply>) -> [i64; 4] {
    ["checked", "equal", "differing", "repaired"].map(|name| report[name].int())
}

fn keys(report: &BTreeMap<String, Reply>) -> Vec<String> {
    let mut keys: Vec<String> = report["keys"].array().iter().map(Reply::text).collect();
    keys.sort();
    keys
}

#[test]
fn a_cache_that_equals_the_table() {
    let s = Stack::users().start();
    assert_eq!(counts(&verify(&s, "users")), [0; 4], "nothing is cached");
    (1..=20).for_each(|id| s.add_user(id));
    let report = verify(&s, "users");
    assert_eq!(counts(&report), [20, 20, 0, 0]);
    assert_eq!(report["mapping"], bulk("users"));
    assert_eq!(keys(&report), [""; 0]);
    let mut conn = s.conn();
    conn.run("HELLO 3");
    assert!(matches!(conn.run("WT.VERIFY users"), Reply::Map(_)));
}

#[test]
fn differences_of_each_kind_are_found_and_repaired() {
    let s = Stack::users().start();
    (1..=9).for_each(|id| s.add_user(id));
    s.execute("update users set username = 'other' where id = 1");
    s.execute("update users set first_name = 'Ann' where id = 2");
    s.execute("delete from users where id = 3");
    assert_eq!(s.run("HSET users:4 email forged"), int(0));
    assert_eq!(s.run("HSET users:5 last Ghost"), int(1));
    assert_eq!(s.run("HDEL users:6 username"), int(1));
    assert_eq!(s.run("HSET users:77 username nobody"), int(1));
    assert_eq!(s.run("HSET users:8 nickname x"), int(1));
    assert_eq!(s.run("DEL users:7"), int(1));
    let before = s.state();
    let differing =
        ["users:1", "users:2", "users:3", "users:4", "users:5", "users:6", "users:77", "users:8"];
    let report = verify(&s, "users");
    assert_eq!(counts(&report), [9, 1, 8, 0], "what isn't cached isn't wrong: {report:?}");
    assert_eq!(keys(&report), differing);
    assert_eq!(s.state(), before, "without REPAIR it only looks");

    let rows = s.database.rows("select xmin, * from users order by id");
    let report = verify(&s, "users REPAIR");
    assert_eq!(counts(&report), [9, 1, 8, 8]);
    assert_eq!(keys(&report), differing);
    assert_eq!(s.database.rows("select xmin, * from users order by id"), rows, "the table rules");
    for id in [1, 2, 3, 4, 5, 6, 8, 9, 77] {
        s.assert_user_cached(id);
    }
    assert_eq!(s.run("EXISTS users:3 users:7 users:77"), int(0));
    assert_eq!(counts(&verify(&s, "users")), [7, 7, 0, 0]);
}

#[test]
fn only_the_first_differing_keys_are_listed() {
    let s = Stack::users().start();
    (1..=60).for_each(|id| s.add_user(id));
    s.execute("update users set first_name = 'x'");
    let report = verify(&s, "users REPAIR");
    assert_eq!(counts(&report), [60, 0, 60, 60]);
    let listed = keys(&report).len();
    assert!((1..60).contains(&listed), "{listed}");
    (1..=60).for_each(|id| s.assert_user_cached(id));
}

#[test]
fn more_keys_than_a_batch_takes() {
    let s = Stack::users().option("batch_max", 100).start();
    s.execute(
        "insert into users (id, username, email, password_hash)
         select n, 'u' || n, 'e' || n, 'h' from generate_series(1, 3000) n",
    );
    let mut words = vec!["WT.REFRESH".to_string()];
    words.extend((1..=3000).map(|id| format!("users:{id}")));
    assert_eq!(s.cmd(&words), int(3000));
    s.execute("update users set first_name = 'x' where id % 1000 = 0");
    let report = verify(&s, "users REPAIR");
    assert_eq!(counts(&report), [3000, 2997, 3, 3]);
    assert_eq!(keys(&report), ["users:1000", "users:2000", "users:3000"]);
    assert_eq!(s.run("HGET users:2000 first"), bulk("x"));
}

#[test]
fn a_sample_checks_so_many_keys() {
    let s = Stack::users().start();
    (1..=40).for_each(|id| s.add_user(id));
    assert_eq!(counts(&verify(&s, "users SAMPLE 10")), [10, 10, 0, 0]);
    assert_eq!(counts(&verify(&s, "users sample 1000 repair")), [40, 40, 0, 0]);
    s.execute("update users set first_name = 'x'");
    assert_eq!(counts(&verify(&s, "users REPAIR SAMPLE 5")), [5, 0, 5, 5]);
    let repaired = (1..=40).filter(|id| s.hgetall(&format!("users:{id}")).contains_key("first"));
    assert_eq!(repaired.count(), 5);
}

#[test]
fn only_the_named_mapping_is_checked() {
    let s = Stack::users()
        .sql("create table users2 (id int primary key, v text)")
        .mapping(json!({ "table": "users2" }))
        .start();
    s.add_user(1);
    assert_eq!(s.run("HSET __{users2:1} v a"), int(1));
    assert_eq!(s.run("HSET users v a"), int(1));
    assert_eq!(s.run("HSET other:users:1 v a"), int(1));
    s.execute("update users set first_name = 'x'; update users2 set v = 'b'");
    let report = verify(&s, "users REPAIR");
    assert_eq!((counts(&report), keys(&report)), ([1, 0, 1, 1], vec!["users:1".to_string()]));
    assert_eq!(s.run("HGET users2:1 v"), bulk("a"));
    assert_eq!(s.run("EXISTS users other:users:1"), int(2));
}

#[test]
fn fields_that_are_kept_in_redis_only_are_no_difference() {
    let s = Stack::users().with("unmapped", "keep").start();
    s.add_user(1);
    assert_eq!(s.run("HSET __{users:1} nick n"), int(1));
    assert_eq!(counts(&verify(&s, "users")), [1, 1, 0, 0]);
    s.execute("update users set first_name = 'x'");
    assert_eq!(counts(&verify(&s, "users REPAIR")), [1, 0, 1, 1]);
    assert_eq!(s.run("HMGET users:1 nick first").text(), "n x", "REPAIR leaves them");
}

/// Hashes of that name that stand for no row at all don't stop it.
#[test]
fn a_key_with_an_id_of_the_wrong_type_is_a_difference() {
    let s = Stack::users().start();
    (1..=3).for_each(|id| s.add_user(id));
    for key in ["users:abc", "users:01", "users:99999999999"] {
        assert_eq!(s.cmd(&["HSET", key, "username", "x"]), int(1));
    }
    assert_eq!(s.cmd(&[b"HSET".as_slice(), b"users:\xff", b"a", b"b"]), int(1));
    assert_eq!(s.run("SET users:5 text"), ok());
    let report = verify(&s, "users");
    assert_eq!(report["equal"], int(3), "{report:?}");
    assert!(report["differing"].int() >= 3, "{report:?}");
    verify(&s, "users REPAIR");
    assert_eq!(s.run("EXISTS users:01"), int(0));
    (1..=3).for_each(|id| s.assert_user_cached(id));
}

#[test]
fn a_composite_key_and_values_of_any_bytes() {
    let sql = "create table blobs (a int, b text, body bytea, ok boolean, made timestamptz,
        primary key (a, b))";
    let s = Stack::new().sql(sql).mapping(json!({ "table": "blobs" })).start();
    let body: Vec<u8> = (0..=255).collect();
    for id in ["1:x", "1:x:y", "2:*", "2:[a]"] {
        let key = format!("__{{blobs:{id}}}");
        let words = [b"HSET".as_slice(), key.as_bytes(), b"body", &body, b"ok", b"yes"];
        assert_eq!(s.cmd(&words), int(2));
        assert_eq!(s.cmd(&["HSET", &key, "made", "2024-01-01 12:00+01"]), int(1));
    }
    assert_eq!(counts(&verify(&s, "blobs")), [4, 4, 0, 0]);
    s.execute(r"update blobs set body = '\x00' where b = 'x:y'");
    let report = verify(&s, "blobs REPAIR");
    assert_eq!((counts(&report), keys(&report)), ([4, 3, 1, 1], vec!["blobs:1:x:y".to_string()]));
    assert_eq!(s.run("HGET blobs:1:x:y body"), bulk(b"\0"));
}

#[test]
fn wrong_words_are_refused() {
    let s = Stack::users().start();
    s.add_user(1);
    for line in [
        "WT.VERIFY nobody",
        "WT.VERIFY users:1",
        "WT.VERIFY users SAMPLE",
        "WT.VERIFY users SAMPLE 0",
        "WT.VERIFY users SAMPLE -1",
        "WT.VERIFY users SAMPLE many",
        "WT.VERIFY users FIX",
    ] {
        s.assert_line_refused(line, "ERR ");
    }
    let text = s.assert_line_refused("WT.VERIFY user", "ERR writethrough: ");
    assert!(text.contains("users"), "a suggestion: {text}");
    s.assert_line_refused("WT.VERIFY", "ERR wrong number of arguments for 'wt.verify' command");
}
