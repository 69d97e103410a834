//! Redis Cluster on loopback.

use super::builder::Builder;
use super::eventually::eventually;
use super::resp::ok;
use super::stack::Stack;

const SLOTS: usize = 16384;

/// What a node needs in its redis.conf.
pub fn cluster_node(builder: Builder) -> Builder {
    let builder = builder.redis_conf("cluster-enabled yes");
    // A node that is only slow, on a busy machine, is not to be taken for dead.
    let builder = builder.redis_conf("cluster-node-timeout 5000");
    builder.redis_conf("cluster-replica-validity-factor 0")
}

/// Makes one cluster of these nodes: the first are masters with even shares of the slots, each of
/// the others follows one of them.
pub fn make_cluster(nodes: &[Stack], masters: usize) {
    for (at, node) in nodes.iter().enumerate() {
        // Epochs that differ from the start: nobody has to sort them out first.
        assert_eq!(node.run(&format!("CLUSTER SET-CONFIG-EPOCH {}", at + 1)), ok());
        if at < masters {
            let (from, to) = (SLOTS * at / masters, SLOTS * (at + 1) / masters - 1);
            assert_eq!(node.run(&format!("CLUSTER ADDSLOTSRANGE {from} {to}")), ok());
        }
        assert_eq!(nodes[0].run(&format!("CLUSTER MEET 127.0.0.1 {}", node.redis.port())), ok());
    }
    let knows_all = |node: &Stack| info(node, "cluster_known_nodes") == nodes.len().to_string();
    eventually("the nodes know each other", || nodes.iter().all(knows_all));
    for (master, replica) in nodes.iter().zip(&nodes[masters..]) {
        let line = format!("CLUSTER REPLICATE {}", master.run("CLUSTER MYID").text());
        eventually("the replica follows", || replica.run(&line) == ok());
    }
    let follows = |replica: &Stack| replica.info_of("replication")["master_link_status"] == "up";
    // A master that doesn't know yet that a node is its replica passes over what that one asks for.
    let knows_replicas = |node: &Stack| {
        let replicas = node.run("CLUSTER NODES").text().matches("slave ").count();
        replicas == nodes.len() - masters
    };
    eventually("the cluster is up", || {
        nodes.iter().all(|node| info(node, "cluster_state") == "ok" && knows_replicas(node))
            && nodes[masters..].iter().all(follows)
    });
}

fn info(node: &Stack, name: &str) -> String {
    let text = node.run("CLUSTER INFO").text();
    let line = text.lines().find_map(|line| line.trim_end().strip_prefix(&format!("{name}:")));
    line.unwrap_or_default().to_string()
}
