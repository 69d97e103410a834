//! DEL and UNLINK of plain keys whose mapping writes them through: `on_delete`.

use serde_json::json;

use crate::support::*;

fn deletes() -> Builder {
    Stack::users().with("plain_writes", "through").with("on_delete", "delete")
}

#[test]
fn by_default_the_row_stays() {
    let s = Stack::users().with("plain_writes", "through").start();
    s.add_user(1);
    s.add_user(2);
    assert_eq!(s.run("DEL users:1"), int(1));
    assert_eq!(s.run("UNLINK users:1 users:2"), int(1));
    assert_eq!(s.count("users"), 2);
    assert!(s.keys().is_empty());
}

#[test]
fn the_row_and_the_cached_hash_go() {
    let s = deletes().start();
    for id in 1..=6 {
        s.add_user(id);
    }
    assert_eq!(s.run("DEL users:1"), int(1));
    assert_eq!(s.run("DEL users:1"), int(0));
    assert_eq!(s.run("UNLINK users:2"), int(1));
    // Keys of all kinds in one command, one of them twice.
    assert_eq!(s.run("SET other x"), ok());
    assert_eq!(s.run("DEL users:3 other users:3 users:77 __{users:4} nothing users:1:idx"), int(3));
    assert_eq!(s.one("select string_agg(id::text, ' ' order by id) from users"), "5 6");
    assert_eq!(s.keys(), ["users:5", "users:6"]);
    // A row that nobody has cached is a row.
    s.execute("insert into users (id, username, email, password_hash) values (9, 'x', 'x', 'h')");
    assert_eq!(s.run("DEL users:9"), int(1));
    // In another database it is an ordinary key.
    let mut other = s.conn();
    assert_eq!(other.run("SELECT 1"), ok());
    assert_eq!(other.run("HSET users:5 a b"), int(1));
    assert_eq!(other.run("DEL users:5 users:6"), int(1));
    assert_eq!(s.count("users"), 2);
}

#[test]
fn what_the_database_refuses_to_delete_stays() {
    let s = deletes()
        .sql("create table orders (id int primary key, owner int references users)")
        .start();
    s.add_user(1);
    s.add_user(2);
    s.execute("insert into orders values (1, 1)");
    assert_eq!(s.run("SET other x"), ok());
    s.assert_line_refused("DEL users:1 other", "WTERR 23503 ");
    s.assert_user_cached(1);
    s.run("DEL users:1 users:2").assert_error("WTERR 23503 ");
    assert_eq!(s.count("users"), 1, "each row for itself, as with staged keys");
}

#[test]
fn in_transactions_and_scripts() {
    let s = deletes().start();
    for id in 1..=4 {
        s.add_user(id);
    }
    let replies = transaction(
        &mut s.conn(),
        &["DEL users:1", "EXISTS users:1", "UNLINK users:2 users:9", "HGETALL users:2"],
    );
    assert_eq!(replies, [int(1), int(0), int(1), Reply::Array(vec![])]);
    let script = "return {redis.call('DEL', KEYS[1]), redis.call('EXISTS', KEYS[1])}";
    let reply = s.cmd(&["EVAL", script, "1", "users:3"]);
    assert_eq!(reply, Reply::Array(vec![int(1), int(0)]));
    assert_eq!(s.one("select string_agg(id::text, ' ') from users"), "4");
}

#[test]
fn in_order_with_the_writes_of_the_key() {
    let s = deletes().start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let mut write = s.send("HSET users:1 first x");
    s.wait_for_blocked(1);
    let mut delete = s.send("DEL users:1");
    s.wait_for_blocked(2);
    let mut later = s.send("HSET users:1 username b email b@x pwhash h");
    s.wait_for_blocked(3);
    lock.rollback();
    assert_eq!(write.receive(), int(1));
    assert_eq!(delete.receive(), int(1));
    assert_eq!(later.receive(), int(3));
    s.assert_user_cached(1);
    assert_eq!(s.one("select first_name is null from users"), "t");
}

#[test]
fn rows_with_several_key_columns() {
    let s = Stack::new()
        .sql("create table lines (o int, n int, what text, primary key (o, n))")
        .mapping(json!({ "table": "lines", "plain_writes": "through", "on_delete": "delete" }))
        .start();
    assert_eq!(s.run("HSET lines:7:1 what pen"), int(1));
    assert_eq!(s.run("HSET lines:7:2 what ink"), int(1));
    assert_eq!(s.run("HSET lines:7 what ink"), int(1), "no row's key");
    assert_eq!(s.run("DEL lines:7 lines:7:1 lines:7:1:2"), int(2));
    assert_eq!(s.one("select string_agg(what, ' ') from lines"), "ink");
}

/// What Redis and its users do to a key beside deleting it, and the events that servers fire for it.
struct End {
    name: &'static str,
    events: &'static [&'static str],
    conf: &'static [&'static str],
    run: fn(&Stack),
}

const ENDS: &[End] = &[
    End {
        name: "EXPIRE",
        events: &["expired"],
        conf: &[],
        run: |s| {
            assert_eq!(s.run("PEXPIRE users:1 1"), int(1));
            eventually("it has expired", || s.run("EXISTS users:1") == int(0));
        },
    },
    End {
        name: "EXPIREAT in the past",
        events: &["del", "expired"],
        conf: &[],
        run: |s| assert_eq!(s.run("EXPIREAT users:1 1"), int(1)),
    },
    End {
        name: "eviction",
        events: &["evicted"],
        conf: &["maxmemory-policy allkeys-random"],
        run: |s| {
            assert_eq!(s.run("CONFIG SET maxmemory 1"), ok());
            s.run("SET x y");
            eventually("it is evicted", || s.run("EXISTS users:1") == int(0));
            assert_eq!(s.run("CONFIG SET maxmemory 0"), ok());
        },
    },
    End {
        name: "MOVE",
        events: &["move_from"],
        conf: &[],
        run: |s| {
            assert_eq!(s.run("MOVE users:1 3"), int(1));
            // Valkey 8.1 leaves the client there, when any module listens (valkey-io/valkey#4024).
            assert_eq!(s.run("SELECT 0"), ok());
        },
    },
    End {
        name: "RENAME",
        events: &["rename_from"],
        conf: &[],
        run: |s| assert_eq!(s.run("RENAME users:1 elsewhere"), ok()),
    },
    End {
        name: "MIGRATE",
        events: &["del"],
        conf: &[],
        run: |s| {
            let target = RedisServer::start(&[], &[]).expect("a server");
            let line = format!("MIGRATE 127.0.0.1 {} users:1 0 5000", target.port());
            assert_eq!(s.run(&line), ok());
        },
    },
    End { name: "FLUSHALL", events: &[], conf: &[], run: |s| assert_eq!(s.run("FLUSHALL"), ok()) },
    End { name: "FLUSHDB", events: &[], conf: &[], run: |s| assert_eq!(s.run("FLUSHDB"), ok()) },
    End { name: "SWAPDB", events: &[], conf: &[], run: |s| assert_eq!(s.run("SWAPDB 0 1"), ok()) },
    End {
        name: "RESTORE REPLACE of an older hash",
        events: &["hset"],
        conf: &[],
        run: |s| {
            let old = s.run("DUMP users:1");
            assert_eq!(s.run("HSET users:1 first x"), int(1));
            let restored = s.cmd(&[b"RESTORE", &b"users:1"[..], b"0", old.bytes(), b"REPLACE"]);
            assert_eq!(restored, ok());
        },
    },
];

#[test]
fn what_others_do_to_the_key_deletes_no_row() {
    for end in ENDS {
        // Seen where a test has failed.
        println!("{}", end.name);
        let builder = deletes().redis_conf("notify-keyspace-events KEA");
        let s = end.conf.iter().fold(builder, |builder, line| builder.redis_conf(line)).start();
        s.add_user(1);
        let before = user_row(&s, 1);
        let mut listener = s.conn();
        listener.run("PSUBSCRIBE __keyspace@0__:users:1");
        (end.run)(&s);
        if !end.events.is_empty() {
            let mut heard = Vec::new();
            while !heard.last().is_some_and(|event: &String| end.events.contains(&event.as_str())) {
                heard.push(listener.receive().array().last().expect("an event").text());
            }
        }
        let mut after = user_row(&s, 1);
        // A restored hash is written through: what it doesn't name is as it was.
        after.remove("first");
        assert_eq!(after, before, "{}", end.name);
        assert_eq!(s.run("HSET users:1 last Smith").int(), 1, "{}", end.name);
        s.assert_user_cached(1);
    }
}

#[test]
fn what_a_replica_deletes_is_its_own() {
    let s = deletes().start();
    s.add_user(1);
    let replica = deletes().redis_conf("replica-read-only no").start();
    assert_eq!(replica.run(&format!("REPLICAOF 127.0.0.1 {}", s.redis.port())), ok());
    eventually("the hash has come", || replica.run("EXISTS users:1") == int(1));
    assert_eq!(replica.run("DEL users:1"), int(1));
    assert_eq!(s.count("users"), 1);
    // What the master deletes, the replica deletes, and not once more in its own database.
    replica.execute(
        "insert into users (id, username, email, password_hash) values (1, 'x', 'x', 'h')",
    );
    assert_eq!(s.run("HSET users:1 first x"), int(1));
    eventually("the write has come", || replica.run("HGET users:1 first") == bulk("x"));
    assert_eq!(s.run("DEL users:1"), int(1));
    eventually("the deletion has come", || replica.run("EXISTS users:1") == int(0));
    assert_eq!((s.count("users"), replica.count("users")), (0, 1));
}
