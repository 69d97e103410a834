//! A replica is promoted, and the old master follows it.

use crate::load::Load;
use crate::others::Others;
use crate::scene::{builder, fault, verdict, wait_for_sync, SHARED, SQL};
use crate::support::*;

const ROUNDS: usize = 6;

pub fn scene(seed: usize) {
    let first = builder().sql(SQL).start();
    let second = builder().option("url", first.database.url()).start();
    let (mut master, mut replica) = (&first, &second);
    follow(replica, master);
    let load = Load::start(&[first.redis.port(), second.redis.port()], false, seed);
    let others = Others::start(first.database.url(), SHARED, seed);
    for round in 0..ROUNDS {
        load.wait_for_writes(4);
        (master, replica) = (replica, master);
        if round % 2 == 0 {
            // By hand: for a moment there are two masters.
            assert_eq!(master.run("REPLICAOF NO ONE"), ok());
            follow(replica, master);
        } else {
            let port = master.redis.port();
            // Its master takes a new replica for online a little after the replica itself does.
            let failover = format!("FAILOVER TO 127.0.0.1 {port} TIMEOUT 60000");
            eventually("the failover begins", || replica.run(&failover) == ok());
            eventually("the replica has taken over", || role(master) == "master");
            eventually("the link is up", || linked(replica));
        }
        fault();
    }
    load.wait_for_writes(4);
    let ops = load.finish();
    eventually("nothing is in flight", || master.info_int("in_flight") == 0);
    wait_for_sync(master);
    others.finish(&[master]);
    verdict(&first.database, &[master], &ops);
    eventually("the replica holds what its master holds", || {
        replica.run("DEBUG DIGEST") == master.run("DEBUG DIGEST")
    });
    assert_eq!(replica.run("KEYS __*"), Reply::Array(vec![]));
}

fn role(server: &Stack) -> String {
    server.info_of("replication").remove("role").expect("a role")
}

fn linked(replica: &Stack) -> bool {
    replica.info_of("replication").get("master_link_status").is_some_and(|up| up == "up")
}

fn follow(replica: &Stack, master: &Stack) {
    assert_eq!(replica.run(&format!("REPLICAOF 127.0.0.1 {}", master.redis.port())), ok());
    eventually("the link is up", || linked(replica));
}
