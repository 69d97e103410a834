//! The table changes while the module runs: the next write works by itself.

use serde_json::json;

use crate::support::*;

pub const ITEMS: &str = "create table items (id int primary key, name text, stock int)";

/// With statements prepared for every command, so that each plan can go stale.
pub fn items() -> Stack {
    let s = Stack::new().sql(ITEMS).mapping(json!({ "table": "items" })).start();
    for id in 1..=3 {
        assert_eq!(s.run(&format!("HSET __{{items:{id}}} name lamp stock 5")), int(2));
    }
    touch(&s);
    s
}

/// One of each command; each must work, and leave the row in the cache.
#[track_caller]
pub fn touch(s: &Stack) {
    for (id, line) in [
        (1, "HSET __{items:1} name lamp stock 5"),
        (1, "HSET __{items:1} name desk"),
        (2, "HINCRBY __{items:2} stock 1"),
        (3, "HDEL __{items:3} name"),
        (3, "HSETNX __{items:3} name stool"),
        (4, "HSET __{items:4} name new"),
        (4, "DEL __{items:4}"),
    ] {
        let reply = s.run(line);
        assert!(reply.is_int(), "{line}: {reply:?}");
        s.assert_row_cached("items", id);
    }
}

#[test]
fn a_column_is_added() {
    let s = items();
    s.execute("alter table items add colour text default 'red'");
    for line in ["HSET __{items:1} name a", "HINCRBY __{items:1} stock 1"] {
        assert!(s.run(line).is_int());
    }
    assert_eq!(s.run("WT.RELOAD"), ok());
    touch(&s);
    assert_eq!(s.run("HSET __{items:1} colour blue"), int(0));
    s.assert_row_cached("items", 1);
}

#[test]
fn a_required_column_with_a_default_is_added_before_the_others() {
    let s = items();
    // The only way to another order of columns: a new table.
    s.execute(
        "alter table items rename to old;
         create table items (colour text not null default 'red', stock bigint, id int primary key,
            name text);
         insert into items (id, name, stock) select id, name, stock from old;
         drop table old",
    );
    assert_eq!(s.run("HSET __{items:1} stock 3000000000"), int(0));
    assert_eq!(s.one("select stock from items where id = 1"), "3000000000");
    assert_eq!(s.run("WT.RELOAD"), ok());
    touch(&s);
}

#[test]
fn a_column_is_dropped() {
    let s = items();
    s.execute("alter table items drop column name");
    assert_eq!(s.run("HSET __{items:1} stock 6"), int(0));
    s.assert_row_cached("items", 1);
    assert_eq!(s.run("HINCRBY __{items:2} stock 1"), int(7));
    s.assert_row_cached("items", 2);
    let text = s.assert_line_refused("HSET __{items:1} name x", "ERR writethrough: ");
    assert!(text.contains("name"), "{text}");
    assert_eq!(s.run("HSET __{items:9} stock 1"), int(1));
    s.assert_row_cached("items", 9);
}

/// The first write after the change is the one that names the column that is gone.
#[test]
fn a_dropped_column_is_named_first() {
    for line in
        ["HSET __{items:1} name x stock 9", "HDEL __{items:1} name", "HSETNX __{items:1} name x"]
    {
        let s = items();
        s.execute("alter table items drop column name");
        s.run(line).assert_error("ERR writethrough: ");
        assert_eq!(s.one("select stock from items where id = 1"), "5");
        assert_eq!(s.run("HSET __{items:1} stock 6"), int(0));
        s.assert_row_cached("items", 1);
    }
}

#[test]
fn a_column_is_renamed() {
    let s = items();
    s.execute("alter table items rename name to title");
    s.run("HSET __{items:1} name x").assert_error("ERR writethrough: ");
    assert!(s.run("HSET __{items:1} stock 6").is_int());
    assert_eq!(s.run("WT.RELOAD"), ok());
    assert!(s.run("HSET __{items:1} title x").is_int());
    s.assert_row_cached("items", 1);
}

#[test]
fn a_column_gets_a_wider_type() {
    for first in ["HSET __{items:1} stock 3000000000", "HINCRBY __{items:1} stock 2999999995"] {
        let s = items();
        s.execute("alter table items alter stock type bigint");
        assert!(s.run(first).is_int(), "{first}");
        assert_eq!(s.one("select stock from items where id = 1"), "3000000000", "{first}");
        s.assert_row_cached("items", 1);
        touch(&s);
    }
}

#[test]
fn a_column_gets_another_type() {
    let s = items();
    s.execute("alter table items alter stock type text");
    assert_eq!(s.run("HSET __{items:1} stock many"), int(0));
    assert_eq!(s.hgetall("items:1")["stock"], "many");
    s.assert_row_cached("items", 1);
    s.assert_line_refused("HINCRBY __{items:1} stock 1", "ERR writethrough: ");
    s.execute("alter table items alter stock type numeric(10,2) using 1.5");
    assert_eq!(s.run("HSET __{items:1} stock 2.5"), int(0));
    assert_eq!(s.run("HINCRBY __{items:1} stock 1"), bulk("3.50"));
    s.execute("alter table items alter stock type date using '2024-01-01'");
    eventually("the cache follows", || s.run("HGET items:1 stock") == bulk("2024-01-01"));
    s.wait_until_in_sync();
    s.assert_line_refused("HSET __{items:1} stock 7", "WTERR 22");
    assert_eq!(s.run("HSET __{items:1} stock 2024-02-29"), int(0));
    s.assert_row_cached("items", 1);
}

/// What the old catalog can't do, the new one may.
#[test]
fn a_text_becomes_a_counter_under_an_increment() {
    let s = items();
    s.execute("alter table items alter name type int using 4");
    assert_eq!(s.run("HINCRBY __{items:1} name 1"), int(5));
    s.assert_row_cached("items", 1);
}

/// An increment by the old type is refused by the new one; whoever sends it must be told.
#[test]
fn a_counter_becomes_a_text_under_an_increment() {
    let s = items();
    s.execute("alter table items alter stock type text");
    let reply = s.run("HINCRBY __{items:1} stock 1");
    assert!(reply.is_error(), "{reply:?}");
    assert_eq!(s.one("select stock from items where id = 1"), "5");
    assert_eq!(s.run("HSET __{items:1} stock many"), int(0));
}

of_the_staged_key! {
#[test]
fn the_keys_type_changes() {
    let s = items();
    s.execute("alter table items alter id type text using id::text");
    assert_eq!(s.run("HSET __{items:1} name x"), int(0));
    assert_eq!(s.run("HSET __{items:abc} name x"), int(1));
    assert_eq!(s.hgetall("items:abc"), hash(&[("id", "abc"), ("name", "x")]));
}
}

#[test]
fn the_table_is_dropped_and_created_again() {
    let s = items();
    s.execute(&format!("drop table items; {ITEMS}"));
    assert!(s.run("HSET __{items:2} name lamp stock 5").is_int());
    s.assert_row_cached("items", 2);
    assert_eq!(s.run("HINCRBY __{items:1} stock 1"), int(1), "the old rows are gone");
    s.assert_row_cached("items", 1);
    touch(&s);
}

#[test]
fn while_the_table_is_missing_writes_are_told_so() {
    let s = items();
    let row = s.hgetall("items:1");
    s.execute("drop table items");
    for line in ["HSET __{items:1} name x", "HINCRBY __{items:1} stock 1", "DEL __{items:1}"] {
        assert!(s.run(line).is_error(), "{line}");
        assert_eq!(s.hgetall("items:1"), row);
        assert_eq!(s.run("EXISTS __{items:1}"), int(0));
    }
    s.execute(ITEMS);
    touch(&s);
}

#[test]
fn many_writes_while_the_table_changes() {
    let s = Stack::new().sql(ITEMS).mapping(json!({ "table": "items" })).patient().start();
    std::thread::scope(|scope| {
        for client in 0..4 {
            let s = &s;
            scope.spawn(move || {
                let mut conn = s.conn();
                for n in 1..=120 {
                    let id = client * 3 + n % 3;
                    let line = match n % 4 {
                        0 => format!("HINCRBY __{{items:{id}}} stock 1"),
                        1 => format!("HSET __{{items:{id}}} name n{n}"),
                        2 => format!("HSET __{{items:{id}}} name n{n} stock {n}"),
                        _ => format!("HSETNX __{{items:{id}}} stock 1"),
                    };
                    let reply = conn.run(&line);
                    assert!(reply.is_int(), "{line}: {reply:?}");
                }
            });
        }
        for n in 0..12 {
            s.execute(match n % 4 {
                0 => "alter table items alter stock type bigint",
                1 => "alter table items add extra int default 1",
                2 => "alter table items alter stock type int",
                _ => "alter table items drop column extra",
            });
        }
    });
    for id in 0..12 {
        let row = s.row_of("items", id);
        let cached = s.hgetall(&format!("items:{id}"));
        assert_eq!((&cached["name"], &cached["stock"]), (&row["name"], &row["stock"]));
    }
}
