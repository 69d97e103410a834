//! Redis Cluster: write-behind where a replica takes over, and where redis-cli moves many slots.

use std::collections::HashMap;
use std::process::Command;

use crate::behind::{items, ITEMS};
use crate::cluster_behind::streams;
use crate::support::*;

const ROWS: i64 = 60;

/// Masters and, where there are more nodes, their replicas, on one database with some rows.
fn nodes(count: usize, masters: usize) -> (Database, Vec<Stack>) {
    let database = Database::create(PostgresServer::shared());
    database.execute(ITEMS);
    database
        .execute(&format!("insert into items select i, 'a', 0 from generate_series(1, {ROWS}) i"));
    let start = || {
        let builder = items().option("url", database.url()).redis_conf("appendonly yes");
        cluster_node(builder).start()
    };
    let nodes: Vec<Stack> = (0..count).map(|_| start()).collect();
    make_cluster(&nodes, masters);
    (database, nodes)
}

/// Adds one to each row, as a client of the cluster does. Returns what was answered.
fn add_to_all(nodes: &[Stack]) -> HashMap<i64, Reply> {
    let one = |id| {
        let line = format!("HINCRBY __{{items:{id}}} n 1");
        eventually_some(&line, || {
            let alive = nodes.iter().filter(|node| node.redis.is_alive());
            alive.map(|node| node.run(&line)).find(Reply::is_int)
        })
    };
    (1..=ROWS).map(|id| (id, one(id))).collect()
}

fn flush_all(nodes: &[Stack]) {
    for node in nodes.iter().filter(|node| node.redis.is_alive()) {
        if node.info_of("replication")["role"] == "master" {
            eventually("it is written", || node.run("WT.FLUSH items") == ok());
        }
    }
}

#[track_caller]
fn assert_each_is(database: &Database, nodes: &[Stack], n: i64) {
    flush_all(nodes);
    let sql = "select string_agg(distinct n::text, ' ') from items";
    assert_eq!(database.one(sql), n.to_string());
    for node in nodes.iter().filter(|node| node.redis.is_alive()) {
        assert_eq!(node.info_int("behind_lost"), 0);
        assert_eq!(node.info_int("behind_found_older"), 0);
    }
}

fn is_master(node: &Stack) -> bool {
    node.info_of("replication")["role"] == "master"
}

#[test]
fn a_replica_takes_over_what_waits() {
    let (database, nodes) = nodes(6, 3);
    add_to_all(&nodes);
    flush_all(&nodes);
    let lock = database.hold("lock table items in exclusive mode");
    let answers = add_to_all(&nodes);
    assert!(answers.values().all(|answer| *answer == int(2)), "{answers:?}");
    // One is told to, and the master of the other is killed.
    eventually("it is told to take over", || nodes[3].run("CLUSTER FAILOVER") == ok());
    eventually("it takes over", || is_master(&nodes[3]) && !is_master(&nodes[0]));
    let offset = |node: &Stack, name: &str| node.info_of("replication")[name].clone();
    eventually("its replica has all", || {
        offset(&nodes[1], "master_repl_offset") == offset(&nodes[4], "master_repl_offset")
    });
    nodes[1].redis.stop("KILL");
    eventually("the other takes over", || is_master(&nodes[4]));
    for node in &nodes[2..5] {
        eventually("the cluster is up", || {
            node.run("CLUSTER INFO").text().contains("cluster_state:ok")
        });
    }
    let answers = add_to_all(&nodes);
    assert!(answers.values().all(|answer| *answer == int(3)), "{answers:?}");
    lock.rollback();
    assert_each_is(&database, &nodes, 3);
}

#[test]
fn redis_cli_moves_slots_whose_entries_wait() {
    let (database, nodes) = nodes(2, 2);
    add_to_all(&nodes);
    flush_all(&nodes);
    let lock = database.hold("lock table items in exclusive mode");
    add_to_all(&nodes);
    let before = streams(&nodes[1], "behind").len();
    let ids = [&nodes[0], &nodes[1]].map(|node| node.run("CLUSTER MYID").text());
    let port = nodes[0].redis.port();
    let output = Command::new("redis-cli")
        .args(["--cluster", "reshard", &format!("127.0.0.1:{port}")])
        .args(["--cluster-from", &ids[0], "--cluster-to", &ids[1]])
        .args(["--cluster-slots", "2000", "--cluster-yes"])
        .output()
        .expect("redis-cli");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(streams(&nodes[1], "behind").len() > before, "{said}");
    let answers = add_to_all(&nodes);
    assert!(answers.values().all(|answer| *answer == int(3)), "{answers:?}");
    eventually("all are somewhere", || {
        nodes.iter().map(|node| node.info_int("behind_entries")).sum::<i64>() == 2 * ROWS
    });
    lock.rollback();
    assert_each_is(&database, &nodes, 3);
}
