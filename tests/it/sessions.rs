//! A new master ends the sessions of the old one, and is not in sync before they are gone.

use crate::support::*;

const KEY: &str = "{writethrough}:sessions";

/// The tags in the data set.
fn tags(s: &Stack) -> Vec<String> {
    s.cmd(&["SMEMBERS", KEY]).array().iter().map(Reply::text).collect()
}

/// Another server with the same document, and with its data set.
fn replica_of(master: &Stack) -> Stack {
    let replica = Stack::new().without_module().start();
    let args = ["JSON", &master.document.to_string()].map(str::to_string);
    assert_eq!(replica.load_with(&args.each_ref().map(String::as_str)), ok());
    follow(&replica, master);
    eventually("it knows its master's sessions", || !tags(&replica).is_empty());
    replica
}

fn follow(replica: &Stack, master: &Stack) {
    assert_eq!(replica.run(&format!("REPLICAOF 127.0.0.1 {}", master.redis.port())), ok());
    eventually("the link is up", || {
        replica.info_of("replication").get("master_link_status").is_some_and(|up| up == "up")
    });
}

fn one_worker() -> Builder {
    Stack::users().option("pool_size", 1).option("connect_timeout_ms", 600_000).patient()
}

/// The statement of an old master lies unread; this is the new one.
#[track_caller]
fn assert_waits(new: &Stack, database: &Database, stopped: Stopped) {
    assert_eq!(new.run("HSET __{users:1} username newer"), int(0));
    assert!(stopped.is_told_to_end(), "nothing is written before");
    assert_eq!(new.info()["writethrough_sync"], "waiting for earlier statements to end");
    assert!(!new.is_in_sync());
    drop(stopped);
    new.wait_until_in_sync();
    assert_eq!(database.one("select username from users where id = 1"), "newer");
    assert_eq!(new.run("HGET users:1 username"), bulk("newer"));
    eventually("the old tags are gone", || tags(new).len() == 1);
}

#[test]
fn what_a_demoted_master_has_sent_and_nobody_has_read_is_never_written() {
    for journal in [false, true] {
        let a = one_worker().option("journal", journal).start();
        a.add_user(1);
        let b = replica_of(&a);
        let (stopped, mut writer) = a.write_unread("late");
        assert_eq!(b.run("REPLICAOF NO ONE"), ok());
        follow(&a, &b);
        writer.receive().assert_error("UNBLOCKED ");
        assert_waits(&b, &a.database, stopped);
    }
}

#[test]
fn what_a_killed_master_has_sent_and_nobody_has_read_is_never_written() {
    let a = one_worker().start();
    a.add_user(1);
    let b = replica_of(&a);
    let (stopped, _writer) = a.write_unread("late");
    a.redis.stop("KILL");
    assert_eq!(b.run("REPLICAOF NO ONE"), ok());
    assert_waits(&b, &a.database, stopped);
}

#[test]
fn what_a_server_has_sent_before_it_was_killed_is_never_written_after_its_restart() {
    let s = one_worker().redis_conf("appendonly yes").start();
    s.add_user(1);
    let (stopped, _writer) = s.write_unread("late");
    s.restart_redis("KILL");
    assert_waits(&s, &s.database, stopped);
}

/// What it holds of its own earlier term is ended, too.
#[test]
fn a_master_that_is_one_again_ends_its_own_sessions() {
    let s = one_worker().start();
    s.add_user(1);
    let (stopped, mut writer) = s.write_unread("late");
    assert_eq!(s.run("REPLICAOF 127.0.0.1 1"), ok());
    writer.receive().assert_error("UNBLOCKED ");
    assert_eq!(s.run("REPLICAOF NO ONE"), ok());
    eventually("it is told to end", || stopped.is_told_to_end() || s.is_in_sync());
    assert!(!s.is_in_sync());
    // The row's line: the write that may still be done goes first.
    let mut newer = s.send("HSET __{users:1} username newer");
    drop(stopped);
    assert_eq!(newer.receive(), int(0));
    s.wait_until_in_sync();
    assert_eq!(s.one("select username from users where id = 1"), "newer");
    s.assert_user_cached(1);
}

/// A session that holds this tag, and belongs to nobody.
fn session_of(s: &Stack, tag: i64) -> postgres::Client {
    let mut client = s.pg();
    client.batch_execute(&format!("select pg_advisory_lock_shared({tag})")).expect("a lock");
    client
}

#[test]
fn also_an_empty_data_set_waits_and_a_session_that_comes_later_stays() {
    let s = Stack::users().redis_conf("appendonly yes").start();
    eventually("it has its tag", || !tags(&s).is_empty());
    let mut first = session_of(&s, -7);
    assert_eq!(s.cmd(&["SADD", KEY, "-7"]), int(1));
    let pid: i32 = first.query_one("select pg_backend_pid()", &[]).expect("a number").get(0);
    let stopped = Stopped::stop(pid);
    s.restart_redis("KILL");
    eventually("it is told to end", || stopped.is_told_to_end());
    assert!(!s.is_in_sync());
    let mut later = session_of(&s, -7);
    drop(stopped);
    s.wait_until_in_sync();
    assert!(first.batch_execute("select 1").is_err(), "it was ended");
    assert!(later.batch_execute("select 1").is_ok(), "it came later");
    eventually("the tag is removed", || tags(&s).len() == 1);
}

/// Roles differ: the session can't be ended. What it is at is waited for, and no more.
#[test]
fn where_a_session_cannot_be_ended_its_statement_is_waited_for() {
    let s = Stack::users().redis_conf("appendonly yes").option("url", "postgres://app@@DB@");
    let database = Database::create(PostgresServer::shared());
    database.execute(USERS_SQL);
    database.execute(
        "do $$ begin create role app login; exception when duplicate_object then null; end $$;
         grant all on users to app; grant all on users_id_seq to app",
    );
    let s = s.try_start_on(database).expect("it loads");
    s.add_user(1);
    eventually("it has its tag", || !tags(&s).is_empty());
    let mut idle = session_of(&s, 7);
    let mut busy = session_of(&s, 8);
    busy.batch_execute("begin; select pg_current_xact_id()").expect("a transaction");
    assert_eq!(s.cmd(&["SADD", KEY, "7", "8"]), int(2));
    s.restart_redis("KILL");
    // It looks for what was there first again and again.
    let mut looks = std::collections::BTreeSet::new();
    eventually("it waits", || {
        let looked = "select query_start::text from pg_stat_activity
                      where datname = current_database() and query like '%virtualxid%'
                      and pid <> pg_backend_pid()";
        looks.extend(s.row(looked).into_values());
        looks.len() > 2
    });
    assert_eq!(s.info()["writethrough_sync"], "waiting for earlier statements to end");
    busy.batch_execute("commit; begin").expect("the next transaction");
    s.wait_until_in_sync();
    idle.batch_execute("select 1").expect("nobody could end it");
    busy.batch_execute("commit").expect("nobody could end it");
}

#[test]
fn a_server_that_nobody_takes_over_has_no_such_key() {
    let s = Stack::users().start();
    s.wait_until_in_sync();
    s.add_user(1);
    assert_eq!(s.keys(), ["users:1"]);
    let replica = Stack::new().without_module().start();
    follow(&replica, &s);
    eventually("the replica has it", || tags(&replica).len() == 1);
    assert_eq!(tags(&s), tags(&replica));
    let other = Stack::users().start();
    other.wait_until_in_sync();
    assert_eq!(other.run("CONFIG SET appendonly yes"), ok());
    eventually("it has one now", || tags(&other).len() == 1);
}

#[test]
fn the_key_comes_back_whatever_happens_to_it() {
    let s = Stack::users().redis_conf("appendonly yes").start();
    eventually("it has its tag", || tags(&s).len() == 1);
    let tag = tags(&s);
    let commands = [
        "FLUSHALL",
        "FLUSHDB",
        "SWAPDB 0 1",
        "DEL {writethrough}:sessions",
        "RENAME {writethrough}:sessions x",
        "MOVE {writethrough}:sessions 2",
        "SET {writethrough}:sessions x",
        "PEXPIRE {writethrough}:sessions 1",
        "SREM {writethrough}:sessions @",
    ];
    for command in commands {
        assert!(!s.run(&command.replace('@', &tag[0])).is_error(), "{command}");
        eventually(&format!("it is back after {command}"), || {
            let reply = s.cmd(&["SMEMBERS", KEY]);
            !reply.is_error() && tags(&s) == tag && s.cmd(&["TTL", KEY]) == int(-1)
        });
    }
    s.wait_until_in_sync();
}
