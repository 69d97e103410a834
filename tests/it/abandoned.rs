//! A client that disconnects takes with it what has not been sent: it is never written.

use crate::support::*;

fn abandoned(s: &Stack, writes: i64) {
    eventually("the writes are abandoned", || s.info_int("writes_abandoned") == writes);
}

#[track_caller]
fn assert_nothing_is_left(s: &Stack) {
    eventually("nothing is in flight", || s.info_int("in_flight") == 0);
    assert_eq!(s.run("KEYS __*"), Reply::Array(vec![]));
    assert_eq!(s.info_int("writes_timed_out"), 0);
    assert_eq!(s.info_of("clients")["blocked_clients"], "0");
}

#[test]
fn what_waits_for_a_lock_is_not_written() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let before = s.info_int("locked");
    let writer = s.send("HSET __{users:1} username new");
    eventually("it has met the lock", || s.info_int("locked") > before);
    drop(writer);
    abandoned(&s, 1);
    lock.rollback();
    assert_eq!(s.run("HSET __{users:1} first Ann"), int(1));
    s.assert_user_cached(1);
    assert_eq!(s.one("select username from users"), "u1");
    assert_nothing_is_left(&s);
}

#[test]
fn what_waits_in_the_queue_or_behind_its_key_is_not_written() {
    let s = Stack::users().one_worker().start();
    s.add_user(1);
    let held = s.hold();
    let lines = [
        "HSET __{users:1} username a",
        "HSET __{users:1} first b",
        "DEL __{users:1}",
        "HSET __{users:2} # =u-1 username x email x pwhash x",
    ];
    let mut stays = s.send("HSET __{users:1} last Lee");
    s.wait_for_blocked(2);
    let conns: Vec<Conn> = lines.iter().map(|line| s.send(line)).collect();
    s.wait_for_blocked(2 + conns.len());
    let count = conns.len() as i64;
    conns.into_iter().for_each(drop);
    abandoned(&s, count);
    held.release();
    assert_eq!(stays.receive(), int(1));
    assert_nothing_is_left(&s);
    s.assert_user_cached(1);
    assert_eq!(s.one("select username || last_name from users"), "u1Lee");
    assert_eq!(s.count("users"), 1);
    let told = s.run("XRANGE {users:2}u-1 - +").text();
    assert!(told.contains("failed") && told.contains("nothing was written"), "{told}");
}

/// Writes that become one row of a statement: only those that left are missing.
#[test]
fn of_increments_that_share_a_row_those_that_left_are_missing() {
    let sql = "create table items (id int primary key, n int)";
    let s = Stack::new().sql(sql).mapping(serde_json::json!({ "table": "items" }));
    let s = s.one_worker().start();
    let held = s.hold();
    let mut conns = Vec::new();
    for n in [1, 10, 100, 1000] {
        conns.push(s.send(&format!("HINCRBY __{{items:1}} n {n}")));
        s.wait_for_blocked(conns.len() + 1);
    }
    drop(conns.remove(1));
    drop(conns.remove(2));
    abandoned(&s, 2);
    held.release();
    assert_eq!(conns.iter_mut().map(Conn::receive).collect::<Vec<_>>(), [int(1), int(101)]);
    assert_eq!(s.one("select n from items"), "101");
    assert_nothing_is_left(&s);
}

#[test]
fn all_parts_of_a_del() {
    let s = Stack::users().one_worker().start();
    (1..5).for_each(|id| s.add_user(id));
    s.run("SET plain x");
    let held = s.hold();
    let deleter = s.send("DEL __{users:1} __{users:2} plain __{users:3}");
    s.wait_for_blocked(2);
    drop(deleter);
    abandoned(&s, 3);
    held.release();
    assert_nothing_is_left(&s);
    assert_eq!(s.count("users"), 4);
    assert_eq!(s.run("EXISTS plain users:1 users:2 users:3"), int(4));
}

/// What was sent is finished, and the hash follows.
#[test]
fn what_was_sent_is_finished() {
    let s = Stack::new().one_worker().start();
    let lock = s.database.hold("select pg_advisory_xact_lock(77)");
    let writer = s.send("HSET __{hold:1} v x");
    s.wait_until_held_up();
    drop(writer);
    eventually("the client has gone", || s.info_of("clients")["blocked_clients"] == "0");
    lock.rollback();
    eventually("it is merged", || s.run("HGET hold:1 v") == bulk("x"));
    assert_nothing_is_left(&s);
    assert_eq!(s.info_int("writes_abandoned"), 0);
}

/// CLIENT KILL is a disconnection, too; and a client that is back is served.
#[test]
fn a_client_that_is_killed() {
    let s = Stack::users().one_worker().start();
    s.add_user(1);
    let held = s.hold();
    let mut writer = s.conn();
    let id = writer.id();
    writer.send_line("HSET __{users:1} username new");
    s.wait_for_blocked(2);
    assert_eq!(s.run(&format!("CLIENT KILL ID {id}")), int(1));
    abandoned(&s, 1);
    let mut again = s.send("HSET __{users:1} first Ann");
    held.release();
    assert_eq!(again.receive(), int(1));
    assert_eq!(s.one("select username || first_name from users"), "u1Ann");
    assert_nothing_is_left(&s);
}

/// Hundreds that come and go: what is answered is written, and nothing else is.
#[test]
fn many_that_come_and_go() {
    let sql = "create table items (id int primary key, n int default 0)";
    let s = Stack::new().sql(sql).mapping(serde_json::json!({ "table": "items" })).patient();
    let s = s.start();
    assert_eq!(s.run("HINCRBY __{items:1} n 0"), int(0));
    let lock = s.database.hold("select from items for update");
    let mut conns: Vec<Conn> = (0..60).map(|_| s.send("HINCRBY __{items:1} n 1")).collect();
    s.wait_for_blocked(60);
    let stay: Vec<Conn> = conns.drain(..20).collect();
    conns.into_iter().for_each(drop);
    eventually("they have gone", || s.info_of("clients")["blocked_clients"] == "20");
    // Also those of whom a statement was just trying, and not again.
    abandoned(&s, 40);
    lock.rollback();
    for mut conn in stay {
        assert!(conn.receive().is_int());
    }
    assert_nothing_is_left(&s);
    assert_eq!(s.one("select n from items"), "20");
    assert_eq!(s.run("HGET items:1 n"), bulk("20"));
}
