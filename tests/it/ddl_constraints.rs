//! A constraint, a key or a trigger comes to a table that is in use.

use serde_json::json;

use crate::ddl::{items, touch, ITEMS};
use crate::support::*;

#[test]
fn not_null_is_added() {
    let s = items();
    s.execute("alter table items alter name set not null, alter stock set not null");
    assert_eq!(s.run("HSET __{items:1} stock 6"), int(0), "a partial write");
    s.assert_row_cached("items", 1);
    s.assert_line_refused("HSET __{items:9} stock 6", "WTERR 23502 ");
    s.assert_line_refused("HDEL __{items:1} name", "WTERR 23502 ");
    assert_eq!(s.run("HINCRBY __{items:1} stock 1"), int(7));
    s.execute("alter table items alter name drop not null");
    touch_without_nulls(&s);
}

#[track_caller]
fn touch_without_nulls(s: &Stack) {
    assert_eq!(s.run("HSET __{items:9} stock 6"), int(1));
    assert_eq!(s.run("HDEL __{items:1} name"), int(1));
    s.assert_row_cached("items", 9);
    s.assert_row_cached("items", 1);
}

#[test]
fn a_check_is_added() {
    let s = Stack::new().sql(ITEMS).mapping(json!({ "table": "items" })).one_worker().start();
    assert_eq!(s.run("HSET __{items:1} name lamp stock 5"), int(2));
    s.execute("alter table items add check (stock >= 0), add check (name <> 'bad' or stock > 100)");
    // Alone, each write meets it at once; before two are merged it must be known.
    s.assert_line_refused("HSET __{items:1} stock -1", "WTERR 23514 ");
    s.assert_line_refused("HINCRBY __{items:1} stock -6", "WTERR 23514 ");
    let lines = [
        "HSET __{items:1} stock -1",
        "HSET __{items:1} stock 3",
        "HSET __{items:1} name bad",
        "HSET __{items:1} name good",
        "HINCRBY __{items:1} stock -4",
        "HINCRBY __{items:1} stock -2",
        "HINCRBY __{items:1} stock 200",
        "HSET __{items:1} name bad",
        "HINCRBY __{items:1} stock -150",
    ];
    let replies = s.together(&lines.map(str::to_string));
    for (at, expected) in [None, Some(0), None, Some(0), None, Some(1), Some(201), Some(0), None]
        .into_iter()
        .enumerate()
    {
        match expected {
            Some(n) => assert_eq!(replies[at], int(n), "{}: {replies:?}", lines[at]),
            None => drop(replies[at].assert_error("WTERR 23514 ")),
        }
    }
    s.assert_row_cached("items", 1);
}

/// Statements go on working, and return another row than the table holds then.
#[test]
fn a_trigger_is_added() {
    let s = items();
    s.execute(
        "create function shout() returns trigger language plpgsql as $$ begin
            update items set name = upper(name) where id = new.id and name <> upper(name);
            return null;
         end $$;
         create trigger shout after insert or update on items
            for each row execute function shout()",
    );
    eventually("the trigger is noticed", || {
        assert!(s.run("HSET __{items:1} name quiet").is_int());
        assert_eq!(s.one("select name from items where id = 1"), "QUIET");
        s.hgetall("items:1") == s.row_of("items", 1)
    });
    assert_eq!(s.run("HSET __{items:2} name loud"), int(0));
    s.assert_row_cached("items", 2);
}

#[test]
fn the_primary_key_is_dropped_and_comes_back() {
    let s = items();
    s.execute("alter table items drop constraint items_pkey");
    let reply = s.run("HSET __{items:1} name x stock 1");
    if reply.is_error() {
        assert_eq!(s.one("select name from items where id = 1"), "desk");
    }
    assert_eq!(s.count("items where id = 1"), 1, "no second row");
    s.execute("alter table items add primary key (id)");
    touch(&s);
}
