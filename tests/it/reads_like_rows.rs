//! Random reads, writes, evictions, flushes, pauses and changes of the table, all at once: each answer
//! was the row's at some moment of its question.
//!
//! `SEEDS=50 cargo test --test it -- reads_like_rows` tries more, `SOAK=10` for so many minutes, and
//! `SEED=7` begins with one.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::replication::follow;
use crate::support::*;

const CLIENTS: usize = 8;
const STEPS: usize = 220;

fn one_run(seed: u64) {
    let builder = Stack::new().sql(READ_SQL).redis_conf("appendonly yes");
    let of = |table| json!({ "table": table, "read_through": true });
    let s = READ_TABLES.iter().fold(builder, |b, table| b.mapping(of(table))).start();
    let replica = Stack::new().without_module().start();
    follow(&replica, &s);
    // Redis 7.0 doesn't tell the filter who is in MULTI: docs/consistency.md.
    let multi = s.redis_version() >= (7, 2);
    let ways = Ways { psql: true, multi, ask_role: false };
    let mut random = Lcg::new(seed);
    let load = ReadLoad::start(&[s.redis.port()], &s.database.url(), ways, CLIENTS, seed, STEPS);
    let mut columns = 0;
    while load.is_on() {
        disturb(&s, &mut random, &mut columns);
    }
    let wrong = check(&load.finish(false));
    assert!(
        wrong.is_empty(),
        "seed {seed}: {} wrong:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(6)].join("\n")
    );
    assert_rows_are_cached(&s, &replica, seed);
}

fn disturb(s: &Stack, random: &mut Lcg, columns: &mut usize) {
    match random.below(12) {
        0 => assert_eq!(s.run("FLUSHDB"), ok()),
        1 => assert_eq!(s.run("FLUSHALL"), ok()),
        2 => {
            // What was swapped out is old when it comes back, so it is flushed.
            let mut other = s.conn();
            other.run("SELECT 1");
            for _ in 0..2 {
                assert_eq!(s.run("SWAPDB 0 1"), ok());
                assert_eq!(other.run("FLUSHDB"), ok());
            }
        }
        3..5 => {
            let ms = 1 + random.below(20);
            assert_eq!(s.run(&format!("CLIENT PAUSE {ms} WRITE")), ok());
        }
        5 => {
            let policy = ["noeviction", "allkeys-random", "volatile-lru", "allkeys-lfu"];
            s.run(&format!("CONFIG SET maxmemory-policy {}", random.pick(&policy)));
            s.run("CONFIG SET maxmemory 1");
            s.run("PING");
            s.run("CONFIG SET maxmemory 0");
        }
        6 if *columns < 4 => {
            *columns += 1;
            let table = random.pick(&READ_TABLES);
            s.execute(&format!("alter table {table} add column c{columns} text default 'd'"));
        }
        7 => assert_eq!(s.run("WT.RELOAD"), ok()),
        8 => drop(s.run("CLIENT KILL TYPE normal SKIPME yes")),
        _ => {
            s.run("PING");
        }
    }
    // A disturbance is one of many: the clients do something between two of them.
    std::thread::sleep(Duration::from_millis(random.below(8) as u64));
}

/// Each cached hash is its row, nothing is left, and whoever copies the data set has the same.
fn assert_rows_are_cached(s: &Stack, replica: &Stack, seed: u64) {
    // A change of a table is noticed within a second, or at once.
    assert_eq!(s.run("WT.RELOAD"), ok());
    eventually("nothing is in flight or staged", || {
        s.info_int("in_flight") == 0
            && s.info_int("in_sync") == 1
            && s.run("KEYS __*") == Reply::Array(vec![])
    });
    let assert_cached = |is_read: bool| {
        for (at, (table, _, condition)) in ROWS.iter().enumerate() {
            let key = key_of(at);
            let row = s.row(&format!("select * from {table} where {condition}"));
            if is_read || s.cmd(&["OBJECT", "ENCODING", &key]) != Reply::Nil {
                assert_eq!(s.hgetall(&key), row, "seed {seed}: {key}");
            }
        }
    };
    assert_cached(false);
    assert_cached(true);
    // The module's own key, which a flush takes: it is made again within a second.
    eventually("the sessions are named", || s.run("EXISTS {writethrough}:sessions") == int(1));
    eventually(&format!("seed {seed}: the replica has the same"), || {
        replica.run("DEBUG DIGEST") == s.run("DEBUG DIGEST")
    });
    let digest = s.run("DEBUG DIGEST");
    assert_eq!(s.run("DEBUG LOADAOF"), ok());
    assert_eq!(s.run("DEBUG DIGEST"), digest, "seed {seed}: the append-only file");
    assert_cached(false);
}

#[test]
fn each_answer_was_the_rows() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("SEED").unwrap_or(1);
    let seeds = number("SEEDS").unwrap_or(2);
    let until = Instant::now() + Duration::from_secs(60 * number("SOAK").unwrap_or(0));
    for seed in first.. {
        if seed >= first + seeds && Instant::now() >= until {
            break;
        }
        one_run(seed);
    }
}
