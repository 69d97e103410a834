//! Which hash is which row: names, schemas, composite keys, odd identifiers.

use serde_json::json;

use crate::support::*;

#[test]
fn a_name_may_differ_from_the_table() {
    let s = Stack::users().with("name", "u").start();
    assert_eq!(s.run("HSET __{u:1} username a email a@x pwhash h"), int(3));
    assert_eq!(s.hgetall("u:1"), user_row(&s, 1));
    s.assert_line_refused("HSET __{users:1} username b", "ERR writethrough: ");
}

#[test]
fn a_table_in_a_schema() {
    let sql = "create schema shop; create table shop.items (id int primary key, name text);
               create table items (id int primary key, name text)";
    let s = Stack::new().sql(sql).mapping(json!({ "table": "shop.items" })).start();
    assert_eq!(s.run("HSET __{items:1} name a"), int(1));
    assert_eq!((s.count("shop.items"), s.count("public.items")), (1, 0));
    assert_eq!(s.hgetall("items:1"), hash(&[("id", "1"), ("name", "a")]));
}

#[test]
fn one_table_under_two_names() {
    let sql = "create table people (id int primary key, name text, secret text)";
    let s = Stack::new()
        .sql(sql)
        .mapping(json!({ "table": "people" }))
        .mapping(json!({ "table": "people", "name": "public", "fields": { "n": "name" } }))
        .start();
    assert_eq!(s.run("HSET __{people:1} name a secret s"), int(2));
    assert_eq!(s.run("HSET __{public:1} n b"), int(1));
    assert_eq!(s.hgetall("public:1"), hash(&[("n", "b")]));
    assert_eq!(s.one("select name || secret from people"), "bs");
    s.assert_line_refused("HSET __{public:1} secret x", "ERR writethrough: ");
}

#[test]
fn key_and_fields_come_from_the_catalog() {
    let sql = "create table items (name text, sku text primary key, gone int, price numeric);
               alter table items drop column gone";
    let s = Stack::new().sql(sql).mapping(json!({ "table": "items" })).start();
    assert_eq!(s.run("HSET __{items:a-7} name thing price 1.50"), int(2));
    let expected = hash(&[("sku", "a-7"), ("name", "thing"), ("price", "1.50")]);
    assert_eq!(s.hgetall("items:a-7"), expected);
    s.assert_line_refused("HSET __{items:a-7} gone 1", "ERR writethrough: ");
}

#[test]
fn a_key_may_be_any_unique_column() {
    let sql = "create table items (id serial primary key, sku text unique not null, name text)";
    let s = Stack::new().sql(sql).mapping(json!({ "table": "items", "key": "sku" })).start();
    assert_eq!(s.run("HSET __{items:x} name a"), int(1));
    assert_eq!(s.hgetall("items:x"), hash(&[("id", "1"), ("sku", "x"), ("name", "a")]));
}

#[test]
fn a_composite_key_takes_its_parts_in_order() {
    let sql = "create table order_lines (line int, order_id int, what text, primary key (order_id, line))";
    let s = Stack::new().sql(sql).mapping(json!({ "table": "order_lines" })).start();
    assert_eq!(s.run("HSET __{order_lines:7:3} what tea"), int(1));
    assert_eq!(s.run("HSET __{order_lines:7:4} what milk"), int(1));
    assert_eq!(s.one("select what from order_lines where order_id = 7 and line = 3"), "tea");
    let expected = hash(&[("order_id", "7"), ("line", "3"), ("what", "tea")]);
    assert_eq!(s.hgetall("order_lines:7:3"), expected);
    assert_eq!(s.run("HSET __{order_lines:7:3} what water"), int(0));
    assert_eq!(s.one("select what from order_lines where line = 4"), "milk");
}

#[test]
fn a_composite_key_may_be_given_in_another_order() {
    let sql = "create table order_lines (line int, order_id int, what text, primary key (order_id, line))";
    let mapping = json!({ "table": "order_lines", "key": ["line", "order_id"] });
    let s = Stack::new().sql(sql).mapping(mapping).start();
    assert_eq!(s.run("HSET __{order_lines:3:7} what tea"), int(1));
    assert_eq!(s.one("select order_id from order_lines where line = 3"), "7");
}

#[test]
fn the_last_key_column_takes_the_rest_of_the_id() {
    let sql = "create table pages (site int, path text, body text, primary key (site, path));
               create table words (word text primary key, n int)";
    let s = Stack::new()
        .sql(sql)
        .mapping(json!({ "table": "pages" }))
        .mapping(json!({ "table": "words" }))
        .start();
    assert_eq!(s.run("HSET __{pages:1:a:b/c:} body x"), int(1));
    assert_eq!(s.one("select path from pages"), "a:b/c:");
    assert_eq!(s.run("HGET pages:1:a:b/c: body"), bulk("x"));
    for word in [":", "a b", "it's", "ü☃", "100%", "\"q\"", "\\", "null", "{a,b}", "a}b"] {
        let key = format!("__{{words:{word}}}");
        assert_eq!(s.cmd(&["HSET", &key, "n", "1"]), int(1), "{word}");
        assert_eq!(s.cmd(&["HGET", &format!("words:{word}"), "word"]), bulk(word));
    }
    assert_eq!(s.count("words"), 10);
}

#[test]
fn odd_identifiers() {
    let sql = r#"
        create schema "My Schema";
        create table "My Schema"."Us""ers Tab" (
            "Id" int primary key,
            "user Name" text,
            "sel""ect" text,
            "ÜBER" text not null,
            "$1" int,
            "it's" text,
            "back\slash" text,
            "%s" text,
            "order" text,
            "{a,b}" text
        )"#;
    let mapping = json!({
        "name": "odd tab", "table": "My Schema.Us\"ers Tab", "key": "Id",
        "fields": {
            "u": "user Name", "quo\"te": "sel\"ect", "ü ber": "ÜBER", "n": "$1", "it's": "it's",
            "b\\s": "back\\slash", "%n": "%s", "order": "order", "arr": "{a,b}"
        }
    });
    let s = Stack::new().sql(sql).mapping(mapping).start();
    let key = "__{odd tab:1}";
    let whole = [
        "HSET", key, "u", "a b", "quo\"te", "q", "ü ber", "ß", "n", "5", "it's", "i", "b\\s", "s",
        "%n", "p", "order", "o", "arr", "{}",
    ];
    assert_eq!(s.cmd(&whole), int(9));
    // The column that is left out is required: another statement than the first.
    assert_eq!(s.cmd(&["HSET", key, "it's", "j", "n", "6"]), int(0));
    assert_eq!(s.cmd(&["HSET", key, "ü ber", "Ü"]), int(0));
    let expected = [
        ("u", "a b"),
        ("quo\"te", "q"),
        ("ü ber", "Ü"),
        ("n", "6"),
        ("it's", "j"),
        ("b\\s", "s"),
        ("%n", "p"),
        ("order", "o"),
        ("arr", "{}"),
    ];
    assert_eq!(s.hgetall("odd tab:1"), hash(&expected));
    assert_eq!(s.one(r#"select "it's" || "$1" || "ÜBER" from "My Schema"."Us""ers Tab""#), "j6Ü");
}

#[test]
fn two_fields_can_share_no_column() {
    let mapping = json!({ "table": "items", "fields": { "a": "name", "b": "name" } });
    let s = Stack::new().sql("create table items (id int primary key, name text)").without_module();
    let s = s.mapping(mapping).start();
    assert!(s.load().is_error());
    assert!(s.log().contains("mappings[0].fields"), "{}", s.log());
}

#[test]
fn a_wide_table() {
    let columns: Vec<String> = (0..300).map(|i| format!("c{i} int")).collect();
    let sql = format!("create table wide (id int primary key, {})", columns.join(", "));
    let s = Stack::new().sql(&sql).mapping(json!({ "table": "wide" })).start();
    let mut words = vec!["HSET".to_string(), "__{wide:1}".to_string()];
    for i in 0..300 {
        words.extend([format!("c{i}"), i.to_string()]);
    }
    assert_eq!(s.cmd(&words), int(300));
    assert_eq!(s.hgetall("wide:1").len(), 301);
    assert_eq!(s.one("select c299 from wide"), "299");
}

#[test]
fn an_address_is_a_key_as_it_is_typed() {
    let s = Stack::new()
        .sql("create table hosts (address inet primary key, name text)")
        .mapping(json!({ "table": "hosts" }))
        .start();
    assert_eq!(s.run("HSET __{hosts:10.0.0.1} name gate"), int(1));
    assert_eq!(s.hgetall("hosts:10.0.0.1"), hash(&[("address", "10.0.0.1"), ("name", "gate")]));
    assert_eq!(s.run("HSET __{hosts:2001:db8::1} name six"), int(1));
    s.run("HSET __{hosts:10.0.0.1/32} name x").assert_error("ERR writethrough: ");
}
