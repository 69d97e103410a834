//! Servers that are loaded at the same time on a database that has nothing of the module's yet.

use serde_json::json;

use crate::support::*;

const SQL: &str = "create table items (id int primary key, n int not null default 0);
                   create table counts (id int primary key, n int not null default 0);
                   insert into items select n, n from generate_series(1, 20) n";

fn builder() -> Builder {
    Stack::new()
        .option("follow", true)
        .mapping(json!({ "table": "items", "read_through": true }))
        .mapping(json!({ "table": "counts", "write": "behind" }))
}

/// A server of its own, with the database of another one.
fn another(of: &Stack) -> Stack {
    builder().option("url", of.database.url().as_str()).start()
}

/// What the module makes there, one server makes after the other; who comes second waits.
#[test]
fn a_server_waits_for_the_one_that_makes_the_journal() {
    let s = builder().sql(SQL).without_module().start();
    let first = s.database.hold("select pg_advisory_xact_lock(8319104478)");
    std::thread::scope(|scope| {
        let loaded = scope.spawn(|| s.load());
        eventually("it waits", || s.database.lock_waiters() > 0);
        // Longer than a row that somebody has locked is waited for.
        let waits = "select count(*) from pg_stat_activity where datname = current_database()
                     and wait_event_type = 'Lock' and now() - query_start > interval '0.1 s'";
        eventually("it goes on waiting", || s.one(waits) != "0");
        first.rollback();
        assert_eq!(loaded.join().expect("it loads"), ok());
    });
}

#[test]
fn six_servers_at_once() {
    let s = builder().sql(SQL).without_module().start();
    let servers: Vec<Stack> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..6).map(|_| scope.spawn(|| another(&s))).collect();
        started.into_iter().map(|server| server.join().expect("it loads")).collect()
    });
    for (id, server) in servers.iter().enumerate() {
        server.wait_until_in_sync();
        assert_eq!(server.run(&format!("HINCRBY __{{counts:{id}}} n 2")), int(2));
        assert_eq!(server.run("WT.FLUSH counts"), ok());
        let once = format!("WT.ONCE token{id} 4 HINCRBY __{{items:1}} n 1");
        assert_eq!(server.run(&once), int(id as i64 + 2));
        assert_eq!(server.run("HGET items:2 n"), bulk("2"));
    }
    assert_eq!(s.one("select sum(n) from counts"), "12");
    s.database.execute("update items set n = 70 where id = 2");
    for server in &servers {
        eventually("it follows", || server.run("HGET items:2 n") == bulk("70"));
    }
}
