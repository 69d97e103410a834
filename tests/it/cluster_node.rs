//! A node of a cluster. Valkey 9 looks a command up, and its slot, before the filter renames it.

use crate::support::*;

/// One node that has all slots.
fn node() -> Stack {
    let s = Stack::users().redis_conf("cluster-enabled yes").start();
    assert_eq!(s.run("CLUSTER ADDSLOTSRANGE 0 16383"), ok());
    eventually("the cluster is up", || s.run("CLUSTER INFO").text().contains("cluster_state:ok"));
    s
}

#[test]
fn a_node_writes_through_alone_in_a_pipeline_and_in_a_transaction() {
    let s = node();
    s.add_user(1);
    let mut conn = s.conn();
    for id in 2..12 {
        conn.send_line(&format!("HSET __{{users:{id}}} username u{id} email u{id}@x pwhash h"));
        conn.send_line(&format!("HGET users:{id} username"));
    }
    for id in 2..12 {
        assert_eq!((conn.receive(), conn.receive()), (int(3), bulk(format!("u{id}"))));
    }
    let lines = ["HSET __{users:1} last Smith", "HGET users:1 last", "HSET __{users:1} dob soon"];
    let replies = transaction(&mut conn, &lines);
    assert_eq!(replies[..2], [int(1), bulk("Smith")]);
    replies[2].assert_error("WTERR 22007 ");
    assert_eq!(s.run("DEL __{users:2}"), int(1));
    assert_eq!(s.count("users"), 10);
    s.assert_user_cached(1);
}

#[test]
fn another_nodes_slot_is_refused_before_anything_is_written() {
    let s = node();
    s.add_user(1);
    let slot = s.run("CLUSTER KEYSLOT users:1").int();
    assert_eq!(s.run("CLUSTER KEYSLOT __{users:1}"), int(slot));
    assert_eq!(s.run("CONFIG SET cluster-require-full-coverage no"), ok());
    assert_eq!(s.run(&format!("CLUSTER DELSLOTS {slot}")), ok());
    let write = "HSET __{users:1} username other";
    s.run(write).assert_error("CLUSTERDOWN ");
    let mut conn = s.conn();
    assert_eq!(conn.run("MULTI"), ok());
    conn.run(write).assert_error("CLUSTERDOWN ");
    conn.run("EXEC").assert_error("EXECABORT ");
    assert_eq!(s.run("HSET __{users:2} username u2 email u2@x pwhash h"), int(3));
    assert_eq!(s.one("select username from users where id = 1"), "u1");
    s.run("DEL __{users:2} __{users:3}").assert_error("CROSSSLOT ");
    assert_eq!(s.count("users"), 2);
}
