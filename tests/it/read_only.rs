//! A database that takes no writes says so at once, and is found again when it does; and what is
//! told of several addresses.

use std::sync::Arc;

use crate::support::*;

const WRITE: &str = "HSET __{users:1} username a email a@x pwhash h";

/// The module as a role of its own, on a server of its own: the settings are for all sessions.
fn database() -> Database {
    let database = Database::create(Arc::new(PostgresServer::start_new()));
    database.execute(USERS_SQL);
    database.execute(
        "create role app login; grant all on users to app; grant all on schema public to app",
    );
    database
}

fn start(database: Database) -> Stack {
    let url = database.url().replace("postgres@", "app@");
    Stack::users().option("url", url).try_start_on(database).expect("it loads")
}

fn refused_at_once(s: &Stack, why: &str) {
    let at = format!("25006 127.0.0.1:{} takes no writes: {why}", s.database.server().port());
    let expected = format!("WTDOWN {at}; nothing was written");
    // Each may wait for ten minutes: a test that waits for one of them fails.
    for line in [WRITE, "DEL __{users:2}", "HINCRBY __{users:1} logins 1"] {
        s.run(line).assert_error(&expected);
    }
    s.run("MULTI");
    s.run(WRITE);
    s.run("EXEC").array()[0].assert_error(&expected);
    s.cmd(&["EVAL", "return redis.call('HSET', KEYS[1], 'first', 'x')", "1", "__{users:2}"])
        .assert_error(&expected);
    assert_eq!(s.info()["writethrough_database"], "down");
    assert!(s.info()["writethrough_last_error"].starts_with("25006 "));
    assert!(s.info_int("writes_refused_read_only") >= 4);
    assert_eq!(s.info_int("writes_timed_out"), 0);
    s.wait_for_log(&format!("the database takes no writes: {at}; "));
}

fn comes_back(s: &Stack) {
    eventually("writes are served again", || s.run(WRITE).is_int());
    s.assert_user_cached(1);
    // And stays so: no connection of before is used again.
    for _ in 0..20 {
        assert_eq!(s.run("HSET __{users:1} username b"), int(0));
    }
    assert_eq!(s.log().matches("the database takes no writes: ").count(), 1);
}

#[test]
fn a_role_that_is_read_only() {
    let database = database();
    database.execute("alter role app set default_transaction_read_only = on");
    let s = start(database);
    refused_at_once(&s, "default_transaction_read_only is on by ALTER ROLE");
    s.execute("alter role app reset default_transaction_read_only");
    comes_back(&s);
}

#[test]
fn a_server_that_becomes_read_only_under_its_sessions() {
    let s = start(database());
    s.add_user(1);
    s.wait_until_in_sync();
    // Some sessions in the pool.
    let writers: Vec<Conn> = (2..40)
        .map(|id| s.send(&format!("HSET __{{users:{id}}} username u{id} email e{id} pwhash h")))
        .collect();
    writers.into_iter().for_each(|mut writer| assert_eq!(writer.receive(), int(3)));
    s.execute("alter system set default_transaction_read_only = on");
    s.execute("select pg_reload_conf()");
    // A session may learn of it a moment later.
    eventually("it is told", || s.run(WRITE).is_error());
    refused_at_once(&s, "default_transaction_read_only is on in the server's configuration");
    let mut client = s.pg();
    client.batch_execute("set default_transaction_read_only = off").expect("off");
    client.batch_execute("alter system reset default_transaction_read_only").expect("off");
    client.batch_execute("select pg_reload_conf()").expect("off");
    comes_back(&s);
}

#[test]
fn only_a_standby_is_named() {
    let primary = Arc::new(PostgresServer::start_new());
    let standby = PostgresServer::start_standby(&primary);
    let database = Database::create(primary.clone());
    database.execute(USERS_SQL);
    standby.wait_until_replayed(&primary);
    let url = standby.url(database.name());
    let s = Stack::users().option("url", url).try_start_on(database).expect("it loads");
    s.run(WRITE).assert_error(&format!(
        "WTDOWN 25006 127.0.0.1:{} takes no writes: it is a standby, in recovery; nothing was written",
        standby.port()
    ));
    s.wait_for_log("the database takes no writes: 25006 ");
    standby.promote();
    eventually("writes are served", || s.run(WRITE).is_int());
}

/// The session writes; what its trigger writes to doesn't take it.
#[test]
fn a_trigger_that_may_not_write_is_the_clients_error() {
    let s = Stack::users()
        .sql(
            "create function no() returns trigger language plpgsql as
             $$begin raise 'read-only there' using errcode = '25006'; end$$;
             create trigger no before insert on users for each row execute function no()",
        )
        .start();
    s.run(WRITE).assert_error("WTERR 25006 read-only there");
    assert_eq!(s.info()["writethrough_database"], "up");
    assert_eq!(s.info_int("refused_class_25"), 1);
    assert_eq!(s.info_int("writes_refused_read_only"), 0);
}

/// libpq tries each address of a name, and so do we; the password is wrong at one of them, and no
/// server is at the other.
#[test]
fn each_address_is_named_with_its_error_the_servers_answer_first() {
    let server = PostgresServer::shared();
    let database = Database::create(server.clone());
    database.execute(USERS_SQL);
    let (name, port) = (database.name().to_owned(), server.port());
    let wrong = "28P01 password authentication failed for user \"with_password\"";
    for hosts in ["127.0.0.1,127.0.0.2", "127.0.0.2,127.0.0.1"] {
        let url = format!("host={hosts} port={port} user={PASSWORD_USER} password=x dbname={name}");
        let database = Database::create(server.clone());
        let s = Stack::users().option("url", url).try_start_on(database).expect("it loads");
        let told = s.run(WRITE).error().to_string();
        assert!(told.starts_with(&format!("WTDOWN {wrong} at 127.0.0.1:{port}; ")), "{told}");
        assert!(told.ends_with(&format!(" at 127.0.0.2:{port}")), "{told}");
        s.wait_for_log(wrong);
    }
    let url = format!("postgres://{PASSWORD_USER}:x@localhost:{port}/{name}");
    let s = Stack::users().option("url", url).try_start_on(database).expect("it loads");
    s.run(WRITE).assert_error(&format!("WTDOWN {wrong}"));
}
