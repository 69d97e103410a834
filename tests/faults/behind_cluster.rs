//! Write-behind in a Redis Cluster: slots move with their queues, again and again, while masters are killed, PostgreSQL
//! too, and connections end at any moment, those of the move as well.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use crate::behind::{builder, under_load, verdict, CLIENTS, COUNTERS, SQL};
use crate::scene::fault;
use crate::support::*;

const MASTERS: usize = 3;
const ROUNDS: usize = 16;

pub fn scene(seed: usize) {
    let server = Arc::new(PostgresServer::start_new());
    let database = Database::create(server.clone());
    database.execute(SQL);
    let node = || {
        let builder = builder().postgres(&server).option("url", database.url());
        let builder = builder.redis_conf("appendonly yes").redis_conf("appendfsync always");
        // MIGRATE waits for writes on their way, and these may wait for the one who locks the tables.
        cluster_node(builder.option("sync_timeout_ms", 400)).start()
    };
    let nodes: Vec<Stack> = (0..MASTERS).map(|_| node()).collect();
    make_cluster(&nodes, MASTERS);
    let ports: Vec<u16> = nodes.iter().map(|node| node.redis.port()).collect();
    let told = under_load(&ports, seed, |more| {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (nodes, database, is_over) = (&nodes, &database, &is_over);
            let mover = scope.spawn(|| Mover::new(nodes, seed).run(database, is_over));
            {
                let _end = AtEnd(is_over);
                let mut random = Lcg::new(seed as u64);
                for _ in 0..ROUNDS {
                    more();
                    assert_nothing_lost(nodes);
                    break_something(nodes, &server, database, &mut random);
                    fault();
                }
                more();
            }
            let moved = mover.join().expect("the slots move");
            assert!(moved >= ROUNDS, "only {moved} slots have moved");
        });
    });
    for node in &nodes {
        eventually("the cluster is up", || {
            node.run("CLUSTER INFO").text().contains("cluster_state:ok")
        });
    }
    verdict(&nodes.iter().collect::<Vec<_>>(), &database, true, &told);
    assert_nothing_lost(&nodes);
}

/// Whatever has failed: the slots move no more.
struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn break_something(
    nodes: &[Stack],
    server: &PostgresServer,
    database: &Database,
    random: &mut Lcg,
) {
    let node = &nodes[random.below(nodes.len())];
    match random.below(6) {
        0 | 1 => node.restart_redis("KILL"),
        2 => node.restart_redis("TERM"),
        3 => {
            server.stop_immediate();
            server.start_again();
        }
        4 => {
            database.terminate_sessions();
        }
        _ => {
            // Those of clients, and that by which another node gives keys to this one.
            node.run("CLIENT KILL TYPE normal SKIPME yes");
            node.connect_again();
        }
    }
}

/// Neither server has lost what it had: streams that are gone are with another node.
#[track_caller]
fn assert_nothing_lost(nodes: &[Stack]) {
    for node in nodes {
        for field in ["behind_lost", "behind_database_older"] {
            assert_eq!(node.info_int(field), 0, "{field}");
        }
    }
}

/// Moves the slots of the rows.
struct Mover<'a> {
    nodes: &'a [Stack],
    /// The nodes' names.
    ids: Vec<String>,
    /// Each slot, and the node that has it.
    slots: Vec<(i64, usize)>,
    random: Lcg,
    moved: usize,
}

impl<'a> Mover<'a> {
    fn new(nodes: &'a [Stack], seed: usize) -> Mover<'a> {
        let keys = (0..COUNTERS).map(|id| format!("counters:{id}"));
        let keys = keys.chain((0..CLIENTS).map(|id| format!("logged:{id}")));
        // As they were shared out.
        let place = |slot: i64| (slot, slot as usize * MASTERS / 16384);
        let slot = |key: String| until(&nodes[0], &format!("CLUSTER KEYSLOT {key}"), is_any).int();
        let slots = keys.map(|key| place(slot(key))).collect();
        let ids = nodes.iter().map(|node| until(node, "CLUSTER MYID", is_any).text()).collect();
        Mover { nodes, ids, slots, random: Lcg::new(seed as u64 + 1000), moved: 0 }
    }

    /// Until it is told to end. Returns how many have moved.
    fn run(mut self, database: &Database, is_over: &AtomicBool) -> usize {
        while !is_over.load(Ordering::Relaxed) {
            let at = self.random.below(self.slots.len());
            let moves = 1 + self.random.below(4);
            let free_from = self.random.below(moves + 1);
            // Batches that are on their way wait meanwhile, and so both nodes have the same entries.
            let mut locked = (free_from > 0).then(|| lock(database));
            for n in 0..moves {
                if n == free_from {
                    locked = None;
                }
                let to = (self.slots[at].1 + 1 + self.random.below(MASTERS - 1)) % MASTERS;
                self.move_slot(at, to);
            }
            drop(locked);
        }
        self.moved
    }

    fn move_slot(&mut self, at: usize, to: usize) {
        let (slot, from) = self.slots[at];
        let (nodes, ids) = (self.nodes, &self.ids);
        until(&nodes[to], &format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids[from]), is_ok);
        until(&nodes[from], &format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids[to]), is_ok);
        // The stream and the hash together, or one after the other.
        let at_once = [1, 10][self.random.below(2)];
        eventually("all keys of the slot move", || {
            move_keys(&nodes[from], &nodes[to], slot, at_once)
        });
        // Its claim has to be newer than that of the node which had the slot, whose messages may still be on their way.
        eventually("the node has heard of the other one's epoch", || {
            epoch(&nodes[to], "cluster_current_epoch") >= epoch(&nodes[from], "cluster_my_epoch")
        });
        let others = (0..MASTERS).filter(|node| *node != to && *node != from);
        for node in [to, from].into_iter().chain(others) {
            until(&nodes[node], &format!("CLUSTER SETSLOT {slot} NODE {}", ids[to]), is_ok);
        }
        self.slots[at].1 = to;
        self.moved += 1;
    }
}

fn is_any(_: &Reply) -> bool {
    true
}

fn is_ok(reply: &Reply) -> bool {
    *reply == ok()
}

fn epoch(node: &Stack, name: &str) -> u64 {
    let told = until(node, "CLUSTER INFO", is_any).text();
    let mut found = told.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.next().and_then(|number| number.trim_end().parse().ok()).expect(name)
}

/// Another program's transaction that keeps the tables from being written until it is dropped; where PostgreSQL is
/// away, or goes away, there is none. Some batch waits for it by now.
fn lock(database: &Database) -> Option<postgres::Client> {
    let mut client = database.server().try_connect(database.name()).ok()?;
    client.batch_execute("begin; lock table counters, logged in exclusive mode").ok()?;
    let waiters = "select count(*) from pg_locks where not granted";
    eventually("a batch waits", || {
        client.query_one(waiters, &[]).map_or(true, |row| row.get::<_, i64>(0) > 0)
    });
    Some(client)
}

/// Moves keys; whether all have moved.
fn move_keys(from: &Stack, to: &Stack, slot: i64, at_once: usize) -> bool {
    let line = format!("CLUSTER GETKEYSINSLOT {slot} {at_once}");
    let Some(Reply::Array(keys)) = say(from, &line) else { return false };
    if !keys.is_empty() {
        // What was cut off is done again, and so replaces what the other one has got.
        let keys = Reply::Array(keys).text();
        let port = to.redis.port();
        say(from, &format!("MIGRATE 127.0.0.1 {port} @ 0 60000 REPLACE KEYS {keys}"));
        return false;
    }
    true
}

/// Says it until the node is there and answers so.
fn until(node: &Stack, line: &str, is_right: impl Fn(&Reply) -> bool) -> Reply {
    eventually_some(line, || say(node, line).filter(|reply| !reply.is_error() && is_right(reply)))
}

/// A node's answer; `None` where it is away. `@` is an empty word.
fn say(node: &Stack, line: &str) -> Option<Reply> {
    let words: Vec<&str> =
        line.split(' ').map(|word| if word == "@" { "" } else { word }).collect();
    let mut conn = Conn::open(node.redis.port()).ok()?;
    conn.try_send(&words).ok()?;
    conn.receive_within(DEADLINE).ok()?
}
