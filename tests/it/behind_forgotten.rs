//! What the database forgets of queues that are written behind, and an entry that it may have forgotten.

use crate::behind::{flush, items};
use crate::behind_order::{cached, n, wait_for_row};
use crate::support::*;

/// Positions and refusals that nobody has asked for in 30 days.
#[test]
fn what_the_database_keeps_of_queues_that_have_gone_is_deleted() {
    let s = items().start();
    cached(&s, 1);
    assert_eq!(s.run("HINCRBY __{items:1} n 5000"), int(5000));
    assert_eq!(s.run("HINCRBY __{items:1} n 1"), int(5001));
    flush(&s);
    s.execute(
        "insert into writethrough.behind (identity, mapping, ms, seq, since_ms, at) values
             ('wt:old', 'items', 1, 0, 0, now() - interval '31 days'),
             ('wt:less', 'items', 1, 0, 0, now() - interval '29 days');
         insert into writethrough.behind_refused (identity, ms, seq, sqlstate, message, at) values
             ('wt:old', 1, 0, '23514', 'x', now() - interval '31 days'),
             ('wt:less', 1, 0, '23514', 'x', now() - interval '29 days')",
    );
    // It is looked at after a start, and then each minute.
    s.restart_redis("KILL");
    for table in ["behind", "behind_refused"] {
        let kept = format!("select count(*) from writethrough.{table} where identity = 'wt:less'");
        let gone = format!("select count(*) from writethrough.{table} where identity = 'wt:old'");
        eventually("the old ones are gone", || s.one(&gone) == "0");
        assert_eq!(s.one(&kept), "1");
    }
    assert_eq!(s.one("select count(*) from writethrough.behind where mapping = 'items'"), "2");
}

/// An old data set comes back, whose position may have been deleted.
#[test]
fn an_entry_that_the_database_may_have_forgotten_is_set_aside() {
    let s = items().redis_conf("appendonly yes").redis_conf("appendfsync always").start();
    cached(&s, 1);
    let days_ago = |days: u64| {
        let now: u64 =
            s.one("select (extract(epoch from now()) * 1000)::bigint").parse().expect("ms");
        now - days * 24 * 3600 * 1000
    };
    let stream = "{writethrough}:behind:items";
    assert_eq!(s.run(&format!("XGROUP CREATE {stream} wt:0123 0-0 MKSTREAM")), ok());
    for (days, n) in [(31, 1), (29, 10), (28, 100)] {
        s.run(&format!("XADD {stream} {}-0 1.hincrby 1 n {n}", days_ago(days) - 1000));
    }
    s.restart_redis("KILL");
    flush(&s);
    assert_eq!(n(&s, 1), 100);
    let failed = s.run("XRANGE {writethrough}:failed:items - +");
    assert_eq!(failed.array().len(), 2, "{failed:?}");
    let first: Vec<String> = failed.array()[0].array()[1].array().iter().map(Reply::text).collect();
    assert!(first[5].ends_with("nobody knows whether it was written"), "{first:?}");
    wait_for_row(&s, 1);
    // Put back, they are new entries.
    assert_eq!(s.run("WT.RETRY items"), int(2));
    flush(&s);
    assert_eq!(n(&s, 1), 111);
}
