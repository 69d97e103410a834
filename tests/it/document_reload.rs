//! `WT.RELOAD` and the document: mappings that come, go and change; all of it or nothing.

use serde_json::{json, Value};

use crate::support::*;

const TABLES: &str = "create table items (id int primary key, name text, colour text);
                      create table other (id int primary key, name text)";

fn items() -> Builder {
    let fields = json!({ "name": "name" });
    Stack::new().sql(TABLES).mapping(json!({ "table": "items", "fields": fields }))
}

#[test]
fn a_mapping_is_added() {
    let s = items().start();
    s.run("HSET __{other:1} name x").assert_error("ERR writethrough: no mapping ");
    s.edit_document(|d| d["mappings"].as_array_mut().unwrap().push(json!({ "table": "other" })));
    assert_eq!(s.run("WT.RELOAD"), ok());
    assert_eq!(s.run("HSET __{other:1} name x"), int(1));
    s.assert_row_cached("other", 1);
    s.wait_for_log("read again: added other");
    assert_eq!(s.run("WT.RELOAD"), ok());
    s.wait_for_log("read again: nothing new");
}

#[test]
fn a_mapping_is_removed() {
    let s = items().mapping(json!({ "table": "other" })).start();
    assert_eq!(s.run("HSET __{other:1} name x"), int(1));
    s.edit_document(|d| drop(d["mappings"].as_array_mut().unwrap().pop()));
    assert_eq!(s.run("WT.RELOAD"), ok());
    s.run("HSET __{other:1} name y").assert_error("ERR writethrough: no mapping ");
    assert_eq!(s.run("HSET __{items:1} name lamp"), int(1));
    s.wait_for_log("read again: removed other");
}

#[test]
fn a_mapping_is_changed() {
    let s = items().start();
    assert_eq!(s.run("HSET __{items:1} name lamp"), int(1));
    s.edit_document(|d| {
        d["mappings"][0]["fields"] = json!({ "title": "name", "colour": "colour" });
        d["mappings"][0]["ttl"] = 1000.into();
    });
    assert_eq!(s.run("WT.RELOAD"), ok());
    s.run("HSET __{items:1} name lamp").assert_error("ERR writethrough: ");
    s.wait_until_in_sync();
    assert_eq!(s.hgetall("items:1"), hash(&[("title", "lamp")]));
    assert_eq!(s.run("HSET __{items:1} title desk colour red"), int(1));
    assert_eq!(s.hgetall("items:1"), hash(&[("title", "desk"), ("colour", "red")]));
    assert!(s.run("TTL items:1").int() > 0);
    s.wait_for_log("read again: changed items");
}

#[test]
fn what_is_wrong_changes_nothing() {
    let s = items().start();
    let mappings = s.run("WT.MAPPINGS");
    let wrong = |change: &dyn Fn(&mut Value), why: &[&str]| {
        s.edit_document(change);
        let reply = s.run("WT.RELOAD");
        let text = reply.assert_error("ERR writethrough: ");
        why.iter().for_each(|word| assert!(text.contains(word), "`{word}`: {text}"));
        assert_eq!(s.run("WT.MAPPINGS"), mappings, "{text}");
        assert_eq!(s.run("CONFIG GET writethrough.pool-size").array()[1], bulk("4"), "{text}");
        assert!(s.run("HSET __{items:1} name lamp").is_int());
    };
    let good = json!({ "table": "other" });
    let push = |d: &mut Value, mapping: Value| d["mappings"].as_array_mut().unwrap().push(mapping);
    wrong(&|d| push(d, json!({ "table": "nowhere" })), &["mappings[1].table", "nowhere"]);
    let both = |d: &mut Value| {
        push(d, good.clone());
        push(d, json!({ "table": "items", "name": "x", "fields": { "n": "nmae" } }));
        d["pool_size"] = 5.into();
    };
    wrong(&both, &["mappings[2].fields.n", "did you mean \"name\"?"]);
    wrong(&|d| d["mappings"] = json!([]), &["mappings", "at least one"]);
    wrong(&|d| d["pool_size"] = 0.into(), &["pool_size: 0 is out of range"]);
    wrong(&|d| d["poolsize"] = 5.into(), &["poolsize: unknown field"]);
    let (url, file, prefix, db) = ("url", "url_file", "prefix", "db");
    for (key, value) in [(url, "postgres://h/d"), (prefix, "wt.")] {
        wrong(&|d| d[key] = value.into(), &[key, "needs a restart", "nothing was taken over"]);
    }
    wrong(&|d| d[db] = 1.into(), &["db: ", "needs a restart"]);
    let to_file = |d: &mut Value| {
        d.as_object_mut().unwrap().remove(url);
        d[file] = "/x".into();
    };
    wrong(&to_file, &["needs a restart"]);
    std::fs::write(&s.config, "{").expect("the document");
    let text = s.run("WT.RELOAD").error().to_string();
    assert!(text.contains("no valid JSON"), "{text}");
    std::fs::remove_file(&s.config).expect("the document");
    let text = s.run("WT.RELOAD").error().to_string();
    assert!(text.contains("CONFIG: ") && text.contains("No such file"), "{text}");
    s.edit_document(|d| push(d, good.clone()));
    assert_eq!(s.run("WT.RELOAD"), ok(), "after all that, the right one");
    assert_eq!(s.run("HSET __{other:1} name x"), int(1));
}

#[test]
fn a_limit_that_changes_in_the_document_changes() {
    let s = items().option("pool_size", 2).option("batch_max", 10).start();
    let get = |option: &str| s.run(&format!("CONFIG GET writethrough.{option}")).array()[1].text();
    assert_eq!(s.run("CONFIG SET writethrough.batch-max 20"), ok());
    s.edit_document(|d| d["pool_size"] = 3.into());
    assert_eq!(s.run("WT.RELOAD"), ok());
    assert_eq!((get("pool-size"), get("batch-max")), ("3".into(), "20".into()));
    assert_eq!(s.info_int("pool_size"), 3);
    s.wait_for_log("read again: pool-size = 3");
}

#[test]
fn a_database_out_of_reach_changes_nothing() {
    let server = std::sync::Arc::new(PostgresServer::start_new());
    let s = items().postgres(&server).start();
    s.edit_document(|d| d["mappings"].as_array_mut().unwrap().push(json!({ "table": "other" })));
    server.stop_fast();
    s.run("WT.RELOAD").assert_error("WTDOWN ");
    server.start_again();
    eventually("writes are served again", || s.run("HSET __{items:1} name x").is_int());
    s.run("HSET __{other:1} name x").assert_error("ERR writethrough: no mapping ");
    assert_eq!(s.run("WT.RELOAD"), ok());
    assert_eq!(s.run("HSET __{other:1} name x"), int(1));
}

/// Writes that wait while their mapping changes are written by the mapping of now, in order.
#[test]
fn writes_in_flight_are_for_the_mapping_of_now() {
    let s = items().one_worker().start();
    assert_eq!(s.run("HSET __{items:1} name lamp"), int(1));
    let held = s.hold();
    let mut before = s.send("HSET __{items:1} name before");
    let mut second = s.send("HSET __{items:2} name two");
    s.wait_for_blocked(3);
    s.edit_document(|d| {
        d["mappings"][0]["fields"] = json!({ "title": "name", "colour": "colour" })
    });
    assert_eq!(s.run("WT.RELOAD"), ok());
    let mut after = s.send("HSET __{items:1} colour blue");
    s.wait_for_blocked(4);
    held.release();
    assert!(before.receive().is_int() && second.receive().is_int());
    assert_eq!(after.receive(), int(1));
    assert_eq!(s.one("select name || colour from items where id = 1"), "beforeblue");
    assert_eq!(s.hgetall("items:1"), hash(&[("title", "before"), ("colour", "blue")]));
    assert_eq!(s.hgetall("items:2"), hash(&[("title", "two")]));
}

#[test]
fn a_write_in_flight_whose_column_or_mapping_goes() {
    let s = items().mapping(json!({ "table": "other" })).one_worker().start();
    assert_eq!(s.run("HSET __{items:1} name lamp"), int(1));
    let held = s.hold();
    let mut name = s.send("HSET __{items:1} name before");
    let mut other = s.send("HSET __{other:1} name x");
    s.wait_for_blocked(3);
    s.edit_document(|d| {
        let mappings = d["mappings"].as_array_mut().unwrap();
        mappings[0]["fields"] = json!({ "colour": "colour" });
        mappings.remove(1);
    });
    assert_eq!(s.run("WT.RELOAD"), ok());
    held.release();
    let text = name.receive().assert_error("ERR writethrough: ").to_string();
    assert!(text.contains("has no column \"name\" now"), "{text}");
    assert_eq!(other.receive(), int(1), "it was taken on when there was the mapping");
    assert_eq!(s.one("select name from items"), "lamp");
    assert_eq!(s.one("select name from other"), "x");
    assert_eq!(s.run("EXISTS __{items:1} __{other:1}"), int(0));
}

#[test]
fn a_document_given_inline_stays_as_it_is() {
    let all_columns = Stack::new().sql(TABLES).mapping(json!({ "table": "items" }));
    let s = all_columns.module_args(&["JSON", "@DOCUMENT@"]).start();
    s.execute("alter table items add size int");
    assert_eq!(s.run("WT.RELOAD"), ok());
    assert_eq!(s.run("HSET __{items:1} size 3"), int(1));
}
