//! The hash of a row with entries that wait; who may write behind; how much may wait.

use serde_json::json;

use crate::behind::{flush, items};
use crate::support::*;

fn one_item(s: &Stack) {
    s.execute("insert into items values (1, 'a', 0)");
    assert_eq!(s.run("WT.REFRESH items:1"), int(1));
}

#[test]
fn nothing_replaces_the_hash_while_entries_wait() {
    let s = items().with("read_through", true).option("follow", true).start();
    one_item(&s);
    let lock = s.database.hold("select from items for update");
    assert_eq!(s.run("HSET __{items:1} name b"), int(0));
    // The row still says "a".
    assert!(!s.run("WT.VERIFY items REPAIR").is_error());
    assert_eq!(s.run("HGET items:1 name"), bulk("b"));
    assert!(!s.run("WT.LOAD items").is_error());
    assert_eq!(s.run("HGET items:1 name"), bulk("b"));
    let mut refresh = s.send("WT.REFRESH items:1");
    s.wait_for_blocked(1);
    assert_eq!(s.run("HGET items:1 name"), bulk("b"));
    // A read of a missing hash waits for them.
    assert_eq!(s.run("DEL items:1"), int(1));
    let mut read = s.send("HGET items:1 name");
    s.wait_for_blocked(2);
    lock.rollback();
    assert_eq!((refresh.receive(), read.receive()), (int(1), bulk("b")));
    flush(&s);
    // Another program's write arrives as ever.
    s.execute("update items set name = 'c'");
    eventually("it is followed", || s.run("HGET items:1 name") == bulk("c"));
}

#[test]
fn the_hash_becomes_what_the_database_made_of_it() {
    let s = items().start();
    assert_eq!(s.run("HSET __{items:1} name a price 1.5"), int(2));
    flush(&s);
    assert_eq!(s.hgetall("items:1"), hash(&[("id", "1"), ("name", "a"), ("price", "1.50")]));
    assert_eq!(s.run("HSET __{items:1} price 2.249"), int(0));
    flush(&s);
    assert_eq!(s.run("HGET items:1 price"), bulk("2.25"));
}

#[test]
fn past_behind_max_a_write_is_refused() {
    let s = items().option("behind_max", 3).start();
    one_item(&s);
    let lock = s.database.hold("select from items for update");
    for n in 1..=3 {
        assert_eq!(s.run("HINCRBY __{items:1} n 1"), int(n));
    }
    let refused = s.run("HINCRBY __{items:1} n 1");
    refused
        .assert_error("WTBUSY 3 entries wait to be written; try again later, or raise behind_max");
    s.run("DEL __{items:1}").assert_error("WTBUSY 3 entries");
    s.set("behind-max", 4);
    assert_eq!(s.run("HINCRBY __{items:1} n 1"), int(4));
    lock.rollback();
    flush(&s);
    assert_eq!(s.one("select n from items"), "4");
    assert_eq!(s.run("HINCRBY __{items:1} n 1"), int(5));
}

#[test]
fn a_batch_may_wait_for_more() {
    let s = items().option("behind_delay_ms", 60_000).option("batch_max", 3).start();
    one_item(&s);
    assert_eq!(s.run("HINCRBY __{items:1} n 1"), int(1));
    assert_eq!(s.run("HINCRBY __{items:1} n 1"), int(2));
    assert_eq!(s.one("select n from items"), "0");
    assert_eq!(s.run("HINCRBY __{items:1} n 1"), int(3));
    eventually("a full batch doesn't wait", || s.one("select n from items") == "3");
    assert_eq!(s.run("HINCRBY __{items:1} n 1"), int(4));
    flush(&s);
    assert_eq!(s.one("select n from items"), "4", "nor does one that somebody waits for");
}

#[test]
fn a_user_needs_the_rights_of_the_command() {
    let s = items().start();
    one_item(&s);
    let mut reader = s.user("reader", "~* +@read");
    reader.run("HSET __{items:1} name x").assert_error("NOPERM");
    let mut other = s.user("other", "~__{items:2} ~items:2 +@all");
    other.run("HSET __{items:1} name x").assert_error("NOPERM");
    other.run("DEL __{items:1}").assert_error("NOPERM");
    assert_eq!(other.run("HSET __{items:2} name x"), int(1), "the stream is the module's");
    let mut none = s.user("none", "~* +@all -hset");
    none.run("HSET __{items:1} name x").assert_error("NOPERM");
    flush(&s);
    assert_eq!(s.one("select name from items where id = 1"), "a");
}

#[test]
fn only_mappings_have_queues() {
    let s = items().start();
    s.run("WT.FLUSH nothing").assert_error("ERR writethrough: no mapping is named");
    s.run("WT.RETRY nothing").assert_error("ERR writethrough: no mapping is named");
}

/// Right after a swap nothing is known of the queues, not even that there is none.
#[test]
fn a_batch_right_after_a_swap_is_no_reason_to_try_again() {
    let s = Stack::users().start();
    s.add_user(1);
    let replies = s.conn().packet(&[
        "SWAPDB 0 1",
        "SWAPDB 1 0",
        "WT.BATCH 1 4 HSET __{users:1} username a",
        "SWAPDB 0 1",
        "SWAPDB 1 0",
        "WT.TRANSACTION 1 4 HSET __{users:1} username b",
    ]);
    for reply in [&replies[2], &replies[5]] {
        assert_eq!(*reply, Reply::Array(vec![int(0)]));
    }
    assert_eq!(s.one("select username from users"), "b");
}

#[test]
fn what_does_not_go_together_fails_the_load() {
    let document = json!({"url": "postgresql://127.0.0.1:1/x", "atomic_multi": true,
        "mappings": [{"table": "items", "write": "behind"}]});
    let s = Stack::new().without_module().start();
    assert!(s.load_with(&["JSON", &document.to_string()]).is_error());
    s.wait_for_log("mappings[0].write: \"behind\" can't go together with atomic_multi");
}

#[test]
fn a_pause_holds_what_changes_the_data_set() {
    let s = items().start();
    one_item(&s);
    let lock = s.database.hold("select from items for update");
    assert_eq!(s.run("HINCRBY __{items:1} n 1"), int(1));
    assert_eq!(s.run("CLIENT PAUSE 100000 WRITE"), ok());
    lock.rollback();
    eventually("the database has it", || s.one("select n from items") == "1");
    assert_eq!(s.run("XLEN {writethrough}:behind:items"), int(1), "nothing is trimmed in a pause");
    let mut late = s.send("HINCRBY __{items:1} n 1");
    s.wait_for_blocked(1);
    assert_eq!(s.run("CLIENT UNPAUSE"), ok());
    assert_eq!(late.receive(), int(2));
    flush(&s);
    assert_eq!(s.one("select n from items"), "2");
}

#[test]
fn acknowledgements_come_when_the_database_has_it() {
    let s = items().start();
    one_item(&s);
    let lock = s.database.hold("select from items for update");
    assert_eq!(s.run("HSET __{items:1} name b # =u1"), int(0));
    assert_eq!(s.run("HSET __{items:1} price dear # =u2"), int(1));
    assert_eq!(s.run("EXISTS {items:1}u1"), int(0));
    lock.rollback();
    flush(&s);
    let entry = |name: &str| {
        let reply = s.run(&format!("XRANGE {{items:1}}{name} - +"));
        reply.array()[0].array()[1].array().iter().map(Reply::text).collect::<Vec<_>>()
    };
    assert_eq!(entry("u1"), ["status", "done"]);
    let failed = entry("u2");
    assert_eq!(failed[..2], ["status", "failed"]);
    assert!(failed[3].starts_with("WTERR 22P02"), "{failed:?}");
    assert_eq!(s.run("HGET items:1 name"), bulk("b"));
}

#[test]
fn fields_that_redis_keeps_stay() {
    let s = items().with("unmapped", "keep").with("ttl", 1000).start();
    assert_eq!(s.run("HSET __{items:1} name a _class Item"), int(2));
    assert_eq!(s.run("HINCRBY __{items:1} seen 1"), int(1));
    assert_eq!(s.run("HINCRBY __{items:2} seen 1"), int(1));
    flush(&s);
    assert_eq!(s.one("select string_agg(id::text, ' ' order by id) from items"), "1 2");
    let all = [("id", "1"), ("name", "a"), ("_class", "Item"), ("seen", "1")];
    assert_eq!(s.hgetall("items:1"), hash(&all));
    assert!(s.run("TTL items:1").int() > 900);
}

#[test]
fn unknown_entries_are_set_aside() {
    let s = items().start();
    one_item(&s);
    assert_eq!(s.run("HSET __{items:1} name b"), int(0));
    flush(&s);
    assert!(!s.run("XADD {writethrough}:behind:items * 9.hset 1 name c").is_error());
    assert_eq!(s.run("HSET __{items:1} name d"), int(0));
    flush(&s);
    assert_eq!(s.one("select name from items"), "d");
    let failed = s.run("XRANGE {writethrough}:failed:items - +").array()[0].array()[1].clone();
    assert!(failed.array()[5].text().contains("none that this version of the module knows"));
}
