//! `HDEL` on a staged key: the columns become NULL.

use serde_json::json;

use crate::support::*;

const SQL: &str = "
create table items (
    id int primary key,
    name text not null default 'thing',
    colour text,
    stock int default 5,
    twice int generated always as (stock * 2) stored,
    check (colour is not null or stock is not null)
)";

fn items() -> Stack {
    let s = Stack::new().sql(SQL).mapping(json!({ "table": "items" })).start();
    assert_eq!(s.run("HSET __{items:1} name lamp colour red stock 1"), int(3));
    s
}

#[test]
fn the_columns_are_null_and_the_reply_counts_the_fields_that_were_there() {
    let s = Stack::users().start();
    s.add_user(1);
    assert_eq!(s.run("HSET __{users:1} first Ann dob 2000-01-01"), int(2));
    assert_eq!(s.run("HDEL __{users:1} first last dob first"), int(2), "last was not there");
    let row = user_row(&s, 1);
    assert!(!row.contains_key("first") && !row.contains_key("dob"), "{row:?}");
    assert_eq!(row["username"], "u1", "no other column changes");
    s.assert_user_cached(1);
    assert_eq!(s.run("HDEL __{users:1} first"), int(0));
    s.assert_user_cached(1);
}

/// As on the plain key: the reply is about `users:1`, the effect about the row.
#[test]
fn an_evicted_key_has_no_fields_and_its_row_loses_them() {
    let s = Stack::users().start();
    s.add_user(1);
    assert_eq!(s.run("HSET __{users:1} first Ann"), int(1));
    assert_eq!(s.run("DEL users:1"), int(1));
    assert_eq!(s.run("HDEL __{users:1} first"), int(0));
    assert!(!user_row(&s, 1).contains_key("first"));
    let cached = s.hgetall("users:1");
    assert!(cached.is_empty() || cached == user_row(&s, 1), "{cached:?}");
}

#[test]
fn a_missing_row_is_not_inserted() {
    let s = items();
    assert_eq!(s.run("HDEL __{items:9} colour"), int(0));
    assert_eq!(s.count("items"), 1);
    assert_eq!(s.keys(), ["items:1"]);
    // Another program deleted the row, and the cache doesn't know yet.
    s.execute("delete from items");
    assert!(s.run("HDEL __{items:1} colour").is_int());
    assert_eq!(s.count("items"), 0);
    s.assert_row_cached("items", 1);
}

#[test]
fn a_column_that_must_not_be_null_refuses() {
    let s = items();
    let text = s.assert_line_refused("HDEL __{items:1} name", "WTERR 23502 ");
    assert!(text.contains(" column=name"), "{text}");
    s.assert_line_refused("HDEL __{items:1} colour name", "WTERR 23502 ");
    s.assert_line_refused("HDEL __{items:1} colour stock", "WTERR 23514 ");
    assert_eq!(s.run("HDEL __{items:1} stock"), int(1), "to NULL, not to its default");
    assert_eq!(s.hgetall("items:1"), hash(&[("id", "1"), ("name", "lamp"), ("colour", "red")]));
    s.assert_row_cached("items", 1);
}

of_the_staged_key! {
#[test]
fn what_has_no_column_of_its_own_to_clear_is_refused() {
    let s = items();
    s.assert_line_refused("HDEL __{items:1} id", "ERR writethrough: ");
    s.assert_line_refused("HDEL __{items:1} colour id", "ERR writethrough: ");
    let text = s.assert_line_refused("HDEL __{items:1} color", "ERR writethrough: ");
    assert!(text.contains("color"), "{text}");
    s.assert_line_refused("HDEL __{nobody:1} colour", "ERR writethrough: ");
    s.assert_line_refused("HDEL __{items:x} colour", "WTERR 22P02 ");
    let text = s.assert_line_refused("HDEL __{items:1} twice", "");
    assert!(text.starts_with("WTERR 428C9 ") || text.starts_with("ERR writethrough: "), "{text}");
}
}

#[test]
fn a_field_that_is_kept_in_redis_only_leaves_redis_only() {
    let s = Stack::users().with("unmapped", "keep").start();
    s.add_user(1);
    assert_eq!(s.run("HSET __{users:1} nick a pet b first Ann"), int(3));
    let before = s.row("select * from users");
    assert_eq!(s.run("HDEL __{users:1} nick nick never"), int(1));
    assert_eq!(s.row("select * from users"), before);
    assert_eq!(s.run("HMGET users:1 nick pet").text(), "(nil) b");
    assert_eq!(s.run("HDEL __{users:1} pet first last"), int(2), "together with columns");
    assert_eq!(s.hgetall("users:1"), user_row(&s, 1));
    assert!(!user_row(&s, 1).contains_key("first"));
}

#[test]
fn many_rows_in_one_batch() {
    let s = Stack::users().one_worker().start();
    (1..=6).for_each(|id| s.add_user(id));
    (1..=6).for_each(|id| assert_eq!(s.run(&format!("HSET __{{users:{id}}} first f")), int(1)));
    let lines = [
        "HDEL __{users:1} first",
        "HDEL __{users:2} first last",
        "HDEL __{users:3} username",
        "HDEL __{users:4} first",
        "HDEL __{users:4} first",
        "HDEL __{users:99} first",
        "HDEL __{users:5} last",
    ];
    let replies = s.together(&lines.map(str::to_string));
    assert_eq!(replies[..2], [int(1), int(1)]);
    replies[2].assert_error("WTERR 23502 ");
    assert_eq!(replies[3..], [1, 0, 0, 0].map(int));
    (1..=6).for_each(|id| s.assert_user_cached(id));
    assert_eq!(s.count("users where first_name is null"), 3);
    assert_eq!(s.count("users"), 6);
}
