//! A database that answers garbage, or never: writes are refused in time, the server lives on, and
//! when the database is itself again, so is the module.

use std::time::{Duration, Instant};

use crate::support::*;

/// The module behind a proxy; it loads whatever the proxy says.
fn stack(mood: Mood) -> (Stack, Proxy) {
    let database = Database::create(PostgresServer::shared());
    database.execute(USERS_SQL);
    let proxy = Proxy::to(database.server().port());
    proxy.set(mood);
    let url = format!("postgres://postgres@127.0.0.1:{}/{}", proxy.port(), database.name());
    let stack = Stack::users()
        .option("url", url)
        .option("timeout_ms", 400)
        .option("sync_timeout_ms", 1000)
        .option("connect_timeout_ms", 400)
        .option("pool_size", 2);
    let s = stack.try_start_on(database).unwrap_or_else(|log| panic!("{mood:?}: {log}"));
    (s, proxy)
}

/// What a client sees meanwhile: an answer, and the server serves others at once.
#[track_caller]
fn disturbed(s: &Stack, what: &str) {
    let mut conn = s.conn();
    for line in [
        "HSET __{users:1} username a email a@x pwhash h",
        "HSET __{users:2} first x",
        "DEL __{users:3}",
        "WT.REFRESH users:1",
    ] {
        conn.send_line(line);
        assert_eq!(s.run("PING"), Reply::Status("PONG".into()), "{what}");
        let reply = conn.receive();
        assert!(reply.is_int() || reply.error().starts_with('W'), "{what}: {line}: {reply:?}");
    }
    let replies = transaction(&mut conn, &["HSET __{users:4} first x"]);
    assert!(replies[0].is_int() || replies[0].error().starts_with('W'), "{what}: {replies:?}");
    assert!(s.redis.is_alive(), "{what}");
}

#[track_caller]
fn recovered(s: &Stack, proxy: &Proxy, what: &str) {
    proxy.set(Mood::Honest);
    let start = Instant::now();
    let line = "HSET __{users:1} username a email a@x pwhash h";
    while !s.run(line).is_int() {
        assert!(start.elapsed() < DEADLINE, "{what}: {:?}\n{}", s.run(line), s.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    s.assert_user_cached(1);
    eventually("nothing is staged", || s.run("KEYS __*") == Reply::Array(vec![]));
}

/// From nothing at all to the midst of a statement's answer.
const STAGES: [usize; 9] = [0, 1, 5, 14, 100, 330, 460, 700, 1500];

#[track_caller]
fn at_each_stage(evil: impl Fn(usize) -> Evil) {
    let (s, proxy) = stack(Mood::Honest);
    for stage in STAGES {
        let mood = Mood::Turns(stage, evil(stage));
        proxy.set(mood);
        proxy.cut();
        disturbed(&s, &format!("{mood:?}"));
        recovered(&s, &proxy, &format!("{mood:?}"));
    }
    let used: i64 = s.info_of("memory")["used_memory_peak"].parse().expect("a number");
    assert!(used < 256 << 20, "{used} bytes were used");
}

#[test]
fn noise() {
    at_each_stage(|stage| Evil::Noise(stage as u64));
    at_each_stage(|stage| Evil::Noise(1000 + stage as u64));
}

#[test]
fn a_connection_that_ends() {
    at_each_stage(|_| Evil::Cut);
}

/// Connections that say nothing are given up, so that they don't stand in the way of new ones.
#[test]
fn silence() {
    at_each_stage(|_| Evil::Silence);
}

/// A message without an end takes no memory to speak of, as long as nobody has logged in.
#[test]
fn a_flood_before_the_start() {
    let (s, proxy) = stack(Mood::Honest);
    for stage in [0, 1, 14, 100] {
        let mood = Mood::Turns(stage, Evil::Flood);
        proxy.set(mood);
        proxy.cut();
        disturbed(&s, &format!("{mood:?}"));
        recovered(&s, &proxy, &format!("{mood:?}"));
    }
    let used: i64 = s.info_of("memory")["used_memory_peak"].parse().expect("a number");
    assert!(used < 128 << 20, "{used} bytes were used");
}

#[test]
fn messages_that_lie() {
    for message in [
        b"R\xff\xff\xff\xff".as_slice(),
        b"R\0\0\0\x03",
        b"R\0\0\0\x08\0\0\0\x0a",
        b"R\0\0\0\x08\0\0\0\x63",
        b"E\0\0\0\x04",
        b"E\0\0\0\x06Sx",
        b"D\0\0\0\x0a\xff\xff\xff\xff\xff\xff",
        b"D\0\0\0\x06\0\x01",
        b"T\0\0\0\x06\xff\xff",
        b"t\0\0\0\x06\xff\xff",
        b"Z\0\0\0\x05I",
        b"Z\0\0\0\x04",
        b"S\0\0\0\x04",
        b"H\0\0\0\x07\0\0\0",
        b"S",
        b"N",
        b"\x15\x03\x03\0\x02\x02\x28",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ] {
        let (s, proxy) = stack(Mood::Turns(0, Evil::Says(message)));
        let what = format!("{}", message.escape_ascii());
        disturbed(&s, &what);
        recovered(&s, &proxy, &what);
        for stage in [1, 460] {
            proxy.set(Mood::Turns(stage, Evil::Says(message)));
            proxy.cut();
            disturbed(&s, &format!("{what} at {stage}"));
            recovered(&s, &proxy, &format!("{what} at {stage}"));
        }
    }
}

#[test]
fn at_load() {
    for stage in [0, 1, 14, 330, 460, 1500] {
        for evil in [Evil::Noise(7), Evil::Cut, Evil::Silence] {
            let mood = Mood::Turns(stage, evil);
            let (s, proxy) = stack(mood);
            disturbed(&s, &format!("{mood:?}"));
            recovered(&s, &proxy, &format!("{mood:?}"));
        }
    }
}
