//! Rows are read that aren't cached, while PostgreSQL crashes, connections break, Redis is killed and
//! comes back, and a replica takes over: each answer was the row's at some moment of its question.

use std::sync::Arc;

use serde_json::json;

use crate::others::Others;
use crate::scene::{fault, TALLY};
use crate::support::*;

const CLIENTS: usize = 8;

/// What our clients read is another program's only where an answer can't be late: these rows are nobody else's.
const OTHERS: &str = "create table others (id int primary key, f text)";

fn builder() -> Builder {
    let builder = Stack::new().sql(READ_SQL).sql(OTHERS).option("follow", true);
    let builder = builder.mapping(json!({ "table": "others", "preload": true }));
    let builder = builder.redis_conf("appendonly yes");
    let builder = builder.redis_conf("appendfsync always");
    let builder = builder.option("timeout_ms", 1000).option("sync_timeout_ms", 400);
    let of = |table| json!({ "table": table, "read_through": true, "negative_ttl_ms": 50 });
    let builder = READ_TABLES.iter().fold(builder, |b, table| b.mapping(of(table)));
    builder.option("connect_timeout_ms", 400)
}

fn start(ports: &[u16], s: &Stack, ask_role: bool, seed: usize) -> ReadLoad {
    // What Redis 7.0 can't tell the filter of: docs/consistency.md.
    let multi = s.redis_version() >= (7, 2);
    let ways = Ways { psql: false, multi, ask_role };
    let load = ReadLoad::start(ports, &s.database.url(), ways, CLIENTS, seed as u64, usize::MAX);
    load.wait_for_answers(5);
    load
}

/// PostgreSQL is killed and comes back, sessions are ended, connections are cut.
pub fn database(seed: usize) {
    let server = Arc::new(PostgresServer::start_new());
    let database = Database::create(server.clone());
    database.execute(READ_SQL);
    database.execute(OTHERS);
    let proxy = Proxy::to(server.port());
    let url = format!("postgres://postgres@127.0.0.1:{}/{}", proxy.port(), database.name());
    let s = builder().option("url", url).try_start_on(database).expect("it loads");
    let (load, mut random) = (start(&[s.redis.port()], &s, false, seed), Lcg::new(seed as u64));
    let others = Others::start(s.database.url(), &[], seed);
    for round in 0..24 {
        match round % 8 {
            0 => {
                server.stop_immediate();
                server.start_again();
            }
            1 => drop(s.database.terminate_sessions()),
            2 => proxy.reset_all(),
            3 => {
                proxy.refuse(true);
                proxy.reset_all();
                s.run("FLUSHALL");
                proxy.refuse(false);
            }
            _ => {
                let moments = [Cut::BeforeStatement, Cut::AfterStatement, Cut::BeforeAnswer];
                let tripped = proxy.tripped();
                proxy.arm(moments[random.below(3)]);
                eventually("a connection breaks", || proxy.tripped() > tripped);
            }
        }
        fault();
        load.wait_for_answers(4);
    }
    verdict(load, others, &s);
}

/// redis-server is killed and comes back from its append-only file.
pub fn restarts(seed: usize) {
    let s = builder().start();
    let load = start(&[s.redis.port()], &s, false, seed);
    let others = Others::start(s.database.url(), &[], seed);
    for round in 0..4 {
        s.restart_redis(if round == 1 { "TERM" } else { "KILL" });
        fault();
        load.wait_for_answers(20);
    }
    verdict(load, others, &s);
}

/// A replica takes over from its master, and back.
pub fn failover(seed: usize) {
    let first = builder().start();
    let second = builder().option("url", first.database.url()).start();
    let (mut master, mut replica) = (&first, &second);
    follow(replica, master);
    let load = start(&[first.redis.port(), second.redis.port()], &first, true, seed);
    let others = Others::start(first.database.url(), &[], seed);
    for _ in 0..4 {
        (master, replica) = (replica, master);
        let failover = format!("FAILOVER TO 127.0.0.1 {} TIMEOUT 60000", master.redis.port());
        eventually("the failover begins", || replica.run(&failover) == ok());
        eventually("the replica has taken over", || {
            master.info_of("replication")["role"] == "master" && is_linked(replica)
        });
        fault();
        load.wait_for_answers(20);
    }
    verdict(load, others, master);
}

fn is_linked(replica: &Stack) -> bool {
    replica.info_of("replication").get("master_link_status").is_some_and(|up| up == "up")
}

fn follow(replica: &Stack, master: &Stack) {
    assert_eq!(replica.run(&format!("REPLICAOF 127.0.0.1 {}", master.redis.port())), ok());
    eventually("the link is up", || is_linked(replica));
}

/// No answer was wrong, nothing is left, and each cached hash is its row.
#[track_caller]
fn verdict(load: ReadLoad, others: Others, s: &Stack) {
    let acts = load.finish(true);
    others.finish(&[s]);
    eventually("nothing is in flight or staged, and all is in sync", || {
        s.info_int("in_flight") == 0
            && s.info_int("in_sync") == 1
            && s.run("KEYS __*") == Reply::Array(vec![])
    });
    let mut wrong = check(&acts);
    for (at, (table, _, condition)) in ROWS.iter().enumerate() {
        let key = key_of(at);
        let row = s.row(&format!("select * from {table} where {condition}"));
        let is_cached = s.cmd(&["OBJECT", "ENCODING", &key]) != Reply::Nil;
        let cached = s.hgetall(&key);
        if cached != row {
            wrong.push(format!("{key} ({is_cached}) is {cached:?}, the row is {row:?}"));
        }
    }
    let rows = s.database.rows("select * from others");
    for key in s.keys().iter().filter(|key| key.starts_with("others:")) {
        let row = rows.iter().find(|row| key[7..] == row["id"]).cloned().unwrap_or_default();
        let cached = s.hgetall(key);
        if cached != row {
            wrong.push(format!("{key} is {cached:?}, the row is {row:?}"));
        }
    }
    TALLY.differing.fetch_add(wrong.len(), std::sync::atomic::Ordering::Relaxed);
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(6)].join("\n"));
}
