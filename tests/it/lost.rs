//! A connection is lost while a write is in flight: what became of it is found out.

use crate::support::*;

const SQL: &str = "create table counters (id int primary key, n int, note text)";

/// A stack whose wire to PostgreSQL can be cut.
fn with_proxy(builder: impl Fn(Builder) -> Builder) -> (Stack, Proxy) {
    let database = Database::create(PostgresServer::shared());
    database.execute(SQL);
    let proxy = Proxy::to(database.server().port());
    let url = format!("postgres://postgres@127.0.0.1:{}/{}", proxy.port(), database.name());
    let stack = Stack::new().mapping(serde_json::json!({ "table": "counters" })).option("url", url);
    (builder(stack.patient()).try_start_on(database).expect("it loads"), proxy)
}

/// The value in the table, and in the cache.
fn n(s: &Stack, id: i64) -> (String, Reply) {
    let row = s.one(&format!("select n from counters where id = {id}"));
    (row, s.run(&format!("HGET counters:{id} n")))
}

#[test]
fn an_increment_counts_once_wherever_the_wire_is_cut() {
    for journal in [false, true] {
        let (s, proxy) = with_proxy(|builder| builder.option("journal", journal));
        assert_eq!(s.run("HINCRBY __{counters:1} n 1"), int(1));
        let cuts = [
            Cut::After("COMMIT"),
            Cut::Before("COMMIT"),
            Cut::After("BEGIN"),
            Cut::Before("BEGIN"),
            Cut::After("{counters"),
            Cut::After(""),
            Cut::Before(""),
        ];
        let mut expected = 1;
        for cut in cuts.into_iter().chain(cuts) {
            proxy.arm(cut);
            expected += 1;
            assert_eq!(s.run("HINCRBY __{counters:1} n 1"), int(expected), "{cut:?}");
            assert_eq!(n(&s, 1), (expected.to_string(), bulk(expected.to_string())), "{cut:?}");
            // That no later statement meets it.
            proxy.arm(Cut::Before("no statement holds this"));
        }
        assert!(proxy.tripped() >= 10, "{}", proxy.tripped());
        assert_eq!(s.info_int("writes_timed_out"), 0);
        eventually("all is settled", || s.is_in_sync());
    }
}

#[test]
fn what_was_set_or_deleted_is_answered_as_if_nothing_had_happened() {
    let (s, proxy) = with_proxy(|builder| builder);
    let lines = [
        ("HSET __{counters:1} n 1 note a", int(2)),
        ("HSETNX __{counters:1} note b", int(0)),
        ("HDEL __{counters:1} note", int(1)),
        ("HSETNX __{counters:1} note c", int(1)),
        ("HINCRBYFLOAT __{counters:1} n 2", bulk("3")),
        ("DEL __{counters:1}", int(1)),
        ("DEL __{counters:1}", int(0)),
    ];
    // A statement that sets is sent and committed in one message, the others by COMMIT.
    for (line, expected) in &lines {
        let once = line.starts_with("HSETNX") || line.starts_with("HINCR");
        let before = proxy.tripped();
        proxy.arm(Cut::After(if once { "COMMIT" } else { "\0\0\0\x011" }));
        assert_eq!(s.run(line), *expected, "{line}");
        assert_eq!(proxy.tripped(), before + 1, "{line}");
    }
    assert_eq!(s.count("counters"), 0);
    assert_eq!(s.keys(), [""; 0]);
}

/// The database can't be asked in the client's time: the cache follows as soon as it can.
#[test]
fn what_is_not_known_in_time_is_in_doubt_until_the_database_is_back() {
    for (line, cut, result) in [
        ("HINCRBY __{counters:1} n 1", Cut::After("COMMIT"), "2"),
        ("HINCRBY __{counters:1} n 1", Cut::Before("COMMIT"), "1"),
        ("HSET __{counters:1} n 2", Cut::After("\0\0\0\x011"), "2"),
    ] {
        let (s, proxy) = with_proxy(|b| b.told_soon_of_outages().option("pool_size", 1));
        assert_eq!(s.run("HSET __{counters:1} n 1"), int(1));
        s.wait_until_in_sync();
        proxy.refuse(true);
        proxy.arm(cut);
        s.run_late(line).assert_error("WTTIMEOUT ");
        s.wait_for_log(
            "a write of \"counters\" was answered with WTTIMEOUT, timeout-ms = 300: its connection",
        );
        assert!(!s.is_in_sync());
        assert_eq!(s.run("HGET counters:1 n"), bulk("1"), "as it was");
        assert_eq!(s.one("select n from counters"), result);
        proxy.refuse(false);
        s.wait_until_in_sync();
        eventually("nothing is in flight", || s.info_int("in_flight") == 0);
        assert_eq!(n(&s, 1), (result.into(), bulk(result)), "{line} {cut:?}");
        assert_eq!(s.run("EXISTS __{counters:1}"), int(0));
        assert_eq!(s.run("HINCRBY __{counters:1} n 5").int(), result.parse::<i64>().unwrap() + 5);
    }
}

/// The server's process goes on when the wire is cut: its late commit must not overtake what comes
/// after it.
#[test]
fn a_statement_that_goes_on_is_ended_before_its_row_is_written_again() {
    let (s, proxy) = with_proxy(|builder| builder);
    s.execute(
        "create sequence tries;
         create function slow(note text) returns bool language plpgsql as $$ begin
             if note = 'slow' and nextval('tries') = 1 then
                 raise warning 'fast asleep';
                 perform pg_sleep(600);
             end if;
             return true;
         end $$;
         alter table counters add check (slow(note))",
    );
    assert_eq!(s.run("WT.RELOAD"), ok());
    // Not before it sleeps: the module may end it before it has begun.
    proxy.arm(Cut::Silently("fast asleep"));
    assert_eq!(s.run("HSET __{counters:1} note slow"), int(1));
    assert_eq!(s.run("HSET __{counters:1} note fast"), int(0));
    assert_eq!(proxy.tripped(), 1);
    assert_eq!(s.one("select last_value from tries"), "2");
    eventually("nothing sleeps", || {
        let sleeping = "select count(*) from pg_stat_activity
                        where wait_event = 'PgSleep' and datname = current_database()";
        s.one(sleeping) == "0"
    });
    assert_eq!(s.one("select note from counters"), "fast");
    assert_eq!(s.run("HGET counters:1 note"), bulk("fast"));
}

/// A server's process that is stopped holds its own rows, and those only.
#[test]
fn a_stopped_process_holds_its_own_row_only() {
    let database = Database::create(PostgresServer::shared());
    database.execute(SQL);
    database.execute(
        "create function nap() returns trigger language plpgsql as $$ begin
             while new.note = 'nap' and not pg_try_advisory_xact_lock(5) loop
                 perform pg_sleep(0.01);
             end loop;
             return new;
         end $$;
         create trigger nap before insert or update on counters
             for each row execute function nap()",
    );
    let mapping = serde_json::json!({ "table": "counters" });
    let s = Stack::new().mapping(mapping).try_start_on(database).expect("it loads");
    (1..=5).for_each(|id| assert_eq!(s.run(&format!("HSET __{{counters:{id}}} n 1")), int(1)));
    let nap = s.database.hold("select pg_advisory_xact_lock(5)");
    s.set("timeout-ms", 5000);
    let mut stuck = s.send("HSET __{counters:1} note nap");
    s.wait_for_blocked(1);
    s.set("timeout-ms", 600_000);
    let pid = eventually_some("it naps", || {
        let naps = "select pid from pg_stat_activity where wait_event = 'PgSleep'
                    and datname = current_database()";
        s.database.row(naps).remove("pid")
    });
    signal_process(&pid, "STOP");
    nap.rollback();
    for n in 2..=10 {
        for id in 2..=5 {
            assert_eq!(s.run(&format!("HSET __{{counters:{id}}} n {n}")), int(0));
        }
    }
    stuck.receive().assert_error("WTTIMEOUT ");
    s.run_late("HSET __{counters:1} n 2").assert_error("WTTIMEOUT ");
    assert_eq!(s.run("HGET counters:1 n"), bulk("1"));
    signal_process(&pid, "CONT");
    eventually("its row is served again", || s.run("HSET __{counters:1} n 3").is_int());
    assert_eq!(s.run("HGET counters:1 n"), bulk("3"));
    assert_eq!(n(&s, 1).0, "3");
}

/// Crashes of the server, where transactions' numbers are given again, and ended sessions.
#[test]
fn increments_count_once_while_the_database_crashes() {
    let server = std::sync::Arc::new(PostgresServer::start_new());
    let s = Stack::new().sql(SQL).mapping(serde_json::json!({ "table": "counters" }));
    let s = s.option("timeout_ms", 2000).postgres(&server).start();
    const CLIENTS: usize = 12;
    // How many increments each client has been acknowledged, and how many may have counted.
    let told: Vec<std::sync::Mutex<(i64, i64)>> =
        (0..CLIENTS).map(|_| Default::default()).collect();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let more = |n: i64| {
        let start: Vec<i64> = told.iter().map(|told| told.lock().unwrap().0).collect();
        eventually("each client is acknowledged again", || {
            told.iter().zip(&start).all(|(told, start)| told.lock().unwrap().0 >= start + n)
        });
    };
    std::thread::scope(|scope| {
        for (id, told) in told.iter().enumerate() {
            let (s, stop) = (&s, &stop);
            scope.spawn(move || {
                let mut conn = s.conn();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let reply = conn.run(&format!("HINCRBY __{{counters:{id}}} n 1"));
                    let mut told = told.lock().unwrap();
                    match reply {
                        Reply::Int(n) => {
                            told.0 += 1;
                            assert!((told.0..=told.0 + told.1).contains(&n), "{n} after {told:?}");
                        }
                        reply if reply.error().contains("may ") => told.1 += 1,
                        reply => assert!(reply.error().starts_with("WT"), "{reply:?}"),
                    }
                }
            });
        }
        struct Ending<'a>(&'a std::sync::atomic::AtomicBool);
        impl Drop for Ending<'_> {
            fn drop(&mut self) {
                self.0.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let _ending = Ending(&stop);
        for _ in 0..4 {
            more(5);
            server.stop_immediate();
            server.start_again();
            more(5);
            s.database.terminate_sessions();
        }
        more(5);
    });
    s.wait_until_in_sync();
    for (id, told) in told.iter().enumerate() {
        let (acknowledged, unknown) = *told.lock().unwrap();
        let stored: i64 = n(&s, id as i64).0.parse().unwrap();
        assert!(
            (acknowledged..=acknowledged + unknown).contains(&stored),
            "counters:{id} holds {stored}, {acknowledged} were acknowledged, {unknown} unknown"
        );
        assert_eq!(n(&s, id as i64).1, bulk(stored.to_string()));
    }
}
