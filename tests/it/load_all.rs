//! WT.LOAD and `preload`: the rows of a table become hashes.

use serde_json::json;

use crate::replication::{assert_same_data, follow};
use crate::support::*;

/// Rows that take more than two pages.
const ROWS: i64 = 5000;

/// Items; and a function whose call takes until nobody holds the advisory lock, so that a page shows the
/// rows as they were when it was begun.
pub const TABLE: &str = "
create table items (id bigint primary key, name text, state text);
insert into items select n, 'item ' || n, case n % 2 when 0 then 'active' else 'old' end
    from generate_series(1, 5000) n;
analyze items;
create function gate() returns boolean stable language plpgsql as $$ begin
    while not pg_try_advisory_xact_lock_shared(78) loop perform pg_sleep(0.002); end loop;
    return true;
end $$;";

fn items() -> Builder {
    Stack::new().sql(TABLE).mapping(json!({ "table": "items" })).patient()
}

/// The page that row 2500 is of waits at it: what comes before is there.
fn gated() -> Builder {
    items().redis_conf("enable-debug-command yes").sql(GATED).mapping(gated_mapping())
}

pub const GATED: &str = "create view gated as
    select id, name, state, case when id = 2500 then gate() end as gate from items";

pub fn gated_mapping() -> serde_json::Value {
    let fields = json!({ "id": "id", "name": "name", "gate": "gate" });
    json!({ "table": "gated", "key": "id", "fields": fields })
}

pub fn close(s: &Stack) -> OpenTransaction {
    s.database.hold("select pg_advisory_xact_lock(78)")
}

/// A load of the gated rows that has come to the gate, and has loaded the page before.
pub fn held_up(s: &Stack) -> Conn {
    let conn = s.send("WT.LOAD gated");
    eventually("the first page is loaded", || s.info_int("load_rows") == 2000);
    wait_at_gate(s);
    conn
}

fn wait_at_gate(s: &Stack) {
    eventually("a page is held up", || {
        s.one(
            "select count(*) from pg_stat_activity where datname = current_database()
               and query like '%ORDER BY%' and wait_event = 'PgSleep'",
        ) == "1"
    });
}

fn report(name: &str, ended: &str, loaded: i64, left_alone: i64, unusable: i64) -> Reply {
    let pairs = [
        ("mapping", bulk(name)),
        ("ended", bulk(ended)),
        ("loaded", int(loaded)),
        ("left_alone", int(left_alone)),
        ("unusable", int(unusable)),
    ];
    Reply::Array(pairs.into_iter().flat_map(|(name, value)| [bulk(name), value]).collect())
}

fn wait_until_idle(s: &Stack) {
    eventually("nothing is loaded any more", || s.info_int("load_running") == 0);
}

#[test]
fn all_rows_become_hashes() {
    let s = items().start();
    assert_eq!(s.run("HSET items:7 name mine"), int(1));
    assert_eq!(s.run("WT.LOAD items"), report("items", "all rows", ROWS - 1, 1, 0));
    assert_eq!(s.run("HGET items:7 name"), bulk("mine"), "a key that is there is left alone");
    for id in [1, 2000, 2001, 4000, 5000] {
        let text = id.to_string();
        let state = if id % 2 == 0 { "active" } else { "old" };
        let name = format!("item {id}");
        let row = hash(&[("id", text.as_str()), ("name", name.as_str()), ("state", state)]);
        assert_eq!(s.hgetall(&format!("items:{id}")), row);
    }
    assert_eq!(s.run("WT.LOAD items"), report("items", "all rows", 0, ROWS, 0));
    assert_eq!(s.run("DEL items:7"), int(1));
    assert_eq!(s.run("WT.LOAD items"), report("items", "all rows", 1, ROWS - 1, 0));
    s.wait_for_log("loading \"items\": about 5000 rows");
    s.wait_for_log("the rows of \"items\" are loaded: 4999 rows in ");
    assert_eq!(s.info_int("load_rows"), ROWS);
}

#[test]
fn keys_of_every_kind() {
    let s = Stack::new()
        .sql("create table lines (a text, b integer, c text, v text, primary key (a, b, c));
              insert into lines select chr(64 + n % 26), n, 'x:' || n, n::text
                  from generate_series(1, 4500) n;
              insert into lines values ('a:b', 1, 'c', 'no key'), ('', 1, 'c', 'no key'), ('ä', -1, ':', 'v');
              create table texts (id text collate \"und-x-icu\" primary key, v text);
              insert into texts select md5(n::text) || E' \\n\"''é', null from generate_series(1, 4500) n;
              create table times (t timestamptz, n numeric, b bytea, v text, primary key (t, n, b));
              insert into times select '2024-01-01Z'::timestamptz + n * interval '1 ms', n / 3.0,
                  decode(lpad(to_hex(n), 8, '0'), 'hex'), 'v' from generate_series(1, 4500) n")
        .mapping(json!({ "table": "lines", "ttl": 1000 }))
        .mapping(json!({ "table": "texts" }))
        .mapping(json!({ "table": "times" }))
        .start();
    assert_eq!(s.run("WT.LOAD lines"), report("lines", "all rows", 4501, 0, 2));
    assert_eq!(s.run("HGET lines:ä:-1:: v"), bulk("v"));
    assert_eq!(s.run("HGET lines:B:2:x:2 v"), bulk("2"));
    assert!(s.run("TTL lines:B:2:x:2").int() > 900);
    assert_eq!(s.run("WT.LOAD texts"), report("texts", "all rows", 4500, 0, 0));
    // A time holds colons, and it isn't the last part.
    assert_eq!(s.run("WT.LOAD times"), report("times", "all rows", 0, 0, 4500));
    for name in ["lines", "texts"] {
        let verified = s.run(&format!("WT.VERIFY {name}"));
        assert_eq!(verified.array()[7], int(0), "{verified:?}");
    }
}

#[test]
fn some_rows_a_limit_and_what_is_wrong() {
    let s = items().with("preload", "state = 'active' -- the others are seldom read").start();
    wait_for_preload(&s, ROWS / 2);
    s.run("FLUSHALL");
    assert_eq!(
        s.run("WT.LOAD items LIMIT 100"),
        report("items", "the limit is reached", 100, 0, 0)
    );
    assert_eq!(s.run("EXISTS items:200 items:202 items:1"), int(1));
    let again = s.run("WT.LOAD items limit 2100");
    assert_eq!(again, report("items", "the limit is reached", 2100, 100, 0));
    for (command, problem) in [
        ("WT.LOAD item", "ERR writethrough: no mapping is named \"item\"; did you mean \"items\"?"),
        ("WT.LOAD item STOP", "ERR writethrough: no mapping is named \"item\""),
        ("WT.LOAD items LIMIT", "ERR writethrough: LIMIT needs a number of rows"),
        ("WT.LOAD items LIMIT 0", "ERR writethrough: LIMIT needs a number of rows"),
        ("WT.LOAD items LIMIT x", "ERR writethrough: LIMIT needs a number of rows"),
        (
            "WT.LOAD items STOP BACKGROUND",
            "ERR writethrough: expected WT.LOAD name [LIMIT n] [BACKGROUND]",
        ),
        ("WT.LOAD items now", "ERR writethrough: expected WT.LOAD name [LIMIT n] [BACKGROUND]"),
    ] {
        s.run(command).assert_error(problem);
    }
    assert_eq!(s.run("WT.LOAD items STOP"), int(0));
    let in_transaction = transaction(&mut s.conn(), &["WT.LOAD items"]);
    in_transaction[0].assert_error("ERR writethrough: WT.LOAD can't wait in a transaction");
    let in_background = transaction(&mut s.conn(), &["WT.LOAD items BACKGROUND"]);
    assert_eq!(in_background, [ok()]);
    wait_until_idle(&s);
    assert_eq!(s.run("DBSIZE"), int(ROWS / 2));
}

fn wait_for_preload(s: &Stack, rows: i64) {
    s.wait_for_log(&format!("the rows of \"items\" are loaded: {rows} rows in "));
}

#[test]
fn rows_are_preloaded_at_the_start_and_after_a_restart() {
    let s = items().with("preload", true).redis_conf("appendonly yes").start();
    wait_for_preload(&s, ROWS);
    s.execute("insert into items values (6000, 'new', 'new')");
    assert_eq!(s.run("DEL items:1"), int(1));
    s.restart_redis("TERM");
    eventually("what is missing is loaded", || s.run("EXISTS items:1 items:6000") == int(2));
    wait_until_idle(&s);
    assert_eq!(s.info_int("load_rows"), 2);
}

#[test]
fn rows_are_preloaded_when_a_reload_says_so() {
    let s = items().with("preload", "id = 1").start();
    wait_for_preload(&s, 1);
    let reload = |preload: serde_json::Value| {
        s.edit_document(|d| d["mappings"][0]["preload"] = preload);
        assert_eq!(s.run("WT.RELOAD"), ok());
    };
    assert_eq!(s.run("DEL items:1"), int(1));
    // What it says as before is no reason to load rows again, and neither is the end of it.
    reload("id = 1".into());
    reload(false.into());
    reload("id <= 10".into());
    wait_for_preload(&s, 10);
    assert_eq!(s.run("DBSIZE"), int(10));
    assert_eq!(s.log().matches("the rows of \"items\" are loaded: ").count(), 2);
}

#[test]
fn a_wrong_condition_fails_the_load() {
    for (condition, problem) in [
        (
            "stat = 'active'",
            "mappings[0].preload: column \"stat\" does not exist; expected a condition like",
        ),
        ("state", "mappings[0].preload: argument of WHERE must be type boolean, not type text"),
        ("id = 'x'", "mappings[0].preload: invalid input syntax for type bigint: \"x\""),
        ("true) or (", "mappings[0].preload: syntax error at "),
        ("true; drop table items", "mappings[0].preload: syntax error at "),
        ("id = $1", "mappings[0].preload: it holds a parameter"),
        (" ", "mappings[0].preload: expected true, false or an SQL condition like"),
    ] {
        let log = items().with("preload", condition).try_start().err().expect("it is refused");
        assert!(log.contains(problem), "{condition}: {log}");
    }
    let log = items().with("preload", 1).try_start().err().expect("it is refused");
    assert!(
        log.contains("mappings[0].preload: invalid type: integer `1`, expected true, false or"),
        "{log}"
    );
}

/// What has been written, or evicted, since a page was begun is newer than the page.
#[test]
fn no_older_row_takes_the_place_of_a_newer_one() {
    let s = gated().start();
    let gate = close(&s);
    let mut load = held_up(&s);
    // Another program changes rows, and evicts what may be cached of them.
    s.execute("update items set name = 'new' where id in (2100, 2200, 2300)");
    s.execute("delete from items where id in (2400, 4500)");
    assert_eq!(s.run("DEL gated:2100"), int(0));
    assert_eq!(transaction(&mut s.conn(), &["UNLINK gated:2200 gated:9", "GET x"])[0], int(1));
    let script = "return redis.call('DEL', KEYS[1])";
    assert_eq!(s.cmd(&["EVAL", script, "1", "gated:2400"]), int(0));
    // A write through the module, which is then evicted.
    assert!(s.run("HSET __{gated:2450} name mine").is_int());
    assert_eq!(s.run("DEL gated:2450"), int(1));
    gate.rollback();
    let left_alone = 4;
    assert_eq!(load.receive(), report("gated", "all rows", ROWS - 1 - left_alone, left_alone, 0));
    assert_eq!(s.run("EXISTS gated:2100 gated:2200 gated:2400 gated:2450 gated:4500"), int(0));
    // Nobody has told of this one: it is what the page says, as if it had been read then.
    assert_eq!(s.run("HGET gated:2300 name"), bulk("item 2300"));
    assert_eq!(s.run("WT.LOAD gated"), report("gated", "all rows", 4, ROWS - 2 - 4, 0));
    assert_eq!(s.run("HGET gated:2100 name"), bulk("new"));
    assert_eq!(s.run("HGET gated:2450 name"), bulk("mine"));
}

#[test]
fn a_row_that_is_deleted_meanwhile_stays_gone() {
    let s = gated().start();
    let gate = close(&s);
    let mut load = held_up(&s);
    assert_eq!(s.run("DEL __{gated:2100}"), int(1));
    // A write that is on its way, and is refused in the end.
    gate.rollback();
    assert_eq!(load.receive(), report("gated", "all rows", ROWS - 1, 1, 0));
    assert_eq!(s.run("EXISTS gated:2100"), int(0));
}

#[test]
fn a_flush_ends_it() {
    for flush in ["FLUSHALL", "FLUSHDB", "SWAPDB 0 1"] {
        let s = gated().start();
        let gate = close(&s);
        let mut load = held_up(&s);
        assert_eq!(s.run(flush), ok());
        let reply = load.receive();
        reply.assert_error(
            "ERR writethrough: the load has ended, the database was flushed or swapped; 2000 rows",
        );
        gate.rollback();
        assert_eq!(s.run("DBSIZE"), int(0), "{flush}");
        let loaded = s.run("WT.LOAD gated");
        assert_eq!(loaded, report("gated", "all rows", ROWS, 0, 0));
    }
}

#[test]
fn it_can_be_watched_and_stopped() {
    let s = gated().start();
    let gate = close(&s);
    assert_eq!(s.run("WT.LOAD gated BACKGROUND"), ok());
    eventually("the first page is loaded", || s.info_int("load_rows") == 2000);
    wait_at_gate(&s);
    s.run("WT.LOAD gated").assert_error(
        "ERR writethrough: the rows of \"gated\" are being loaded already; see WT.STATUS",
    );
    assert_eq!((s.info_int("load_running"), s.info_int("load_rows_expected")), (1, ROWS));
    assert!(s.info()["writethrough_load_state"].starts_with("gated: 2000 of about 5000 rows, "));
    // Another one isn't in its way.
    assert_eq!(s.run("WT.LOAD items"), report("items", "all rows", ROWS, 0, 0));
    assert_eq!(s.run("WT.LOAD gated STOP"), int(1));
    wait_until_idle(&s);
    let last = s.info()["writethrough_load_last"].clone();
    assert!(last.starts_with("gated: stopped by WT.LOAD STOP; 2000 rows in "), "{last}");
    assert_eq!(s.info()["writethrough_load_state"], "idle");
    gate.rollback();
    assert_eq!(s.run("WT.LOAD gated"), report("gated", "all rows", ROWS - 2000, 2000, 0));
}

#[test]
fn it_ends_when_its_client_goes() {
    let s = gated().start();
    let gate = close(&s);
    drop(held_up(&s));
    wait_until_idle(&s);
    s.wait_for_log("the load of \"gated\" has ended, its client has gone: 2000 rows in ");
    gate.rollback();
    assert_eq!(s.run("PING"), Reply::Status("PONG".into()));
}

#[test]
fn it_goes_on_after_a_lost_connection() {
    let s = gated().start();
    let gate = close(&s);
    let mut load = held_up(&s);
    s.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
               and query like '%ORDER BY%' and wait_event = 'PgSleep'",
    );
    s.wait_for_log("the load of \"gated\" waits: ");
    gate.rollback();
    assert_eq!(load.receive(), report("gated", "all rows", ROWS, 0, 0));
}

#[test]
fn it_stops_where_memory_ends() {
    for policy in ["noeviction", "allkeys-lru"] {
        let s = items().sql("update items set name = repeat('x', 8000)").start();
        s.run(&format!("CONFIG SET maxmemory-policy {policy}"));
        let used: i64 = s.info_of("memory")["used_memory"].parse().unwrap();
        s.run(&format!("CONFIG SET maxmemory {}", used + 20_000_000));
        s.run("WT.LOAD items").assert_error("OOM writethrough: maxmemory is reached; ");
        let loaded = s.info_int("load_rows");
        assert!(loaded > 0 && loaded < ROWS, "{policy}: {loaded}");
        s.run("CONFIG SET maxmemory 0");
        s.run("WT.LOAD items");
        assert_eq!(s.run("DBSIZE"), int(ROWS), "{policy}");
    }
}

#[test]
fn a_table_that_is_changed_is_read_by_its_new_definition() {
    let s = items().start();
    // Pages come, and no row becomes a hash.
    assert_eq!(s.run("CLIENT PAUSE 600000 WRITE"), ok());
    assert_eq!(s.run("WT.LOAD items BACKGROUND"), ok());
    eventually("rows have come", || s.info_int("load_rows_expected") == ROWS);
    s.execute(
        "alter table items rename name to title; alter table items add name text default 'x'",
    );
    s.wait_for_log("has changed; the catalog was read again");
    assert_eq!(s.run("CLIENT UNPAUSE"), ok());
    wait_until_idle(&s);
    for id in [1, 2300, 2700, 5000] {
        let title = format!("item {id}");
        assert_eq!(
            s.run(&format!("HMGET items:{id} name title")).array(),
            [bulk("x"), bulk(title)]
        );
    }
    // The table goes: there is nothing to be loaded.
    s.run("FLUSHALL");
    s.execute("drop table items");
    s.run("WT.LOAD items").assert_error("WTERR 42P01 ");
}

#[test]
fn a_replica_gets_the_keys() {
    let master = items().redis_conf("enable-debug-command yes").start();
    let replica = Stack::new().without_module().redis_conf("enable-debug-command yes").start();
    follow(&replica, &master);
    assert_eq!(master.run("WT.LOAD items"), report("items", "all rows", ROWS, 0, 0));
    assert_same_data(&replica, &master);
    assert!(replica.run("DBSIZE").int() >= ROWS);
}

/// A server that follows another one loads nothing, and one that becomes the master does.
#[test]
fn only_a_master_loads() {
    let master = items().start();
    let replica = items().with("preload", true).start();
    wait_for_preload(&replica, ROWS);
    follow(&replica, &master);
    replica.run("WT.LOAD items").assert_error("READONLY ");
    assert!(replica.run("DBSIZE").int() < ROWS);
    assert_eq!(replica.run("REPLICAOF NO ONE"), ok());
    eventually("its rows are loaded", || replica.run("EXISTS items:1 items:5000") == int(2));
}

#[test]
fn it_waits_for_the_end_of_a_pause() {
    let s = items().start();
    assert_eq!(s.run("CLIENT PAUSE 600000 WRITE"), ok());
    assert_eq!(s.run("WT.LOAD items BACKGROUND"), ok());
    eventually("rows have come", || s.info_int("load_rows_expected") == ROWS);
    assert_eq!(s.run("DBSIZE"), int(0));
    assert_eq!(s.run("CLIENT UNPAUSE"), ok());
    wait_until_idle(&s);
    assert_eq!(s.run("EXISTS items:1 items:5000"), int(2));
}

/// A client that has read that there is no such key hears of the change.
#[test]
fn who_was_told_that_there_is_no_key_is_told_of_it() {
    let s =
        items().mapping(json!({ "table": "items", "name": "read", "read_through": true })).start();
    let mut conn = s.conn();
    assert_eq!(conn.run("WATCH items:1"), ok());
    assert_eq!(conn.run("HGET items:1 name"), Reply::Nil);
    assert_eq!(s.run("HGET read:6000 name"), Reply::Nil);
    s.execute("insert into items values (6000, 'late', 'new')");
    assert_eq!(s.run("WT.LOAD items LIMIT 1"), report("items", "the limit is reached", 1, 0, 0));
    assert_eq!(conn.run("MULTI"), ok());
    conn.run("PING");
    assert_eq!(conn.run("EXEC"), Reply::Nil, "the key has changed");
    assert_eq!(s.run("WT.LOAD read"), report("read", "all rows", ROWS + 1, 0, 0));
    assert_eq!(s.run("HGET read:6000 name"), bulk("late"));
    assert_eq!(s.run("EVAL return(redis.call('FLUSHALL')) 0"), ok());
    assert_eq!(s.run("HGET read:6000 name"), bulk("late"));
}
