//! What an administrator does to a server that is under load.

use crate::load::Load;
use crate::others::Others;
use crate::scene::{fault, patient_builder, verdict, SHARED, SQL};
use crate::support::*;

const ROUNDS: usize = 60;

const SIMPLE: &[&str] = &[
    "CLIENT KILL TYPE normal",
    "CLIENT PAUSE 60 WRITE",
    "CLIENT PAUSE 60 ALL",
    "DEBUG RELOAD",
    "BGSAVE",
    "BGREWRITEAOF",
    "FLUSHALL",
    "FLUSHALL ASYNC",
    "CONFIG SET appendfsync always",
    "CONFIG SET appendfsync everysec",
    "CONFIG SET hz 100",
    "CONFIG SET hz 10",
    "CONFIG SET maxclients 500",
    "CONFIG RESETSTAT",
    "SCRIPT FLUSH",
    "MEMORY PURGE",
    "WT.RELOAD",
    "WT.VERIFY items REPAIR",
];

pub fn scene(seed: usize) {
    let s = patient_builder().sql(SQL).redis_conf("appendonly yes").start();
    let load = Load::start(&[s.redis.port()], true, seed);
    let others = Others::start(s.database.url(), SHARED, seed);
    let mut random = Lcg::new(seed as u64);
    load.wait_for_writes(5);
    for round in 0..ROUNDS {
        match round % 4 {
            0 if random.below(2) == 0 => swap(&s, &load),
            0 => {
                // No memory: writes are refused before they begin, and cached rows are evicted.
                s.run("CONFIG SET maxmemory-policy allkeys-random");
                let limit = ["1", "1500000"][random.below(2)];
                s.run(&format!("CONFIG SET maxmemory {limit}"));
                load.wait_for_answers(2);
                s.run("CONFIG SET maxmemory 0");
            }
            _ => {
                let line = random.pick(SIMPLE);
                let reply = s.run(line);
                let busy = [
                    "ERR Background",
                    "ERR Another child",
                    "ERR Unknown subcommand",
                    "ERR unknown",
                ];
                let text = if reply.is_error() { reply.text() } else { String::new() };
                assert!(
                    text.is_empty() || busy.iter().any(|b| text.starts_with(b)),
                    "{line}: {text}"
                );
            }
        }
        fault();
        load.wait_for_writes(1);
    }
    let ops = load.finish();
    others.finish(&[&s]);
    verdict(&s.database, &[&s], &ops);
}

/// SWAPDB there and back. What was swapped out is old by then, so it is flushed.
fn swap(s: &Stack, load: &Load) {
    assert_eq!(s.run("SWAPDB 0 1"), ok());
    load.wait_for_writes(1);
    let mut other = s.conn();
    other.run("SELECT 1");
    assert_eq!(other.run("FLUSHDB"), ok());
    load.wait_for_writes(1);
    assert_eq!(s.run("SWAPDB 0 1"), ok());
    assert_eq!(other.run("FLUSHDB"), ok());
}
