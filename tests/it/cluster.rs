//! Redis Cluster: a slot that moves with its writes.

use crate::support::*;

fn two_nodes() -> (Stack, Stack) {
    nodes(|builder| builder)
}

/// Two masters on one database. The first has users:1's slot.
pub fn nodes(with: impl Fn(Builder) -> Builder) -> (Stack, Stack) {
    let first = cluster_node(with(Stack::users().patient())).start();
    let second = with(Stack::users()).option("url", first.database.url()).patient();
    let mut nodes = vec![first, cluster_node(second).start()];
    make_cluster(&nodes, 2);
    let slot = nodes[0].run("CLUSTER KEYSLOT users:1").int();
    if slot >= 16384 / 2 {
        nodes.reverse();
    }
    let second = nodes.pop().expect("two");
    (nodes.pop().expect("one"), second)
}

/// Opens the slot of users:1 for its way to another node.
pub fn open_slot(from: &Stack, to: &Stack) {
    let slot = from.run("CLUSTER KEYSLOT users:1").int();
    let ids = [from, to].map(|node| node.run("CLUSTER MYID").text());
    assert_eq!(to.run(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids[0])), ok());
    assert_eq!(from.run(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids[1])), ok());
}

/// The slot has arrived.
pub fn close_slot(from: &Stack, to: &Stack) {
    let (slot, id) = (from.run("CLUSTER KEYSLOT users:1").int(), to.run("CLUSTER MYID").text());
    for node in [to, from] {
        assert_eq!(node.run(&format!("CLUSTER SETSLOT {slot} NODE {id}")), ok());
    }
}

/// The database of both, which has one user.
pub fn database<'a>(from: &'a Stack, to: &'a Stack) -> &'a Database {
    match from.database.count("users") {
        1 => &from.database,
        _ => &to.database,
    }
}

pub fn migrate(to: &Stack, keys: &[&str]) -> Vec<String> {
    let port = to.redis.port().to_string();
    let words = ["MIGRATE", "127.0.0.1", &port, "", "0", "60000", "KEYS"];
    words.iter().chain(keys).map(|word| word.to_string()).collect()
}

#[test]
fn a_slot_that_moves_waits_for_the_writes_of_its_keys() {
    let (from, to) = two_nodes();
    from.add_user(1);
    let database = database(&from, &to);
    let lock = database.hold("select from users where id = 1 for update");
    let mut writer = from.send("HSET __{users:1} username new");
    database.wait_for_lock_waiters(1);
    open_slot(&from, &to);
    // The plain key alone, as a batch of a resharding may have it.
    let mut mover = from.conn();
    mover.send(&migrate(&to, &["users:1"]));
    assert_eq!(mover.receive_within(std::time::Duration::from_millis(200)).unwrap(), None);
    lock.rollback();
    assert_eq!(mover.receive(), ok());
    assert_eq!(writer.receive(), int(0));
    let mut there = to.conn();
    assert_eq!(there.run("ASKING"), ok());
    assert_eq!(there.run("HGET users:1 username"), bulk("new"));
    for node in [&from, &to] {
        node.wait_until_settled();
    }
}

#[test]
fn a_key_that_is_on_its_way_out_answers_with_what_migrate_says() {
    let (from, to) = two_nodes();
    open_slot(&from, &to);
    let words = migrate(&to, &["users:1"]);
    assert_eq!(from.cmd(&words), Reply::Status("NOKEY".into()));
    from.cmd(&words[..5]).assert_error("ERR wrong number of arguments");
}

/// The node that a slot comes to may not change its keys without ASKING, which a client's answer
/// from the database has not.
#[test]
fn a_write_where_the_slot_arrives_leaves_nothing_old_and_nothing_staged() {
    let (from, to) = two_nodes();
    from.add_user(1);
    open_slot(&from, &to);
    assert_eq!(from.cmd(&migrate(&to, &["users:1"])), ok());
    let mut writer = to.conn();
    assert_eq!(writer.run("ASKING"), ok());
    assert!(writer.run("HSET __{users:1} username new").is_int());
    to.wait_until_settled();
    assert_eq!(writer.run("ASKING"), ok());
    let cached = writer.run("HGET users:1 username");
    assert!(cached == bulk("new") || cached == Reply::Nil, "{cached:?}");
}

of_the_staged_key! {
/// The staged key is new, so the write is sent on while the plain key is still to come.
#[test]
fn a_key_that_arrives_after_its_write_is_not_older_than_that() {
    let (from, to) = two_nodes();
    from.add_user(1);
    open_slot(&from, &to);
    from.run("HSET __{users:1} username new").assert_error("ASK ");
    let mut writer = to.conn();
    assert_eq!(writer.run("ASKING"), ok());
    assert!(writer.run("HSET __{users:1} username new").is_int());
    assert_eq!(from.cmd(&migrate(&to, &["users:1"])), ok());
    eventually("what is old is gone", || {
        assert_eq!(writer.run("ASKING"), ok());
        let cached = writer.run("HGET users:1 username");
        cached == bulk("new") || cached == Reply::Nil
    });
}
}

/// A plain key is written where it is; afterwards it is read where its slot goes.
#[test]
fn a_plain_key_of_a_slot_that_leaves_is_written() {
    let (from, to) = nodes(|builder| builder.with("plain_writes", "through"));
    from.add_user(1);
    open_slot(&from, &to);
    assert_eq!(from.run("HSET users:1 username new"), int(0));
    from.run("HGET users:1 username").assert_error("ASK ");
    from.run("HSET users:1 username newer").assert_error("ASK ");
    let mut there = to.conn();
    assert_eq!(there.run("ASKING"), ok());
    assert!(there.run("HSET users:1 username newer").is_int());
    close_slot(&from, &to);
    assert!(to.run("HSET users:1 first x").is_int());
    assert_eq!(to.run("HGET users:1 username"), bulk("newer"));
    assert_eq!(database(&from, &to).one("select username from users"), "newer");
}

/// True when the key is still there after several turns of the server's event loop.
fn stays(node: &Stack, key: &str) -> bool {
    (0..20).for_each(|_| drop(node.run("PING")));
    node.run(&format!("EXISTS {key}")) == int(1)
}

/// A key that is restored later has nothing to do with the slot's move.
#[test]
fn what_was_overtaken_is_forgotten_with_the_move() {
    for comes in [true, false] {
        let (from, to) = two_nodes();
        from.add_user(1);
        let dump = from.run("DUMP users:1");
        open_slot(&from, &to);
        let mut writer = to.conn();
        assert_eq!(writer.run("ASKING"), ok());
        assert!(writer.run("HSET __{users:1} username new").is_int());
        if comes {
            // It is old, and goes; its name is free then.
            assert_eq!(from.cmd(&migrate(&to, &["users:1"])), ok());
            eventually("what is old is gone", || {
                writer.run("ASKING");
                writer.run("EXISTS users:1") == int(0)
            });
            let restore: [&[u8]; 5] =
                [b"RESTORE-ASKING", b"users:1", b"0", dump.bytes(), b"REPLACE"];
            assert_eq!(writer.cmd(&restore), ok());
            (0..20).for_each(|_| drop(writer.run("PING")));
            writer.run("ASKING");
            assert_eq!(writer.run("EXISTS users:1"), int(1), "it comes once");
        } else {
            // It never comes, and the slot has arrived.
            from.run("DEL users:1");
            close_slot(&from, &to);
            let restore: [&[u8]; 5] = [b"RESTORE", b"users:1", b"0", dump.bytes(), b"REPLACE"];
            eventually("a restored key stays", || {
                assert_eq!(to.cmd(&restore), ok());
                stays(&to, "users:1")
            });
        }
    }
}

/// What another node has staged is no write of this one's: it may be done already.
#[test]
fn a_staged_key_that_arrives_is_not_written_again() {
    let (from, to) = two_nodes();
    from.add_user(1);
    assert_eq!(from.run("HSET {users:1}old username old"), int(1));
    let dump = from.run("DUMP {users:1}old");
    let mut arrival = from.conn();
    let words: [&[u8]; 4] = [b"RESTORE-ASKING", b"__{users:1}", b"0", dump.bytes()];
    assert_eq!(arrival.cmd(&words), ok());
    from.wait_until_settled();
    assert_eq!(from.run("HGET users:1 username"), bulk("u1"));
    drop(to);
}
