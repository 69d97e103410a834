//! What an operator sees: counters by class, latency, the pool, SLOWLOG, LATENCY, the log.

use std::time::{Duration, Instant};

use crate::support::*;

/// Lets this much time go by.
fn wait_out(time: Duration) {
    let start = Instant::now();
    eventually("time goes by", || start.elapsed() >= time);
}

fn users() -> Stack {
    let s = Stack::users().one_worker().start();
    s.add_user(1);
    s
}

#[test]
fn refusals_are_counted_by_the_class_of_their_sqlstate() {
    let s = Stack::users().start();
    s.add_user(1);
    s.add_user(2);
    s.run("HSET __{users:2} username u1").assert_error("WTERR 23505 ");
    s.run("HSET __{users:2} dob soon").assert_error("WTERR 22007 ");
    s.run("HSET __{users:2} dob later").assert_error("WTERR 22007 ");
    s.execute(
        "create function no() returns trigger language plpgsql as
               $$ begin raise exception using errcode = 'XY123'; end $$",
    );
    s.execute("create trigger no before update on users for each row execute function no()");
    s.run("HSET __{users:2} first x").assert_error("WTERR XY123 ");
    let info = s.info();
    let of = |class: &str| info[&format!("writethrough_refused_class_{class}")].as_str();
    assert_eq!((of("23"), of("22"), of("other"), of("42")), ("1", "2", "1", "0"));
    assert_eq!(info["writethrough_writes_refused_by_database"], "4");
}

#[test]
fn latency_and_batch_sizes_of_the_last_minute() {
    let s = users();
    let held = s.hold();
    wait_out(Duration::from_millis(30));
    held.release();
    let info = |field: &str| s.info_int(field);
    for name in ["commit_usec", "write_usec"] {
        let [p50, p99, max, total] =
            ["p50", "p99", "max", "total"].map(|which| info(&format!("{name}_{which}")));
        assert!(0 < p50 && p50 <= p99 && p99 <= max && max <= total, "{name}: {:?}", s.info());
        assert!(max >= 30_000, "{name}: {max} µs, it was held up for 30 ms");
    }
    (2..=9).for_each(|id| s.add_user(id));
    let lines: Vec<String> = (2..=9).map(|id| format!("HSET __{{users:{id}}} first x")).collect();
    s.together(&lines);
    assert_eq!(info("statement_rows_max"), 8);
    assert_eq!(info("statement_rows_p50"), 1);
}

#[test]
fn the_pool_and_an_outage() {
    let server = std::sync::Arc::new(PostgresServer::start_new());
    let s = Stack::users().told_soon_of_outages().postgres(&server).start();
    s.add_user(1);
    assert_eq!((s.info_int("pool_size"), s.info_int("database_down_seconds")), (4, 0));
    assert!((1..=4).contains(&s.info_int("pool_connections")));
    server.stop_fast();
    assert!(s.run_late("HSET __{users:1} username b").is_error());
    s.wait_for_log("the database is away: ");
    eventually("the outage is counted", || s.info_int("database_down_seconds") >= 1);
    server.start_again();
    eventually("writes are served again", || s.run("HSET __{users:1} username c").is_int());
    assert_eq!(s.info_int("database_down_seconds"), 0);
    let log = s.log();
    let line = log.lines().find(|line| line.contains("the database answers after ")).unwrap();
    assert!(line.contains(" s; writes go through"), "{line}");
    assert!(s.info_int("connections_lost") + s.info_int("connections_failed") >= 1);
}

#[test]
fn conflicts_locks_and_cancels_are_counted() {
    let s = users();
    let lock = s.lock_user(1);
    let mut writer = s.send("HSET __{users:1} first x");
    eventually("a locked row is counted", || s.info_int("locked") >= 1);
    lock.rollback();
    assert_eq!(writer.receive(), int(1));
    s.execute("create sequence tries");
    s.execute(
        "create function once() returns trigger language plpgsql as $$ begin
               if nextval('tries') = 1 then raise exception using errcode = '40001'; end if;
               return new; end $$",
    );
    s.execute("create trigger once before update on users for each row execute function once()");
    assert_eq!(s.run("HSET __{users:1} first y"), int(0));
    assert_eq!((s.info_int("conflicts"), s.info_int("retries")), (1, 1));
}

/// The entry of SLOWLOG that has this word: its microseconds, and its command.
fn logged(s: &Stack, word: &str) -> (i64, String) {
    let log = s.run("SLOWLOG GET 100");
    let entry = log.array().iter().find(|entry| entry.text().contains(word));
    let entry = entry.unwrap_or_else(|| panic!("{log:?}")).array();
    (entry[2].int(), entry[3].text().to_lowercase())
}

#[test]
fn slowlog_leaves_out_the_wait_for_the_database() {
    const WAIT: Duration = Duration::from_secs(1);
    let s = Stack::users().with("read_through", true).one_worker().start();
    s.execute("insert into users values (5, 'u5', 'e5', 'h5')");
    s.run("CONFIG SET slowlog-log-slower-than 0");
    let held = s.hold();
    let mut reader = s.send("HGET users:5 username");
    wait_out(WAIT);
    held.release();
    assert_eq!(reader.receive(), bulk("u5"));
    for (word, command) in
        [("hold:1", "wt.hset __{hold:1} v x"), ("users:5", "wt.hget users:5 username")]
    {
        let (took, line) = logged(&s, word);
        assert_eq!(line, command);
        assert!(took < WAIT.as_micros() as i64, "{took} µs: the main thread alone");
    }
    assert!(s.info_int("write_usec_max") >= WAIT.as_micros() as i64, "INFO has the wait");
}

#[test]
fn a_slow_write_is_logged_without_its_values() {
    const SLOW: &str = "a write was slow: ";
    let s = Stack::users().option("slow_write_ms", 0).one_worker().start();
    s.add_user(1);
    let held = s.hold();
    wait_out(Duration::from_millis(60));
    held.release();
    assert!(!s.log().contains(SLOW), "0 is never");

    assert_eq!(s.run("CONFIG SET writethrough.slow-write-ms 50"), ok());
    let held = s.hold();
    let mut waiting = s.send("HSET __{users:1} first confidential");
    s.wait_for_blocked(2);
    wait_out(Duration::from_millis(60));
    held.release();
    waiting.receive();
    s.wait_for_log(SLOW);
    let log = s.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(SLOW)).collect();
    let [line] = lines[..] else { panic!("one line in ten seconds, not {lines:?}") };
    let (_, line) = line.split_once(SLOW).unwrap();
    let numbers: Vec<u64> =
        line.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    let [1, waited, in_database, 50] = numbers[..] else { panic!("{line}") };
    assert!(waited > 50 && in_database <= waited, "{line}");
    let words = format!(
        "HSET of hold:1, mapping \"hold\", waited {waited} ms, {in_database} ms of these for the database; slow-write-ms = 50"
    );
    assert!(line.starts_with(&words), "{line}");
    assert!(!log.contains("confidential"), "{log}");
}

#[test]
fn the_latency_monitor_knows_what_took_long() {
    let s = users();
    let events = |s: &Stack| s.run("LATENCY LATEST").text();
    let held = s.hold();
    wait_out(Duration::from_millis(60));
    held.release();
    assert!(!events(&s).contains("writethrough"), "the monitor is off");

    s.run("CONFIG SET latency-monitor-threshold 50");
    wait_out(Duration::from_millis(1100));
    let held = s.hold();
    wait_out(Duration::from_millis(60));
    held.release();
    eventually("a slow commit is noted", || events(&s).contains("writethrough-commit"));
    let latest = s.run("LATENCY LATEST");
    let is_commit = |event: &&Reply| event.array()[0] == bulk("writethrough-commit");
    let commit = latest.array().iter().find(is_commit).unwrap();
    assert!(commit.array()[3].int() >= 60, "in milliseconds: {commit:?}");
    assert!(!events(&s).contains("writethrough-sync"));

    let lock = s.database.hold("select pg_advisory_xact_lock(77)");
    let mut script = s.conn();
    let text = "return redis.call('HSET', KEYS[1], 'v', 'y')";
    script.send(&["EVAL", text, "1", "__{hold:1}"]);
    eventually("the server waits", || {
        s.one(
            "select count(*) from pg_stat_activity where wait_event = 'PgSleep'
               and datname = current_database()",
        ) == "1"
    });
    wait_out(Duration::from_millis(60));
    lock.rollback();
    assert_eq!(script.receive(), int(0));
    eventually("a wait of the server is noted", || events(&s).contains("writethrough-sync"));
}

/// The lines of the log that hold this text.
fn lines(s: &Stack, text: &str) -> Vec<String> {
    s.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

#[test]
fn the_log_tells_of_refusals_once_in_a_while_and_without_values() {
    let s = Stack::users().start();
    s.add_user(1);
    for n in 0..20 {
        s.run(&format!("HSET __{{users:{}}} username u1 email private-{n} pwhash h", n + 2))
            .assert_error("WTERR 23505 ");
    }
    s.run("HSET __{users:1} dob private-date").assert_error("WTERR 22007 ");
    let told = lines(&s, "PostgreSQL refused a write");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("SQLSTATE 23505 constraint=users_username_key: "), "{told:?}");
    assert!(told[1].contains("SQLSTATE 22007: "), "{told:?}");
    assert!(!s.log().contains("private-"), "{}", s.log());
}

#[test]
fn the_log_tells_what_to_do_about_a_missing_right() {
    let s = Stack::users().start();
    s.execute(
        "create function no() returns trigger language plpgsql as
               $$ begin raise exception using errcode = '42501'; end $$",
    );
    s.execute("create trigger no before insert on users for each row execute function no()");
    s.run("HSET __{users:1} username a email a@x pwhash h").assert_error("WTERR 42501 ");
    let told = lines(&s, "SQLSTATE 42501");
    assert!(told[0].contains("GRANT"), "{told:?}");
}

/// Its SQLSTATE is of the class of missing rights.
#[test]
fn a_column_that_the_database_fills_itself_is_no_missing_right() {
    let sql = "create table g (id int primary key, a int, b int generated always as (a * 2) stored,
               c int generated always as identity)";
    let s = Stack::new().sql(sql).mapping(serde_json::json!({ "table": "g" })).start();
    s.run("HSET __{g:1} a 1 b 7").assert_error("WTERR 428C9 ");
    s.run("HSET __{g:1} a 1 c 7").assert_error("WTERR 428C9 ");
    let told = lines(&s, "SQLSTATE 428C9");
    assert!(told[0].contains("that the database fills itself"), "{told:?}");
    assert!(!told[0].contains("GRANT") && !told[0].contains("right"), "{told:?}");
    // A trigger's statement that can't be read, on a server that has said nothing of the class yet.
    let s = Stack::users().start();
    s.execute(
        "create function no() returns trigger language plpgsql as
               $$ begin execute 'selec 1'; return new; end $$;
         create trigger no before insert on users for each row execute function no()",
    );
    s.run("HSET __{users:1} username a email a@x pwhash h").assert_error("WTERR 42601 ");
    let told = lines(&s, "SQLSTATE 42601");
    assert!(told[0].contains("trigger") && !told[0].contains("right"), "{told:?}");
}

#[test]
fn the_log_tells_what_late_writes_waited_for() {
    let s = users();
    // Long enough for a worker to see what is in the way.
    s.set("timeout-ms", 3000);
    let lock = s.lock_user(1);
    let mut late: Vec<Conn> = (0..3).map(|_| s.send("HSET __{users:1} first x")).collect();
    for writer in &mut late {
        writer.receive().assert_error("WTTIMEOUT ");
    }
    s.set("sync-timeout-ms", 3000);
    let script = "return redis.call('HSET', KEYS[1], 'first', 'x')";
    s.cmd(&["EVAL", script, "1", "__{users:1}"]).assert_error("WTTIMEOUT ");
    lock.rollback();
    eventually("the late writes are settled", || s.info_int("in_flight") == 0);
    let told = lines(&s, "answered with WTTIMEOUT");
    assert_eq!(told.len(), 1, "once in a while: {told:?}");
    assert!(told[0].contains("a write of \"users\" was answered with WTTIMEOUT"), "{told:?}");
    assert!(told[0].contains("timeout-ms = 3000: another session has its row locked"), "{told:?}");

    let lock = s.database.hold("select pg_advisory_xact_lock(77)");
    s.run("HSET __{hold:1} v x").assert_error("WTTIMEOUT ");
    lock.rollback();
    let told = lines(&s, "a write of \"hold\" was answered with WTTIMEOUT");
    assert!(told.len() == 1 && told[0].contains(": its statement was slow; "), "{told:?}");

    s.set("timeout-ms", 600_000);
    let held = s.hold();
    s.run_late("HSET __{users:1} first x").assert_error("WTTIMEOUT ");
    held.release();
    let told = lines(&s, "a write of \"users\" was answered with WTTIMEOUT");
    assert!(told.len() == 2 && told[1].contains(": it waited for a worker, "), "{told:?}");
}

#[test]
fn the_log_tells_of_too_many_writes() {
    let s = users();
    s.set("queue-max", 1);
    let held = s.hold();
    let mut writer = s.send("HSET __{users:1} first x");
    eventually("it waits", || s.info_int("waiting") == 1);
    for _ in 0..3 {
        s.run("HSET __{users:1} last y").assert_error("WTBUSY ");
    }
    held.release();
    writer.receive();
    let told = lines(&s, "answered with WTBUSY");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("queue-max = 1: "), "{told:?}");
}

#[test]
fn the_log_names_a_table_that_has_changed() {
    let s = Stack::users().start();
    s.add_user(1);
    s.execute("create index on users (last_name)");
    s.execute("alter table users add check (length(username) < 200)");
    s.wait_for_log("table public.users has changed; the catalog was read again");
}

#[test]
fn status_and_info_show_the_same() {
    let s = Stack::users().start();
    s.add_user(1);
    let status = s.run("WT.STATUS");
    let names: Vec<String> = status.array().chunks(2).map(|pair| pair[0].text()).collect();
    assert_eq!(names[..2], ["version", "database"]);
    let info = s.info();
    assert_eq!(names.len(), info.len());
    names.iter().for_each(|name| assert!(info.contains_key(&format!("writethrough_{name}"))));
    let text = s.cmd(&["INFO", "writethrough_latency"]).text();
    assert!(text.contains("# writethrough_latency"), "{text}");
    assert!(!text.contains("writethrough_pool_size"), "one section is enough: {text}");
}
