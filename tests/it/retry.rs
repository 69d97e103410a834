//! Which failures are tried again, and which are the client's.

use crate::support::*;

/// A table whose trigger fails with a SQLSTATE of its own until it has been tried often enough.
/// Sequences remember what a rollback undoes.
const SQL: &str = "
create table counters (id int primary key, n int);
create table failing (state text, times int);
create sequence tries;
create function fail() returns trigger language plpgsql as $$ declare f failing; begin
    select * into f from failing;
    if nextval('tries') <= f.times then raise exception using errcode = f.state; end if;
    return new;
end $$;
create trigger fail before insert or update on counters for each row execute function fail()";

fn stack() -> Stack {
    Stack::new().sql(SQL).mapping(serde_json::json!({ "table": "counters" })).patient().start()
}

/// From now on, so many tries fail with this state.
fn will_fail(s: &Stack, state: &str, times: u32) {
    s.execute("truncate failing; alter sequence tries restart");
    s.execute(&format!("insert into failing values ('{state}', {times})"));
}

fn tries(s: &Stack) -> String {
    s.one("select last_value from tries")
}

#[test]
fn what_may_succeed_later_is_tried_again_in_the_clients_time() {
    let s = stack();
    will_fail(&s, "00000", 0);
    assert_eq!(s.run("HSET __{counters:1} n 0"), int(1));
    let states = [
        "40001", // serialization failure
        "40P01", // deadlock
        "55P03", // lock timeout
        "57P01", // an administrator ended the connection
        "57P03", // the server is starting up
        "53300", // too many connections
        "08006", // the connection failed
    ];
    for (n, state) in (1..).zip(states) {
        will_fail(&s, state, 3);
        let reply = s.run(&format!("HSET __{{counters:1}} n {}", 2 * n - 1));
        assert_eq!(reply, int(0), "{state}");
        assert_eq!(tries(&s), "4", "{state}");
        will_fail(&s, state, 3);
        assert_eq!(s.run("HINCRBY __{counters:1} n 1"), int(2 * n), "{state}");
        s.assert_row_cached("counters", 1);
    }
    assert_eq!(s.info()["writethrough_database"], "up");
    assert_eq!(s.info_int("writes_timed_out"), 0);
}

#[test]
fn what_stays_wrong_is_the_clients_error_at_once() {
    let s = stack();
    for state in ["23514", "22003", "25006", "42501", "42601", "P0001", "53100", "XX000"] {
        for line in ["HSET __{counters:1} n 1", "HINCRBY __{counters:1} n 1"] {
            will_fail(&s, state, 1000);
            s.run(line).assert_error(&format!("WTERR {state} "));
            assert_eq!(tries(&s), "1", "{state}");
        }
    }
    assert_eq!(s.count("counters"), 0);
    assert_eq!(s.keys(), [""; 0]);
}

#[test]
fn what_fails_for_too_long_is_answered_in_time() {
    let s = stack();
    will_fail(&s, "40001", 1_000_000);
    s.run_late("HSET __{counters:1} n 1").assert_error("WTTIMEOUT ");
    eventually("nothing is in flight", || s.info_int("in_flight") == 0);
    will_fail(&s, "00000", 0);
    assert_eq!(s.run("HSET __{counters:1} n 1"), int(1));
}

#[test]
fn a_session_that_is_ended_in_mid_statement_costs_no_write() {
    let s = stack();
    s.execute(
        "create function nap() returns trigger language plpgsql as $$ begin
             if nextval('tries') = 1 then perform pg_sleep(600); end if; return new;
         end $$;
         create or replace trigger fail before insert or update on counters
             for each row execute function nap()",
    );
    for line in ["HSET __{counters:1} n 1", "HINCRBY __{counters:1} n 1"] {
        s.execute("alter sequence tries restart");
        let mut writer = s.send(line);
        eventually("it sleeps", || {
            s.one(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity
                 where wait_event = 'PgSleep' and datname = current_database()",
            ) == "1"
        });
        assert_eq!(writer.receive(), if line.starts_with("HSET") { int(1) } else { int(2) });
    }
    assert_eq!(s.one("select n from counters"), "2");
}
