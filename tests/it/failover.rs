//! Several database servers, of which one is the primary: the module finds it, and the cache follows
//! what it holds.

use std::sync::Arc;

use crate::load_all;
use crate::support::*;

fn url(ports: &[u16], database: &str) -> String {
    let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let hosts = hosts.join(",");
    format!("postgres://postgres@{hosts}/{database}?target_session_attrs=read-write")
}

fn stack(database: Database, ports: &[u16]) -> Stack {
    let url = url(ports, database.name());
    Stack::users().option("url", url).try_start_on(database).expect("it loads")
}

#[test]
fn a_dead_host_and_a_standby_are_passed_over() {
    let primary = Arc::new(PostgresServer::start_new());
    let standby = PostgresServer::start_standby(&primary);
    let database = Database::create(primary.clone());
    database.execute(USERS_SQL);
    let s = stack(database, &[1, standby.port(), primary.port()]);
    s.add_user(1);
    s.assert_user_cached(1);
    s.wait_until_in_sync();
}

/// It takes connections, and says nothing: each host has its time.
#[test]
fn a_silent_host_is_passed_over() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let server = Arc::new(PostgresServer::start_new());
    let database = Database::create(server.clone());
    database.execute(USERS_SQL);
    let port = silent.local_addr().expect("bound").port();
    let s = stack(database, &[port, server.port()]);
    eventually("it is served", || s.info()["writethrough_database"] == "up");
    s.add_user(1);
    s.assert_user_cached(1);
}

/// The standby lacks what it had not received. What the cache holds of it is wrong, then.
#[test]
fn after_a_failover_the_cache_is_what_the_new_primary_holds() {
    let primary = Arc::new(PostgresServer::start_new());
    let standby = PostgresServer::start_standby(&primary);
    let database = Database::create(primary.clone());
    database.execute(USERS_SQL);
    let name = database.name().to_string();
    let s = stack(database, &[primary.port(), standby.port()]);
    (1..=20).for_each(|id| s.add_user(id));
    standby.wait_until_replayed(&primary);
    standby.cut_off();
    assert_eq!(s.run("HSET __{users:1} username lost"), int(0));
    s.wait_until_in_sync();
    primary.stop_immediate();
    standby.promote();
    eventually("writes are served again", || s.run("HSET __{users:2} username new").is_int());
    s.wait_until_in_sync();
    let mut client = standby.connect(&name);
    let mut stored = |id: i64| -> String {
        let sql = "select username from users where id = $1::int8";
        client.query_one(sql, &[&id]).expect("a row").get(0)
    };
    assert_eq!(stored(2), "new");
    for id in 1..=20 {
        assert_eq!(s.run(&format!("HGET users:{id} username")), bulk(stored(id)));
    }
}

/// Some of its rows were loaded from the old primary, and one of them is lost.
#[test]
fn a_load_of_all_rows_goes_on_at_the_new_primary() {
    let primary = Arc::new(PostgresServer::start_new());
    let standby = PostgresServer::start_standby(&primary);
    let database = Database::create(primary.clone());
    database.execute(load_all::TABLE);
    database.execute(load_all::GATED);
    let name = database.name().to_string();
    let url = url(&[primary.port(), standby.port()], &name);
    let builder = Stack::new().option("url", url).mapping(load_all::gated_mapping());
    let s = builder.try_start_on(database).expect("it loads");
    standby.wait_until_replayed(&primary);
    standby.cut_off();
    s.execute("update items set name = 'lost' where id in (1, 1999, 4000)");
    let gate = load_all::close(&s);
    let mut load = load_all::held_up(&s);
    assert_eq!(s.run("HGET gated:1999 name"), bulk("lost"));
    primary.stop_immediate();
    drop(gate);
    standby.promote();
    let report = load.receive();
    assert_eq!(report.array()[3], bulk("all rows"), "{report:?}");
    s.wait_until_in_sync();
    let mut client = standby.connect(&name);
    for id in [1_i64, 2, 1999, 2000, 2001, 2500, 4000, 5000] {
        let row = client.query_one("select name from items where id = $1", &[&id]).expect("a row");
        assert_eq!(s.run(&format!("HGET gated:{id} name")), bulk(row.get::<_, String>(0)));
    }
    assert_eq!(s.run("DBSIZE"), int(5000));
}

/// A primary that is a standby now answers 25006: its connections are given up for the new one's.
#[test]
fn a_primary_that_becomes_read_only_is_left() {
    let (old, new) = (Arc::new(PostgresServer::start_new()), PostgresServer::start_new());
    let database = Database::create(old.clone());
    database.execute(USERS_SQL);
    new.connect("postgres").batch_execute(&format!("create database {}", database.name())).unwrap();
    new.connect(database.name()).batch_execute(USERS_SQL).unwrap();
    let s = stack(database, &[old.port(), new.port()]);
    s.add_user(1);
    // What a session sees of a server that was demoted under it.
    s.execute("alter system set default_transaction_read_only = on");
    s.execute("select pg_reload_conf()");
    // A session may learn of it a moment later.
    let mut client = new.connect(s.database.name());
    eventually("the new one is written to", || {
        assert!(s.run("HSET __{users:2} username a email a pwhash h").is_int());
        client.query_opt("select from users where username = 'a'", &[]).unwrap().is_some()
    });
    // Another server, another history: what the old one held is not there.
    eventually("the cache follows", || s.run("EXISTS users:1") == int(0));
    s.wait_until_in_sync();
}

#[test]
fn a_server_with_too_many_connections_is_tried_again() {
    let server = Arc::new(PostgresServer::start_new());
    let database = Database::create(server.clone());
    database.execute(USERS_SQL);
    database.execute("create role app login; grant all on users to app");
    let url = database.url().replace("postgres@", "app@");
    // A pool that has failed to connect waits before it tries again.
    let builder = Stack::users().option("url", url).patient().option("connect_timeout_ms", 10_000);
    let s = builder.try_start_on(database).expect("it loads");
    s.add_user(1);
    s.wait_until_in_sync();
    s.execute("alter role app connection limit 0");
    s.database.terminate_sessions();
    let mut writer = s.send("HSET __{users:1} username b");
    eventually("it is refused", || s.info()["writethrough_last_error"].starts_with("53300"));
    assert!(!writer.has_reply());
    assert_eq!(s.info()["writethrough_database"], "up");
    s.execute("alter role app connection limit -1");
    assert_eq!(writer.receive(), int(0));
    s.assert_user_cached(1);
}
