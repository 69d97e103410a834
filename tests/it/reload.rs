//! `WT.RELOAD`: the catalog, read again at once.

use serde_json::json;

use crate::support::*;

const ITEMS: &str = "create table items (id int primary key, name text)";

fn items_and_users() -> Stack {
    let s = Stack::users().sql(ITEMS).mapping(json!({ "table": "items" })).start();
    s.add_user(1);
    assert_eq!(s.run("HSET __{items:1} name lamp"), int(1));
    s
}

#[test]
fn a_new_column_enters_a_mapping_of_all_columns() {
    let s = items_and_users();
    s.execute("alter table items add colour text; alter table users add colour text");
    assert_eq!(s.run("WT.RELOAD"), ok());
    assert_eq!(s.run("HSET __{items:1} colour red"), int(1));
    s.assert_row_cached("items", 1);
    assert!(s.run("WT.MAPPINGS").text().contains("colour"));
    let text = s.assert_line_refused("HSET __{users:1} colour red", "ERR writethrough: ");
    assert!(text.contains("colour"), "its fields are listed in the document: {text}");
    assert_eq!(s.run("HSET __{users:1} first Ann"), int(1));
    s.assert_user_cached(1);
}

#[test]
fn nothing_new_changes_nothing() {
    let s = items_and_users();
    let mappings = s.run("WT.MAPPINGS");
    for _ in 0..3 {
        assert_eq!(s.run("wt.reload"), ok());
    }
    assert_eq!(s.run("WT.MAPPINGS"), mappings);
    assert_eq!(s.run("HSET __{items:1} name desk"), int(0));
    s.assert_row_cached("items", 1);
}

#[test]
fn what_is_wrong_is_told_and_the_old_mappings_go_on() {
    let s = items_and_users();
    s.execute("alter table items add colour text; alter table users rename first_name to given");
    let text = s.run("WT.RELOAD").error().to_string();
    assert!(text.starts_with("ERR ") && text.contains("first_name"), "{text}");
    assert!(text.contains("mappings[0].fields.first"), "where in the document: {text}");
    assert_eq!(s.run("HSET __{items:1} name desk"), int(0), "the other mapping");
    assert_eq!(s.hgetall("items:1"), hash(&[("id", "1"), ("name", "desk")]));
    s.run("HSET __{items:1} colour red").assert_error("ERR writethrough: ");
    assert!(s.run("HSET __{users:1} last x").is_error(), "a clear error: its column is gone");
    s.execute("alter table users rename given to first_name");
    assert_eq!(s.run("HSET __{users:1} last x"), int(1), "without another RELOAD");
    assert_eq!(s.run("WT.RELOAD"), ok());
    assert_eq!(s.run("HSET __{items:1} colour red"), int(1));
    s.assert_user_cached(1);
    s.assert_row_cached("items", 1);
}

#[test]
fn a_table_that_is_gone_is_told() {
    let s = items_and_users();
    s.execute("drop table items");
    let text = s.run("WT.RELOAD").error().to_string();
    assert!(text.contains("items"), "{text}");
    assert_eq!(s.run("HSET __{users:1} first Ann"), int(1));
    s.execute(ITEMS);
    assert_eq!(s.run("WT.RELOAD"), ok());
    s.wait_until_in_sync();
    assert_eq!(s.run("EXISTS items:1"), int(0), "its row went with the table");
    assert_eq!(s.run("HSET __{items:1} name lamp"), int(1));
}

#[test]
fn writes_in_flight_go_on() {
    let s = Stack::new().sql(ITEMS).mapping(json!({ "table": "items" })).one_worker().start();
    assert_eq!(s.run("HSET __{items:1} name lamp"), int(1));
    let held = s.hold();
    let mut before = s.send("HSET __{items:1} name before");
    s.wait_for_blocked(2);
    s.execute("alter table items add colour text default 'red'");
    assert_eq!(s.run("WT.RELOAD"), ok());
    let mut after = s.send("HSET __{items:1} colour blue");
    s.wait_for_blocked(3);
    held.release();
    assert_eq!(before.receive(), int(0));
    // The row is read again, before or after it.
    assert!(after.receive().is_int());
    assert_eq!(s.one("select name || colour from items"), "beforeblue");
    s.assert_row_cached("items", 1);
}

#[test]
fn in_a_transaction() {
    let s = items_and_users();
    s.execute("alter table items add colour text");
    let lines = ["WT.RELOAD", "HSET __{items:1} colour red", "HGET items:1 colour"];
    assert_eq!(transaction(&mut s.conn(), &lines), [ok(), int(1), bulk("red")]);
    s.assert_line_refused("WT.RELOAD now", "ERR wrong number of arguments for 'wt.reload' command");
}
