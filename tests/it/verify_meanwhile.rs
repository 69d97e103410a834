//! `WT.VERIFY` while others write: nobody waits for it, and it takes nothing in flight for wrong.

use crate::support::*;

/// The number under this name in a flat map.
#[track_caller]
fn number(reply: &Reply, name: &str) -> i64 {
    let pairs = reply.array().chunks(2).map(|pair| (pair[0].text(), &pair[1]));
    let found = pairs.into_iter().find(|(found, _)| found == name);
    found.unwrap_or_else(|| panic!("no {name}: {reply:?}")).1.int()
}

fn progress(s: &Stack) -> String {
    let status = s.run("WT.STATUS");
    let mut pairs = status.array().chunks(2);
    let found = pairs.find(|pair| pair[0].text() == "verify");
    found.unwrap_or_else(|| panic!("no verify: {status:?}"))[1].text()
}

#[test]
fn others_are_served_meanwhile_and_status_shows_its_progress() {
    let s = Stack::users().patient().start();
    (1..=30).for_each(|id| s.add_user(id));
    let idle = progress(&s);
    let lock = s.database.hold("lock table users in access exclusive mode");
    let mut verifier = s.send("WT.VERIFY users");
    s.database.wait_for_lock_waiters(1);
    assert_eq!(s.run("PING"), Reply::Status("PONG".into()));
    assert_eq!(s.run("HGET users:1 username"), bulk("u1"));
    assert_eq!(s.run("SET plain x"), ok());
    let busy = progress(&s);
    assert_ne!(busy, idle);
    assert!(busy.contains("users"), "{busy}");
    assert!(!verifier.has_reply());
    lock.rollback();
    let reply = verifier.receive();
    assert_eq!((number(&reply, "checked"), number(&reply, "equal")), (30, 30));
    assert_eq!(progress(&s), idle);
}

#[test]
fn a_write_in_flight_is_no_difference() {
    let s = Stack::users().one_worker().start();
    (1..=10).for_each(|id| s.add_user(id));
    for order in ["before", "after"] {
        let held = s.hold();
        let write = format!("HSET __{{users:1}} first {order} last {order}");
        let delete = "DEL __{users:2}";
        let (mut writer, mut deleter, mut verifier);
        if order == "before" {
            (writer, deleter) = (s.send(&write), s.send(delete));
            s.wait_for_blocked(3);
            verifier = s.send("WT.VERIFY users");
            s.wait_for_blocked(4);
        } else {
            verifier = s.send("WT.VERIFY users");
            s.wait_for_blocked(2);
            (writer, deleter) = (s.send(&write), s.send(delete));
            s.wait_for_blocked(4);
        }
        held.release();
        assert!(writer.receive().is_int());
        assert!(deleter.receive().is_int());
        let reply = verifier.receive();
        assert_eq!(number(&reply, "differing"), 0, "{order}: {reply:?}");
        s.assert_user_cached(1);
        s.assert_user_cached(2);
    }
}

#[test]
fn under_load_nothing_differs_and_repair_breaks_nothing() {
    let s = Stack::users().patient().start();
    (1..=40).for_each(|id| s.add_user(id));
    std::thread::scope(|scope| {
        for client in 0..4 {
            let s = &s;
            scope.spawn(move || {
                let mut conn = s.conn();
                for n in 0..150 {
                    let id = (n * 7 + client * 11) % 40 + 1;
                    let line = match n % 10 {
                        9 => format!("HDEL __{{users:{id}}} first last"),
                        8 => format!("HSETNX __{{users:{id}}} last n{n}"),
                        7 if client == 0 => format!("DEL users:{id}"),
                        _ => format!("HSET __{{users:{id}}} first c{client}n{n}"),
                    };
                    let reply = conn.run(&line);
                    assert!(reply.is_int(), "{line}: {reply:?}");
                }
            });
        }
        let mut conn = s.conn();
        for round in 0..30 {
            let repair = if round % 2 == 0 { "" } else { "REPAIR" };
            let reply = conn.run(&format!("WT.VERIFY users {repair}"));
            assert_eq!(number(&reply, "differing"), 0, "round {round}: {reply:?}");
        }
    });
    (1..=40).for_each(|id| {
        if s.run(&format!("EXISTS users:{id}")) == int(1) {
            s.assert_user_cached(id);
        }
    });
}

#[test]
fn several_verifications_are_all_answered() {
    let s = Stack::users().patient().start();
    (1..=10).for_each(|id| s.add_user(id));
    let mut conns: Vec<Conn> = (0..5).map(|_| s.send("WT.VERIFY users REPAIR")).collect();
    for conn in &mut conns {
        let reply = conn.receive();
        let busy = matches!(&reply, Reply::Error(text) if text.starts_with("ERR writethrough: "));
        assert!(busy || number(&reply, "checked") == 10, "{reply:?}");
    }
    assert_eq!(number(&s.run("WT.VERIFY users"), "checked"), 10);
}

#[test]
fn a_client_that_goes_away_leaves_it_in_order() {
    let s = Stack::users().patient().start();
    (1..=10).for_each(|id| s.add_user(id));
    let lock = s.database.hold("lock table users in access exclusive mode");
    let verifier = s.send("WT.VERIFY users REPAIR");
    s.database.wait_for_lock_waiters(1);
    drop(verifier);
    lock.rollback();
    eventually("the next one is served", || {
        let reply = s.run("WT.VERIFY users");
        !reply.is_error() && number(&reply, "equal") == 10
    });
}

#[test]
fn without_a_database_it_says_so() {
    let server = std::sync::Arc::new(PostgresServer::start_new());
    let s = Stack::users().postgres(&server).told_soon_of_outages().start();
    (1..=3).for_each(|id| s.add_user(id));
    server.stop_fast();
    let before = s.run("DEBUG DIGEST");
    s.run("WT.VERIFY users REPAIR").assert_error("WT");
    s.run("WT.REFRESH users:1").assert_error("WT");
    s.run("WT.RELOAD").assert_error("WT");
    assert_eq!(s.run("DEBUG DIGEST"), before, "nothing is evicted for want of an answer");
    server.start_again();
    eventually("it works again", || !s.run("WT.VERIFY users").is_error());
    assert_eq!(number(&s.run("WT.VERIFY users"), "equal"), 3);
}

#[test]
fn in_a_transaction_and_a_script_it_is_answered() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let replies = transaction(&mut s.conn(), &["WT.VERIFY users", "PING"]);
    assert_eq!(replies[1], Reply::Status("PONG".into()));
    if !replies[0].is_error() {
        assert_eq!(number(&replies[0], "equal"), 1);
    }
    s.run("EVAL return(redis.pcall('WT.VERIFY','users')) 0");
    assert_eq!(number(&s.run("WT.VERIFY users"), "equal"), 1);
}
