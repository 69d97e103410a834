//! Redis Cluster, three masters and three replicas: failover, the death of a master, and slots
//! that move while their writes are in flight.

use crate::load::Load;
use crate::others::Others;
use crate::scene::{builder, fault, verdict, wait_for_sync, SHARED, SQL};
use crate::support::*;

pub fn scene(seed: usize) {
    let database = Database::create(PostgresServer::shared());
    database.execute(SQL);
    let nodes = start(&database);
    let ports: Vec<u16> = nodes.iter().map(|node| node.redis.port()).collect();
    let load = Load::start(&ports, false, seed);
    let others = Others::start(database.url(), SHARED, seed);
    let mut random = Lcg::new(seed as u64);
    load.wait_for_writes(4);
    for _ in 0..4 {
        move_slots(&nodes, &mut random, &load);
        load.wait_for_writes(2);
    }
    for _ in 0..2 {
        let (_, replica) = pair(&nodes, &mut random);
        take_over(replica);
        fault();
        load.wait_for_writes(2);
    }
    let (master, replica) = pair(&nodes, &mut random);
    master.redis.stop("KILL");
    fault();
    eventually("its replica takes over", || role(replica) == "master");
    load.wait_for_writes(2);
    master.restart_redis("KILL");
    eventually("it comes back as a replica", || role(master) == "slave" && linked(master));
    move_slots(&nodes, &mut random, &load);
    load.wait_for_writes(4);
    let ops = load.finish();
    let masters: Vec<&Stack> = nodes.iter().filter(|node| role(node) == "master").collect();
    assert_eq!(masters.len(), 3);
    for master in &masters {
        eventually("nothing is in flight", || master.info_int("in_flight") == 0);
        wait_for_sync(master);
    }
    others.finish(&masters);
    verdict(&database, &masters, &ops);
}

/// The replica becomes the master. The server gives it up when that takes it five seconds.
fn take_over(replica: &Stack) {
    let given_up = || replica.log().matches("Manual failover timed out").count();
    let mut tries = given_up();
    assert_eq!(replica.run("CLUSTER FAILOVER"), ok());
    eventually("it is a master", || {
        if given_up() > tries {
            tries = given_up();
            replica.run("CLUSTER FAILOVER");
        }
        role(replica) == "master"
    });
}

fn start(database: &Database) -> Vec<Stack> {
    let one = || cluster_node(builder().option("url", database.url()));
    let nodes: Vec<Stack> = (0..6).map(|_| one().start()).collect();
    make_cluster(&nodes, 3);
    nodes
}

fn role(node: &Stack) -> String {
    node.info_of("replication").remove("role").expect("a role")
}

fn linked(node: &Stack) -> bool {
    node.info_of("replication").get("master_link_status").is_some_and(|up| up == "up")
}

/// A random master, and its replica.
fn pair<'a>(nodes: &'a [Stack], random: &mut Lcg) -> (&'a Stack, &'a Stack) {
    eventually("each master has its replica", || {
        nodes.iter().filter(|node| role(node) == "slave" && linked(node)).count() == 3
    });
    let replicas: Vec<&Stack> = nodes.iter().filter(|node| role(node) == "slave").collect();
    let replica = replicas[random.below(replicas.len())];
    let port = replica.info_of("replication")["master_port"].clone();
    let master = nodes.iter().find(|node| node.redis.port().to_string() == port);
    (master.expect("its master"), replica)
}

/// Moves the slots of the hottest rows to another master, as `redis-cli --cluster reshard` does.
fn move_slots(nodes: &[Stack], random: &mut Lcg, load: &Load) {
    for table in ["items", "counters", "logged"] {
        let (id, name) = (random.below(3), table);
        let slot = nodes[0].run(&format!("CLUSTER KEYSLOT {name}:{id}")).int();
        let masters: Vec<&Stack> = nodes.iter().filter(|node| role(node) == "master").collect();
        let owns = |node: &&&Stack| node.run(&format!("CLUSTER COUNTKEYSINSLOT {slot}")).int() > 0;
        let source = *eventually_some("somebody owns the slot", || masters.iter().find(owns));
        let others: Vec<&Stack> =
            masters.iter().copied().filter(|m| m.redis.port() != source.redis.port()).collect();
        let target = others[random.below(others.len())];
        let (from, to) = (source.run("CLUSTER MYID").text(), target.run("CLUSTER MYID").text());
        assert_eq!(target.run(&format!("CLUSTER SETSLOT {slot} IMPORTING {from}")), ok());
        assert_eq!(source.run(&format!("CLUSTER SETSLOT {slot} MIGRATING {to}")), ok());
        load.wait_for_answers(1);
        eventually("the slot is empty", || {
            let keys = source.run(&format!("CLUSTER GETKEYSINSLOT {slot} 100"));
            let keys: Vec<String> = keys.array().iter().map(Reply::text).collect();
            let to = format!("MIGRATE 127.0.0.1 {} \"\" 0 60000 REPLACE KEYS", target.redis.port());
            let mut words: Vec<String> = to.split(' ').map(|word| word.replace('"', "")).collect();
            words.extend(keys.iter().cloned());
            if !keys.is_empty() {
                let reply = source.cmd(&words);
                assert!(!reply.is_error(), "{words:?}: {reply:?}");
            }
            keys.is_empty()
        });
        for node in [target, source].into_iter().chain(others) {
            assert_eq!(node.run(&format!("CLUSTER SETSLOT {slot} NODE {to}")), ok());
        }
        fault();
    }
}
