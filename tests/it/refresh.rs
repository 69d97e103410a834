//! `WT.REFRESH key …`: rows into the cache.

use serde_json::json;

use crate::support::*;

fn add_directly(s: &Stack, ids: &str) {
    s.execute(&format!(
        "insert into users (id, username, email, password_hash)
         select n, 'u' || n, 'u' || n || '@example.com', 'h' from unnest('{{{ids}}}'::int[]) n"
    ));
}

#[test]
fn rows_are_loaded_and_counted() {
    let s = Stack::users().start();
    add_directly(&s, "1,2,3");
    assert_eq!(s.run("WT.REFRESH users:1"), int(1));
    s.assert_user_cached(1);
    assert_eq!(s.run("WT.REFRESH users:1 users:2 users:9 users:3"), int(3));
    assert_eq!(s.keys(), ["users:1", "users:2", "users:3"]);
    (1..=3).for_each(|id| s.assert_user_cached(id));
}

#[test]
fn what_another_program_changed_comes_into_the_cache() {
    let s = Stack::users().start();
    s.add_user(1);
    s.add_user(2);
    s.execute("update users set username = 'new', first_name = 'Ann' where id = 1");
    assert_eq!(s.run("HSET users:2 last Ghost"), int(1));
    let rows = s.database.rows("select xmin, * from users order by id");
    assert_eq!(s.run("WT.REFRESH users:1 users:2"), int(2));
    (1..=2).for_each(|id| s.assert_user_cached(id));
    assert_eq!(s.database.rows("select xmin, * from users order by id"), rows, "it only reads");
}

#[test]
fn a_missing_row_evicts() {
    let s = Stack::users().start();
    s.add_user(1);
    s.add_user(2);
    s.execute("delete from users where id = 1");
    assert_eq!(s.run("WT.REFRESH users:1"), int(0));
    assert_eq!(s.keys(), ["users:2"]);
    assert_eq!(s.run("WT.REFRESH users:1"), int(0), "and again");
}

#[test]
fn many_keys_of_several_mappings() {
    let lines = "create table order_lines (order_id int, line int, what text,
            primary key (order_id, line));
        insert into order_lines select n, n % 3, 'w' || n from generate_series(1, 1000) n";
    let s = Stack::users().sql(lines).mapping(json!({ "table": "order_lines" })).start();
    add_directly(&s, "1");
    let mut words = vec!["WT.REFRESH".to_string(), "users:1".into(), "users:2".into()];
    words.extend((1..=1200).map(|n| format!("order_lines:{n}:{}", n % 3)));
    assert_eq!(s.cmd(&words), int(1001));
    assert_eq!(s.run("DBSIZE"), int(1001));
    let expected = hash(&[("order_id", "777"), ("line", "0"), ("what", "w777")]);
    assert_eq!(s.hgetall("order_lines:777:0"), expected);
}

#[test]
fn what_is_no_cached_key_is_refused() {
    let s = Stack::users().start();
    s.add_user(1);
    for line in [
        "WT.REFRESH nobody:1",
        "WT.REFRESH users",
        "WT.REFRESH users:",
        "WT.REFRESH __{users:1}",
        "WT.REFRESH users:1 nobody:1",
    ] {
        s.assert_line_refused(line, "ERR writethrough: ");
    }
    s.assert_line_refused("WT.REFRESH users:abc", "");
    s.assert_line_refused("WT.REFRESH", "ERR wrong number of arguments for 'wt.refresh' command");
}

/// Who gives the staged key, or forgets its braces as well, is told the plain key.
#[test]
fn a_staged_key_is_answered_with_its_plain_key() {
    let s = Stack::users().start();
    for key in ["__{users:1}", "__users:1"] {
        let text = s.assert_line_refused(&format!("WT.REFRESH {key}"), "ERR writethrough: ");
        let expected = format!("\"{key}\" is no cached key; give the plain key, \"users:1\"");
        assert!(text.ends_with(&expected), "{text}");
    }
}

/// `users:01` is no second copy of the row.
#[test]
fn another_spelling_of_an_id_finds_no_row() {
    let s = Stack::users().start();
    add_directly(&s, "1");
    let reply = s.run("WT.REFRESH users:01");
    assert!(reply.is_error() || reply == int(0), "{reply:?}");
    assert_eq!(s.run("DBSIZE"), int(0));
}

#[test]
fn it_comes_after_the_write_in_flight_before_it() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let mut writer = s.send("HSET __{users:1} username new");
    s.database.wait_for_lock_waiters(1);
    let mut reader = s.send("WT.REFRESH users:1");
    s.wait_for_blocked(2);
    assert_eq!(s.run("PING"), Reply::Status("PONG".into()));
    lock.rollback();
    assert_eq!(writer.receive(), int(0));
    assert_eq!(reader.receive(), int(1));
    assert_eq!(s.hgetall("users:1")["username"], "new");
    s.assert_user_cached(1);
}

#[test]
fn kept_fields_stay_and_the_time_to_live_is_set() {
    let s = Stack::users().with("unmapped", "keep").with("ttl", 1000).start();
    s.add_user(1);
    assert_eq!(s.run("HSET __{users:1} nick n"), int(1));
    s.execute("update users set first_name = 'Ann'");
    assert_eq!(s.run("WT.REFRESH users:1"), int(1));
    assert_eq!(s.run("HMGET users:1 first nick").text(), "Ann n");
    assert!((1..=1000).contains(&s.run("TTL users:1").int()));
}

#[test]
fn in_a_transaction_and_a_script() {
    let s = Stack::users().start();
    add_directly(&s, "1,2");
    let replies = transaction(&mut s.conn(), &["WT.REFRESH users:1", "HGET users:1 username"]);
    assert_eq!(replies, [int(1), bulk("u1")]);
    let script =
        "return {redis.call('WT.REFRESH', KEYS[1]), redis.call('HGET', KEYS[1], 'username')}";
    let reply = s.cmd(&["EVAL", script, "1", "users:2"]);
    assert_eq!(reply, Reply::Array(vec![int(1), bulk("u2")]));
}
