//! While the server must not write (CLIENT PAUSE, FAILOVER, SHUTDOWN), what the module does by itself
//! waits. Nothing of it is lost, and the server lives.
//!
//! Each time there is somebody to tell of a change, an append-only file or a replica: that is where
//! the server notices a change at the wrong time, and ends itself.

use crate::replication::{assert_same_data, follow};
use crate::support::*;

/// Another program's transaction moves the journal's position on. The journal is looked at once a
/// second, after what the look before has found was dealt with: so that was done when one begins two
/// seconds later.
fn move_on(s: &Stack) {
    let moved = s.one("select clock_timestamp() from pg_current_xact_id()");
    let looked = format!(
        "select coalesce(max(query_start) > '{moved}'::timestamptz + interval '2 s', false)
         from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
         and query like '%pg_current_snapshot() AS now%'",
    );
    eventually("the journal is read", || s.one(&looked) == "t");
}

fn position(s: &Stack) -> Hash {
    s.hgetall("{writethrough}:applied")
}

/// A master with a journal that is followed, one user, and a replica.
fn journaled(conf: &[&str]) -> (Stack, Stack) {
    let master = Stack::users().option("journal", true).patient();
    let master = conf.iter().fold(master, |builder, line| builder.redis_conf(line)).start();
    let replica = Stack::users().without_module().start();
    follow(&replica, &master);
    master.add_user(1);
    eventually("a position is stored", || !position(&master).is_empty());
    (master, replica)
}

/// Makes the replica lag: it takes nothing, and more has come.
fn stop(replica: &Stack, master: &Stack) {
    replica.redis.signal("STOP");
    assert!(master.run("INCR sign").is_int());
}

#[test]
fn the_position_waits_for_the_end_of_a_pause() {
    for (conf, has_replica) in [("appendonly yes", false), ("appendonly no", true)] {
        let (s, replica) = journaled(&[conf]);
        if !has_replica {
            replica.redis.stop("KILL");
        }
        let before = position(&s);
        assert_eq!(s.run("CLIENT PAUSE 600000 WRITE"), ok());
        move_on(&s);
        assert_eq!(position(&s), before, "no write while writes are paused");
        assert_eq!(s.run("CLIENT UNPAUSE"), ok());
        eventually("it is stored afterwards", || position(&s) != before);
        if has_replica {
            assert_same_data(&replica, &s);
        }
    }
}

/// Nobody can be asked meanwhile.
#[test]
fn the_position_waits_while_everybody_is_paused() {
    let (s, replica) = journaled(&["appendonly yes"]);
    let before = position(&s);
    assert_eq!(s.run("CLIENT PAUSE 4000 ALL"), ok());
    move_on(&s);
    eventually("it is stored afterwards", || position(&s) != before);
    assert_same_data(&replica, &s);
}

#[test]
fn the_position_waits_while_a_failover_waits() {
    let (s, replica) = journaled(&["appendonly yes"]);
    stop(&replica, &s);
    let before = position(&s);
    let failover = format!("FAILOVER TO 127.0.0.1 {} TIMEOUT 3000", replica.redis.port());
    assert_eq!(s.run(&failover), ok());
    move_on(&s);
    // The replica doesn't catch up in time, and the master stays what it is.
    eventually("it is given up", || {
        s.info_of("replication")["master_failover_state"] == "no-failover"
    });
    replica.redis.signal("CONT");
    eventually("it is stored afterwards", || position(&s) != before);
    assert_same_data(&replica, &s);
}

#[test]
fn a_shutdown_waits_for_a_replica_and_may_be_given_up() {
    let (s, replica) = journaled(&["appendonly yes", "shutdown-timeout 60"]);
    stop(&replica, &s);
    let before = position(&s);
    s.redis.signal("TERM");
    s.wait_for_log("Waiting for replicas before shutting down");
    move_on(&s);
    assert_eq!(s.run("SHUTDOWN ABORT"), ok());
    eventually("it is stored afterwards", || position(&s) != before);
    replica.redis.signal("CONT");
    assert_same_data(&replica, &s);
    // And to its end.
    stop(&replica, &s);
    s.redis.signal("TERM");
    eventually("it waits again", || s.log().matches("Waiting for replicas").count() == 2);
    move_on(&s);
    replica.redis.signal("CONT");
    s.redis.wait_until_dead();
    let log = s.log();
    assert!(log.contains("ready to exit") && !log.contains("crashed by signal"), "{log}");
}

of_the_staged_key! {
/// Each in one packet, so that no timer comes between the commands.
#[test]
fn what_a_swap_leaves_behind_goes_after_the_pause() {
    for (swaps, db) in [(&["SWAPDB 0 1"][..], 1), (&["SWAPDB 0 1", "SWAPDB 2 1"], 2)] {
        let s = Stack::users().patient().redis_conf("appendonly yes").start();
        s.add_user(1);
        let lock = s.lock_user(1);
        let mut writer = s.send("HSET __{users:1} username new");
        s.database.wait_for_lock_waiters(1);
        let mut conn = s.conn();
        let mut packet = swaps.to_vec();
        packet.extend(["CLIENT PAUSE 600000 WRITE", "PING"]);
        conn.packet(&packet);
        assert_eq!(conn.run(&format!("SELECT {db}")), ok());
        assert_eq!(conn.run("EXISTS __{users:1}"), int(1), "no write while writes are paused");
        lock.rollback();
        eventually("it is committed", || s.one("select username from users") == "new");
        assert!(!s.is_in_sync());
        assert_eq!(conn.run("CLIENT UNPAUSE"), ok());
        assert!(writer.receive().is_int());
        eventually("nothing is staged there", || conn.run("EXISTS __{users:1}") == int(0));
        s.wait_until_in_sync();
        s.assert_users_are_rows();
    }
}
}

of_the_staged_key! {
#[test]
fn a_staged_key_that_a_swap_brings_back_stays_with_its_write() {
    let s = Stack::users().patient().redis_conf("appendonly yes").start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let mut writer = s.send("HSET __{users:1} username new");
    s.database.wait_for_lock_waiters(1);
    let mut conn = s.conn();
    conn.packet(&["SWAPDB 0 1", "SWAPDB 1 0", "SWAPDB 0 0", "PING"]);
    // By a SCAN, and since a write of the key is on its way.
    eventually("it has looked", || s.info()["writethrough_sync"].ends_with(", 2 left"));
    assert_eq!(s.run("EXISTS __{users:1}"), int(1));
    lock.rollback();
    assert_eq!(writer.receive(), int(0));
    s.wait_until_in_sync();
    s.assert_users_are_rows();
}
}

of_the_staged_key! {
/// A load finds staged keys that stand for no row, and a position that is no longer kept.
#[test]
fn what_a_load_finds_goes_after_the_pause() {
    let s = Stack::users().patient().redis_conf("appendonly yes").without_module().start();
    assert_eq!(s.run("HSET __{users:1:2} a b"), int(1));
    assert_eq!(s.run("HSET {writethrough}:applied history 1 snapshot 1:1:"), int(2));
    let module = module_path();
    let load = format!("MODULE LOAD {module} CONFIG {}", s.config.display());
    let replies = s.conn().packet(&[&load, "CLIENT PAUSE 600000 WRITE", "PING"]);
    assert_eq!(replies[..2], [ok(), ok()]);
    s.wait_for_log("mapping(s)");
    assert_eq!(s.run("EXISTS __{users:1:2} {writethrough}:applied"), int(2));
    assert!(!s.is_in_sync());
    assert_eq!(s.run("CLIENT UNPAUSE"), ok());
    s.wait_until_in_sync();
    assert_eq!(s.keys(), ["{writethrough}:sessions"]);
}
}

of_the_staged_key! {
/// They are the operator's, and the server lets them through: they change nothing before the end.
#[test]
fn a_refresh_and_a_repair_wait_for_the_end_of_a_pause() {
    let s = Stack::users().patient().redis_conf("appendonly yes").start();
    (1..=2).for_each(|id| s.add_user(id));
    assert_eq!(s.run("HSET users:1 username wrong"), int(0));
    assert_eq!(s.run("HSET users:2 username wrong"), int(0));
    assert_eq!(s.run("CLIENT PAUSE 600000 WRITE"), ok());
    let mut refresh = s.send("WT.REFRESH users:1");
    let mut verify = s.send("WT.VERIFY users REPAIR");
    s.wait_for_blocked(2);
    let refused = transaction(&mut s.conn(), &["WT.REFRESH users:1", "PING"]);
    refused[0].assert_error("ERR writethrough: the server must not write now");
    eventually("the rows are read", || s.info_int("rows") >= 2 + 2);
    assert_eq!(s.run("HGET users:1 username"), bulk("wrong"));
    assert_eq!(s.run("CLIENT UNPAUSE"), ok());
    assert_eq!(refresh.receive(), int(1));
    assert!(!verify.receive().is_error());
    s.assert_users_are_rows();
}
}

/// The pause takes effect after the transaction that has made it: what writes there goes on.
#[test]
fn a_transaction_that_pauses_may_write() {
    let s = Stack::users().patient().redis_conf("appendonly yes").start();
    s.add_user(1);
    let lines = [
        "CLIENT PAUSE 600000 WRITE",
        "HSET __{users:1} first x",
        "HSET __{users:1} # =done last y",
        "DEL __{users:2} plain",
        "HSET draft first z",
        "RENAME draft __{users:1}",
        "WT.REFRESH users:1",
    ];
    let replies = transaction(&mut s.conn(), &lines);
    assert_eq!(replies[1..6], [int(1), int(1), int(0), int(1), ok()]);
    replies[6].assert_error("ERR writethrough: the server must not write now");
    s.assert_user_cached(1);
    assert_eq!(s.run("HGET users:1 first"), bulk("z"));
    assert_eq!(s.run("CLIENT UNPAUSE"), ok());
    s.wait_until_in_sync();
    s.assert_users_are_rows();
}
