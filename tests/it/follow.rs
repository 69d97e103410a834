//! `"follow": true`: what other programs write arrives by itself.

use serde_json::json;

use crate::support::*;

pub const SQL: &str = "
create table items (id int primary key, name text, n int);
create table \"Odd \"\"one\" (a bytea, b boolean, c char(5), d timestamptz, v text, primary key (a, b, c, d));
create extension citext;
create table words (id citext primary key, v text);
create table parts (id int, v text, primary key (id)) partition by range (id);
create table parts_a partition of parts for values from (0) to (100);
create table parts_b partition of parts for values from (100) to (200) partition by hash (id);
create table parts_b0 partition of parts_b for values with (modulus 1, remainder 0);
create table parents (id int primary key, v text);
create table children (id int primary key, parent int references parents on delete cascade on update cascade, v text);
create view seen as select id, name from items;";

pub fn server() -> Builder {
    Stack::new()
        .option("follow", true)
        .mapping(json!({ "table": "items", "read_through": true, "negative_ttl_ms": 60_000 }))
        .mapping(json!({ "table": "Odd \"one", "name": "odd" }))
        .mapping(json!({ "table": "words" }))
        .mapping(json!({ "table": "parts" }))
        .mapping(json!({ "table": "parents" }))
        .mapping(json!({ "table": "children" }))
}

pub fn start() -> Stack {
    let s = server().sql(SQL).start();
    s.wait_until_in_sync();
    s
}

/// Waits until each cached hash of a table is its row, and what isn't there isn't cached.
#[track_caller]
fn wait_for(s: &Stack, what: &str, key: &str, expected: &[(&str, &str)]) {
    let mut last = Hash::default();
    eventually(what, || {
        last = s.hgetall(key);
        last == hash(expected)
    });
}

#[test]
fn what_others_write_arrives() {
    let s = start();
    for id in 1..=4 {
        assert_eq!(s.run(&format!("HSET __{{items:{id}}} name a n {id}")), int(2));
    }
    s.execute("update items set n = n + 10 where id < 3");
    wait_for(&s, "an UPDATE", "items:1", &[("id", "1"), ("name", "a"), ("n", "11")]);
    wait_for(&s, "an UPDATE", "items:2", &[("id", "2"), ("name", "a"), ("n", "12")]);
    s.execute("delete from items where id = 3");
    eventually("a DELETE", || {
        s.run("EXISTS items:3") == int(0) && s.run("HGET items:3 n") == Reply::Nil
    });
    // A key that changes is two.
    s.execute("update items set id = 40 where id = 4");
    eventually("the old key is gone", || s.run("HGET items:4 n") == Reply::Nil);
    assert_eq!(s.run("HGET items:40 n"), bulk("4"));
    // What was known not to be there.
    assert_eq!(s.run("HGET items:7 name"), Reply::Nil);
    s.execute("insert into items values (7, 'new', 7)");
    eventually("an INSERT", || s.run("HGET items:7 name") == bulk("new"));
    s.execute(
        "insert into items values (7, 'x', 0) on conflict (id) do update set name = 'upserted'",
    );
    wait_for(&s, "ON CONFLICT", "items:7", &[("id", "7"), ("name", "upserted"), ("n", "7")]);
    let mut pg = s.pg();
    let mut copy = pg.copy_in("copy items from stdin").expect("copy");
    std::io::Write::write_all(&mut copy, b"1000\tcopied\t1\n").expect("a row");
    assert_eq!(s.run("HGET items:1000 name"), Reply::Nil);
    copy.finish().expect("copy");
    eventually("COPY", || s.run("HGET items:1000 name") == bulk("copied"));
    s.execute("truncate items");
    eventually("TRUNCATE", || {
        s.run("EXISTS items:1 items:2 items:7 items:40 items:1000") == int(0)
    });
    assert_eq!(s.run("HGET items:1 name"), Reply::Nil);
    assert!(s.info_int("follow_entries") >= 8);
}

#[test]
fn what_is_rolled_back_does_not_and_what_is_long_open_does() {
    let s = start();
    s.run("HSET __{items:1} n 1");
    s.run("HSET __{items:2} n 1");
    let mut long = s.database.hold("update items set n = 5 where id = 1");
    s.database.hold("update items set n = 9 where id = 2").rollback();
    // Later ones commit first.
    for n in 2..5 {
        s.execute(&format!("update items set n = {n} where id = 2"));
        wait_for(&s, "a later one", "items:2", &[("id", "2"), ("n", &n.to_string())]);
    }
    assert_eq!(s.run("HGET items:1 n"), bulk("1"));
    long.execute("update items set name = 'late' where id = 1");
    long.commit();
    wait_for(&s, "the long one", "items:1", &[("id", "1"), ("name", "late"), ("n", "5")]);
    // Our own write of the row meanwhile is the newer one.
    for round in 0..20 {
        s.execute(&format!("update items set n = {round} where id = 1"));
        s.run(&format!("HSET __{{items:1}} n {}", 100 + round));
        assert_eq!(s.run("HGET items:1 n"), bulk((100 + round).to_string()));
    }
    eventually("all is read", || s.info_int("follow_waiting") == 0);
    assert_eq!(s.run("HGET items:1 n"), bulk("119"));
}

#[test]
fn keys_of_all_kinds() {
    let s = start();
    let mut pg = s.pg();
    // Other settings than the module's own.
    pg.batch_execute(
        "set datestyle = 'German'; set timezone = 'Asia/Tokyo'; set bytea_output = 'escape'",
    )
    .unwrap();
    pg.batch_execute(
        "insert into \"Odd \"\"one\" values ('\\x00ff', true, 'ab', '2024-02-29 12:00+00', 'v')",
    )
    .unwrap();
    let d = s.one("select d::text from \"Odd \"\"one\"");
    let key = [b"odd:\x00\xff:true:ab:", d.as_bytes()].concat();
    let refreshed = s.cmd(&[&b"WT.REFRESH"[..], &key]);
    assert_eq!(refreshed, int(1), "{d}");
    pg.batch_execute("update \"Odd \"\"one\" set v = 'w'").unwrap();
    eventually("it arrives", || s.cmd(&[&b"HGET"[..], &key, b"v"]) == bulk("w"));
    s.execute("insert into words values ('Ann', 'x')");
    assert_eq!(s.run("WT.REFRESH words:Ann"), int(1));
    s.execute("update words set v = 'y' where id = 'ANN'");
    eventually("citext", || s.run("HGET words:Ann v") == bulk("y"));
    // By the parent, by a partition, of two levels; and one that is attached later.
    s.run("HSET __{parts:1} v a");
    s.run("HSET __{parts:150} v a");
    for (sql, key, value) in [
        ("update parts set v = 'b' where id = 1", "parts:1", "b"),
        ("update parts_a set v = 'c' where id = 1", "parts:1", "c"),
        ("update parts_b0 set v = 'd'", "parts:150", "d"),
        ("update parts_b set v = 'e'", "parts:150", "e"),
    ] {
        s.execute(sql);
        eventually(sql, || s.run(&format!("HGET {key} v")) == bulk(value));
    }
    s.execute("create table parts_c partition of parts for values from (200) to (300)");
    let has = "select count(*) from pg_trigger where tgrelid = 'parts_c'::regclass and tgname like 'writethrough%'";
    eventually("it gets its triggers", || s.one(has) == "5");
    s.run("HSET __{parts:250} v a");
    s.execute("update parts_c set v = 'f'");
    eventually("a new partition", || s.run("HGET parts:250 v") == bulk("f"));
}

/// No trigger fires.
#[test]
fn rows_leave_with_a_partition() {
    let s = start();
    s.execute("create table parts_c partition of parts for values from (200) to (300)");
    let has = "select count(*) from pg_trigger where tgrelid = 'parts_c'::regclass and tgname like 'writethrough%'";
    eventually("it gets its triggers", || s.one(has) == "5");
    for id in [1, 150, 250] {
        s.run(&format!("HSET __{{parts:{id}}} v a"));
    }
    s.execute("alter table parts detach partition parts_c");
    eventually("detached", || s.run("EXISTS parts:250") == int(0));
    s.execute("drop table parts_b");
    eventually("dropped", || s.run("EXISTS parts:150") == int(0));
    assert_eq!(s.run("HGET parts:1 v"), bulk("a"));
}

/// What follows from our own writes is no write of ours.
#[test]
fn cascades_of_our_own_writes() {
    let s = start();
    s.run("HSET __{parents:1} v p");
    s.run("HSET __{children:1} parent 1 v c");
    s.run("HSET __{children:2} v c");
    s.execute("update parents set id = 5");
    eventually("ON UPDATE CASCADE", || s.run("HGET children:1 parent") == bulk("5"));
    assert_eq!(s.run("DEL __{parents:5}"), int(1));
    eventually("ON DELETE CASCADE", || s.run("EXISTS children:1") == int(0));
    assert_eq!(s.run("EXISTS children:2"), int(1));
    // Our own direct writes aren't read again.
    eventually("all is read", || s.info_int("follow_waiting") == 0);
    let before = s.info_int("follow_entries");
    for n in 0..20 {
        s.run(&format!("HSET __{{children:2}} v c{n}"));
    }
    s.execute("update children set v = 'x' where id = 2");
    eventually("it arrives", || s.run("HGET children:2 v") == bulk("x"));
    assert_eq!(s.info_int("follow_entries"), before + 1);
    // And the writes still share statements: these triggers see no single write.
    assert_eq!(s.count("pg_trigger where tgname like 'writethrough%'"), 5 * (6 + 3) - 2);
}

/// The cache stays the whole table.
#[test]
fn with_preload_new_rows_come_too() {
    let s = Stack::new()
        .sql(SQL)
        .option("follow", true)
        .mapping(json!({ "table": "items", "preload": true }))
        .start();
    s.wait_until_in_sync();
    s.execute("insert into items select n, 'n', n from generate_series(1, 500) n");
    eventually("they come", || {
        s.run("DBSIZE").int() >= 500 && s.run("HGET items:500 n") == bulk("500")
    });
    s.execute("delete from items where id <= 400");
    eventually("they go", || s.run("EXISTS items:1 items:400") == int(0));
    s.execute("truncate items; insert into items values (7, 'z', 7)");
    wait_for(&s, "the new one", "items:7", &[("id", "7"), ("name", "z"), ("n", "7")]);
    eventually("the others go", || s.run("EXISTS items:450") == int(0));
}

/// More rows than the journal's reader takes at once.
#[test]
fn very_many_rows_at_once() {
    let s = start();
    // A row that is known not to be there for a minute.
    assert_eq!(s.run("HGET items:150000 name"), Reply::Nil);
    s.execute("insert into items select n, 'n', 0 from generate_series(1, 150000) n");
    eventually("it is noticed", || s.run("HGET items:150000 name") == bulk("n"));
    let loaded = s.run("WT.LOAD items LIMIT 3000");
    assert!(!loaded.is_error(), "{loaded:?}");
    s.execute("update items set n = 1");
    eventually("all are read", || {
        s.is_in_sync()
            && (1..=3000).step_by(97).all(|id| s.run(&format!("HGET items:{id} n")) == bulk("1"))
    });
}

#[test]
fn after_a_restart_and_for_two_servers() {
    let s = start();
    let other = server().option("url", s.database.url()).start();
    other.wait_until_in_sync();
    s.run("HSET __{items:1} n 1");
    assert_eq!(other.run("WT.REFRESH items:1"), int(1));
    s.run("HSET __{items:1} n 2");
    eventually("the other server's write", || other.run("HGET items:1 n") == bulk("2"));
    s.execute("update items set n = 3");
    for server in [&s, &other] {
        eventually("a foreign write", || server.run("HGET items:1 n") == bulk("3"));
    }
    s.restart_redis("TERM");
    s.wait_until_in_sync();
    s.execute("update items set n = 4");
    eventually("after a restart", || s.run("HGET items:1 n") == bulk("4"));
}

#[test]
fn wt_triggers_shows_what_is_there_and_takes_it_away() {
    let plain = Stack::new().sql(SQL).mapping(json!({ "table": "items" })).start();
    let s = server().option("url", plain.database.url()).start();
    s.wait_until_in_sync();
    let shown = s.run("WT.TRIGGERS items");
    let text = shown.text();
    assert!(
        text.contains("INSERT on public.items") && text.contains("TRUNCATE on public.items"),
        "{text}"
    );
    plain.execute("drop trigger writethrough_update_items on items");
    s.run("HSET __{items:1} n 1");
    eventually("it is made again", || {
        plain.one("select count(*) from pg_trigger where tgrelid = 'items'::regclass and tgname like 'writethrough%'") == "5"
    });
    plain.execute("update items set n = 2");
    eventually("it arrives", || s.run("HGET items:1 n") == bulk("2"));
    s.run("WT.TRIGGERS DROP")
        .assert_error("ERR writethrough: follow is true, so they would be made again");
    s.run("WT.TRIGGERS nobody").assert_error("ERR writethrough: no mapping is named \"nobody\"");
    s.run("WT.TRIGGERS items x y")
        .assert_error("ERR writethrough: expected WT.TRIGGERS [name] [DROP]");
    drop(s);
    assert_eq!(plain.run("WT.TRIGGERS items DROP"), int(5));
    assert_eq!(plain.run("WT.TRIGGERS DROP"), int(0));
}

/// A role that may not make triggers: somebody else does, with the SQL that WT.TRIGGERS prints.
#[test]
fn somebody_else_makes_them() {
    let role = format!("wt_follow_{}", std::process::id());
    let s = Stack::new()
        .sql("create table items (id int primary key, name text, n int)")
        .sql(&format!(
            "drop role if exists {role}; create role {role} login;
             create schema writethrough authorization {role};
             grant select, insert, update, delete on items to {role}"
        ))
        .option("url", format!("postgres://{role}@@DB@"))
        .option("follow", true)
        .mapping(json!({ "table": "items" }))
        .start();
    s.wait_until_in_sync();
    s.wait_for_log("the triggers that follow \"items\" can't be made: 42501 ");
    s.run("HSET __{items:1} n 1");
    let reply = s.run("WT.TRIGGERS items");
    let map = reply.array()[0].array();
    let at = map.iter().position(|field| *field == bulk("sql")).expect("sql");
    let sql = map[at + 1].text();
    s.database.execute("update items set n = 2");
    s.database.execute(&sql);
    eventually("what was missed is read", || s.run("HGET items:1 n") == bulk("2"));
    s.database.execute("update items set n = 3");
    eventually("it arrives", || s.run("HGET items:1 n") == bulk("3"));
}

/// Each node follows the rows of its own slots.
#[test]
fn in_a_cluster_each_node_follows_its_slots() {
    let with = |builder: Builder| {
        let items = json!({ "table": "items", "preload": true });
        builder.option("follow", true).mapping(items).patient()
    };
    let first =
        cluster_node(with(Stack::new().sql("create table items (id int primary key, n int)")))
            .start();
    let second = with(Stack::new()).option("url", first.database.url());
    let nodes = vec![first, cluster_node(second).start()];
    make_cluster(&nodes, 2);
    nodes.iter().for_each(Stack::wait_until_in_sync);
    let database = &nodes[0].database;
    database.execute("insert into items select n, n from generate_series(1, 300) n");
    let size = |node: &Stack| node.run("KEYS items:*").array().len();
    eventually("each has its own", || size(&nodes[0]) + size(&nodes[1]) == 300);
    assert!(size(&nodes[0]) > 50 && size(&nodes[1]) > 50);
    database.execute("update items set n = n + 1000; delete from items where id > 200");
    let value = |id: usize| {
        let replies = nodes.iter().map(|node| node.run(&format!("HGET items:{id} n")));
        replies
            .filter(|reply| matches!(reply, Reply::Bulk(_)))
            .map(|reply| reply.text())
            .collect::<String>()
    };
    eventually("changes arrive", || {
        size(&nodes[0]) + size(&nodes[1]) == 200
            && (1..=200).step_by(7).all(|id| value(id) == (id + 1000).to_string())
    });
}
