//! The number of new fields that a write answers with, where the module knows without a look that there are none,
//! and where something has happened to the hash since then.

use crate::support::*;

const TABLE: &str = "create table t (id int primary key, a text, b text, c text)";

/// A row whose cached hash the module knows to hold all fields.
fn known() -> Stack {
    let mapping = serde_json::json!({ "table": "t", "read_through": true });
    let s = Stack::new().sql(TABLE).mapping(mapping).start();
    assert_eq!(s.run("HSET __{t:1} a 1 b 1 c 1"), int(3));
    assert_eq!(s.run("HSET __{t:1} a 2 b 2 c 2"), int(0));
    s
}

/// Writes the whole row, which makes so many fields, and then none.
#[track_caller]
fn makes(s: &Stack, fields: i64, why: &str) {
    assert_eq!(s.run("HSET __{t:1} a 3 b 3 c 3"), int(fields), "{why}");
    assert_eq!(s.run("HSET __{t:1} a 4 b 4 c 4"), int(0), "{why}");
    assert_eq!(s.hgetall("t:1"), hash(&[("id", "1"), ("a", "4"), ("b", "4"), ("c", "4")]), "{why}");
}

#[test]
fn a_hash_that_others_have_changed_is_counted_again() {
    let s = known();
    for (lines, fields) in [
        // As many fields as the row has, but not those.
        (&["HDEL t:1 c", "HSET t:1 other x"][..], 1),
        (&["HSET other id 1 a 1 x 1 y 1", "RENAME other t:1"], 2),
        (&["HSET other id 1 a 1 x 1 y 1", "COPY other t:1 REPLACE"], 2),
        (&["MULTI", "HDEL t:1 a b", "HSET t:1 x 1 y 1", "EXEC"], 2),
        (
            &[
                "SELECT 1",
                "HSET t:1 id 1 u 1 v 1 w 1",
                "SELECT 0",
                "DEL t:1",
                "SELECT 1",
                "MOVE t:1 0",
                "SELECT 0",
            ],
            3,
        ),
        (&["SELECT 1", "HSET t:1 id 1 u 1 v 1 w 1", "SELECT 0", "SWAPDB 0 1"], 3),
        (&["DEL t:1", "HSET t:1 id 1 a 1 b 1 d 1"], 1),
        (&["EVAL redis.call('HDEL',KEYS[1],'b');redis.call('HSET',KEYS[1],'z',1) 1 t:1"], 1),
        (&["DEL t:1"], 3),
        (&["PEXPIREAT t:1 1"], 3),
        // Last: all that is cached is compared with the table after it.
        (&["FLUSHALL", "HSET t:1 u 1 v 1 w 1 x 1"], 3),
    ] {
        let mut conn = s.conn();
        for line in lines {
            let reply = conn.run(line);
            assert!(!reply.is_error(), "{line}: {reply:?}");
        }
        makes(&s, fields, &lines.join("; "));
    }
}

#[test]
fn a_row_that_is_loaded_again_has_the_fields_that_it_has() {
    let s = known();
    s.execute("update t set b = null");
    assert_eq!(s.run("UNLINK t:1"), int(1));
    assert_eq!(s.run("HGET t:1 a"), bulk("2"));
    assert_eq!(s.run("HLEN t:1"), int(3), "it was loaded");
    makes(&s, 1, "b was NULL");
    s.execute("update t set b = null");
    assert_eq!(s.run("WT.REFRESH t:1"), int(1));
    makes(&s, 1, "b was NULL");
    // A write of one column brings the whole row.
    s.execute("update t set b = null, c = null");
    assert_eq!(s.run("HSET __{t:1} a 5"), int(0));
    makes(&s, 2, "b and c were NULL");
}

#[test]
fn a_data_set_that_is_loaded_is_looked_at() {
    let s = known();
    assert_eq!(s.run("HDEL t:1 c"), int(1));
    assert_eq!(s.run("HSET t:1 other x"), int(1));
    assert_eq!(s.run("SAVE"), ok());
    makes(&s, 1, "changed");
    assert_eq!(s.run("DEBUG RELOAD NOSAVE"), ok());
    eventually("it is in sync", || s.hgetall("t:1").contains_key("id"));
    assert!(s.run("HSET __{t:1} a 6 b 6 c 6").is_int());
}

#[test]
fn what_hdel_removes_is_counted() {
    let s = known();
    assert_eq!(
        s.run("HDEL __{t:1} a b nothing").error().split(':').next(),
        Some("ERR writethrough")
    );
    assert_eq!(s.run("HDEL __{t:1} a b"), int(2));
    assert_eq!(s.run("HDEL __{t:1} a b c"), int(1));
    makes(&s, 3, "all were removed");
}

#[test]
fn several_writes_of_one_row_that_go_together_are_counted_one_by_one() {
    let s =
        Stack::new().sql(TABLE).mapping(serde_json::json!({ "table": "t" })).one_worker().start();
    assert_eq!(s.run("HSET __{t:1} a 1 b 1 c 1"), int(3));
    let lines = [
        "HDEL __{t:1} a",
        "HSET __{t:1} a 2 b 2 c 2",
        "HDEL __{t:1} a b",
        "HSET __{t:1} a 3 b 3 c 3",
    ];
    let replies = s.together(&lines.map(String::from));
    assert_eq!(replies, [int(1), int(1), int(2), int(2)]);
    assert_eq!(s.run("HSET __{t:1} a 4 b 4 c 4"), int(0));
}
