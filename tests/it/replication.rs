//! A replica holds what its master holds, and writes nothing of its own to the database.

use crate::support::*;

pub fn follow(replica: &Stack, master: &Stack) {
    assert_eq!(replica.run(&format!("REPLICAOF 127.0.0.1 {}", master.redis.port())), ok());
    eventually("the link is up", || {
        replica.info_of("replication").get("master_link_status").is_some_and(|up| up == "up")
    });
    eventually("the master knows it", || {
        let info = master.info_of("replication");
        info.values().any(|replica| replica.contains("state=online"))
    });
    // Then the data set tells whose sessions are at work: a change that no command has made.
    if !master.info().is_empty() {
        eventually("the sessions are noted", || {
            master.run("EXISTS {writethrough}:sessions") == int(1)
        });
    }
}

pub fn assert_same_data(replica: &Stack, master: &Stack) {
    eventually("the replica holds what the master holds", || {
        replica.run("DEBUG DIGEST") == master.run("DEBUG DIGEST")
    });
}

/// The replica has all that the master has sent up to now.
fn catch_up(master: &Stack) {
    assert_eq!(master.run("SET sign 1"), ok());
    assert_eq!(master.run("WAIT 1 30000"), int(1));
}

/// Writes on every path.
fn write_much(master: &Stack) {
    (1..=10).for_each(|id| master.add_user(id));
    assert_eq!(master.run("HSET __{users:1} first x"), int(1));
    master.assert_line_refused("HSET __{users:1} username u2", "WTERR 23505 ");
    assert_eq!(master.run("MULTI"), ok());
    master.run("HSET __{users:2} last y");
    assert_eq!(master.run("EXEC"), Reply::Array(vec![int(1)]));
    let script = "return redis.call('HSET', KEYS[1], 'first', 'z')";
    assert_eq!(master.cmd(&["EVAL", script, "1", "__{users:3}"]), int(1));
    assert_eq!(master.run("HSET tmp username t email t pwhash t"), int(3));
    assert_eq!(master.run("COPY tmp __{users:30}"), int(1));
    assert_eq!(master.run("DEL users:4"), int(1));
}

#[test]
fn a_replicas_own_module_writes_nothing() {
    let master = Stack::users().patient().start();
    // Its database is another one: whatever it wrote would be seen there.
    let replica = Stack::users().patient().redis_conf("appendonly yes").start();
    master.add_user(99);
    follow(&replica, &master);
    write_much(&master);
    let lock = master.lock_user(1);
    let mut writer = master.send("HSET __{users:1} username new");
    master.database.wait_for_lock_waiters(1);
    catch_up(&master);
    assert_eq!(replica.run("HGET users:1 username"), bulk("u1"));
    lock.rollback();
    assert_eq!(writer.receive(), int(0));
    assert_same_data(&replica, &master);
    assert_eq!(replica.run("HGET users:1 username"), bulk("new"));
    assert_eq!(replica.run("EXISTS __{users:1}"), int(0));
    assert_eq!(replica.count("users"), 0);
    assert_eq!(replica.info_of("replication")["master_link_status"], "up");
    replica.run("HSET __{users:1} username x").assert_error("READONLY ");
}

#[test]
fn a_replica_needs_no_module() {
    let master = Stack::users().patient().start();
    let replica = Stack::users().patient().without_module().start();
    follow(&replica, &master);
    write_much(&master);
    assert_same_data(&replica, &master);
    assert_eq!(replica.run("KEYS __*"), Reply::Array(vec![]));
}

#[test]
fn a_promoted_replica_writes_through() {
    let master = Stack::users().patient().start();
    let args = ["JSON", &master.document.to_string()].map(str::to_string);
    let replica = Stack::users().patient().without_module().start();
    assert_eq!(replica.load_with(&args.each_ref().map(String::as_str)), ok());
    follow(&replica, &master);
    master.add_user(1);
    assert_same_data(&replica, &master);
    assert_eq!(replica.run("REPLICAOF NO ONE"), ok());
    assert_eq!(replica.run("HSET __{users:1} username promoted"), int(0));
    assert_eq!(replica.hgetall("users:1"), user_row(&master, 1));
    assert_eq!(master.one("select username from users"), "promoted");
}

#[test]
fn a_staged_key_that_a_promotion_leaves_is_cleared() {
    let master = Stack::users().patient().start();
    let replica = Stack::users().patient().start();
    follow(&replica, &master);
    master.add_user(1);
    let _lock = master.lock_user(1);
    let _writer = master.send("HSET __{users:1} username new");
    master.database.wait_for_lock_waiters(1);
    catch_up(&master);
    master.redis.stop("KILL");
    assert_eq!(replica.run("REPLICAOF NO ONE"), ok());
    eventually("nothing is staged", || replica.run("KEYS __*") == Reply::Array(vec![]));
}

#[test]
fn a_master_turned_replica_merges_no_late_completion() {
    // A statement that is its own transaction: nothing is asked before it commits.
    let sql = "create function wait() returns bool language plpgsql as $$ begin
            while not pg_try_advisory_xact_lock_shared(77) loop perform pg_sleep(0.002); end loop;
            return true;
        end $$;
        create table late (id int primary key, v text check (wait()))";
    let mapping = serde_json::json!({ "table": "late" });
    let s = Stack::new().sql(sql).mapping(mapping).patient().start();
    let other = Stack::users().patient().without_module().start();
    let lock = s.database.hold("select pg_advisory_xact_lock(77)");
    let _writer = s.send("HSET __{late:1} v x");
    s.wait_until_held_up();
    follow(&s, &other);
    assert_eq!(other.run("SET sign 1"), ok());
    assert_same_data(&s, &other);
    lock.rollback();
    eventually("it is committed", || s.count("late") == 1);
    eventually("the engine is done with it", || s.info_int("in_flight") == 0);
    assert_same_data(&s, &other);
    assert_eq!(s.keys(), ["sign"]);
}
