//! A master that is demoted writes nothing more, whatever it was at: also when it is a master again
//! at once.

use serde_json::json;

use crate::support::*;

/// A write to `gated` takes until nobody holds the advisory lock that it names. It polls: a module
/// that sets a row aside when it meets a lock can't do so here.
const GATED: &str = "
create table gated (id int primary key, gate int, v text check (v <> 'bad'));
create function gate() returns trigger language plpgsql as $$ begin
    while not pg_try_advisory_xact_lock_shared(new.gate) loop perform pg_sleep(0.002); end loop;
    return new;
end $$;
create trigger gate before insert or update on gated for each row execute function gate()";

/// One worker with one connection.
fn gated() -> Builder {
    Stack::new().sql(GATED).mapping(json!({ "table": "gated" })).option("pool_size", 1).patient()
}

fn gate(s: &Stack, number: i32) -> OpenTransaction {
    s.database.hold(&format!("select pg_advisory_xact_lock({number})"))
}

/// Waits until `waiting` writes are behind the one that the worker is at.
fn wait_for_waiting(s: &Stack, waiting: i64) {
    eventually("the writes wait", || s.info_int("waiting") == waiting);
}

/// It follows nobody that answers, and is a master again at once.
fn demote_and_promote(s: &Stack) {
    assert_eq!(s.run("REPLICAOF 127.0.0.1 1"), ok());
    assert_eq!(s.run("REPLICAOF NO ONE"), ok());
}

/// Another server with the same document.
fn another(stack: &Stack) -> Stack {
    let other = Stack::new().without_module().start();
    let args = ["JSON", &stack.document.to_string()].map(str::to_string);
    assert_eq!(other.load_with(&args.each_ref().map(String::as_str)), ok());
    other
}

fn follow(replica: &Stack, master: &Stack) {
    assert_eq!(replica.run(&format!("REPLICAOF 127.0.0.1 {}", master.redis.port())), ok());
    eventually("the link is up", || {
        replica.info_of("replication").get("master_link_status").is_some_and(|up| up == "up")
    });
}

/// Sends each line so that all of them are one batch, whose first statement waits for gate 2, and
/// calls `meanwhile`.
fn in_one_batch(s: &Stack, lines: &[String], meanwhile: impl FnOnce()) {
    let (first, second) = (gate(s, 1), gate(s, 2));
    let mut conns = vec![s.send("HSET __{gated:0} gate 1 v first")];
    s.wait_until_held_up();
    for line in lines {
        conns.push(s.send(line));
        wait_for_waiting(s, conns.len() as i64 - 1);
    }
    first.rollback();
    wait_for_waiting(s, 0);
    s.wait_until_held_up();
    meanwhile();
    second.rollback();
    eventually("nothing is in flight", || s.info_int("in_flight") == 0);
    s.wait_until_in_sync();
    for key in s.keys().iter().filter_map(|key| key.strip_prefix("gated:")) {
        let row = s.row(&format!("select id, gate, v from gated where id = {key}"));
        assert_eq!(s.hgetall(&format!("gated:{key}")), row);
    }
}

/// How many of the batch's rows are written.
fn written(s: &Stack) -> i64 {
    s.one("select count(*) from gated where v = 'late'").parse().unwrap()
}

#[test]
fn what_a_refused_statement_leaves_is_not_sent() {
    let s = gated().start();
    let bad = |id| if id % 2 == 0 { "bad" } else { "late" };
    let lines: Vec<_> =
        (1..=300).map(|id| format!("HSET __{{gated:{id}}} gate 2 v {}", bad(id))).collect();
    in_one_batch(&s, &lines, || demote_and_promote(&s));
    assert_eq!(written(&s), 0);
}

#[test]
fn what_a_locked_row_leaves_is_not_sent() {
    let s = gated().start();
    s.execute("insert into gated select n, 0, 'old' from generate_series(1, 20) n");
    let locked = s.database.hold("select from gated where id % 5 in (3, 4) for update");
    let lines: Vec<_> = (1..=20).map(|id| format!("HSET __{{gated:{id}}} gate 2 v late")).collect();
    in_one_batch(&s, &lines, || demote_and_promote(&s));
    locked.rollback();
    assert_eq!(written(&s), 0);
}

/// Increments run in an open transaction: it is not committed.
#[test]
fn what_must_be_done_once_is_not_committed() {
    let s = gated().start();
    s.execute("insert into gated select n, 2, 'old' from generate_series(1, 20) n");
    let lines: Vec<_> = (1..=20).map(|id| format!("HINCRBY __{{gated:{id}}} gate 5")).collect();
    // The trigger waits for the gate of the new number.
    let seven = gate(&s, 7);
    let first = gate(&s, 1);
    let mut conns = vec![s.send("HSET __{gated:0} gate 1 v first")];
    s.wait_until_held_up();
    for line in &lines {
        conns.push(s.send(line));
        wait_for_waiting(&s, conns.len() as i64 - 1);
    }
    first.rollback();
    wait_for_waiting(&s, 0);
    s.wait_until_held_up();
    demote_and_promote(&s);
    seven.rollback();
    eventually("nothing is in flight", || s.info_int("in_flight") == 0);
    assert_eq!(s.one("select count(*) from gated where gate = 7"), "0");
    s.wait_until_in_sync();
    assert_eq!(s.run("HINCRBY __{gated:1} gate 6"), int(8));
}

/// A has set a write aside, B is promoted and answers a newer one, and A is a master again before it
/// has looked at its own.
#[test]
fn what_was_set_aside_in_an_earlier_term_is_not_sent() {
    let a = gated().start();
    let b = another(&a);
    assert_eq!(a.run("HSET __{gated:1} gate 0 v a"), int(2));
    let locked = a.database.hold("select from gated where id = 1 for update");
    let mut parked = a.send("HSET __{gated:1} v b");
    eventually("it is set aside", || a.info_int("locked") > 0);
    let busy = gate(&a, 3);
    let _holder = a.send("HSET __{gated:2} gate 3 v x");
    a.wait_until_held_up();
    wait_for_waiting(&a, 1);
    follow(&b, &a);
    assert_eq!(b.run("REPLICAOF NO ONE"), ok());
    follow(&a, &b);
    parked.receive().assert_error("UNBLOCKED ");
    locked.rollback();
    assert_eq!(b.run("HSET __{gated:1} v c"), int(0));
    assert_eq!(a.run("REPLICAOF NO ONE"), ok());
    busy.rollback();
    eventually("nothing is in flight", || a.info_int("in_flight") == 0);
    assert_eq!(a.one("select v from gated where id = 1"), "c");
    a.wait_until_in_sync();
    assert_eq!(a.run("HSET __{gated:1} gate 9"), int(0));
    assert_eq!(a.run("HGET gated:1 v"), bulk("c"));
}

/// A write is committed, and its row has not been merged when another server becomes the master. By
/// the journal the data set of the next term has it all: nothing would be read again.
#[test]
fn what_an_earlier_term_has_committed_is_not_merged() {
    let a = gated().option("journal", true).start();
    let b = another(&a);
    assert_eq!(a.run("HSET __{gated:1} gate 0 v a"), int(2));
    let held = gate(&a, 2);
    let mut writer = a.send("HSET __{gated:1} gate 2 v b");
    a.wait_until_held_up();
    assert_eq!(a.run("CLIENT PAUSE 600000 WRITE"), ok());
    held.rollback();
    eventually("it is committed", || a.one("select v from gated where id = 1") == "b");
    follow(&b, &a);
    assert_eq!(b.run("REPLICAOF NO ONE"), ok());
    assert_eq!(a.run("REPLICAOF 127.0.0.1 1"), ok());
    writer.receive().assert_error("UNBLOCKED ");
    b.wait_until_in_sync();
    assert_eq!(b.run("HSET __{gated:1} v c"), int(0));
    let position = || b.run("HGET {writethrough}:applied snapshot");
    for _ in 0..3 {
        let before = position();
        a.execute("select pg_current_xact_id()");
        eventually("another position is stored", || position() != before);
    }
    // A server that is paused follows no stream, but takes a whole data set.
    assert_eq!(b.run("DEBUG CHANGE-REPL-ID"), ok());
    follow(&a, &b);
    assert_eq!(a.run("HGET gated:1 v"), bulk("c"));
    assert_eq!(a.run("REPLICAOF NO ONE"), ok());
    assert_eq!(a.run("CLIENT UNPAUSE"), ok());
    a.wait_until_in_sync();
    eventually("nothing is in flight", || a.info_int("in_flight") == 0);
    a.wait_until_in_sync();
    assert_eq!(a.one("select v from gated where id = 1"), "c");
    assert_eq!(a.run("HGET gated:1 v"), bulk("c"));
    assert_eq!(a.run("KEYS __*"), Reply::Array(vec![]));
}

/// A connection is had when the server is no master any more, or one again.
#[test]
fn what_waited_for_a_connection_is_not_sent() {
    for is_promoted in [false, true] {
        let server = std::sync::Arc::new(PostgresServer::start_new());
        let s = gated().option("connect_timeout_ms", 600_000).postgres(&server).start();
        assert_eq!(s.run("HSET __{gated:0} gate 1 v first"), int(2));
        s.wait_until_in_sync();
        // The worker's connection is lost, and another one can't be had.
        let mut admin = s.pg();
        let frozen = server.freeze();
        let ended = "select pg_terminate_backend(pid) from pg_stat_activity
                     where datname = current_database() and pid <> pg_backend_pid()";
        eventually("no session is left", || admin.query(ended, &[]).expect("rows").is_empty());
        let mut writers: Vec<_> =
            (1..=20).map(|id| s.send(&format!("HSET __{{gated:{id}}} gate 1 v late"))).collect();
        eventually("they wait", || s.info_int("in_flight") == 20);
        eventually("the worker is at the first ones", || s.info_int("waiting") < 20);
        assert_eq!(s.run("REPLICAOF 127.0.0.1 1"), ok());
        for writer in &mut writers {
            writer.receive().assert_error("UNBLOCKED ");
        }
        if is_promoted {
            assert_eq!(s.run("REPLICAOF NO ONE"), ok());
        }
        drop(frozen);
        eventually("nothing is in flight", || s.info_int("in_flight") == 0);
        assert_eq!(written(&s), 0);
    }
}
