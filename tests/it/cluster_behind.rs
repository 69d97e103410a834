//! `"write": "behind"` in a Redis Cluster: a queue for each slot.

use crate::behind::{count, counted_and_locked, flush, items};
use crate::support::*;

/// One node that has all slots.
fn node(builder: Builder) -> Stack {
    let s = builder.redis_conf("cluster-enabled yes").start();
    assert_eq!(s.run("CLUSTER ADDSLOTSRANGE 0 16383"), ok());
    wait_until_up(&s);
    s
}

fn wait_until_up(s: &Stack) {
    eventually("the cluster is up", || s.run("CLUSTER INFO").text().contains("cluster_state:ok"));
}

/// The streams that a node has, of entries that wait or were refused.
pub fn streams(s: &Stack, word: &str) -> Vec<String> {
    s.keys().into_iter().filter(|key| key.contains(&format!("}}:{word}:items"))).collect()
}

/// The name of a row's stream: in the slot of its key, by the least number that has it.
pub fn stream_of(s: &Stack, word: &str, id: usize) -> String {
    let slot = |key: &str| s.run(&format!("CLUSTER KEYSLOT {key}")).int();
    let wanted = slot(&format!("items:{id}"));
    let tag = (0..).find(|n| slot(&n.to_string()) == wanted).expect("a number");
    format!("{{{tag}}}:{word}:items")
}

#[test]
fn each_slot_has_its_stream_and_they_share_transactions() {
    let s = node(items());
    let lock = counted_and_locked(&s, 100);
    (2..=3).for_each(|n| count(&s, 100, n));
    assert_eq!(s.info_int("behind_entries"), 200);
    let name = stream_of(&s, "behind", 7);
    let entries = s.run(&format!("XRANGE {name} - +"));
    assert_eq!(entries.array().len(), 2, "{name}");
    assert!(streams(&s, "behind").len() > 90);
    lock.rollback();
    flush(&s);
    assert_eq!(s.one("select string_agg(distinct n::text, ' ') from items"), "3");
    // The first one began before the others had come.
    let transactions = s.one("select count(distinct xmin::text) from items");
    assert!(transactions.parse::<i64>().expect("a number") <= 4, "{transactions}");
    assert!(streams(&s, "behind").iter().all(|name| s.run(&format!("XLEN {name}")) == int(0)));
    assert_eq!((s.info_int("behind_lost"), s.info_int("behind_found_older")), (0, 0));
}

#[test]
fn limits_and_refusals_are_the_mappings() {
    let s = node(items().option("behind_max", 5));
    s.execute("insert into items select i, 'a', 0 from generate_series(1, 9) i");
    for id in 1..=9 {
        assert_eq!(s.run(&format!("WT.REFRESH items:{id}")), int(1));
    }
    let lock = s.database.hold("lock table items in exclusive mode");
    for id in 1..=5 {
        assert_eq!(s.run(&format!("HINCRBY __{{items:{id}}} n 2000")), int(2000));
    }
    s.run("HINCRBY __{items:6} n 1").assert_error("WTBUSY 5 entries wait");
    lock.rollback();
    flush(&s);
    assert_eq!(s.info_int("behind_failed"), 5);
    assert_eq!(s.run(&format!("XLEN {}", stream_of(&s, "failed", 3))), int(1));
    s.execute("alter table items drop constraint items_n_check");
    assert_eq!(s.run("WT.RETRY items"), int(5));
    flush(&s);
    assert_eq!(s.info_int("behind_failed"), 0);
    assert_eq!(s.one("select count(*) from items where n = 2000"), "5");
    assert_eq!(s.run("WT.RETRY items"), int(0));
}

#[test]
fn what_waits_is_found_after_a_restart() {
    let s = node(items().redis_conf("appendonly yes").redis_conf("appendfsync always"));
    let lock = counted_and_locked(&s, 50);
    count(&s, 50, 2);
    s.restart_redis("KILL");
    wait_until_up(&s);
    eventually("they are counted", || s.info_int("behind_entries") == 50);
    assert_eq!(s.run("HINCRBY __{items:1} n 1"), int(3));
    lock.rollback();
    flush(&s);
    assert_eq!(s.one("select sum(n) from items"), "101");
    assert_eq!((s.info_int("behind_lost"), s.info_int("behind_found_older")), (0, 0));
    // Their identities are this server's, and no other.
    let groups = |id| s.run(&format!("XINFO GROUPS {}", stream_of(&s, "behind", id)));
    eventually("the earlier identity has ended", || groups(7).array().len() == 1);
}

#[test]
fn what_is_flushed_or_deleted_is_lost_and_said() {
    let s = node(items());
    s.execute("insert into items select i, 'a', 0 from generate_series(1, 9) i");
    let refresh = || (1..=9).for_each(|id| drop(s.run(&format!("WT.REFRESH items:{id}"))));
    let add = || {
        for id in 1..=9 {
            assert!(s.run(&format!("HINCRBY __{{items:{id}}} n 1")).is_int());
        }
    };
    refresh();
    let lock = s.database.hold("lock table items in exclusive mode");
    add();
    assert_eq!(s.run(&format!("DEL {}", stream_of(&s, "behind", 3))), int(1));
    eventually("it is counted", || s.info_int("behind_lost") == 1);
    assert_eq!(s.info_int("behind_entries"), 8);
    assert_eq!(s.run("FLUSHALL"), ok());
    eventually("they are counted", || s.info_int("behind_lost") == 9);
    lock.rollback();
    flush(&s);
    refresh();
    let sum: i64 = s.one("select sum(n) from items").parse().expect("a number");
    add();
    flush(&s);
    assert_eq!(s.one("select sum(n) from items"), (sum + 9).to_string());
}
