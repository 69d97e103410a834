//! `follow`: nothing is missed, and nothing goes backwards, whatever becomes of either server.

use std::sync::Arc;

use serde_json::json;

use crate::replication;
use crate::support::*;

const SQL: &str = "
create table items (id int primary key, name text, n int not null default 0);
insert into items select n, 'first', 0 from generate_series(1, 20) n";

fn builder() -> Builder {
    let items = json!({ "table": "items", "read_through": true, "negative_ttl_ms": 600_000 });
    Stack::new().option("follow", true).mapping(items)
}

fn start() -> Stack {
    let s =
        builder().sql(SQL).redis_conf("appendonly yes").redis_conf("appendfsync always").start();
    cache(&s);
    s
}

/// All rows are cached.
fn cache(s: &Stack) {
    s.wait_until_in_sync();
    (1..=20).for_each(|id| assert_eq!(s.run(&format!("HGET items:{id} name")), bulk("first")));
}

#[track_caller]
fn wait_for(s: &Stack, id: usize, field: &str, expected: &str) {
    eventually("it arrives", || s.run(&format!("HGET items:{id} {field}")) == bulk(expected));
}

/// Each cached hash is its row, when all that was written is read.
#[track_caller]
fn assert_same(s: &Stack, database: &Database) {
    eventually("each cached hash is its row", || {
        let rows = database.rows("select * from items");
        s.info_int("follow_waiting") == 0
            && (1..=30).all(|id| {
                let row = rows.iter().find(|row| row["id"] == id.to_string());
                s.run(&format!("EXISTS items:{id}")) == int(0)
                    || row.is_some_and(|row| s.hgetall(&format!("items:{id}")) == *row)
            })
    });
}

/// Their numbers are given before they end, and they end in another order.
#[test]
fn transactions_end_in_any_order() {
    let s = start();
    let open = |n: usize| {
        s.database.hold(&format!("update items set name = 'open{n}', n = {n} where id = {n}"))
    };
    let mut held: Vec<_> = (1..=8).map(open).collect();
    s.execute("update items set name = 'later' where id = 20");
    wait_for(&s, 20, "name", "later");
    for n in [7, 2, 8, 3] {
        held[n - 1].execute(&format!("update items set name = 'late{n}' where id = {n}"));
        let done = std::mem::replace(&mut held[n - 1], s.database.hold("select 1"));
        match n % 2 == 0 {
            true => {
                done.commit();
                wait_for(&s, n, "name", &format!("late{n}"));
            }
            false => done.rollback(),
        }
    }
    // What a savepoint takes back isn't written; the rest of its transaction is.
    held[0].execute("savepoint a; update items set name = 'no' where id = 19; rollback to a");
    held.into_iter().rev().for_each(OpenTransaction::commit);
    for (id, name) in [
        (1, "open1"),
        (3, "first"),
        (4, "open4"),
        (5, "open5"),
        (6, "open6"),
        (7, "first"),
        (19, "first"),
    ] {
        wait_for(&s, id, "name", name);
    }
    assert_same(&s, &s.database);
}

/// They have no session while they are open, and may outlive both servers.
#[test]
fn prepared_transactions() {
    let server = Arc::new(PostgresServer::start_new());
    let s = builder().sql(SQL).postgres(&server).redis_conf("appendonly yes").start();
    cache(&s);
    for (id, name) in [(1, "one"), (2, "two"), (3, "three")] {
        s.execute(&format!(
            "begin; update items set name = '{name}' where id = {id}; prepare transaction '{name}'"
        ));
    }
    s.execute("update items set name = 'later' where id = 4");
    wait_for(&s, 4, "name", "later");
    s.execute("commit prepared 'one'");
    wait_for(&s, 1, "name", "one");
    s.execute("rollback prepared 'two'");
    server.stop_immediate();
    server.start_again();
    s.restart_redis("KILL");
    s.wait_until_in_sync();
    assert_eq!(s.run("HGET items:3 name"), bulk("first"));
    s.execute("commit prepared 'three'");
    wait_for(&s, 3, "name", "three");
    assert_eq!(s.run("HGET items:2 name"), bulk("first"));
    assert_same(&s, &s.database);
}

/// Both add to the same numbers.
#[test]
fn our_own_writes_of_the_same_rows_meanwhile() {
    let s = start();
    let mut pg = s.pg();
    let (ours, theirs) = (150, 150);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for n in 0..theirs {
                let sql = format!("update items set n = n + 1 where id = {}", 1 + n % 3);
                pg.batch_execute(&sql).expect("an update");
            }
        });
        let mut last = [0; 3];
        for n in 0..ours {
            let id = n % 3;
            let now = s.run(&format!("HINCRBY __{{items:{}}} n 1", id + 1)).int();
            assert!(now > last[id], "{now} after {}", last[id]);
            // What was answered is never taken back.
            let cached = s.run(&format!("HGET items:{} n", id + 1)).text().parse::<i64>().unwrap();
            assert!(cached >= now, "{cached} is cached after {now}");
            last[id] = now;
        }
    });
    for id in 1..=3 {
        wait_for(&s, id, "n", &((ours + theirs) / 3).to_string());
    }
    assert_same(&s, &s.database);
}

/// Our write has its row, and isn't merged yet, when another program changes the row: the key isn't cached then, and is a
/// moment later. The journal names it, or all is looked at.
#[test]
fn a_row_that_is_not_cached_yet_is_read_again() {
    for is_named in [true, false] {
        let s = Stack::new().option("follow", true).mapping(json!({ "table": "items" }));
        let s = s.sql(SQL).start();
        s.wait_until_in_sync();
        let lock = s.database.hold("select from items where id = 1 for update");
        let mut writer = s.send("HSET __{items:1} n 5");
        s.wait_for_blocked(1);
        // What is settled waits at the gate.
        assert_eq!(s.run("CLIENT PAUSE 600000 WRITE"), ok());
        lock.rollback();
        eventually("it is committed", || s.one("select n from items where id = 1") == "5");
        let notice = |sql: &str| {
            let entries = s.info_int("follow_entries");
            s.execute(sql);
            eventually("it is noticed", || s.info_int("follow_entries") > entries);
        };
        match is_named {
            true => notice("update items set name = 'foreign' where id = 1"),
            false => notice(
                "begin; alter table items disable trigger user;
                 update items set name = 'foreign' where id = 1; commit; alter table items enable trigger user",
            ),
        }
        // What was noticed before is seen to by then.
        (2..7).for_each(|id| notice(&format!("update items set n = 1 where id = {id}")));
        assert_eq!(s.run("CLIENT UNPAUSE"), ok());
        assert!(writer.receive().is_int());
        wait_for(&s, 1, "name", "foreign");
    }
}

/// As after a day, or a million entries.
fn trim(s: &Stack) {
    s.execute(
        "delete from writethrough.journal;
         update writethrough.trimmed set below = pg_current_xact_id()::text::bigint",
    );
}

const TRIMMED: &str = "the journal doesn't say what has changed, it was trimmed meanwhile: \
                       all cached keys are looked at";

/// Two servers on one table; one of them is away, or is held up, for longer than the journal is kept.
#[test]
fn a_server_that_was_away_for_too_long_looks_at_all_and_says_so() {
    let s = start();
    let other = builder().option("url", s.database.url());
    let other = other.redis_conf("appendonly yes").redis_conf("appendfsync always").start();
    cache(&other);
    other.wait_for_position();
    other.redis.stop("KILL");
    s.execute("update items set name = 'trimmed' where id < 5; delete from items where id = 5");
    wait_for(&s, 1, "name", "trimmed");
    trim(&s);
    s.execute("update items set name = 'kept' where id = 6");
    other.start_again();
    other.wait_until_in_sync();
    other.wait_for_log(TRIMMED);
    assert_eq!(other.info_int("follow_gaps"), 1);
    assert_same(&other, &s.database);
    wait_for(&other, 1, "name", "trimmed");
    wait_for(&other, 6, "name", "kept");
    // One that runs, and is stopped in its tracks.
    assert_eq!(s.run("HGET items:30 name"), Reply::Nil);
    s.wait_until_in_sync();
    let gaps = s.info_int("follow_gaps");
    s.redis.signal("STOP");
    s.execute("update items set name = 'stopped'; insert into items values (30, 'new', 1)");
    wait_for(&other, 1, "name", "stopped");
    trim(&s);
    s.redis.signal("CONT");
    wait_for(&s, 1, "name", "stopped");
    wait_for(&s, 30, "name", "new");
    assert!(s.info_int("follow_gaps") > gaps);
    s.wait_until_in_sync();
    assert_same(&s, &s.database);
}

/// What other programs had written is missing at the standby, and it is followed from then on.
#[test]
fn a_standby_that_takes_over_is_followed() {
    let primary = Arc::new(PostgresServer::start_new());
    let standby = PostgresServer::start_standby(&primary);
    let database = Database::create(primary.clone());
    database.execute(SQL);
    let name = database.name().to_string();
    let url = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{name}?target_session_attrs=read-write",
        primary.port(),
        standby.port()
    );
    let s = builder().option("url", url).try_start_on(database).expect("it loads");
    cache(&s);
    s.execute("update items set name = 'both' where id = 1");
    wait_for(&s, 1, "name", "both");
    standby.wait_until_replayed(&primary);
    standby.cut_off();
    s.execute("update items set name = 'lost' where id < 4; delete from items where id = 4");
    wait_for(&s, 3, "name", "lost");
    eventually("it goes", || s.run("EXISTS items:4") == int(0));
    assert_eq!(s.run("HGET items:4 name"), Reply::Nil);
    primary.stop_immediate();
    standby.promote();
    for (id, name) in [(1, "both"), (2, "first"), (3, "first"), (4, "first")] {
        wait_for(&s, id, "name", name);
    }
    s.wait_until_in_sync();
    standby.connect(&name).batch_execute("update items set name = 'new primary'").expect("update");
    (1..=20).for_each(|id| wait_for(&s, id, "name", "new primary"));
}

/// Its base backup is of an earlier time, and is started as it is.
#[test]
fn a_database_that_is_set_back_is_followed() {
    let server = Arc::new(PostgresServer::start_new());
    let s = builder().sql(SQL).postgres(&server).start();
    cache(&s);
    s.execute("update items set name = 'kept' where id = 1");
    wait_for(&s, 1, "name", "kept");
    server.back_up();
    for n in 0..60 {
        s.execute(&format!("update items set name = 'lost{n}' where id = 2"));
    }
    s.execute("delete from items where id = 3; insert into items values (25, 'lost', 1)");
    wait_for(&s, 2, "name", "lost59");
    assert_eq!(s.run("HGET items:25 name"), bulk("lost"));
    eventually("it goes", || s.run("EXISTS items:3") == int(0));
    assert_eq!(s.run("HGET items:3 name"), Reply::Nil);
    server.restore();
    wait_for(&s, 2, "name", "first");
    wait_for(&s, 3, "name", "first");
    eventually("it was never there", || s.run("EXISTS items:25") == int(0));
    s.wait_until_in_sync();
    s.execute("update items set name = 'after' where id < 5");
    (1..5).for_each(|id| wait_for(&s, id, "name", "after"));
    assert_same(&s, &s.database);
}

/// A replica has what its master had followed, and follows by itself when it is promoted; a killed one reads what it
/// has missed.
#[test]
fn a_promoted_server_and_a_killed_one_follow() {
    let s = start();
    let replica = builder().option("url", s.database.url());
    let replica = replica.redis_conf("appendonly yes").start();
    replication::follow(&replica, &s);
    s.execute("update items set name = 'replicated' where id = 1");
    wait_for(&s, 1, "name", "replicated");
    wait_for(&replica, 1, "name", "replicated");
    s.redis.stop("KILL");
    s.execute("update items set name = 'no master' where id = 2; delete from items where id = 3");
    assert_eq!(replica.run("REPLICAOF NO ONE"), ok());
    s.execute("update items set name = 'promoted' where id = 4");
    wait_for(&replica, 2, "name", "no master");
    wait_for(&replica, 4, "name", "promoted");
    eventually("it goes", || replica.run("EXISTS items:3") == int(0));
    s.start_again();
    for server in [&s, &replica] {
        server.wait_until_in_sync();
        s.execute("update items set name = 'both' where id < 9");
        wait_for(server, 2, "name", "both");
        assert_same(server, &s.database);
        s.execute("update items set name = 'again' where id < 9");
        wait_for(server, 2, "name", "again");
    }
}
