//! `HINCRBY` and `HINCRBYFLOAT` on a staged key: the database adds, and the reply is its value.

use serde_json::json;

use crate::support::*;

const SQL: &str = "
create domain positive as int check (value > 0);
create table items (
    id int primary key,
    stock int check (stock >= 0),
    small smallint,
    big bigint,
    price numeric(10,2),
    amount numeric,
    ratio double precision,
    single real,
    level positive,
    name text,
    day date,
    twice bigint generated always as (stock::bigint * 2) stored
)";

fn items() -> Stack {
    Stack::new().sql(SQL).mapping(json!({ "table": "items" })).start()
}

of_the_staged_key! {
#[test]
fn the_reply_is_the_databases_value_whatever_the_cache_held() {
    let s = items();
    assert_eq!(s.run("HSET __{items:1} stock 10 name lamp"), int(2));
    assert_eq!(s.run("HINCRBY __{items:1} stock 5"), int(15));
    s.execute("update items set stock = 100, name = 'desk'");
    assert_eq!(s.run("HINCRBY __{items:1} stock -1"), int(99), "another program changed the row");
    s.assert_row_cached("items", 1);
    assert_eq!(s.run("HSET items:1 stock 7"), int(0));
    assert_eq!(s.run("HINCRBY __{items:1} stock 1"), int(100), "the cache was wrong");
    assert_eq!(s.run("DEL items:1"), int(1));
    assert_eq!(s.run("HINCRBY __{items:1} stock 0"), int(100), "the cache was empty");
    assert_eq!(s.hgetall("items:1")["name"], "desk", "the whole row, not a fragment");
    s.assert_row_cached("items", 1);
}
}

#[test]
fn null_counts_as_zero_and_a_missing_row_is_inserted() {
    let s = items();
    assert_eq!(s.run("HSET __{items:1} name lamp"), int(1));
    assert_eq!(s.run("HINCRBY __{items:1} stock 7"), int(7));
    assert_eq!(s.run("HINCRBY __{items:2} stock 3"), int(3));
    assert_eq!(s.run("HINCRBYFLOAT __{items:3} amount 1.5"), bulk("1.5"));
    assert_eq!(s.run("HINCRBY __{items:4} big -9223372036854775808"), int(i64::MIN));
    (1..=4).for_each(|id| s.assert_row_cached("items", id));
    assert_eq!(s.count("items"), 4);
}

#[test]
fn a_missing_row_that_needs_another_column_is_refused() {
    let sql = "create table needy (id int primary key, n int, must text not null)";
    let s = Stack::new().sql(sql).mapping(json!({ "table": "needy" })).start();
    let text = s.assert_line_refused("HINCRBY __{needy:1} n 1", "WTERR 23502 ");
    assert!(text.contains("must"), "{text}");
    assert_eq!(s.run("HSET __{needy:1} must x"), int(1));
    assert_eq!(s.run("HINCRBY __{needy:1} n 1"), int(1));
    s.assert_row_cached("needy", 1);
}

#[test]
fn a_constraint_refuses_in_its_own_words() {
    let s = items();
    assert_eq!(s.run("HSET __{items:1} stock 2 level 5"), int(2));
    let text = s.assert_line_refused("HINCRBY __{items:1} stock -3", "WTERR 23514 ");
    assert!(text.contains(" constraint=items_stock_check"), "{text}");
    s.assert_line_refused("HINCRBY __{items:9} stock -3", "WTERR 23514 ");
    assert_eq!(s.run("HINCRBY __{items:1} stock -2"), int(0));
    s.assert_row_cached("items", 1);
}

#[test]
fn a_domain_over_int_holds_for_the_sum_not_for_the_increment() {
    let s = items();
    assert_eq!(s.run("HSET __{items:1} level 5"), int(1));
    assert_eq!(s.run("HINCRBY __{items:1} level -4"), int(1));
    s.assert_line_refused("HINCRBY __{items:1} level -1", "WTERR 23514 ");
    s.assert_line_refused("HINCRBY __{items:2} level -1", "WTERR 23514 ");
    assert_eq!(s.run("HINCRBY __{items:2} level 1"), int(1));
    (1..=2).for_each(|id| s.assert_row_cached("items", id));
}

#[test]
fn overflow_is_the_databases_error() {
    let s = items();
    let line = "HSET __{items:1} stock 2147483647 small 32767 big 9223372036854775807 \
                price 99999999.99 ratio 1e308 single 3e38";
    assert_eq!(s.run(line), int(6));
    for (field, n) in [("stock", "1"), ("small", "1"), ("big", "1"), ("price", "1")] {
        s.assert_line_refused(&format!("HINCRBY __{{items:1}} {field} {n}"), "WTERR 22003 ");
    }
    s.assert_line_refused("HINCRBY __{items:1} small 70000", "WTERR 22003 ");
    s.assert_line_refused("HINCRBY __{items:1} stock 99999999999", "WTERR 22003 ");
    s.assert_line_refused("HINCRBYFLOAT __{items:1} ratio 1e308", "WTERR 22003 ");
    s.assert_line_refused("HINCRBYFLOAT __{items:1} single 1e38", "WTERR 22003 ");
    s.assert_row_cached("items", 1);
}

/// Whatever the server says of it on a plain key.
#[test]
fn what_is_no_number_gets_redis_own_words() {
    let s = items();
    assert_eq!(s.run("HSET __{items:1} stock 5 amount 5"), int(2));
    assert_eq!(s.run("HSET plain stock 5 amount 5"), int(2));
    let whole = "ERR value is not an integer or out of range";
    for n in ["abc", "", "1.5", " 1", "1 ", "+1", "01", "1e3", "9223372036854775808", "0x10"] {
        let words = s.cmd(&["HINCRBY", "plain", "stock", n]);
        assert_eq!(words, error(whole), "{n:?}");
        assert_eq!(s.assert_refused(&["HINCRBY", "__{items:1}", "stock", n], "ERR "), whole);
    }
    for n in ["abc", "", " 1", "1 ", "1.5x", "nan", "inf", "-inf", "1,5"] {
        let words = s.cmd(&["HINCRBYFLOAT", "plain", "amount", n]);
        let text = s.assert_refused(&["HINCRBYFLOAT", "__{items:1}", "amount", n], "ERR ");
        assert_eq!(words, error(&text), "{n:?}");
    }
    let words = "ERR value is not a valid float";
    s.assert_line_refused("HINCRBYFLOAT __{items:1} amount abc", words);
    assert_eq!(s.run("HGETALL plain").text(), "stock 5 amount 5");
}

of_the_staged_key! {
#[test]
fn a_column_that_is_not_numeric_is_named() {
    let s = items();
    assert_eq!(s.run("HSET __{items:1} name 5 day 2024-01-01"), int(2));
    for field in ["name", "day"] {
        for line in [
            format!("HINCRBY __{{items:1}} {field} 1"),
            format!("HINCRBYFLOAT __{{items:1}} {field} 1"),
        ] {
            let text = s.assert_line_refused(&line, "ERR writethrough: ");
            assert!(text.contains(field), "{text}");
        }
    }
    s.assert_line_refused("HINCRBY __{items:1} id 1", "ERR writethrough: ");
    let text = s.assert_line_refused("HINCRBY __{items:1} stok 1", "ERR writethrough: ");
    assert!(text.contains("stok"), "{text}");
    s.assert_line_refused("HINCRBY __{nobody:1} n 1", "ERR writethrough: ");
    let text = s.assert_line_refused("HINCRBY __{items:1} twice 1", "");
    assert!(text.starts_with("WTERR 428C9 ") || text.starts_with("ERR writethrough: "), "{text}");
}
}

#[test]
fn a_numeric_column_keeps_its_scale() {
    let s = items();
    assert_eq!(s.run("HSET __{items:1} price 1.50 amount 4"), int(2));
    assert_eq!(s.run("HINCRBY __{items:1} price 1"), bulk("2.50"), "no whole number");
    assert_eq!(s.run("HINCRBYFLOAT __{items:1} price 0.505"), bulk("3.01"), "rounded");
    assert_eq!(s.run("HINCRBYFLOAT __{items:1} price 2.0e2"), bulk("203.01"));
    assert_eq!(s.run("HINCRBYFLOAT __{items:1} price -203.01"), bulk("0.00"));
    assert_eq!(s.run("HINCRBY __{items:1} amount 1"), int(5), "a whole number is an integer");
    let long = "123456789012345678901234567890.000000000000000000001";
    assert_eq!(s.cmd(&["HSET", "__{items:1}", "amount", long]), int(0));
    let sum = "123456789012345678901234567890.100000000000000000001";
    assert_eq!(s.run("HINCRBYFLOAT __{items:1} amount 0.1"), bulk(sum), "to the last digit");
    s.assert_row_cached("items", 1);
}

#[test]
fn a_float_is_added_and_printed_by_the_database() {
    let s = items();
    assert_eq!(s.run("HINCRBYFLOAT __{items:1} ratio 0.1"), bulk("0.1"));
    assert_eq!(s.run("HINCRBYFLOAT __{items:1} ratio 0.2"), bulk("0.30000000000000004"));
    assert_eq!(s.run("HINCRBYFLOAT __{items:1} single 0.1"), bulk("0.1"));
    assert_eq!(s.run("HINCRBYFLOAT __{items:1} stock 7"), bulk("7"));
    assert_eq!(s.run("HINCRBY __{items:1} ratio -3"), bulk("-2.7"));
    s.assert_row_cached("items", 1);
}

#[test]
fn no_other_column_changes() {
    let s = items();
    assert_eq!(s.run("HSET __{items:1} stock 1 price 2 name lamp day 2024-01-01"), int(4));
    let mut expected = s.row_of("items", 1);
    assert_eq!(s.run("HINCRBY __{items:1} stock 1"), int(2));
    expected.extend(hash(&[("stock", "2"), ("twice", "4")]));
    assert_eq!(s.row_of("items", 1), expected);
    assert_eq!(s.hgetall("items:1"), expected, "with the generated column");
}
