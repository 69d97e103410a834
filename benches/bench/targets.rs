//! The ratios to reach, by the names of the contestants.

use crate::rounds::Summary;

pub struct Target {
    pub case: &'static str,
    pub of: &'static str,
    pub beside: &'static str,
    pub at_least: f64,
}

const fn target(
    case: &'static str,
    of: &'static str,
    beside: &'static str,
    at_least: f64,
) -> Target {
    Target { case, of, beside, at_least }
}

pub const TARGETS: [Target; 24] = [
    target("1 client beside pgbench -c 1", "write-through, 1 client", "pgbench -c 1", 0.67),
    target(
        "256 clients on 4 connections beside pgbench -c 4",
        "write-through, 256 clients",
        "pgbench -c 4",
        4.0,
    ),
    target("64 clients beside pgbench -c 64", "write-through, 64 clients", "pgbench -c 64", 1.8),
    target(
        "256 clients beside plain HSET on the same server",
        "write-through, 256 clients",
        "plain HSET, 256 clients",
        0.5,
    ),
    target(
        "64 clients beside the dual write from 64 connections",
        "write-through, 64 clients",
        "dual write, 64 clients",
        2.5,
    ),
    target(
        "64 clients, database 1 ms away, beside pgbench -c 4",
        "1 ms away: write-through, 64 clients",
        "1 ms away: pgbench -c 4",
        12.0,
    ),
    target(
        "one hot key beside spread keys, 64 clients",
        "one hot key",
        "write-through, 64 clients",
        1.0,
    ),
    target(
        "mixed column sets beside one set",
        "mixed column sets",
        "write-through, 64 clients",
        0.6,
    ),
    target(
        "64 clients by the plain key beside the staged one",
        "plain key: whole rows, 64",
        "staged key: whole rows, 64",
        1.0,
    ),
    target(
        "WT.BATCH of 1,000 rows, 1 client, beside 64 clients",
        "WT.BATCH of 1000, 1 client",
        "write-through, 64 clients",
        1.3,
    ),
    target(
        "WT.BATCH of 100 rows, 1 client, beside 64 clients",
        "WT.BATCH of 100, 1 client",
        "write-through, 64 clients",
        0.9,
    ),
    target(
        "transfers of 64 clients beside BEGIN … COMMIT on 64 connections",
        "WT.TRANSACTION, 64",
        "BEGIN … COMMIT, 64",
        1.5,
    ),
    target(
        "transfers of 1 client beside BEGIN … COMMIT on a connection",
        "WT.TRANSACTION, 1",
        "BEGIN … COMMIT, 1",
        0.8,
    ),
    target("WT.LOAD beside a pipeline of plain HSETs", "WT.LOAD", "pipeline of plain HSETs", 0.6),
    target(
        "rows of others that are followed beside WT.REFRESH",
        "rows of an UPDATE of 80000, followed",
        "WT.REFRESH, 1000 keys a call",
        0.5,
    ),
    target("1% bad rows beside none", "1% bad rows", "write-through, 64 clients", 0.6),
    target(
        "plain commands with the module beside without",
        "plain commands, with the module",
        "plain commands, without",
        0.97,
    ),
    target(
        "HGET of cached rows, 64 clients, read_through beside without",
        "hits, read_through, 64 clients",
        "hits, 64 clients",
        0.97,
    ),
    target(
        "HGET of cached rows, 1 client, read_through beside without",
        "hits, read_through, 1 clients",
        "hits, 1 clients",
        0.97,
    ),
    target(
        "64 clients, rows not cached, beside cache-aside",
        "read-through, 64 clients",
        "cache-aside, 64 clients",
        2.0,
    ),
    target(
        "1 client, rows not cached, beside cache-aside",
        "read-through, 1 clients",
        "cache-aside, 1 clients",
        0.8,
    ),
    target(
        "256 clients written behind beside plain HSET, everysec",
        "behind: whole rows, 256",
        "plain HSET, everysec, 256",
        0.5,
    ),
    target(
        "1 client written behind beside plain HSET, everysec",
        "behind: whole rows, 1",
        "plain HSET, everysec, 1",
        0.7,
    ),
    target(
        "entries of a backlog beside 256 clients writing through",
        "a backlog drains",
        "through, everysec, 256",
        1.0,
    ),
];

/// What is compared with another program, or with a server that does something else, depends on how fast the host's
/// processors, its disk and the switches between its processes are to each other. The others compare the module
/// with itself.
pub fn depends_on_the_host(beside: &str) -> bool {
    const OTHERS: [&str; 8] = [
        "pgbench",
        "dual write",
        "unnest",
        "cache-aside",
        "BEGIN",
        "plain HSET",
        "plain HINCRBY",
        "server-blocking",
    ];
    OTHERS.iter().any(|other| beside.contains(other))
}

/// Other ratios that are worth a line, without a target.
pub const ALSO: [(&str, &str, &str); 17] = [
    (
        "64 clients beside the server-blocking design",
        "write-through, 64 clients",
        "server-blocking, 64 clients",
    ),
    (
        "1 client beside the server-blocking design",
        "write-through, 1 client",
        "server-blocking, 1 client",
    ),
    ("1 client beside the dual write", "write-through, 1 client", "dual write, 1 client"),
    (
        "256 clients beside PostgreSQL's ceiling (unnest)",
        "write-through, 256 clients",
        "unnest of 256 rows, 4 connections",
    ),
    (
        "64 clients, database 1 ms away, beside unnest of 4 × 16 rows",
        "1 ms away: write-through, 64 clients",
        "1 ms away: unnest of 16 rows, 4 connections",
    ),
    (
        "64 clients, database 5 ms away, beside pgbench -c 4",
        "5 ms away: write-through, 64 clients",
        "5 ms away: pgbench -c 4",
    ),
    ("1 client over TLS beside none", "TLS, 1", "neither, 1"),
    ("64 clients over TLS beside none", "TLS, 64", "neither, 64"),
    ("256 clients over TLS beside none", "TLS, 256", "neither, 256"),
    ("1 client with the journal beside without", "journal, 1", "neither, 1"),
    ("64 clients with the journal beside without", "journal, 64", "neither, 64"),
    ("256 clients with the journal beside without", "journal, 256", "neither, 256"),
    ("new rows beside existing rows", "new rows", "write-through, 64 clients"),
    ("one column beside all columns", "one column", "write-through, 64 clients"),
    (
        "hot counters beside spread whole rows",
        "hot counters (HINCRBY)",
        "write-through, 64 clients",
    ),
    (
        "counters of 256 clients written behind beside plain HINCRBY",
        "behind: counters, 256",
        "plain HINCRBY, everysec, 256",
    ),
    (
        "counters of 1 client written behind beside plain HINCRBY",
        "behind: counters, 1",
        "plain HINCRBY, everysec, 1",
    ),
];

/// `of / beside`; none when one of them didn't run.
pub fn ratio(summaries: &[Summary], of: &str, beside: &str) -> Option<f64> {
    let rate = |name: &str| {
        let found = summaries.iter().find(|s| s.name == name);
        found.map(|s| s.rate).filter(|rate| *rate > 0.0)
    };
    Some(rate(of)? / rate(beside)?)
}
