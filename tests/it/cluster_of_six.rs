//! examples/cluster: six nodes as docs/deployment.md makes them, three masters and a replica of each.

use std::collections::BTreeSet;
use std::process::Command;

use crate::deployment::settings;
use crate::support::*;

/// Six servers on one database, each with the example's settings, joined by redis-cli.
fn six() -> Vec<Stack> {
    let start = |builder: Builder| {
        let lines = settings("examples/cluster/redis.conf");
        let builder = lines.iter().fold(builder, |builder, line| builder.redis_conf(line));
        // A node that is only slow, on a busy machine, is not to be taken for too old to follow.
        builder.redis_conf("cluster-replica-validity-factor 0").start()
    };
    let first = start(Stack::users());
    let url = first.database.url();
    let others = (1..6).map(|_| start(Stack::users().option("url", url.as_str())));
    let nodes: Vec<Stack> = std::iter::once(first).chain(others).collect();
    let mut create = Command::new("redis-cli");
    create.args(["--cluster", "create"]);
    create.args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.redis.port())));
    create.args(["--cluster-replicas", "1", "--cluster-yes"]);
    let output = create.output().expect("redis-cli");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    eventually("the replicas follow", || {
        let is_linked = |node: &&Stack| {
            let info = node.info_of("replication");
            info.get("master_link_status").is_some_and(|status| status == "up")
        };
        nodes.iter().filter(is_linked).count() == 3
    });
    nodes
}

/// Sends a command where the nodes say that its key is.
fn run(nodes: &[Stack], line: &str) -> Reply {
    let node = |port: &str| nodes.iter().find(|node| node.redis.port().to_string() == port);
    let mut at = nodes.iter().find(|node| node.redis.is_alive()).expect("a node");
    loop {
        let reply = at.run(line);
        let Reply::Error(text) = &reply else { return reply };
        let Some(moved) = text.strip_prefix("MOVED ") else { return reply };
        let port = moved.rsplit(':').next().expect("split gives one at least");
        match node(port).filter(|node| node.redis.is_alive()) {
            Some(node) => at = node,
            None => return reply,
        }
    }
}

/// The same, as a client of a cluster does it: again, while a node is down or not yet known.
fn answered(nodes: &[Stack], line: &str) -> Reply {
    eventually_some(line, || Some(run(nodes, line)).filter(|reply| !reply.is_error()))
}

#[test]
fn a_cluster_of_six_loses_a_master() {
    let nodes = six();
    let masters = || {
        let is_master = |node: &&Stack| {
            node.redis.is_alive() && node.info_of("replication")["role"] == "master"
        };
        nodes.iter().filter(is_master).map(|node| node.redis.port()).collect::<BTreeSet<u16>>()
    };
    for id in 1..=30 {
        let line = format!("HSET __{{users:{id}}} username u{id} email e{id} pwhash h");
        assert_eq!(answered(&nodes, &line), int(3), "{id}");
    }
    let before = masters();
    assert_eq!(before.len(), 3);
    let holds_rows = |node: &&Stack| node.keys().iter().any(|key| key.starts_with("users:"));
    let spread: Vec<&Stack> =
        nodes.iter().filter(|node| before.contains(&node.redis.port())).collect();
    assert!(spread.iter().all(holds_rows));

    spread[0].redis.stop("KILL");
    eventually("a replica takes over", || {
        let now = masters();
        now.len() == 3 && !now.is_subset(&before)
    });
    for id in 1..=30 {
        answered(&nodes, &format!("HSET __{{users:{id}}} first again"));
        let read = format!("HMGET users:{id} username first");
        let expected = Reply::Array(vec![bulk(format!("u{id}")), bulk("again")]);
        assert_eq!(answered(&nodes, &read), expected);
    }
    assert_eq!(nodes[0].one("select count(*) from users where first_name = 'again'"), "30");
    let now = masters();
    for node in nodes.iter().filter(|node| now.contains(&node.redis.port())) {
        node.wait_until_in_sync();
    }
}
