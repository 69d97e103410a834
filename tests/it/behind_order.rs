//! What is written behind, exactly once and in order: restarts, lost files and clocks, connections that
//! break, a database of an earlier time.

use std::sync::Arc;

use serde_json::json;

use crate::behind::{flush, items, row, ITEMS};
use crate::replication::follow;
use crate::support::*;

/// Items that are there, and cached.
pub fn cached(s: &Stack, count: i64) {
    s.execute(&format!("insert into items select i, 'a', 0 from generate_series(1, {count}) i"));
    (1..=count).for_each(|id| assert_eq!(s.run(&format!("WT.REFRESH items:{id}")), int(1)));
}

/// What the table has counted.
pub fn n(s: &Stack, id: i64) -> i64 {
    s.one(&format!("select n from items where id = {id}")).parse().expect("a number")
}

/// The cache holds the row, once everything is written.
pub fn wait_for_row(s: &Stack, id: i64) {
    eventually("the hash is the row", || s.hgetall(&format!("items:{id}")) == row(s, id));
}

#[test]
fn a_crash_loses_no_entry_that_the_file_has_and_writes_none_twice() {
    let s = items().redis_conf("appendonly yes").redis_conf("appendfsync always").start();
    cached(&s, 3);
    let lock = s.database.hold("select from items for update");
    for round in 1..=20 {
        for id in 1..=3 {
            assert_eq!(s.run(&format!("HINCRBY __{{items:{id}}} n {id}")), int(id * round));
        }
    }
    s.restart_redis("KILL");
    assert_eq!(s.run("HGET items:3 n"), bulk("60"));
    assert_eq!(s.run("HINCRBY __{items:3} n 1"), int(61));
    lock.rollback();
    flush(&s);
    assert_eq!([1, 2, 3].map(|id| n(&s, id)), [20, 40, 61]);
    s.restart_redis("KILL");
    flush(&s);
    assert_eq!([1, 2, 3].map(|id| n(&s, id)), [20, 40, 61]);
    assert_eq!(s.info_int("behind_found_older"), 0);
    (1..=3).for_each(|id| wait_for_row(&s, id));
}

/// A write that was undone has used up an id: the greatest one that the stream has had is no entry's.
#[test]
fn a_flush_waits_for_no_entry_that_is_not_there() {
    let s = items().redis_conf("appendonly yes").redis_conf("appendfsync always").start();
    cached(&s, 1);
    let lock = s.database.hold("select from items for update");
    assert_eq!(s.run("HINCRBY __{items:1} n 1"), int(1));
    assert_eq!(s.run("XSETID {writethrough}:behind:items 9999999999999-0"), ok());
    s.restart_redis("KILL");
    eventually("it is found", || s.info_int("behind_entries") == 1);
    let mut waits = s.send("WT.FLUSH items");
    s.wait_for_blocked(1);
    lock.rollback();
    assert_eq!(waits.receive(), ok());
    assert_eq!(n(&s, 1), 1);
}

/// The trim is lost, not the commit.
#[test]
fn entries_that_come_back_are_not_written_again() {
    let s = items().start();
    cached(&s, 2);
    let lock = s.database.hold("select from items for update");
    for _ in 0..10 {
        s.run("HINCRBY __{items:1} n 1");
        s.run("HINCRBY __{items:2} n 1");
    }
    assert_eq!(s.run("SAVE"), ok());
    lock.rollback();
    flush(&s);
    assert_eq!(s.run("HINCRBY __{items:1} n 1"), int(11));
    flush(&s);
    s.restart_redis("KILL");
    assert_eq!(s.run("HGET items:1 n"), bulk("10"), "an earlier data set");
    flush(&s);
    assert_eq!([n(&s, 1), n(&s, 2)], [11, 10]);
    // What PostgreSQL has and the data set lacked is read back, and told.
    wait_for_row(&s, 1);
    eventually("it is told", || s.info_int("behind_found_older") == 1);
    s.wait_for_log("is older than the table");
    assert_eq!(s.run("HINCRBY __{items:1} n 1"), int(12));
    flush(&s);
    assert_eq!(n(&s, 1), 12);
}

/// The new server's ids are smaller than those that PostgreSQL knows.
#[test]
fn a_clock_that_is_behind_skips_nothing() {
    let s = items().start();
    cached(&s, 1);
    assert_eq!(s.run("HINCRBY __{items:1} n 1"), int(1));
    flush(&s);
    assert_eq!(s.run("SAVE"), ok());
    assert_eq!(s.run("XSETID {writethrough}:behind:items 99999999999999-0"), ok());
    assert_eq!(s.run("HINCRBY __{items:1} n 1"), int(2));
    flush(&s);
    assert!(s.one("select max(ms) from writethrough.behind") == "99999999999999");
    s.restart_redis("KILL");
    wait_for_row(&s, 1);
    for _ in 0..5 {
        assert!(s.run("HINCRBY __{items:1} n 1").is_int());
    }
    flush(&s);
    assert_eq!(n(&s, 1), 7);
    wait_for_row(&s, 1);
}

#[test]
fn a_promoted_replica_goes_on() {
    let s = items().start();
    let replica = Stack::new().without_module().start();
    let args = ["JSON", &s.document.to_string()].map(str::to_string);
    assert_eq!(replica.load_with(&args.each_ref().map(String::as_str)), ok());
    cached(&s, 2);
    follow(&replica, &s);
    let lock = s.database.hold("select from items for update");
    for _ in 0..10 {
        s.run("HINCRBY __{items:1} n 1");
    }
    assert_eq!(s.run("WAIT 1 30000"), int(1));
    assert_eq!(replica.run("HGET items:1 n"), bulk("10"));
    replica.run("HINCRBY items:1 n 1").assert_error("READONLY");
    s.redis.stop("KILL");
    assert_eq!(replica.run("REPLICAOF NO ONE"), ok());
    assert_eq!(replica.run("HINCRBY __{items:1} n 1"), int(11));
    assert_eq!(replica.run("HINCRBY __{items:2} n 1"), int(1));
    lock.rollback();
    assert_eq!(replica.run("WT.FLUSH items"), ok());
    assert_eq!([n(&s, 1), n(&s, 2)], [11, 1]);
}

#[test]
fn a_lost_connection_is_no_second_write() {
    let database = Database::create(PostgresServer::shared());
    let proxy = Proxy::to(database.server().port());
    database.execute(ITEMS);
    let url = format!("postgres://postgres@127.0.0.1:{}/{}", proxy.port(), database.name());
    let s = Stack::new().mapping(json!({"table": "items", "write": "behind"})).option("url", url);
    let s = s.try_start_on(database).expect("it loads");
    cached(&s, 4);
    let cuts = [
        Cut::Before("COMMIT"),
        Cut::After("COMMIT"),
        Cut::BeforeAnswer,
        Cut::BeforeStatement,
        Cut::AfterStatement,
        Cut::After("behind"),
    ];
    for (round, cut) in (1..).zip(cuts) {
        proxy.arm(cut);
        for id in 1..=4 {
            assert_eq!(s.run(&format!("HINCRBY __{{items:{id}}} n 1")), int(round));
        }
        flush(&s);
        assert_eq!([1, 2, 3, 4].map(|id| n(&s, id)), [round; 4], "{cut:?}");
    }
    (1..=4).for_each(|id| wait_for_row(&s, id));
}

#[test]
fn while_the_database_is_away_writes_are_taken() {
    let server = Arc::new(PostgresServer::start_new());
    let s = items().told_soon_of_outages().postgres(&server).start();
    cached(&s, 2);
    server.stop_immediate();
    for _ in 0..5 {
        assert!(s.run("HINCRBY __{items:1} n 2").is_int());
    }
    s.run("HINCRBY __{items:9} n 1").assert_error("WTDOWN");
    assert_eq!(s.run("HINCRBY __{items:2} n 1"), int(1));
    eventually("the queue is held", || s.info_int("behind_held") == 1);
    assert_eq!(s.info_int("behind_entries"), 6);
    server.start_again();
    flush(&s);
    assert_eq!([n(&s, 1), n(&s, 2)], [10, 1]);
}

/// A base backup is taken in the middle, and restored.
#[test]
fn a_database_of_an_earlier_time_gets_what_is_left() {
    let server = Arc::new(PostgresServer::start_new());
    let s = items().told_soon_of_outages().postgres(&server).start();
    cached(&s, 3);
    for id in 1..=2 {
        assert_eq!(s.run(&format!("HINCRBY __{{items:{id}}} n 1")), int(1));
    }
    flush(&s);
    server.back_up();
    // These are trimmed: the stream has them no more.
    for id in 1..=2 {
        assert_eq!(s.run(&format!("HINCRBY __{{items:{id}}} n 10")), int(11));
    }
    flush(&s);
    // And these are not.
    s.set("behind-delay-ms", 60_000);
    assert_eq!(s.run("HINCRBY __{items:1} n 100"), int(111));
    assert_eq!(s.run("HINCRBY __{items:3} n 100"), int(100));
    assert_eq!(s.info_int("behind_database_older"), 0);
    server.restore();
    flush(&s);
    assert_eq!([1, 2, 3].map(|id| n(&s, id)), [101, 1, 100]);
    eventually("it is told", || s.info_int("behind_database_older") == 1);
    s.wait_for_log("is of an earlier time than the queue of \"items\"");
    // Also those that nobody has written since.
    (1..=3).for_each(|id| wait_for_row(&s, id));
    assert_eq!(s.run("HINCRBY __{items:2} n 1"), int(2));
    flush(&s);
    assert_eq!(n(&s, 2), 2);
    assert_eq!(s.info_int("behind_database_older"), 1);
}

#[test]
fn a_long_queue_is_written_in_order_after_a_restart() {
    let s = items().redis_conf("appendonly yes").option("batch_max", 100).start();
    cached(&s, 5);
    let lock = s.database.hold("select from items for update");
    let mut c = s.conn();
    for i in 0..3000 {
        c.send_line(&format!("HSET __{{items:{}}} name v{i} note w{i}", i % 5 + 1));
    }
    (0..3000).for_each(|_| assert!(c.receive().is_int()));
    assert_eq!(s.run("DEL __{items:4}"), int(1));
    s.restart_redis("TERM");
    s.wait_until_in_sync();
    assert_eq!(s.run("HSET __{items:4} name new"), int(1), "the row is known to be deleted");
    lock.rollback();
    flush(&s);
    let names = s.one("select string_agg(concat_ws('-', name, note), ' ' order by id) from items");
    assert_eq!(names, "v2995-w2995 v2996-w2996 v2997-w2997 new v2999-w2999");
    (1..=5).for_each(|id| wait_for_row(&s, id));
}

#[test]
fn a_refused_entry_is_not_lost_by_a_crash() {
    let s = items().start();
    cached(&s, 2);
    let lock = s.database.hold("select from items for update");
    s.run("HINCRBY __{items:1} n 5000");
    s.run("HINCRBY __{items:2} n 1");
    // The data set has both entries; what becomes of them is lost.
    assert_eq!(s.run("SAVE"), ok());
    lock.rollback();
    flush(&s);
    assert_eq!(n(&s, 2), 1);
    s.restart_redis("KILL");
    flush(&s);
    assert_eq!([n(&s, 1), n(&s, 2)], [0, 1]);
    assert_eq!(s.info_int("behind_failed"), 1, "it is set aside again, not taken for written");
    wait_for_row(&s, 1);
}

#[test]
fn flushall_and_del_of_the_stream_drop_what_waits() {
    let s = items().start();
    cached(&s, 2);
    let lock = s.database.hold("select from items where id = 1 for update");
    s.run("HINCRBY __{items:1} n 1");
    eventually("the batch is on its way", || s.info_int("behind_entries") == 1);
    s.run("HINCRBY __{items:2} n 1");
    assert_eq!(s.run("FLUSHALL"), ok());
    assert_eq!(s.info_int("behind_lost"), 2);
    s.wait_for_log("and with it 2 entries");
    lock.rollback();
    assert!(s.run("HINCRBY __{items:2} n 10").is_int());
    flush(&s);
    let kept = n(&s, 2);
    assert!(kept == 10 || kept == 11, "{kept}");
    wait_for_row(&s, 2);
    assert_eq!(s.run("DEL {writethrough}:behind:items"), int(1));
    assert!(s.run("HINCRBY __{items:2} n 10").is_int());
    flush(&s);
    assert_eq!(n(&s, 2), kept + 10);
}

#[test]
fn the_mode_changes_and_the_queue_is_written_first() {
    let s = items().start();
    cached(&s, 1);
    let lock = s.database.hold("select from items for update");
    assert_eq!(s.run("HSET __{items:1} name behind"), int(0));
    s.edit_document(|d| d["mappings"][0]["write"] = json!("through"));
    assert_eq!(s.run("WT.RELOAD"), ok());
    let mut through = s.send("HSET __{items:1} name through");
    s.wait_for_blocked(1);
    assert_eq!(s.run("HGET items:1 name"), bulk("behind"));
    lock.rollback();
    assert_eq!(through.receive(), int(0));
    assert_eq!(s.one("select name from items"), "through");
    // And back: a write that goes through is before.
    let lock = s.database.hold("select from items for update");
    let mut through = s.send("HSET __{items:1} name again");
    s.wait_for_blocked(1);
    s.edit_document(|d| d["mappings"][0]["write"] = json!("behind"));
    assert_eq!(s.run("WT.RELOAD"), ok());
    let mut behind = s.send("HSET __{items:1} name last");
    s.wait_for_blocked(2);
    lock.rollback();
    assert_eq!((through.receive(), behind.receive()), (int(0), int(0)));
    flush(&s);
    assert_eq!(s.one("select name from items"), "last");
    wait_for_row(&s, 1);
}
