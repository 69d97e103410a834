//! PostgreSQL away: at load, later, in the middle of a write; and back again.

use std::sync::Arc;

use crate::support::*;

const WRITE: &str = "HSET __{users:1} username a email a@x pwhash h";

fn own_server() -> Arc<PostgresServer> {
    Arc::new(PostgresServer::start_new())
}

/// A database with the table of users, on a server that the test may stop.
fn users_database(server: &Arc<PostgresServer>) -> Database {
    let database = Database::create(server.clone());
    database.execute(USERS_SQL);
    database
}

/// The module comes back by itself.
fn wait_for_recovery(s: &Stack, line: &str) {
    eventually("writes are served again", || s.run(line).is_int());
}

#[test]
fn a_database_that_is_away_at_load_is_waited_for() {
    let server = own_server();
    let database = users_database(&server);
    server.stop_fast();
    let s = Stack::users().try_start_on(database).expect("it loads");
    s.run(WRITE).assert_error("WTDOWN ");
    assert_eq!(s.keys(), [""; 0]);
    assert_eq!(s.info()["writethrough_database"], "down");
    s.run("MULTI");
    s.run(WRITE);
    s.run("EXEC").array()[0].assert_error("WTDOWN ");
    assert_eq!(s.run("HSET plain a b"), int(1));

    server.start_again();
    wait_for_recovery(&s, WRITE);
    s.assert_user_cached(1);
    assert_eq!(s.info()["writethrough_database"], "up");
}

of_the_staged_key! {
#[test]
fn bad_input_is_told_as_such_while_the_database_is_away() {
    let server = own_server();
    let s = Stack::users().postgres(&server).start();
    s.add_user(1);
    server.stop_fast();
    let refused = |line: &str| s.run(line).assert_error("ERR writethrough: ").to_string();
    refused("HSET __{nobody:1} username x");
    refused("HSET __{users:} username x");
    assert_eq!(
        s.run("HSET __{users:1} username"),
        error("ERR wrong number of arguments for 'hset' command")
    );
    server.start_again();
}
}

#[test]
fn a_wrong_mapping_is_found_when_the_database_comes() {
    let server = own_server();
    let database = users_database(&server);
    server.stop_fast();
    let s = Stack::users().with("key", "idd").try_start_on(database).expect("it loads");
    s.run(WRITE).assert_error("WTDOWN ");
    server.start_again();
    s.wait_for_log("mappings[0].key");
    assert!(s.run(WRITE).is_error());
    assert_eq!(s.count("users"), 0);
    // Once the table is as the document says, it works without help.
    s.execute("alter table users rename column id to idd");
    eventually("the mapping is checked again", || s.run(WRITE).is_int());
}

#[test]
fn while_the_database_is_away_reads_go_on_and_writes_are_answered() {
    for stop in [PostgresServer::stop_fast, PostgresServer::stop_immediate] {
        let server = own_server();
        let s = Stack::users().told_soon_of_outages().postgres(&server).start();
        (1..=4).for_each(|id| s.add_user(id));
        stop(&server);
        // The first meets a connection that looks alive: whether it was committed isn't known.
        let reply = s.run_late("HSET __{users:1} username b");
        let code = reply.error().split(' ').next().unwrap();
        assert!(code == "WTDOWN" || code == "WTTIMEOUT", "{reply:?}");
        for id in 2..=4 {
            s.run(&format!("HSET __{{users:{id}}} username b")).assert_error("WTDOWN ");
            assert_eq!(s.run(&format!("HGET users:{id} username")), bulk(format!("u{id}")));
            assert_eq!(s.run(&format!("EXISTS __{{users:{id}}}")), int(0));
        }
        s.cmd(&["EVAL", "return redis.call('HSET', KEYS[1], 'first', 'x')", "1", "__{users:2}"])
            .assert_error("WTDOWN ");
        assert_eq!(s.info()["writethrough_database"], "down");
        assert!(s.info_int("writes_refused_down") >= 3);

        server.start_again();
        wait_for_recovery(&s, "HSET __{users:1} username back");
        assert_eq!(s.info()["writethrough_database"], "up");
        s.wait_until_settled();
        (1..=4).for_each(|id| s.assert_user_cached(id));
    }
}

#[test]
fn a_write_in_flight_when_the_database_crashes_is_answered() {
    let server = own_server();
    let s = Stack::users().told_soon_of_outages().postgres(&server).start();
    s.add_user(1);
    let lock = s.lock_user(1);
    // What became of it isn't known before its time is up.
    s.set("timeout-ms", 5000);
    let write = "HSET __{users:1} username new";
    let mut writer = s.send(write);
    eventually("it waits for the lock", || {
        if writer.has_reply() {
            writer = s.send(write);
        }
        s.database.lock_waiters() > 0
    });
    server.stop_immediate();
    drop(lock);
    let reply = writer.receive();
    let code = reply.error().split(' ').next().unwrap();
    assert!(code == "WTDOWN" || code == "WTTIMEOUT", "{reply:?}");
    assert_eq!(s.run("HGET users:1 username"), bulk("u1"));
    server.start_again();
    wait_for_recovery(&s, "HSET __{users:1} last x");
    s.wait_until_settled();
    s.assert_user_cached(1);
}

/// An administrator, a load balancer or a restart closed what the pool held open.
#[test]
fn connections_that_were_closed_while_idle_cost_no_write() {
    let s = Stack::users().start();
    (1..=8).for_each(|id| s.add_user(id));
    assert!(s.database.terminate_sessions() > 0);
    for id in 1..=8 {
        assert_eq!(s.run(&format!("HSET __{{users:{id}}} first x")), int(1));
        s.assert_user_cached(id);
    }
    assert!(s.database.terminate_sessions() > 0);
    let script = "return redis.call('HSET', KEYS[1], 'last', 'y')";
    assert_eq!(s.cmd(&["EVAL", script, "1", "__{users:1}"]), int(1));
}

#[test]
fn a_database_that_is_silent_is_no_reason_to_hang() {
    let server = own_server();
    let database = users_database(&server);
    let frozen = server.freeze();
    let s =
        Stack::users().option("connect_timeout_ms", 2000).try_start_on(database).expect("it loads");
    s.run(WRITE).assert_error("WTDOWN ");
    let script = "return redis.call('HSET', KEYS[1], 'username', 'y')";
    s.cmd(&["EVAL", script, "1", "__{users:1}"]).assert_error("WTDOWN ");
    drop(frozen);
    wait_for_recovery(&s, WRITE);
    s.assert_user_cached(1);
}

#[test]
fn a_refused_login_is_told_without_the_password() {
    let url = format!("postgres://{PASSWORD_USER}:wr0ng-{PASSWORD}@@DB@");
    let s = Stack::users().option("url", url).start();
    let reply = s.run(WRITE);
    let text = reply.assert_error("WTDOWN ");
    assert!(!text.contains(PASSWORD), "{text}");
}

/// Sixteen clients write on while the database crashes and comes back.
#[test]
fn no_acknowledged_write_is_lost_in_an_outage() {
    let server = own_server();
    let sql = "create table counters (id int primary key, n int not null)";
    let s = Stack::new()
        .sql(sql)
        .mapping(serde_json::json!({ "table": "counters" }))
        .option("timeout_ms", 500)
        .postgres(&server)
        .start();
    const CLIENTS: usize = 16;
    // How many writes each client has been acknowledged, and the last such value.
    let acknowledged: Vec<std::sync::Mutex<(u32, i64)>> =
        (0..CLIENTS).map(|_| Default::default()).collect();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let all_wrote = |more: u32| {
        let start: Vec<u32> = acknowledged.iter().map(|a| a.lock().unwrap().0).collect();
        eventually("each client is acknowledged again", || {
            acknowledged.iter().zip(&start).all(|(a, start)| a.lock().unwrap().0 >= start + more)
        });
    };
    std::thread::scope(|scope| {
        for (id, acknowledged) in acknowledged.iter().enumerate() {
            let (s, stop) = (&s, &stop);
            scope.spawn(move || {
                let mut conn = s.conn();
                for n in 1.. {
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                    let reply = conn.run(&format!("HSET __{{counters:{id}}} n {n}"));
                    if reply.is_int() {
                        let mut acknowledged = acknowledged.lock().unwrap();
                        *acknowledged = (acknowledged.0 + 1, n);
                    } else {
                        assert!(reply.error().starts_with("WT"), "{reply:?}");
                    }
                }
            });
        }
        // Ends the clients even when the assertions here fail.
        let _ending = Ending(&stop);
        all_wrote(5);
        server.stop_immediate();
        server.start_again();
        all_wrote(5);
        server.stop_fast();
        server.start_again();
        all_wrote(5);
    });
    s.set("timeout-ms", 600_000);
    s.wait_until_settled();
    for (id, acknowledged) in acknowledged.iter().enumerate() {
        let stored: i64 =
            s.one(&format!("select n from counters where id = {id}")).parse().unwrap();
        let last = acknowledged.lock().unwrap().1;
        assert!(stored >= last, "counters:{id} holds {stored}, {last} was acknowledged");
        // A write that was not acknowledged may have committed; the next one settles it.
        assert_eq!(s.run(&format!("HSET __{{counters:{id}}} n {}", stored + 1)).int(), 0);
        assert_eq!(s.hgetall(&format!("counters:{id}"))["n"], (stored + 1).to_string());
    }
}

struct Ending<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
