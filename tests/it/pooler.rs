//! A pooler between the module and PostgreSQL: in session mode it works; in the others nothing is
//! written, and nothing is left behind in sessions that other programs get.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use crate::support::*;

const WRITE: &str = "HSET __{users:1} username a email a@x pwhash h";

fn start(database: Database, pooler: &Pooler) -> Stack {
    let url = pooler.url(database.name());
    Stack::users().option("url", url).try_start_on(database).expect("it loads")
}

fn database() -> Database {
    let database = Database::create(Arc::new(PostgresServer::start_new()));
    database.execute(USERS_SQL);
    database
}

/// What another program gets is as the database has it.
fn assert_nothing_left(pooler: &Pooler, database: &str) {
    let settings = "select string_agg(name || '=' || setting, ', ') from pg_settings
        where source = 'session' and name not in ('client_encoding')";
    let locks = "select count(*)::text from pg_locks where locktype = 'advisory'";
    let names =
        "select count(*)::text from pg_stat_activity where application_name = 'writethrough'";
    // As many at once as there are sessions.
    let mut clients: Vec<_> = (0..5).map(|_| pooler.connect(database)).collect();
    for client in &mut clients {
        for (sql, expected) in [(settings, None), (locks, Some("0")), (names, Some("0"))] {
            let told = client.simple_query(sql).expect(sql);
            let row = told.iter().find_map(|message| match message {
                postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_string)),
                _ => None,
            });
            assert_eq!(row.flatten().as_deref(), expected, "{sql}");
        }
    }
}

fn refused(s: &Stack) {
    let expected = "WTDOWN a pooler shares this session: pool_mode=session is needed";
    for line in [WRITE, "DEL __{users:2}"] {
        let told = s.run(line).assert_error(expected).to_string();
        assert!(told.contains("nothing was written"), "{told}");
    }
    s.cmd(&["EVAL", "return redis.call('HSET', KEYS[1], 'first', 'x')", "1", "__{users:2}"])
        .assert_error(expected);
    s.wait_for_log("the database can't be used: a pooler shares this session: ");
    assert_eq!(s.log().matches("a pooler shares this session").count(), 1);
}

#[test]
fn session_mode_works_under_load() {
    let database = database();
    let Some(pooler) = Pooler::start(database.server(), "session", "") else { return };
    let s = start(database, &pooler);
    let writers: Vec<Conn> = (1..=200)
        .map(|id| s.send(&format!("HSET __{{users:{id}}} username u{id} email e{id} pwhash h")))
        .collect();
    writers.into_iter().for_each(|mut writer| assert_eq!(writer.receive(), int(3)));
    assert_eq!(s.count("users"), 200);
    (1..=200).for_each(|id| s.assert_user_cached(id));
    s.wait_until_in_sync();
    // The module's sessions are ended under it.
    s.database.terminate_sessions();
    eventually("writes are served again", || s.run("HSET __{users:1} username b").is_int());
    s.assert_user_cached(1);
}

#[test]
fn transaction_and_statement_mode_are_refused_and_nothing_is_left_behind() {
    let round_robin = "server_round_robin = 1";
    for (mode, lines) in [
        ("transaction", ""),
        ("transaction", round_robin),
        ("transaction", "default_pool_size = 1"),
        ("statement", ""),
        ("statement", round_robin),
    ] {
        let database = database();
        let name = database.name().to_string();
        let Some(pooler) = Pooler::start(database.server(), mode, lines) else { return };
        // Some sessions that are idle now.
        let mut others: Vec<_> = (0..3).map(|_| pooler.connect(&name)).collect();
        others.iter_mut().for_each(|other| drop(other.simple_query("select 1").expect("served")));
        let s = start(database, &pooler);
        refused(&s);
        drop(others);
        assert_nothing_left(&pooler, &name);
        drop(s);
    }
}

/// Other programs take and give back sessions all the time.
#[test]
fn a_busy_pooler_in_transaction_mode_is_refused() {
    let database = database();
    let name = database.name().to_string();
    let Some(pooler) = Pooler::start(database.server(), "transaction", "") else { return };
    let stop = AtomicBool::new(false);
    let s = std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut client = pooler.connect(&name);
                while !stop.load(Ordering::Relaxed) {
                    client.simple_query("begin").expect("served");
                    client.simple_query("select pg_sleep(0.001)").expect("served");
                    client.simple_query("commit").expect("served");
                }
            });
        }
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let s = start(database, &pooler);
            refused(&s);
            s
        }));
        stop.store(true, Ordering::Relaxed);
        checked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    assert_nothing_left(&pooler, &name);
    drop(s);
}

#[test]
fn a_pooler_that_is_set_right_is_used() {
    let database = database();
    let Some(pooler) = Pooler::start(database.server(), "transaction", "") else { return };
    let s = start(database, &pooler);
    refused(&s);
    pooler.set_mode("session");
    eventually("writes are served", || s.run(WRITE).is_int());
    s.assert_user_cached(1);
}

/// The mode changes while the module has sessions, and what it has prepared is in another one. The writes
/// are of columns that differ each time, or are the same, so that it prepares statements or runs them; the
/// database refuses the first that meets somebody else's in these words.
fn assert_noticed(words: &str, writes: impl Fn(u32) -> String) {
    let database = database();
    let name = database.name().to_string();
    let Some(pooler) = Pooler::start(database.server(), "session", "") else { return };
    let s = start(database, &pooler);
    assert_eq!(s.run(WRITE), int(3));
    s.wait_until_in_sync();
    pooler.set_mode("transaction");
    let seen = s.database.server().log().len();
    let mut others = Vec::new();
    let told = (0..40).find_map(|n| {
        // Somebody takes the session that was given back last, and has prepared statements of his own.
        let mut other = pooler.connect(&name);
        other.batch_execute("BEGIN").expect("served");
        let prepared = "do $$ begin for n in 0..99 loop
            begin execute format('prepare s%s as select 1', n); exception when others then null; end;
            end loop; end $$";
        other.batch_execute(prepared).expect("served");
        others.push(other);
        if others.len() > 5 {
            others.remove(0).batch_execute("COMMIT").expect("served");
        }
        let row = s.row("select * from users where id = 1");
        let reply = s.run(&writes(n));
        if reply.is_int() {
            return None;
        }
        assert_eq!(s.row("select * from users where id = 1"), row, "{reply:?}");
        Some(reply)
    });
    let told = told.expect("the write meets another session");
    told.assert_error("WTDOWN a pooler shares this session: pool_mode=session is needed");
    assert!(told.text().contains("nothing was written"), "{told:?}");
    let log = s.database.server().log();
    let met =
        log[seen..].lines().find(|line| line.contains("ERROR:  prepared statement")).expect(&log);
    assert!(met.contains(words), "{met}");
    drop(others);
    pooler.set_mode("session");
    eventually("writes are served again", || s.run(WRITE).is_int());
    s.assert_user_cached(1);
}

#[test]
fn a_statement_that_another_session_has_prepared_is_noticed() {
    assert_noticed("does not exist", |n| {
        format!("HSET __{{users:1}} username a{n} email a@x pwhash h")
    });
}

#[test]
fn a_statement_that_somebody_else_has_prepared_is_noticed() {
    let columns = ["username u", "email e@x", "pwhash p", "dob 2001-01-01"];
    assert_noticed("already exists", move |n| {
        let named =
            (0..4).filter(|column| (n + 1) >> column & 1 == 1).map(|column| columns[column]);
        format!("HSET __{{users:1}} {}", named.collect::<Vec<_>>().join(" "))
    });
}
