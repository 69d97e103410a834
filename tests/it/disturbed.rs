//! Clients that go and keys that are flushed while a write is in flight.

use crate::support::*;

#[test]
fn a_killed_clients_write_is_in_table_and_cache_or_in_neither() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let mut writer = s.conn();
    let id = writer.id();
    writer.send_line("HSET __{users:1} username new");
    s.database.wait_for_lock_waiters(1);
    assert_eq!(s.run(&format!("CLIENT KILL ID {id}")), int(1));
    assert!(writer.receive_within(DEADLINE).is_err(), "its connection is closed");
    lock.rollback();
    s.wait_until_settled();
    // Between two tries at the locked row it is given up; a statement that waits goes to its end.
    s.assert_user_cached(1);
}

#[test]
fn a_client_that_hangs_up_leaves_no_trace() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let lock = s.lock_user(1);
    // One that leaves at once may be gone before its write is sent.
    let first = s.send("HSET __{users:1} username n0");
    s.database.wait_for_lock_waiters(1);
    drop(first);
    for n in 1..5 {
        drop(s.send(&format!("HSET __{{users:1}} username n{n}")));
    }
    lock.rollback();
    eventually("they are gone", || s.info_of("clients")["connected_clients"] == "1");
    s.wait_until_settled();
    // What had not been sent when its client left was never written: the name is any of the six.
    s.assert_user_cached(1);
}

#[test]
fn client_unblock_doesnt_break_a_waiting_client() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    for how in ["", "TIMEOUT", "ERROR"] {
        let lock = s.lock_user(1);
        let mut writer = s.conn();
        let id = writer.id();
        writer.send_line(&format!("HSET __{{users:1}} username new{how}"));
        s.database.wait_for_lock_waiters(1);
        s.run(&format!("CLIENT UNBLOCK {id} {how}"));
        lock.rollback();
        writer.receive();
        assert_eq!(writer.run("PING"), Reply::Status("PONG".into()), "one reply, not two");
        s.wait_until_settled();
        s.assert_user_cached(1);
    }
}

#[test]
fn flushing_forgets_what_is_in_flight() {
    for flush in ["FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC"] {
        let s = Stack::users().patient().start();
        s.add_user(1);
        let lock = s.lock_user(1);
        let mut writer = s.send("HSET __{users:1} username new");
        s.database.wait_for_lock_waiters(1);
        assert_eq!(s.run(flush), ok());
        lock.rollback();
        assert!(writer.receive().is_int(), "it was committed");
        assert_eq!(s.one("select username from users"), "new");
        assert_eq!(s.keys(), [""; 0], "{flush}: no completion resurrects a flushed key");
        assert_eq!(s.run("HSET __{users:1} username newer"), int(1), "the next write fills it");
        s.assert_user_cached(1);
    }
}

#[test]
fn deleting_the_cached_key_meanwhile_leaves_a_whole_row_or_none() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let mut writer = s.send("HSET __{users:1} username new");
    s.database.wait_for_lock_waiters(1);
    assert_eq!(s.run("DEL users:1"), int(1));
    lock.rollback();
    assert_eq!(writer.receive(), int(1), "the field is new in users:1 by then");
    s.assert_user_cached(1);
}

#[test]
fn swapping_databases_with_a_write_in_flight_leaves_nothing_staged() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let mut writer = s.send("HSET __{users:1} username new");
    s.database.wait_for_lock_waiters(1);
    assert_eq!(s.run("SWAPDB 0 1"), ok());
    lock.rollback();
    writer.receive();
    let mut one = s.conn();
    one.run("SELECT 1");
    eventually("nothing is staged in either", || {
        s.run("EXISTS __{users:1}") == int(0) && one.run("EXISTS __{users:1}") == int(0)
    });
}
