//! What the document's options change: the prefix, the database index, unmapped fields, the TTL.

use crate::support::*;

#[test]
fn another_prefix() {
    let s = Stack::users().option("prefix", "wt.").start();
    assert_eq!(s.run("HSET wt.{users:1} username a email a@x pwhash h"), int(3));
    assert_eq!(s.count("users"), 1);
    assert_eq!(s.run("HSET __{users:1} anything x"), int(1), "the default prefix is plain now");
    assert_eq!(s.keys(), ["__{users:1}", "users:1"]);
}

#[test]
fn only_the_chosen_database_index_writes_through() {
    let s = Stack::users().option("db", 1).start();
    let mut one = s.conn();
    assert_eq!(one.run("SELECT 1"), ok());
    assert_eq!(one.run("HSET __{users:1} username a email a@x pwhash h"), int(3));
    assert_eq!(one.run("HGET users:1 username"), bulk("a"));
    assert_eq!(one.run("DBSIZE"), int(1));
    assert_eq!(s.run("DBSIZE"), int(0));
    s.assert_line_refused("HSET __{users:2} username b email b@x pwhash h", "ERR writethrough: ");
}

#[test]
fn an_unmapped_field_can_be_kept_in_redis_only() {
    let s = Stack::users().with("unmapped", "keep").start();
    assert_eq!(s.run("HSET __{users:1} username a email a@x pwhash h nick ann"), int(4));
    assert_eq!(s.hgetall("users:1")["nick"], "ann");
    assert_eq!(s.run("HSET __{users:1} nick bob"), int(0));
    assert_eq!(s.run("HSET __{users:1} username b"), int(0));
    let mut expected = user_row(&s, 1);
    expected.insert("nick".into(), "bob".into());
    assert_eq!(s.hgetall("users:1"), expected, "a later write leaves it");
    assert_eq!(s.run("EXISTS __{users:1}"), int(0));
}

#[test]
fn a_refused_write_keeps_no_unmapped_field_either() {
    let s = Stack::users().with("unmapped", "keep").start();
    s.add_user(1);
    s.assert_line_refused("HSET __{users:1} nick ann dob soon", "WTERR 22007 ");
}

#[test]
fn a_ttl_starts_again_with_each_write() {
    let s = Stack::users().with("ttl", 1000).start();
    s.add_user(1);
    assert!((1..=1000).contains(&s.run("TTL users:1").int()));
    assert_eq!(s.run("EXPIRE users:1 10"), int(1));
    assert_eq!(s.run("HSET __{users:1} username b"), int(0));
    assert!((11..=1000).contains(&s.run("TTL users:1").int()));
    assert_eq!(s.run("MULTI"), ok());
    s.run("HSET __{users:2} username c email c@x pwhash h");
    s.run("EXEC");
    assert!((1..=1000).contains(&s.run("TTL users:2").int()), "the synchronous path, too");
}

#[test]
fn without_a_ttl_a_key_lives_for_ever() {
    let s = Stack::users().start();
    s.add_user(1);
    assert_eq!(s.run("TTL users:1"), int(-1));
}
