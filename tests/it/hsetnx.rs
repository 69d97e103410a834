//! `HSETNX` on a staged key: set where the column is NULL or the row is missing, as the database
//! has it, not as the cache does.

use serde_json::json;

use crate::support::*;

#[test]
fn a_null_column_is_set_and_a_value_is_left() {
    let s = Stack::users().start();
    s.add_user(1);
    assert_eq!(s.run("HSETNX __{users:1} first Ann"), int(1));
    s.assert_user_cached(1);
    let before = s.row("select xmin, * from users");
    assert_eq!(s.run("HSETNX __{users:1} first Bob"), int(0));
    assert_eq!(s.run("HSETNX __{users:1} username other"), int(0));
    assert_eq!(s.row("select xmin, * from users"), before, "not even rewritten");
    assert_eq!(s.hgetall("users:1")["first"], "Ann");
    s.assert_user_cached(1);
}

#[test]
fn a_missing_row_is_inserted() {
    let sql = "create table items (id int primary key, name text, code text default 'c')";
    let s = Stack::new().sql(sql).mapping(json!({ "table": "items" })).start();
    assert_eq!(s.run("HSETNX __{items:1} name a"), int(1));
    assert_eq!(s.hgetall("items:1"), hash(&[("id", "1"), ("name", "a"), ("code", "c")]));
    assert_eq!(s.run("HSETNX __{items:1} code d"), int(0), "the default is a value");
    assert_eq!(s.run("HSETNX __{items:2} code d"), int(1), "there was no row");
    (1..=2).for_each(|id| s.assert_row_cached("items", id));
}

#[test]
fn the_row_decides_where_the_cache_is_empty() {
    let s = Stack::users().start();
    s.add_user(1);
    assert_eq!(s.run("HSET __{users:1} first Ann"), int(1));
    assert_eq!(s.run("DEL users:1"), int(1));
    assert_eq!(s.run("HSETNX __{users:1} first Bob"), int(0));
    assert_eq!(s.one("select first_name from users"), "Ann");
    let cached = s.hgetall("users:1");
    assert!(cached.is_empty() || cached == user_row(&s, 1), "{cached:?}");
    assert_eq!(s.run("DEL users:1"), int(i64::from(!cached.is_empty())));
    assert_eq!(s.run("HSETNX __{users:1} last Lee"), int(1));
    s.assert_user_cached(1);
}

of_the_staged_key! {
#[test]
fn the_row_decides_where_the_cache_is_wrong() {
    let s = Stack::users().start();
    s.add_user(1);
    assert_eq!(s.run("HSET users:1 first Ghost"), int(1));
    assert_eq!(s.run("HSETNX __{users:1} first Ann"), int(1), "it was NULL");
    s.assert_user_cached(1);
    s.execute("update users set last_name = 'Lee'");
    assert_eq!(s.run("HSETNX __{users:1} last Ann"), int(0), "it was not NULL");
    assert_eq!(s.one("select last_name from users"), "Lee");
}
}

#[test]
fn an_empty_value_is_a_value() {
    let s = Stack::users().start();
    s.add_user(1);
    assert_eq!(s.cmd(&["HSETNX", "__{users:1}", "first", ""]), int(1));
    assert_eq!(s.run("HSETNX __{users:1} first Ann"), int(0));
    assert_eq!(s.hgetall("users:1")["first"], "");
    s.assert_user_cached(1);
}

of_the_staged_key! {
#[test]
fn a_refusal_changes_nothing() {
    let s = Stack::users().start();
    s.add_user(1);
    s.execute("alter table users alter email drop not null");
    s.execute("update users set email = null");
    s.add_user(2);
    let text = s.assert_line_refused("HSETNX __{users:1} email u2@example.com", "WTERR 23505 ");
    assert!(text.contains(" constraint=users_email_key"), "{text}");
    s.assert_line_refused("HSETNX __{users:3} username new", "WTERR 23502 ");
    s.assert_line_refused("HSETNX __{users:1} dob soon", "WTERR 22007 ");
    s.assert_line_refused("HSETNX __{users:1} usrname x", "ERR writethrough: ");
    s.assert_line_refused("HSETNX __{users:01} first x", "ERR writethrough: ");
    s.assert_line_refused("HSETNX __{nobody:1} first x", "ERR writethrough: ");
    assert_eq!(s.run("HSETNX __{users:1} email free@example.com"), int(1));
    s.assert_user_cached(1);
}
}

#[test]
fn the_key_is_never_null() {
    let sql = "create table items (id int primary key, name text)";
    let s = Stack::new().sql(sql).mapping(json!({ "table": "items" })).start();
    s.assert_line_refused("HSETNX __{items:1} id 1", "ERR writethrough: ");
    assert_eq!(s.count("items"), 0);
}

#[test]
fn of_many_clients_one_sets_it() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let mut conns: Vec<Conn> = (0..40).map(|_| s.conn()).collect();
    for (n, conn) in conns.iter_mut().enumerate() {
        conn.send_line(&format!("HSETNX __{{users:1}} first n{n}"));
    }
    let replies: Vec<i64> = conns.iter_mut().map(|conn| conn.receive().int()).collect();
    assert_eq!(replies.iter().sum::<i64>(), 1, "{replies:?}");
    let winner = replies.iter().position(|reply| *reply == 1).expect("a winner");
    assert_eq!(s.one("select first_name from users"), format!("n{winner}"));
    s.assert_user_cached(1);
}

#[test]
fn in_one_batch_the_first_sets_it() {
    let s = Stack::users().one_worker().start();
    s.add_user(1);
    s.add_user(2);
    assert_eq!(s.run("HSET __{users:2} first Zoe"), int(1));
    let lines = [
        "HSETNX __{users:1} first a",
        "HSETNX __{users:2} first b",
        "HSETNX __{users:1} first c",
        "HSETNX __{users:1} last d",
        "HSETNX __{users:1} dob never",
        "HSETNX __{users:1} dob 2024-01-01",
    ];
    let replies = s.together(&lines.map(str::to_string));
    assert_eq!(replies[..4], [1, 0, 0, 1].map(int));
    replies[4].assert_error("WTERR 22007 ");
    assert_eq!(replies[5], int(1));
    assert_eq!(s.one("select first_name || last_name from users where id = 1"), "ad");
    (1..=2).for_each(|id| s.assert_user_cached(id));
}
