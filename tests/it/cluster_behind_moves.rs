//! Redis Cluster: a slot moves with its rows' queue.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::behind::{items, ITEMS};
use crate::cluster::migrate;
use crate::cluster_behind::{stream_of, streams};
use crate::support::*;

/// Two masters on one database, with a row each that the first has.
struct Nodes {
    database: Database,
    from: Stack,
    to: Stack,
}

const ROW: usize = 1;

impl Nodes {
    fn start(with: impl Fn(Builder) -> Builder) -> Nodes {
        let database = Database::create(PostgresServer::shared());
        database.execute(ITEMS);
        database.execute(&format!("insert into items values ({ROW}, 'a', 0)"));
        let node = || cluster_node(with(items()).option("url", database.url())).start();
        let mut nodes = vec![node(), node()];
        make_cluster(&nodes, 2);
        if nodes[0].run(&format!("CLUSTER KEYSLOT items:{ROW}")).int() >= 16384 / 2 {
            nodes.reverse();
        }
        let to = nodes.pop().expect("two");
        Nodes { database, from: nodes.pop().expect("one"), to }
    }

    fn slot(&self) -> i64 {
        self.from.run(&format!("CLUSTER KEYSLOT items:{ROW}")).int()
    }

    /// Opens the slot for its way.
    fn open(&self) {
        let slot = self.slot();
        let ids = [&self.from, &self.to].map(|node| node.run("CLUSTER MYID").text());
        assert_eq!(self.to.run(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids[0])), ok());
        assert_eq!(self.from.run(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids[1])), ok());
    }

    /// Moves the keys that there are.
    fn move_keys(&self) {
        loop {
            let line = format!("CLUSTER GETKEYSINSLOT {} 10", self.slot());
            let keys: Vec<String> = self.from.run(&line).array().iter().map(Reply::text).collect();
            if keys.is_empty() {
                return;
            }
            self.move_these(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }

    #[track_caller]
    fn move_these(&self, keys: &[&str]) {
        let reply = self.from.cmd(&migrate(&self.to, keys));
        assert!(reply == ok() || reply == Reply::Status("NOKEY".into()), "{keys:?}: {reply:?}");
    }

    /// The slot has arrived.
    fn close(&self) {
        let (slot, id) = (self.slot(), self.to.run("CLUSTER MYID").text());
        for node in [&self.to, &self.from] {
            assert_eq!(node.run(&format!("CLUSTER SETSLOT {slot} NODE {id}")), ok());
        }
    }

    /// The next move goes back.
    fn turn(&mut self) {
        std::mem::swap(&mut self.from, &mut self.to);
    }

    fn stream(&self) -> String {
        stream_of(&self.from, "behind", ROW)
    }

    fn n(&self) -> String {
        self.database.one(&format!("select n from items where id = {ROW}"))
    }

    fn lock(&self) -> OpenTransaction {
        self.database.hold("lock table items in exclusive mode")
    }

    #[track_caller]
    fn assert_nothing_lost(&self) {
        for node in [&self.from, &self.to] {
            assert_eq!(node.info_int("behind_lost"), 0);
            assert_eq!(node.info_int("behind_found_older"), 0);
        }
    }
}

const ADD: &str = "HINCRBY __{items:1} n 1";
const ADD_PLAIN: &str = "HINCRBY items:1 n 1";

/// Sends a command as a client does that was answered ASK.
fn asking(conn: &mut Conn, line: &str) -> Reply {
    assert_eq!(conn.run("ASKING"), ok());
    conn.run(line)
}

/// A batch is on its way to PostgreSQL when the stream leaves, and the other node gets the same entries.
#[test]
fn entries_that_move_are_written_once() {
    let mut nodes = Nodes::start(|builder| builder);
    assert_eq!(nodes.from.run(ADD), int(1));
    assert_eq!(nodes.from.run("WT.FLUSH items"), ok());
    let lock = nodes.lock();
    for n in 2..=5 {
        assert_eq!(nodes.from.run(ADD), int(n));
    }
    nodes.database.wait_for_lock_waiters(1);
    nodes.open();
    nodes.move_keys();
    nodes.close();
    assert_eq!(nodes.to.run(ADD), int(6));
    eventually("the other node has them", || nodes.to.info_int("behind_entries") == 5);
    eventually("this one has none", || nodes.from.info_int("behind_entries") == 0);
    lock.rollback();
    assert_eq!(nodes.to.run("WT.FLUSH items"), ok());
    assert_eq!(nodes.from.run("WT.FLUSH items"), ok());
    assert_eq!(nodes.n(), "6");
    assert_eq!(nodes.to.run("HGET items:1 n"), bulk("6"));
    assert_eq!(streams(&nodes.from, "behind").len(), 0);
    nodes.assert_nothing_lost();
    // It comes back, and is this node's as before.
    nodes.turn();
    nodes.open();
    nodes.move_keys();
    nodes.close();
    assert_eq!(nodes.to.run(ADD), int(7));
    assert_eq!(nodes.to.run("WT.FLUSH items"), ok());
    assert_eq!(nodes.n(), "7");
    nodes.assert_nothing_lost();
}

/// Neither node makes a stream that the other's would meet.
#[test]
fn on_the_way_a_write_is_told_to_try_again() {
    for first in ["stream", "hash"] {
        let nodes = Nodes::start(|builder| builder.with("plain_writes", "through"));
        let stream = nodes.stream();
        assert_eq!(nodes.from.run(ADD_PLAIN), int(1));
        let lock = nodes.lock();
        assert_eq!(nodes.from.run(ADD_PLAIN), int(2));
        nodes.open();
        // Both are here: the plain key is found, and the staged one is not.
        assert_eq!(nodes.from.run(ADD_PLAIN), int(3));
        nodes.from.run(ADD).assert_error("ASK ");
        let mut there = nodes.to.conn();
        asking(&mut there, ADD).assert_error("TRYAGAIN ");
        nodes.move_these(&[if first == "stream" { &stream } else { "items:1" }]);
        if first == "stream" {
            nodes.from.run(ADD_PLAIN).assert_error("TRYAGAIN ");
        } else {
            nodes.from.run(ADD_PLAIN).assert_error("ASK ");
        }
        for line in [ADD, ADD_PLAIN] {
            asking(&mut there, line).assert_error("TRYAGAIN ");
            nodes.to.run(line).assert_error("MOVED ");
        }
        assert_eq!(streams(&nodes.to, "behind").len(), usize::from(first == "stream"));
        nodes.move_keys();
        asking(&mut there, ADD).assert_error("TRYAGAIN ");
        nodes.close();
        assert_eq!(nodes.to.run(ADD), int(4));
        lock.rollback();
        assert_eq!(nodes.to.run("WT.FLUSH items"), ok());
        assert_eq!(nodes.n(), "4");
        nodes.assert_nothing_lost();
    }
}

/// Valkey 9 and later can give a slot as a whole, its keys as commands: that would pass the module by.
#[test]
fn the_server_gives_no_slot_as_a_whole() {
    let nodes = Nodes::start(|builder| builder);
    if nodes.from.run("COMMAND INFO cluster|migrateslots").array()[0] == Reply::Nil {
        eprintln!("skipped: the server has no CLUSTER MIGRATESLOTS");
        return;
    }
    assert_eq!(nodes.from.run(ADD), int(1));
    let (slot, id) = (nodes.slot(), nodes.to.run("CLUSTER MYID").text());
    let line = format!("CLUSTER MIGRATESLOTS SLOTSRANGE {slot} {slot} NODE {id}");
    nodes.from.run(&line).assert_error("ERR The module writethrough does not support atomic slot");
    assert_eq!(nodes.from.run(ADD), int(2));
}

/// There is no stream yet: one that is made now could be there twice.
#[test]
fn no_stream_is_made_on_the_way() {
    let nodes = Nodes::start(|builder| builder.with("plain_writes", "through"));
    assert_eq!(nodes.from.run("WT.REFRESH items:1"), int(1));
    nodes.open();
    nodes.from.run(ADD_PLAIN).assert_error("TRYAGAIN ");
    asking(&mut nodes.to.conn(), ADD).assert_error("TRYAGAIN ");
    nodes.move_keys();
    asking(&mut nodes.to.conn(), ADD).assert_error("TRYAGAIN ");
    for node in [&nodes.from, &nodes.to] {
        assert_eq!(streams(node, "behind").len(), 0);
    }
    nodes.close();
    assert_eq!(nodes.to.run(ADD), int(1));
}

/// The row lacks what waits in a stream on the other node.
#[test]
fn no_row_is_read_past_entries_that_are_elsewhere() {
    let nodes = Nodes::start(|builder| builder.with("read_through", true));
    assert_eq!(nodes.from.run(ADD), int(1));
    let lock = nodes.lock();
    assert_eq!(nodes.from.run(ADD), int(2));
    assert_eq!(nodes.from.run("DEL items:1"), int(1));
    nodes.open();
    nodes.from.run("HGET items:1 n").assert_error("ASK ");
    let mut there = nodes.to.conn();
    asking(&mut there, "HGET items:1 n").assert_error("TRYAGAIN ");
    nodes.move_keys();
    asking(&mut there, "HGET items:1 n").assert_error("TRYAGAIN ");
    nodes.close();
    there.send_line("HGET items:1 n");
    nodes.to.wait_for_blocked(1);
    lock.rollback();
    assert_eq!(there.receive(), bulk("2"));
    nodes.assert_nothing_lost();
}

/// PostgreSQL's refusal meets a slot that is on its way: the other node sets the entry aside.
#[test]
fn a_refused_entry_of_a_slot_that_moves() {
    let nodes = Nodes::start(|builder| builder);
    assert_eq!(nodes.from.run(ADD), int(1));
    assert_eq!(nodes.from.run("WT.FLUSH items"), ok());
    let lock = nodes.lock();
    assert_eq!(nodes.from.run("HINCRBY __{items:1} n 5000"), int(5001));
    assert_eq!(nodes.from.run(ADD), int(5002));
    nodes.database.wait_for_lock_waiters(1);
    nodes.open();
    lock.rollback();
    eventually("it is refused", || {
        nodes.database.one("select count(*) from writethrough.behind_refused") == "1"
    });
    assert_eq!(streams(&nodes.from, "failed").len(), 0);
    nodes.move_keys();
    nodes.close();
    assert_eq!(nodes.to.run("WT.FLUSH items"), ok());
    eventually("it is set aside there", || nodes.to.info_int("behind_failed") == 1);
    eventually("its later write is done", || nodes.n() == "2");
    eventually("the hash is the row", || nodes.to.run("HGET items:1 n") == bulk("2"));
    nodes.database.execute("alter table items drop constraint items_n_check");
    assert_eq!(nodes.to.run("WT.RETRY items"), int(1));
    assert_eq!(nodes.to.run("WT.FLUSH items"), ok());
    assert_eq!(nodes.n(), "5002");
    nodes.assert_nothing_lost();
}

/// What has been refused moves, too.
#[test]
fn what_was_set_aside_moves_with_its_slot() {
    let nodes = Nodes::start(|builder| builder);
    assert_eq!(nodes.from.run("HINCRBY __{items:1} n 5000"), int(5000));
    assert_eq!(nodes.from.run("WT.FLUSH items"), ok());
    assert_eq!(nodes.from.info_int("behind_failed"), 1);
    nodes.open();
    nodes.move_keys();
    nodes.close();
    eventually("it is counted there", || nodes.to.info_int("behind_failed") == 1);
    eventually("it is counted here no more", || nodes.from.info_int("behind_failed") == 0);
    nodes.database.execute("alter table items drop constraint items_n_check");
    assert_eq!(nodes.from.run("WT.RETRY items"), int(0));
    assert_eq!(nodes.to.run("WT.RETRY items"), int(1));
    assert_eq!(nodes.to.run("WT.FLUSH items"), ok());
    assert_eq!(nodes.n(), "5000");
    nodes.assert_nothing_lost();
}

/// It isn't known yet what has come with the slot: that is waited for.
#[test]
fn a_flush_right_after_a_move_waits_for_what_has_come() {
    let nodes = Nodes::start(|builder| builder);
    assert_eq!(nodes.from.run(ADD), int(1));
    let lock = nodes.lock();
    assert_eq!(nodes.from.run(ADD), int(2));
    nodes.open();
    nodes.move_keys();
    // The other node has seen that it is on its way.
    assert_eq!(nodes.to.run("WT.FLUSH items"), ok());
    nodes.close();
    let mut flush = nodes.to.send("WT.FLUSH items");
    nodes.to.wait_for_blocked(1);
    lock.rollback();
    assert_eq!(flush.receive(), ok());
    assert_eq!(nodes.n(), "2");
}

/// Increments by a client of the cluster, until it is told to stop. Returns how many were answered.
fn increments(ports: &[u16], stop: &AtomicBool) -> i64 {
    let mut conns: Vec<Conn> =
        ports.iter().map(|port| Conn::open(*port).expect("a node")).collect();
    let at = |text: &str| {
        let port: u16 = text.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        ports.iter().position(|known| *known == port).expect("a node")
    };
    let (mut node, mut asks, mut answered) = (0, false, 0);
    while !stop.load(Ordering::Relaxed) {
        if std::mem::take(&mut asks) {
            assert_eq!(conns[node].run("ASKING"), ok());
        }
        match conns[node].run(ADD) {
            Reply::Int(_) => answered += 1,
            Reply::Error(text) if text.starts_with("MOVED ") => node = at(&text),
            Reply::Error(text) if text.starts_with("ASK ") => (node, asks) = (at(&text), true),
            Reply::Error(text) if text.starts_with("TRYAGAIN ") => {}
            other => panic!("{other:?}"),
        }
    }
    answered
}

#[test]
fn increments_while_the_slot_moves_there_and_back() {
    let mut nodes = Nodes::start(|builder| builder.option("batch_max", 20));
    nodes.database.execute("alter table items drop constraint items_n_check");
    let ports = [nodes.from.redis.port(), nodes.to.redis.port()];
    let stop = AtomicBool::new(false);
    let answered: i64 = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| increments(&ports, &stop))).collect();
        for _ in 0..10 {
            let n = || nodes.n().parse::<i64>().expect("a number");
            let now = n();
            eventually("writes go on", || n() > now + 50);
            nodes.open();
            nodes.move_keys();
            // Whether the old node's last batch is committed isn't known to it.
            nodes.database.terminate_sessions();
            nodes.close();
            nodes.turn();
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("a client")).sum()
    });
    for node in [&nodes.from, &nodes.to] {
        assert_eq!(node.run("WT.FLUSH items"), ok());
    }
    assert_eq!(nodes.n(), answered.to_string());
    eventually("the hash is the row", || nodes.from.run("HGET items:1 n") == bulk(nodes.n()));
    nodes.assert_nothing_lost();
}
