//! `WT.REFRESH` of more keys than are read at a time.

use crate::support::*;

/// Keys that are read at a time, at most.
const AT_A_TIME: i64 = 1024;

fn with_rows(rows: i64) -> Builder {
    Stack::users().sql(&format!(
        "insert into users (id, username, email, password_hash)
         select n, 'u' || n, 'u' || n || '@example.com', 'h' from generate_series(1, {rows}) n"
    ))
}

fn refresh(ids: std::ops::RangeInclusive<i64>) -> Vec<String> {
    let keys = ids.map(|id| format!("users:{id}"));
    std::iter::once("WT.REFRESH".to_string()).chain(keys).collect()
}

#[track_caller]
fn nothing_is_left(s: &Stack) {
    eventually("nothing is in flight", || s.info_int("in_flight") == 0);
    assert_eq!(s.info_of("clients")["blocked_clients"], "0");
}

#[test]
fn any_number_of_keys_some_at_a_time() {
    let s = with_rows(6000).one_worker().start();
    let held = s.hold();
    let mut conn = s.conn();
    conn.send(&refresh(1..=7000));
    s.wait_for_blocked(2);
    assert_eq!(s.info_int("in_flight"), AT_A_TIME + 1);
    let mut writer = s.send("HSET __{users:6000} first Ann");
    s.wait_for_blocked(3);
    held.release();
    assert_eq!(writer.receive(), int(1));
    assert_eq!(conn.receive(), int(6000));
    assert_eq!(s.run("DBSIZE"), int(6000 + 1));
    [1, 1024, 1025, 5999, 6000].into_iter().for_each(|id| s.assert_user_cached(id));
    nothing_is_left(&s);
}

/// Half of the queue stays free for others.
#[test]
fn more_keys_than_the_queue_holds() {
    let s = with_rows(500).one_worker().option("queue_max", 20).start();
    let held = s.hold();
    let mut conn = s.conn();
    conn.send(&refresh(1..=500));
    s.wait_for_blocked(2);
    assert_eq!(s.info_int("waiting"), 10);
    let mut writer = s.send("HSET __{users:1000} username x email x pwhash x");
    s.wait_for_blocked(3);
    held.release();
    assert!(writer.receive().is_int());
    assert_eq!(conn.receive(), int(500));
    nothing_is_left(&s);
}

/// The time counts from the last row that was read, so one key can't keep it for ever.
#[test]
fn a_key_that_is_stuck_ends_it() {
    let s = with_rows(100).patient().start();
    let lock = s.lock_user(1);
    let mut writer = s.send("HSET __{users:1} username new");
    s.wait_for_blocked(1);
    s.set("timeout-ms", 300);
    let reply = s.cmd(&refresh(1..=100));
    let text = reply.assert_error("WTTIMEOUT no row could be read within timeout_ms = 300; ");
    assert!(text.ends_with(" of 100 keys are done") && !text.contains("commit"), "{text}");
    lock.rollback();
    assert_eq!(writer.receive(), int(1));
    s.set("timeout-ms", 600_000);
    assert_eq!(s.cmd(&refresh(1..=100)), int(100));
    s.assert_user_cached(1);
    nothing_is_left(&s);
}

/// What was not sent for a client that has gone never is.
#[test]
fn it_ends_when_its_client_goes() {
    let s = with_rows(3000).one_worker().start();
    let held = s.hold();
    let mut conn = s.conn();
    conn.send(&refresh(1..=3000));
    s.wait_for_blocked(2);
    drop(conn);
    s.wait_for_blocked(1);
    held.release();
    nothing_is_left(&s);
    assert_eq!(s.keys(), ["hold:1"]);
    assert_eq!(s.info_int("writes_abandoned"), 0, "reads are no writes");
}

/// An id that the database refuses keeps none of the others back.
#[test]
fn the_first_refusal_is_the_answer_and_the_others_are_read() {
    let s = with_rows(2000).start();
    let mut words = refresh(1..=2000);
    words.insert(1, "users:99999999999999999999".into());
    s.cmd(&words).assert_error("W");
    assert_eq!(s.run("DBSIZE"), int(2000));
    nothing_is_left(&s);
}

/// The server waits for `sync_timeout_ms` at most, and doesn't speak of a write.
#[test]
fn in_a_transaction_it_reads_or_says_so() {
    let s = with_rows(300).one_worker().option("queue_max", 20).start();
    let words = refresh(1..=300).join(" ");
    assert_eq!(transaction(&mut s.conn(), &[&words]), [int(300)]);
    let held = s.hold();
    s.set("sync-timeout-ms", 100);
    let text = transaction(&mut s.conn(), &[&words])[0].error().to_string();
    assert_eq!(text, "WTTIMEOUT the row could not be read within sync_timeout_ms = 100");
    held.release();
    nothing_is_left(&s);
}
