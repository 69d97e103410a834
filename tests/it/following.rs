//! A server that follows another one is changed by its master only, whatever its module still has
//! to do.

use crate::replication::{assert_same_data, follow};
use crate::support::*;

/// What was sent before the demotion is committed, and its clients are gone.
#[test]
fn a_demoted_master_changes_nothing_any_more() {
    let s = Stack::users().patient().start();
    let other = Stack::users().without_module().start();
    (1..=3).for_each(|id| s.add_user(id));
    assert_eq!(other.run("SET plain 1"), ok());
    let lock = s.database.hold("select from users for update");
    let _deleting = s.send("DEL __{users:1} plain");
    let _acknowledged = s.send("HSET __{users:2} # =done first x");
    let _writing = s.send("HSET __{users:3} first x");
    s.database.wait_for_lock_waiters(1);
    follow(&s, &other);
    lock.rollback();
    eventually("nothing is in flight", || s.info_int("in_flight") == 0);
    assert_same_data(&s, &other);
    assert_eq!(s.keys(), ["plain"]);
}

/// A replica may be written to by its own clients, but not through to the database.
#[test]
fn a_writable_replica_writes_nothing_through() {
    let master = Stack::users().patient().start();
    master.add_user(1);
    let replica = Stack::users().redis_conf("replica-read-only no").without_module().start();
    let args = ["JSON", &master.document.to_string()].map(str::to_string);
    assert_eq!(replica.load_with(&args.each_ref().map(String::as_str)), ok());
    follow(&replica, &master);
    for line in ["WT.HSET __{users:1} first x", "WT.DEL __{users:1}", "WT.REFRESH users:1"] {
        replica.run(line).assert_error("READONLY ");
    }
    replica.run("WT.VERIFY users REPAIR").assert_error("READONLY ");
    assert_eq!(transaction(&mut replica.conn(), &["WT.HSET __{users:1} first x"]).len(), 1);
    assert_eq!(master.one("select username from users where first_name is null"), "u1");
    assert_same_data(&replica, &master);
    // Nor is what is queued before the demotion.
    assert_eq!(replica.run("REPLICAOF NO ONE"), ok());
    let mut conn = replica.conn();
    assert_eq!(conn.run("MULTI"), ok());
    conn.run("HSET __{users:1} first x");
    follow(&replica, &master);
    assert!(conn.run("EXEC").text().starts_with("READONLY "));
    assert_eq!(master.one("select username from users where first_name is null"), "u1");
}

/// By a command that the filter doesn't know, as another module's would be.
#[test]
fn a_change_by_others_is_replicated_before_what_follows_from_it() {
    let conf = "rename-command HSETNX MYSET";
    let master = Stack::users().patient().redis_conf(conf).redis_conf("appendonly yes").start();
    let replica = Stack::users().without_module().redis_conf(conf).start();
    follow(&replica, &master);
    master.add_user(1);
    assert_eq!(master.run("MYSET __{users:1} first x"), int(1));
    eventually("it is written through", || master.run("HGET users:1 first") == bulk("x"));
    eventually("nothing is staged", || master.run("EXISTS __{users:1}") == int(0));
    master.assert_user_cached(1);
    assert_same_data(&replica, &master);
    // It waits for the end of a pause, and no write that is settled meanwhile takes it away.
    let lock = master.lock_user(1);
    let mut writer = master.send("HSET __{users:1} last y");
    master.database.wait_for_lock_waiters(1);
    let pausing =
        ["MULTI", "CLIENT PAUSE 600000 WRITE", "MYSET __{users:1} dob 1990-05-17", "EXEC"];
    assert!(!master.conn().packet(&pausing)[3].is_error());
    lock.rollback();
    eventually("it is committed", || {
        master.one("select coalesce(last_name, '') from users") == "y"
    });
    assert_eq!(master.run("HGET users:1 last"), Reply::Nil, "no write while writes are paused");
    assert_eq!(master.run("CLIENT UNPAUSE"), ok());
    assert_eq!(writer.receive(), int(1));
    eventually("it is written through", || master.run("HGET users:1 dob") == bulk("1990-05-17"));
    eventually("nothing is staged", || master.run("EXISTS __{users:1}") == int(0));
    master.assert_user_cached(1);
    // A refused one is told of in the log.
    assert_eq!(master.run("MYSET __{users:1} dob never"), int(1));
    master.wait_for_log("of a staged key of \"users\" was not written through: WTERR 22007");
    eventually("nothing is staged", || master.run("EXISTS __{users:1}") == int(0));
    master.assert_user_cached(1);
    assert_same_data(&replica, &master);
}
