//! After a restart or a promotion, the cache is held against the table before it is `in_sync`.

use crate::support::*;

impl Stack {
    pub fn is_in_sync(&self) -> bool {
        self.info_int("in_sync") == 1
    }

    pub fn wait_until_in_sync(&self) {
        eventually("it is in sync", || self.is_in_sync());
    }

    /// Every cached user is its row, and nothing is staged.
    #[track_caller]
    pub fn assert_users_are_rows(&self) {
        for key in self.keys().iter().filter(|key| key.starts_with("users:")) {
            let id = key["users:".len()..].parse().expect("a number");
            assert_eq!(self.hgetall(key), user_row(self, id), "{key}");
        }
        assert_eq!(self.run("KEYS __*"), Reply::Array(vec![]));
    }

    /// A statement of another writethrough that has not ended: a sync waits for it.
    pub fn orphan(&self) -> OpenTransaction {
        self.database.hold("set application_name = 'writethrough'; select pg_current_xact_id()")
    }
}

#[test]
fn an_empty_data_set_is_in_sync_at_once() {
    let s = Stack::users().start();
    s.wait_until_in_sync();
    assert_eq!(s.info()["writethrough_sync"], "done");
    s.add_user(1);
    assert!(s.is_in_sync());
}

of_the_staged_key! {
#[test]
fn an_old_snapshot_is_brought_up_to_the_table() {
    let s = Stack::users().start();
    (1..=700).for_each(|id| s.add_user(id));
    assert_eq!(s.run("HSET plain a b"), int(1));
    assert_eq!(s.run("HSET users:x a b"), int(1));
    assert_eq!(s.run("SAVE"), ok());
    assert_eq!(s.run("HSET __{users:1} username new first x"), int(1));
    assert_eq!(s.run("DEL __{users:2}"), int(1));
    assert_eq!(s.run("DEL users:3"), int(1));
    s.execute("update users set username = 'other' where id = 4");
    s.execute("delete from users where id = 5");
    let orphan = s.orphan();
    s.restart_redis("KILL");
    assert_eq!(s.run("HGET users:1 username"), bulk("u1"));
    assert!(!s.is_in_sync());
    assert_eq!(s.info()["writethrough_sync"], "waiting for earlier statements to end");
    // Clients are served meanwhile, and a write brings its whole row.
    assert_eq!(s.run("HSET __{users:1} last y"), int(1));
    s.assert_user_cached(1);
    assert_eq!(s.run("HGET users:4 username"), bulk("u4"));
    assert!(!s.is_in_sync());
    orphan.commit();
    s.wait_until_in_sync();
    s.assert_users_are_rows();
    assert_eq!(s.run("HGET users:4 username"), bulk("other"));
    assert_eq!(s.run("EXISTS users:2 users:5 users:x"), int(0), "they stand for no row");
    assert_eq!(s.run("HGET plain a"), bulk("b"));
    s.wait_for_log("in sync: 7");
}
}

#[test]
fn the_progress_can_be_seen() {
    let s = Stack::users().patient().start();
    (1..=10).for_each(|id| s.add_user(id));
    assert_eq!(s.run("SAVE"), ok());
    let lock = s.database.hold("lock table users in access exclusive mode");
    s.restart_redis("KILL");
    eventually("it waits for the rows", || {
        let sync = &s.info()["writethrough_sync"];
        sync == "0 checked, 0 repaired, 10 left"
    });
    assert!(!s.is_in_sync());
    let status = s.run("WT.STATUS");
    let mut pairs = status.array().chunks(2);
    assert_eq!(pairs.find(|pair| pair[0].text() == "in_sync").expect("in_sync")[1], int(0));
    lock.rollback();
    s.wait_until_in_sync();
    assert_eq!(s.info()["writethrough_sync"], "done");
}

#[test]
fn a_database_that_is_away_is_waited_for() {
    let server = std::sync::Arc::new(PostgresServer::start_new());
    let s = Stack::users().postgres(&server).start();
    s.add_user(1);
    assert_eq!(s.run("SAVE"), ok());
    assert_eq!(s.run("HSET __{users:1} username new"), int(0));
    server.stop_fast();
    s.restart_redis("KILL");
    assert!(!s.is_in_sync());
    eventually("it waits", || s.info()["writethrough_sync"] == "waiting for the database");
    server.start_again();
    s.wait_until_in_sync();
    assert_eq!(s.run("HGET users:1 username"), bulk("new"));
}

#[test]
fn a_promoted_replica_is_brought_up_to_the_table() {
    let master = Stack::users().start();
    let replica = Stack::users().without_module().start();
    let args = ["JSON", &master.document.to_string()].map(str::to_string);
    assert_eq!(replica.load_with(&args.each_ref().map(String::as_str)), ok());
    (1..=5).for_each(|id| master.add_user(id));
    assert_eq!(replica.run(&format!("REPLICAOF 127.0.0.1 {}", master.redis.port())), ok());
    eventually("it has it all", || replica.run("DEBUG DIGEST") == master.run("DEBUG DIGEST"));
    assert!(!replica.is_in_sync(), "a replica can't know");
    assert_eq!(replica.info()["writethrough_sync"], "following another server");
    // What the master commits and the replica does not get.
    assert_eq!(master.run("CLIENT KILL TYPE replica").int(), 1);
    assert_eq!(replica.run("REPLICAOF 127.0.0.1 1"), ok());
    assert_eq!(master.run("HSET __{users:2} username new"), int(0));
    master.redis.stop("KILL");
    assert_eq!(replica.run("REPLICAOF NO ONE"), ok());
    replica.wait_until_in_sync();
    assert_eq!(replica.run("HGET users:2 username"), bulk("new"));
    let (own, users) = replica.keys().into_iter().partition::<Vec<_>, _>(|key| key.contains('{'));
    assert_eq!((own, users.len()), (vec!["{writethrough}:sessions".to_string()], 5));
}

#[test]
fn another_data_set_is_held_against_the_table() {
    let s = Stack::users().start();
    s.add_user(1);
    // On a connection of its own: Valkey 8.1 leaves it in the other database (valkey-io/valkey#4024).
    assert_eq!(s.conn().run("COPY users:1 users:1 DB 1"), int(1));
    assert_eq!(s.run("HSET __{users:1} username new"), int(0));
    assert_eq!(s.run("SWAPDB 0 1"), ok());
    eventually("the cache is the row", || s.run("HGET users:1 username") == bulk("new"));
    s.wait_until_in_sync();
    assert_eq!(s.run("DEBUG RELOAD"), ok());
    s.wait_until_in_sync();
    s.assert_user_cached(1);
}

/// What a demoted master has not sent is not written over what the new one writes.
#[test]
fn a_demoted_master_writes_nothing_that_waited() {
    let s = Stack::users().one_worker().start();
    let other = Stack::users().without_module().start();
    s.add_user(1);
    let held = s.database.hold("select pg_advisory_xact_lock(77)");
    let _holder = s.send("HSET __{hold:1} v x");
    s.wait_until_held_up();
    let mut writer = s.send("HSET __{users:1} username old");
    s.wait_for_blocked(2);
    assert_eq!(s.run(&format!("REPLICAOF 127.0.0.1 {}", other.redis.port())), ok());
    assert!(writer.receive().is_error(), "the server itself says so");
    s.execute("update users set username = 'new' where id = 1");
    held.rollback();
    eventually("nothing is in flight", || s.info_int("in_flight") == 0);
    assert_eq!(s.one("select username from users"), "new");
    eventually("it follows", || s.info_of("replication")["master_link_status"] == "up");
    assert_eq!(s.run("REPLICAOF NO ONE"), ok());
    s.wait_until_in_sync();
    assert_eq!(s.run("HSET __{users:1} first x"), int(1));
    s.assert_user_cached(1);
}

#[test]
fn a_shutdown_waits_for_no_lock() {
    let s = Stack::users().patient().redis_conf("appendonly yes").start();
    (1..=3).for_each(|id| s.add_user(id));
    let lock = s.lock_user(1);
    let _blocked = s.send("HSET __{users:1} username never");
    s.database.wait_for_lock_waiters(1);
    let _client = s.send("SHUTDOWN");
    s.redis.wait_until_dead();
    lock.rollback();
    s.restart_redis("KILL");
    s.wait_until_in_sync();
    s.assert_users_are_rows();
}

fn node(builder: Builder) -> Builder {
    let port = format!("cluster-port {}", free_port());
    builder.redis_conf("cluster-enabled yes").redis_conf(&port)
}

fn own_all_slots(s: &Stack) {
    assert_eq!(s.run("CLUSTER ADDSLOTSRANGE 0 16383"), ok());
    eventually("the slots are served", || s.run("SET sign 1") == ok());
}

/// The write goes on where it began; the node that gets its keys does not do it again.
#[test]
fn a_slot_that_moves_with_a_write_in_flight_loses_nothing() {
    let sql = "create table items (id int primary key, stock int)";
    let items = || Stack::new().mapping(serde_json::json!({ "table": "items" }));
    // MIGRATE waits for the write no longer.
    let a = node(items().sql(sql)).option("sync_timeout_ms", 1000).start();
    let b = node(Stack::new()).without_module().start();
    // It reads the row when the other node's write is over for certain: after twice this time.
    let args = ["JSON", &a.document.to_string(), "TIMEOUT-MS", "5000"];
    assert_eq!(b.load_with(&args), ok());
    own_all_slots(&a);
    let bus = |s: &Stack| s.run("CONFIG GET cluster-port").array()[1].text();
    let (port, b_bus) = (b.redis.port(), bus(&b));
    assert_eq!(a.run(&format!("CLUSTER MEET 127.0.0.1 {port} {b_bus}")), ok());
    eventually("they know each other", || {
        let is_ready = |s: &Stack| {
            let info = s.run("CLUSTER INFO").text();
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2")
        };
        is_ready(&a) && is_ready(&b)
    });
    let (a_id, b_id) = (a.run("CLUSTER MYID").text(), b.run("CLUSTER MYID").text());
    let slot = a.run("CLUSTER KEYSLOT items:1").int();
    assert_eq!(a.run("HSET __{items:1} stock 10"), int(1));

    // The other node's read of the row waits, too: before it has the slot it would give up the hash.
    let lock = a.database.hold("lock table items in access exclusive mode");
    let mut writer = a.send("HINCRBY __{items:1} stock 5");
    a.database.wait_for_lock_waiters(1);
    assert_eq!(b.run(&format!("CLUSTER SETSLOT {slot} IMPORTING {a_id}")), ok());
    assert_eq!(a.run(&format!("CLUSTER SETSLOT {slot} MIGRATING {b_id}")), ok());
    let migrate = format!("MIGRATE 127.0.0.1 {port} \"\" 0 60000 KEYS __{{items:1}} items:1");
    let words: Vec<&str> = migrate.split(' ').map(|w| if w == "\"\"" { "" } else { w }).collect();
    assert_eq!(a.cmd(&words), ok());
    for s in [&b, &a] {
        assert_eq!(s.run(&format!("CLUSTER SETSLOT {slot} NODE {b_id}")), ok());
    }
    lock.rollback();
    assert_eq!(writer.receive(), int(15));
    assert_eq!(a.one("select stock from items"), "15");
    b.wait_until_in_sync();
    b.set("timeout-ms", 600_000);
    assert_eq!(b.hgetall("items:1"), hash(&[("id", "1"), ("stock", "15")]));
    assert_eq!(b.run("EXISTS __{items:1}"), int(0));
    assert_eq!(b.run("HINCRBY __{items:1} stock 1"), int(16));
}

#[test]
fn a_node_of_a_cluster_syncs_what_it_holds() {
    for journal in [false, true] {
        let s = node(Stack::users().option("journal", journal)).start();
        own_all_slots(&s);
        (1..=10).for_each(|id| s.add_user(id));
        assert_eq!(s.run("SAVE"), ok());
        assert_eq!(s.run("HSET __{users:1} username new"), int(0));
        s.restart_redis("KILL");
        eventually("the slots are served", || s.run("SET sign 1") == ok());
        s.wait_until_in_sync();
        s.assert_users_are_rows();
        assert_eq!(s.run("HGET users:1 username"), bulk("new"));
        assert_eq!(s.run("EXISTS {writethrough}:applied"), int(0), "no slot is its own for ever");
    }
}
