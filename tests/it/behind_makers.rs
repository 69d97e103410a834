//! `"write": "behind"`: which server has made which entries.

use std::collections::BTreeSet;

use crate::behind::{flush, items};
use crate::support::*;

const ADD: &str = "HINCRBY __{items:1} n 1";

/// The identities on the queue: behind which entry each of them begins.
fn beginnings(s: &Stack) -> Vec<String> {
    let groups = s.run("XINFO GROUPS {writethrough}:behind:items");
    let begins = |group: &Reply| {
        let mut pairs = group.array().chunks(2);
        let pair = pairs.find(|pair| pair[0] == bulk("last-delivered-id")).expect("where it is");
        pair[1].text()
    };
    groups.array().iter().map(begins).collect()
}

/// If two began behind the same entry, nobody could tell whose the next one is, and it would be written as one's and
/// as the other's.
#[test]
fn servers_that_made_no_entry_are_told_apart() {
    let s = items().redis_conf("appendonly yes").redis_conf("appendfsync always").start();
    s.execute("insert into items values (1, 'a', 0)");
    assert_eq!(s.run(ADD), int(1));
    flush(&s);
    let lock = s.database.hold("lock table items in exclusive mode");
    assert_eq!(s.run(ADD), int(2));
    for servers in 2..=5 {
        s.restart_redis("KILL");
        eventually("it has an identity", || beginnings(&s).len() == servers);
    }
    let all = beginnings(&s);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:?}");
    assert_eq!(s.run(ADD), int(3));
    lock.rollback();
    flush(&s);
    assert_eq!(s.one("select n from items"), "3");
    eventually("one is left", || beginnings(&s).len() == 1);
}
