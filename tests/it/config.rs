//! The options as configuration of the server: CONFIG GET, SET and REWRITE, redis.conf, MODULE
//! LOADEX; and what a change does while writes are on their way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use crate::support::*;

/// `CONFIG GET writethrough.*`, without the prefix.
fn options(s: &Stack) -> Hash {
    let reply = s.conn().run("CONFIG GET writethrough.*");
    let pairs = reply.array().chunks(2).map(|pair| (pair[0].text(), pair[1].text()));
    let name = |name: String| name.strip_prefix("writethrough.").expect("the prefix").to_string();
    pairs.map(|(option, value)| (name(option), value)).collect()
}

#[track_caller]
fn set(s: &Stack, option: &str, value: impl std::fmt::Display) {
    s.set(option, &value);
    assert_eq!(options(s)[option], value.to_string());
}

/// Sends a write of `hold:<id>`, which keeps a worker busy as long as somebody holds the lock.
fn occupy(s: &Stack, id: i64) -> Conn {
    s.send(&format!("HSET __{{hold:{id}}} v x"))
}

/// How many statements of `occupy` are running.
fn occupied(s: &Stack) -> i64 {
    let sql = "select count(*) from pg_stat_activity
               where datname = current_database() and wait_event = 'PgSleep'";
    s.one(sql).parse().expect("a count")
}

#[test]
fn all_options_are_shown_with_their_defaults() {
    let s = Stack::users().defaults().start();
    let shown = options(&s);
    let url = format!("postgres://postgres@{}", s.database.url().split_once('@').unwrap().1);
    let expected = [
        ("pool-size", "4"),
        ("batch-max", "512"),
        ("queue-max", "100000"),
        ("timeout-ms", "3000"),
        ("sync-timeout-ms", "1000"),
        ("connect-timeout-ms", "1000"),
        ("db", "0"),
        ("prefix", "__"),
        ("url", &url),
        ("url-file", ""),
        ("journal", "false"),
        ("atomic-multi", "false"),
        ("transaction-max", "1000"),
        ("once-ttl", "86400"),
        ("follow", "false"),
        ("follow-interval-ms", "100"),
        ("slow-write-ms", "1000"),
    ];
    for (option, value) in expected {
        assert_eq!(shown[option], value, "{option}");
    }
}

#[test]
fn the_url_is_shown_without_its_password() {
    let url = format!("postgres://{PASSWORD_USER}:{PASSWORD}@@DB@");
    let s = Stack::users().option("url", url).start();
    let shown = &options(&s)["url"];
    assert!(shown.starts_with(&format!("postgres://{PASSWORD_USER}@127.0.0.1:")), "{shown}");
}

#[test]
fn redis_conf_wins_over_an_argument_and_an_argument_over_the_document() {
    let s = Stack::users()
        .option("pool_size", 2)
        .option("batch_max", 3)
        .option("queue_max", 4)
        .arg("BATCH-MAX")
        .arg("5")
        .arg("QUEUE-MAX")
        .arg("6")
        .redis_conf("writethrough.queue-max 7")
        .start();
    let shown = options(&s);
    let of = |option: &str| shown[option].as_str();
    assert_eq!((of("pool-size"), of("batch-max"), of("queue-max")), ("2", "5", "7"));
    assert_eq!(s.info_int("pool_size"), 2);
}

#[test]
fn redis_conf_may_set_what_cant_change_later() {
    let s = Stack::users()
        .redis_conf("writethrough.prefix \"wt.\"")
        .redis_conf("writethrough.db 1")
        .start();
    let mut conn = s.conn();
    assert_eq!(conn.run("SELECT 1"), ok());
    assert_eq!(conn.run("HSET wt.{users:1} username a email a@x pwhash h"), int(3));
    assert_eq!(s.count("users"), 1);
    let shown = options(&s);
    assert_eq!((&*shown["prefix"], &*shown["db"]), ("wt.", "1"));
}

#[test]
fn what_is_wrong_is_refused_and_changes_nothing() {
    let s = Stack::users().start();
    let before = options(&s);
    for (line, why) in [
        ("pool-size 0", "argument must be between 1 and 1000 inclusive"),
        ("pool-size 1001", "argument must be between 1 and 1000 inclusive"),
        ("pool-size many", "argument couldn't be parsed into an integer"),
        ("batch-max 10001", "argument must be between 1 and 10000 inclusive"),
        ("queue-max 0", "argument must be between 1 and 100000000 inclusive"),
        ("timeout-ms -1", "argument must be between 1 and 3600000 inclusive"),
        ("sync-timeout-ms 0", "argument must be between 1 and 3600000 inclusive"),
        ("connect-timeout-ms 3600001", "argument must be between 1 and 3600000 inclusive"),
        ("db 1", "can't set immutable config"),
        ("prefix wt.", "can't set immutable config"),
        ("url postgres://x/y", "can't set immutable config"),
        ("url-file /x", "can't set immutable config"),
        ("journal true", "can't set immutable config"),
        ("atomic-multi true", "can't set immutable config"),
        ("transaction-max 0", "argument must be between 1 and 10000 inclusive"),
        ("once-ttl 0", "argument must be between 1 and 31536000 inclusive"),
        ("slow-write-ms 3600001", "argument must be between 0 and 3600000 inclusive"),
        // All of a CONFIG SET, or nothing.
        ("batch-max 3 writethrough.pool-size 0", "argument must be between 1 and 1000"),
    ] {
        let reply = s.run(&format!("CONFIG SET writethrough.{line}"));
        let text = reply.assert_error("ERR CONFIG SET failed");
        assert!(text.contains("writethrough.") && text.contains(why), "{line}: {text}");
        assert_eq!(options(&s), before, "{line}");
    }
    let text = s.run("CONFIG SET writethrough.pool-sizes 3").error().to_string();
    assert!(text.contains("Unknown option"), "{text}");
}

#[test]
fn a_wrong_value_in_redis_conf_keeps_the_server_from_starting() {
    for (line, why) in [
        ("pool-size 0", "argument must be between 1 and 1000 inclusive"),
        ("prefix \"\"", "must not be empty"),
        ("url postgres://u:s3cret@h/d", "give it in the document, or as the module's argument URL"),
    ] {
        let started = Stack::users().redis_conf(&format!("writethrough.{line}")).try_start();
        let log = started.err().expect("it doesn't start");
        assert!(log.contains(why) && !log.contains("s3cret"), "{line}: {log}");
    }
}

/// MODULE LOADEX with these words before `ARGS CONFIG <document>`.
fn load_ex(s: &Stack, words: &[&str]) -> Reply {
    let (module, document) = (module_path(), s.config.display().to_string());
    let head = ["MODULE", "LOADEX", &module];
    let all: Vec<&str> = head
        .into_iter()
        .chain(words.iter().copied())
        .chain(["ARGS", "CONFIG", &document])
        .collect();
    s.cmd(&all)
}

#[test]
fn module_loadex_sets_options() {
    let s = Stack::users().without_module().start();
    let wrong = load_ex(&s, &["CONFIG", "writethrough.pool-size", "0"]);
    wrong.assert_error("ERR Error loading the extension");
    assert!(s.log().contains("argument must be between 1 and 1000 inclusive"), "{}", s.log());
    let words =
        ["CONFIG", "writethrough.pool-size", "8", "CONFIG", "writethrough.timeout-ms", "70000"];
    assert_eq!(load_ex(&s, &words), ok());
    let shown = options(&s);
    assert_eq!((&*shown["pool-size"], &*shown["timeout-ms"]), ("8", "70000"));
    s.add_user(1);
}

/// The server takes such a load back. Redis 8 ends itself where a module doesn't let it.
#[test]
fn module_loadex_with_an_option_that_nobody_knows() {
    let s = Stack::users().without_module().start();
    for _ in 0..3 {
        load_ex(&s, &["CONFIG", "writethrough.pool-sizes", "8"])
            .assert_error("ERR Error loading the extension");
        s.wait_for_log("not loaded: the server took the load back");
        assert!(!s.run("MODULE LIST").text().contains("writethrough"));
        assert_eq!(s.run("HSET __{users:1} a b"), int(1), "a plain hash");
        assert_eq!(s.run("DEL __{users:1}"), int(1));
    }
    assert_eq!(load_ex(&s, &["CONFIG", "writethrough.pool-size", "8"]), ok());
    s.add_user(1);
    set(&s, "pool-size", 4);
    s.run("MODULE UNLOAD writethrough").assert_error("ERR ");
    s.add_user(2);
}

#[test]
fn pool_size_is_the_number_of_connections_from_now_on() {
    let s = Stack::users().one_worker().option("pool_size", 4).start();
    let lock = s.database.hold("select pg_advisory_xact_lock(77)");
    let mut writers = Vec::new();
    for n in 1..=4 {
        writers.push(occupy(&s, n));
        eventually("another worker begins", || occupied(&s) == n);
    }
    // What has begun goes on; who is too many leaves afterwards.
    set(&s, "pool-size", 2);
    eventually("all four are at work", || occupied(&s) == 4);
    lock.rollback();
    writers.iter_mut().for_each(|writer| assert_eq!(writer.receive(), int(1)));

    let lock = s.database.hold("select pg_advisory_xact_lock(77)");
    let mut writers = Vec::new();
    for n in 1..=4 {
        writers.push(occupy(&s, n));
        eventually("two workers and no more", || occupied(&s) == n.min(2));
    }
    eventually("the others wait", || s.info_int("waiting") == 2);
    // The two connections of now and none of before, besides this test's own.
    eventually("the rest is closed", || {
        s.one(
            "select count(*) from pg_stat_activity where datname = current_database()
               and application_name = 'writethrough'",
        ) == "2"
    });
    assert_eq!((s.info_int("pool_size"), s.info_int("pool_connections")), (2, 2));
    set(&s, "pool-size", 4);
    // New workers take what waits together.
    eventually("a third one begins", || occupied(&s) == 3);
    assert_eq!(s.info_int("waiting"), 0);
    lock.rollback();
    writers.iter_mut().for_each(|writer| assert_eq!(writer.receive(), int(0)));
}

#[test]
fn batch_max_bounds_the_next_batches() {
    let s = Stack::users().one_worker().start();
    (1..=10).for_each(|id| s.add_user(id));
    let lines: Vec<String> = (1..=10).map(|id| format!("HSET __{{users:{id}}} first x")).collect();
    let batches = |s: &Stack| {
        let before = s.info_int("batches");
        s.together(&lines);
        s.info_int("batches") - before
    };
    assert_eq!(batches(&s), 2, "one for the row that holds the worker up, one for the rest");
    set(&s, "batch-max", 1);
    assert_eq!(batches(&s), 11);
    set(&s, "batch-max", 5);
    assert_eq!(batches(&s), 3);
}

#[test]
fn queue_max_bounds_what_waits() {
    let s = Stack::users().one_worker().start();
    (1..=3).for_each(|id| s.add_user(id));
    let held = s.hold();
    let mut first = s.send("HSET __{users:1} first x");
    eventually("it waits", || s.info_int("waiting") == 1);
    set(&s, "queue-max", 1);
    let text = s.run("HSET __{users:2} first x").assert_error("WTBUSY ").to_string();
    assert!(text.contains("queue_max"), "{text}");
    set(&s, "queue-max", 2);
    let mut second = s.send("HSET __{users:2} first x");
    eventually("it waits", || s.info_int("waiting") == 2);
    held.release();
    assert_eq!((first.receive(), second.receive()), (int(1), int(1)));
}

#[test]
fn timeout_ms_counts_for_the_writes_that_come() {
    let s = Stack::users().one_worker().start();
    s.add_user(1);
    s.add_user(2);
    let lock = s.lock_user(1);
    let mut patient = s.send("HSET __{users:1} first x");
    s.wait_for_blocked(1);
    set(&s, "timeout-ms", 50);
    let other = s.lock_user(2);
    s.run("HSET __{users:2} first x").assert_error("WTTIMEOUT ");
    assert!(!patient.has_reply(), "it may wait for as long as when it came");
    set(&s, "timeout-ms", 600_000);
    other.rollback();
    lock.rollback();
    assert_eq!(patient.receive(), int(1));
    assert_eq!(s.run("HSET __{users:2} last x"), int(1));
}

/// The database's own limit, which a connection that is there already must follow.
#[test]
fn timeout_ms_is_the_limit_of_a_statement_too() {
    let s = Stack::users().one_worker().start();
    assert_eq!(s.run("HSET __{hold:1} v x"), int(1));
    // Long enough for the worker to send it.
    set(&s, "timeout-ms", 3000);
    let lock = s.database.hold("select pg_advisory_xact_lock(77)");
    occupy(&s, 1).receive().assert_error("WTTIMEOUT ");
    eventually("the database has canceled it", || occupied(&s) == 0);
    eventually("it is counted", || s.info_int("canceled") == 1);
    set(&s, "timeout-ms", 600_000);
    let mut writer = occupy(&s, 1);
    eventually("it is held up", || occupied(&s) == 1);
    lock.rollback();
    assert_eq!(writer.receive(), int(0));
}

#[test]
fn sync_timeout_ms_counts_from_now_on() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let lock = s.lock_user(1);
    set(&s, "sync-timeout-ms", 50);
    let script = "return redis.call('HSET', KEYS[1], 'first', 'x')";
    s.cmd(&["EVAL", script, "1", "__{users:1}"]).assert_error("WTTIMEOUT ");
    lock.rollback();
}

#[test]
fn connect_timeout_ms_counts_from_now_on() {
    let server = Arc::new(PostgresServer::start_new());
    let s =
        Stack::users().patient().postgres(&server).option("connect_timeout_ms", 600_000).start();
    s.add_user(1);
    set(&s, "connect-timeout-ms", 150);
    let _frozen = server.freeze();
    // A new pool, which has no connection yet.
    set(&s, "pool-size", 3);
    let text = s.run("HSET __{users:1} first x").assert_error("WTDOWN ").to_string();
    assert!(text.contains("connect_timeout_ms = 150"), "{text}");
}

#[test]
fn what_is_rewritten_is_there_after_a_restart() {
    let s = Stack::users().option("batch_max", 3).start();
    set(&s, "pool-size", 7);
    set(&s, "timeout-ms", 123_456);
    set(&s, "queue-max", 99);
    set(&s, "sync-timeout-ms", 32_100);
    set(&s, "connect-timeout-ms", 43_200);
    let before = options(&s);
    assert_eq!(s.run("CONFIG REWRITE"), ok());
    s.redis.stop("TERM");
    s.redis.start_again();
    assert_eq!(options(&s), before);
    assert_eq!((&*before["batch-max"], &*before["pool-size"]), ("3", "7"));
    assert_eq!(s.conn().run("HSET __{users:1} username a email a@x pwhash h"), int(3));
}

/// Eight clients write on while everything that can change changes.
#[test]
fn no_write_is_lost_while_options_change() {
    let sql = "create table counters (id int primary key, n int not null)";
    let s = Stack::new().sql(sql).mapping(serde_json::json!({ "table": "counters" })).start();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|id| {
                let (s, done) = (&s, &done);
                scope.spawn(move || {
                    let mut conn = s.conn();
                    let mut n = 0;
                    while !done.load(Ordering::Relaxed) {
                        n += 1;
                        let reply = conn.run(&format!("HINCRBY __{{counters:{id}}} n 1"));
                        assert_eq!(reply, int(n));
                    }
                    n
                })
            })
            .collect();
        struct Ending<'a>(&'a AtomicBool);
        impl Drop for Ending<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let ending = Ending(&done);
        for round in 0..30 {
            set(&s, "pool-size", [1, 8, 2, 5][round % 4]);
            set(&s, "batch-max", [1, 100][round % 2]);
            set(&s, "timeout-ms", [600_000, 500_000][round % 2]);
            let before = s.info_int("writes_acknowledged");
            eventually("writes go on", || s.info_int("writes_acknowledged") > before + 20);
        }
        drop(ending);
        for (id, writer) in writers.into_iter().enumerate() {
            let n = writer.join().expect("a writer");
            assert_eq!(s.one(&format!("select n from counters where id = {id}")), n.to_string());
        }
    });
    assert_eq!((s.info_int("in_flight"), s.info_int("writes_refused")), (0, 0));
}
