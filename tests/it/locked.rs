//! A row that is only locked: its writers read that, and that nothing was written.

use crate::support::*;

const LOCKED: &str = "WTTIMEOUT 55P03 the row is locked by another session";

#[track_caller]
fn assert_locked(reply: &Reply, limit: &str) {
    let text = reply.assert_error(LOCKED);
    // The worker may be the one who says so first.
    assert!(text.contains(limit) || text.contains("in time"), "{text}");
    assert!(text.ends_with("; nothing was written"), "{text}");
}

#[test]
fn each_command_on_a_locked_row() {
    let s = Stack::users().option("timeout_ms", 300).option("sync_timeout_ms", 300).start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let before = s.row("select * from users");
    for line in [
        "HSET __{users:1} username new",
        "HMSET __{users:1} username new",
        "HSETNX __{users:1} first x",
        "HDEL __{users:1} dob",
        "DEL __{users:1}",
        "UNLINK __{users:1}",
    ] {
        assert_locked(&s.run(line), "timeout_ms = 300");
        assert_locked(&transaction(&mut s.conn(), &[line])[0], "sync_timeout_ms = 300");
    }
    lock.rollback();
    eventually("nothing is in flight", || s.info_int("in_flight") == 0);
    assert_eq!(s.row("select * from users"), before, "nothing comes afterwards");
    s.assert_user_cached(1);
}

/// Those that wait behind it, too.
#[test]
fn the_writes_behind_it() {
    let s = Stack::users().option("timeout_ms", 400).start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let mut conns: Vec<Conn> =
        (0..5).map(|n| s.send(&format!("HSET __{{users:1}} username n{n}"))).collect();
    for conn in &mut conns {
        assert_locked(&conn.receive(), "timeout_ms = 400");
    }
    lock.rollback();
    eventually("nothing is in flight", || s.info_int("in_flight") == 0);
    s.assert_user_cached(1);
    assert_eq!(s.one("select username from users"), "u1");
}

/// A statement that runs is another thing: nobody knows yet.
#[test]
fn a_statement_that_is_running_may_still_commit() {
    let s = Stack::new().one_worker().option("timeout_ms", 200).start();
    let lock = s.database.hold("select pg_advisory_xact_lock(77)");
    let mut writer = s.send("HSET __{hold:1} v x");
    s.wait_until_held_up();
    let text = writer.receive();
    let text = text.assert_error("WTTIMEOUT ");
    assert!(!text.contains("55P03"), "{text}");
    lock.rollback();
}

/// Where no worker was free.
#[test]
fn what_was_never_sent() {
    let s = Stack::users().one_worker().start();
    s.add_user(1);
    let held = s.hold();
    assert_eq!(s.run("CONFIG SET writethrough.timeout-ms 200"), ok());
    let text = s.run("HSET __{users:1} username new");
    let text = text.assert_error("WTTIMEOUT ").to_string();
    assert!(text.ends_with("; nothing was written") && !text.contains("55P03"), "{text}");
    let text = s.run("WT.REFRESH users:1");
    let text = text.assert_error("WTTIMEOUT ");
    assert!(!text.contains("commit"), "{text}");
    held.release();
    eventually("nothing is in flight", || s.info_int("in_flight") == 0);
    assert_eq!(s.one("select username from users"), "u1");
    s.assert_user_cached(1);
}
