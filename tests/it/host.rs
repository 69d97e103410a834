//! What the server does around a write in flight: pauses, busy scripts, reloads, shutdown.

use crate::support::*;

#[test]
fn a_completion_waits_for_the_end_of_a_pause() {
    // With a log to write: that is where a write at the wrong time is noticed.
    let s = Stack::users().patient().redis_conf("appendonly yes").start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let mut writer = s.send("HSET __{users:1} username new");
    s.database.wait_for_lock_waiters(1);
    assert_eq!(s.run("CLIENT PAUSE 600000 WRITE"), ok());
    lock.rollback();
    eventually("it is committed", || s.one("select username from users") == "new");
    assert_eq!(s.run("HGET users:1 username"), bulk("u1"), "no write while writes are paused");
    assert_eq!(s.run("CLIENT UNPAUSE"), ok());
    assert_eq!(writer.receive(), int(0));
    s.assert_user_cached(1);
}

/// Redis 7.0 filters a postponed command twice.
#[test]
fn a_write_that_a_pause_postpones_is_written_once() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    assert_eq!(s.run("CLIENT PAUSE 600000 WRITE"), ok());
    let mut writer = s.send("HSET __{users:1} username new");
    s.wait_for_blocked(1);
    assert_eq!(s.one("select username from users"), "u1");
    let writes = s.info_int("writes_acknowledged");
    assert_eq!(s.run("CLIENT UNPAUSE"), ok());
    assert_eq!(writer.receive(), int(0));
    s.assert_user_cached(1);
    assert_eq!(s.info_int("writes_acknowledged"), writes + 1);
}

/// While a script is busy the event loop still turns; a completion must not become a part of it.
#[test]
fn a_completion_during_a_busy_script() {
    let s = Stack::users()
        .patient()
        .redis_conf("appendonly yes")
        .redis_conf("busy-reply-threshold 10")
        .start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let mut writer = s.send("HSET __{users:1} username new");
    s.database.wait_for_lock_waiters(1);
    let mut script = s.conn();
    script.send(&["EVAL", "while true do end", "0"]);
    eventually("the script is busy", || s.run("PING").text().starts_with("BUSY "));
    let mut other = s.conn();
    other.run("HSET __{users:1} username other").assert_error("BUSY ");
    lock.rollback();
    eventually("it is committed", || s.one("select username from users") == "new");
    eventually("the script is killed", || s.run("SCRIPT KILL") == ok());
    assert!(script.receive().is_error());
    assert_eq!(writer.receive(), int(0));
    s.assert_user_cached(1);
}

#[test]
fn a_reload_with_a_write_in_flight_leaves_no_stale_cache() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let mut writer = s.send("HSET __{users:1} username new");
    s.database.wait_for_lock_waiters(1);
    assert_eq!(s.run("DEBUG RELOAD"), ok());
    lock.rollback();
    assert!(writer.receive().is_int());
    eventually("nothing is staged", || s.run("EXISTS __{users:1}") == int(0));
    let cached = s.hgetall("users:1");
    assert!(cached.is_empty() || cached == user_row(&s, 1), "{cached:?}");
    assert_eq!(s.run("HSET __{users:1} last x"), int(1));
    s.assert_user_cached(1);
}

#[test]
fn a_save_and_a_rewrite_go_on_with_a_write_in_flight() {
    let s = Stack::users().patient().redis_conf("appendonly yes").start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let mut writer = s.send("HSET __{users:1} username new");
    s.database.wait_for_lock_waiters(1);
    for (start, done) in
        [("BGSAVE", "rdb_bgsave_in_progress"), ("BGREWRITEAOF", "aof_rewrite_in_progress")]
    {
        s.run(start);
        eventually(start, || s.info_of("persistence")[done] == "0");
    }
    lock.rollback();
    assert_eq!(writer.receive(), int(0));
    s.assert_user_cached(1);
}

#[test]
fn shutdown_doesnt_wait_for_the_database() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let _lock = s.lock_user(1);
    let _writer = s.send("HSET __{users:1} username new");
    s.database.wait_for_lock_waiters(1);
    s.conn().send(&["SHUTDOWN", "NOSAVE"]);
    s.redis.wait_until_dead();
    let log = s.log();
    assert!(log.contains("ready to exit"), "an orderly end");
    assert!(!log.contains("crashed by signal"), "{log}");
}

#[test]
fn a_termination_signal_ends_an_idle_server() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    s.redis.stop("TERM");
    let log = s.log();
    assert!(log.contains("ready to exit") && !log.contains("crashed by signal"), "{log}");
    eventually("its sessions are closed", || s.database.sessions() == 0);
}

#[test]
fn keys_that_are_no_text_dont_disturb_the_module() {
    let s = Stack::users().patient().start();
    let odd = [b"\xff\xfe\0".as_slice(), b"__\xff", b"{\xff}", b"%s%n", b"\r\n"];
    for key in odd {
        assert_eq!(s.cmd(&[b"HSET".as_slice(), key, b"\xff", b"\xfe"]), int(1));
        assert_eq!(s.cmd(&[b"HINCRBY".as_slice(), key, b"n", b"1"]), int(1));
        assert_eq!(s.cmd(&[b"RENAME".as_slice(), key, b"\xfe"]), ok());
        assert_eq!(s.cmd(&[b"COPY".as_slice(), b"\xfe", key]), int(1));
        assert_eq!(s.cmd(&[b"DEL".as_slice(), key]), int(1));
    }
    s.add_user(1);
    assert!(s.redis.is_alive());
}

#[test]
fn the_commands_keys_are_known() {
    let s = Stack::users().patient().start();
    let keys = s.run("COMMAND GETKEYS HSET __{users:1} username a");
    assert_eq!(keys, Reply::Array(vec![bulk("__{users:1}")]));
    // A client library and a cluster proxy route by what the server says of a command.
    let keys = s.run("COMMAND GETKEYS wt.hset __{users:1} username a");
    assert_eq!(keys, Reply::Array(vec![bulk("__{users:1}")]));
}

#[test]
fn a_final_key_that_holds_another_type_is_told_of() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    assert_eq!(s.run("SET users:1 text"), ok());
    let reply = s.run("HSET __{users:1} username new");
    if reply.is_error() {
        reply.assert_error("WRONGTYPE ");
        assert_eq!(s.one("select username from users"), "u1");
        assert_eq!(s.run("GET users:1"), bulk("text"));
    } else {
        s.assert_user_cached(1);
    }
    assert_eq!(s.run("EXISTS __{users:1}"), int(0));
    assert!(s.redis.is_alive());
}
