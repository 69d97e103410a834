//! While a write is in flight: who sees what, who waits, and in which order things end.
//!
//! A row lock held by another program's transaction keeps a write in flight for as long as a
//! test wants.

use crate::support::*;

of_the_staged_key! {
#[test]
fn the_old_value_is_visible_and_the_staged_key_exists_meanwhile() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let mut writer = s.send("HSET __{users:1} username new");
    s.database.wait_for_lock_waiters(1);
    assert_eq!(s.run("EXISTS __{users:1}"), int(1));
    assert_eq!(s.run("HGET users:1 username"), bulk("u1"));
    assert_eq!(s.one("select username from users"), "u1");
    assert!(!writer.has_reply());
    lock.rollback();
    assert_eq!(writer.receive(), int(0));
    assert_eq!(s.hgetall("users:1")["username"], "new");
    s.assert_user_cached(1);
}
}

#[test]
fn only_the_writer_waits() {
    let s = Stack::users().patient().start();
    (1..=20).for_each(|id| s.add_user(id));
    let lock = s.lock_user(1);
    let mut writer = s.send("HSET __{users:1} username new");
    s.database.wait_for_lock_waiters(1);
    // Reads, plain writes, and writes to every other row, on whatever worker they are.
    assert_eq!(s.run("GET nothing"), Reply::Nil);
    assert_eq!(s.run("SET plain 1"), ok());
    for id in 2..=20 {
        assert_eq!(s.run(&format!("HSET __{{users:{id}}} username n{id}")), int(0));
        s.assert_user_cached(id);
    }
    s.assert_line_refused("HSET __{users:2} username n3", "WTERR 23505 ");
    assert_eq!(s.run("HSET __{users:21} username z email z@x pwhash h"), int(3));
    assert!(!writer.has_reply());
    lock.rollback();
    assert_eq!(writer.receive(), int(0));
}

#[test]
fn writes_to_one_key_end_in_the_order_in_which_they_came() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let mut writers = Vec::new();
    for n in 0..30 {
        writers.push(s.send(&format!("HSET __{{users:1}} username n{n} last l{n}")));
        s.wait_for_blocked(n + 1);
    }
    assert_eq!(s.run("HGET users:1 username"), bulk("u1"));
    lock.rollback();
    let replies: Vec<i64> = writers.iter_mut().map(|writer| writer.receive().int()).collect();
    assert_eq!(replies[0], 1, "`last` was new for the first");
    assert_eq!(replies.iter().sum::<i64>(), 1, "and for no other");
    assert_eq!(s.one("select username || last_name from users"), "n29l29");
    s.assert_user_cached(1);
}

of_the_staged_key! {
#[test]
fn the_staged_key_stays_until_the_last_write_is_settled() {
    let stop_b = "create function stop_b() returns trigger language plpgsql as $$ begin
            if new.username = 'b' then perform pg_advisory_xact_lock(7); end if;
            return new;
        end $$;
        create trigger stop_b before update on users for each row execute function stop_b()";
    let s = Stack::users().patient().sql(stop_b).start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let mut first = s.send("HSET __{users:1} username a");
    s.database.wait_for_lock_waiters(1);
    // The row lock stops the first, this one the second.
    let advisory = s.database.hold("select pg_advisory_xact_lock(7)");
    let mut second = s.send("HSET __{users:1} username b");
    s.wait_for_blocked(2);
    lock.rollback();
    assert_eq!(first.receive(), int(0));
    assert_eq!(s.run("HGET users:1 username"), bulk("a"));
    assert_eq!(s.run("EXISTS __{users:1}"), int(1), "the second is still in flight");
    advisory.rollback();
    assert_eq!(second.receive(), int(0));
    s.assert_user_cached(1);
    assert_eq!(s.run("HGET users:1 username"), bulk("b"));
}
}

#[test]
fn a_write_that_waits_is_refused_in_its_turn() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    s.add_user(2);
    let lock = s.lock_user(1);
    let mut good = s.send("HSET __{users:1} first a");
    s.wait_for_blocked(1);
    let mut bad = s.send("HSET __{users:1} username u2");
    s.wait_for_blocked(2);
    let mut last = s.send("HSET __{users:1} last b");
    s.wait_for_blocked(3);
    lock.rollback();
    assert_eq!(good.receive(), int(1));
    bad.receive().assert_error("WTERR 23505 ");
    assert_eq!(last.receive(), int(1));
    assert_eq!(s.hgetall("users:1")["username"], "u1");
    s.assert_user_cached(1);
}

#[test]
fn a_client_waits_no_longer_than_its_time_and_the_cache_follows() {
    let s = Stack::users().start();
    s.add_user(1);
    let lock = s.lock_user(1);
    s.run_late("HSET __{users:1} username late").assert_error("WTTIMEOUT ");
    assert_eq!(s.run("HGET users:1 username"), bulk("u1"));
    assert_eq!(s.run("PING"), Reply::Status("PONG".into()));
    lock.rollback();
    s.wait_until_settled();
    s.assert_user_cached(1);
    assert_eq!(s.run("HSET __{users:1} username next"), int(0));
    s.assert_user_cached(1);
}

#[test]
fn past_the_queues_bound_a_write_is_told_so() {
    let s = Stack::users().one_worker().option("queue_max", 2).start();
    (2..=9).for_each(|id| s.add_user(id));
    let held = s.hold();
    let mut writers: Vec<Conn> =
        (2..=9).map(|id| s.send(&format!("HSET __{{users:{id}}} first x"))).collect();
    // Two may wait; what comes on top is answered at once.
    let mut busy = vec![false; writers.len()];
    eventually("six writes are turned away", || {
        for (writer, busy) in writers.iter_mut().zip(&mut busy) {
            if !*busy && writer.has_reply() {
                writer.receive().assert_error("WTBUSY ");
                *busy = true;
            }
        }
        busy.iter().filter(|busy| **busy).count() >= 6
    });
    assert_eq!(s.count("users where first_name is not null"), 0);
    held.release();
    for (i, mut writer) in writers.into_iter().enumerate() {
        let id = i as i64 + 2;
        if !busy[i] {
            assert_eq!(writer.receive(), int(1));
        }
        assert_eq!(user_row(&s, id).contains_key("first"), !busy[i], "users:{id}");
        s.assert_user_cached(id);
    }
    assert_eq!(s.run("HSET __{users:2} last x"), int(1), "there is room again");
}
