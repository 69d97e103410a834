//! Reads that miss, of odd ids, by clients that go, with what an administrator has forbidden.

use serde_json::json;

use crate::support::*;

const SQL: &str = "
create table items (id bigint primary key, name text check (name <> 'bad'));
insert into items values (1, 'pen'), (2, 'ink'), (3, 'pad');
create table texts (id text primary key, name text);
insert into texts values ('a}b', 'one'), ('{}', 'two'), ('{x}y', 'three'), ('', 'none'), ('a:b', 'four')";

fn builder() -> Builder {
    let of = |table: &str| json!({ "table": table, "read_through": true });
    Stack::new().sql(SQL).mapping(of("items")).mapping(of("texts"))
}

/// Nobody reads or writes the items until this is rolled back.
fn close(s: &Stack) -> OpenTransaction {
    s.database.hold("lock table items in access exclusive mode")
}

fn assert_idle(s: &Stack) {
    eventually("nothing is in flight", || s.info_int("in_flight") == 0);
}

#[test]
fn a_read_behind_a_write_that_is_refused_sees_the_row() {
    let s = builder().start();
    let lock = close(&s);
    let mut writer = s.send("HSET __{items:1} name bad");
    s.database.wait_for_lock_waiters(1);
    let mut reader = s.send("HGET items:1 name");
    let mut behind = s.send("HSET __{items:1} name later");
    s.wait_for_blocked(3);
    lock.rollback();
    writer.receive().assert_error("WTERR 23514 ");
    assert_eq!(reader.receive(), bulk("pen"));
    assert!(behind.receive().is_int());
    assert_eq!(s.run("HGET items:1 name"), bulk("later"));
}

#[test]
fn clients_that_go_leave_nothing() {
    let s = builder().start();
    let lock = close(&s);
    let gone = s.send("HGET items:1 name");
    let mut killed = s.conn();
    let id = killed.id();
    killed.send_line("EXISTS items:1 items:2");
    let mut unblocked = s.conn();
    let other = unblocked.id();
    unblocked.send_line("HGETALL items:1");
    let mut quiet = s.conn();
    quiet.send_line("CLIENT REPLY OFF");
    quiet.send_line("HGETALL items:3");
    quiet.send_line("CLIENT REPLY ON");
    s.wait_for_blocked(4);
    drop(gone);
    assert_eq!(s.run(&format!("CLIENT KILL ID {id}")), int(1));
    // A module's client can't be unblocked without its consent.
    assert_eq!(s.run(&format!("CLIENT UNBLOCK {other}")), int(0));
    lock.rollback();
    assert_eq!(unblocked.receive(), Reply::Array(["id", "1", "name", "pen"].map(bulk).to_vec()));
    assert_eq!(quiet.receive(), ok());
    assert_idle(&s);
    assert_eq!(s.keys(), ["items:1", "items:2", "items:3"]);
    assert_eq!(s.info_of("clients")["blocked_clients"], "0");
}

#[test]
fn read_through_may_be_turned_off_while_rows_are_on_their_way() {
    let s = builder().start();
    let lock = close(&s);
    let mut reader = s.send("HGET items:1 name");
    s.database.wait_for_lock_waiters(1);
    s.edit_document(|d| d["mappings"][0]["read_through"] = false.into());
    let mut reload = s.send("WT.RELOAD");
    lock.rollback();
    assert_eq!(reload.receive(), ok());
    assert_eq!(reader.receive(), bulk("pen"));
    assert_eq!(s.run("HGET items:2 name"), Reply::Nil);
    assert_idle(&s);
}

#[test]
fn rows_that_a_policy_hides_are_no_rows() {
    let sql = "create role app login; grant all on all tables in schema public to app;
        alter table items enable row level security;
        create policy p on items using (id <> 2)";
    let s = builder().sql(sql).option("url", "postgres://app@@DB@").start();
    assert_eq!(s.run("HGET items:1 name"), bulk("pen"));
    assert_eq!(s.run("HGETALL items:2"), Reply::Array(vec![]));
    assert_eq!(s.run("EXISTS items:1 items:2 items:3"), int(2));
}

#[test]
fn ids_of_any_bytes_are_answered() {
    let s = builder().start();
    let read = |id: &[u8]| s.cmd(&[b"HGET", &[b"texts:", id].concat()[..], b"name"]);
    assert_eq!(read(b"a}b"), bulk("one"));
    assert_eq!(read(b"{}"), bulk("two"));
    assert_eq!(read(b"{x}y"), bulk("three"));
    assert_eq!(read(b"a:b"), bulk("four"));
    for id in [&b"a\0b"[..], b"\0", b"\xff\xfe", b"\xc3", b"nobody", &[b'x'; 1 << 20]] {
        assert_eq!(read(id), Reply::Nil, "{:?}", &id[..id.len().min(9)].escape_ascii().to_string());
    }
    for id in ["9223372036854775808", "-", "1.0", "1e0", "+1", " 1", "1 ", "0x1", "1_0", "01"] {
        let key = format!("items:{id}");
        assert_eq!(s.cmd(&["HGET", &key, "name"]), Reply::Nil, "{id}");
        assert_eq!(s.cmd(&["EXISTS", &key, "items:1"]), int(1), "{id}");
    }
    assert_eq!(s.run("CONFIG SET maxmemory 1"), ok());
    s.run("DEL texts:a}b texts:{} texts:{x}y");
    assert_eq!(read(b"a}b"), bulk("one"));
    assert_eq!(read(b"{}"), bulk("two"));
    assert_eq!(read(b"{x}y"), bulk("three"));
    assert_idle(&s);
}

#[test]
fn ten_thousand_keys_are_one_command() {
    let s = builder().start();
    s.execute("insert into items select n, 'x' from generate_series(10, 10009) n");
    let words: Vec<String> = (10..20010).map(|id| format!("items:{id}")).collect();
    let exists: Vec<String> = std::iter::once("EXISTS".to_string()).chain(words).collect();
    assert_eq!(s.cmd(&exists), int(10_000));
    assert_eq!(s.cmd(&exists), int(10_000));
    assert_idle(&s);
}

#[test]
fn what_a_user_may_not_run_is_refused_on_a_miss_too() {
    let s = builder().start();
    assert_eq!(s.run("ACL SETUSER a on nopass ~* +@all -hgetall"), ok());
    let mut conn = s.conn();
    assert_eq!(conn.run("AUTH a x"), ok());
    conn.run("HGETALL items:1").assert_error("NOPERM ");
    conn.run("WT.HGETALL items:1").assert_error("NOPERM ");
    assert_eq!(s.info_int("loads"), 0);
    assert_eq!(conn.run("HGET items:1 name"), bulk("pen"));
    conn.run("HGETALL items:1").assert_error("NOPERM ");
}

#[test]
fn a_command_that_redis_conf_takes_away_stays_away() {
    let s = builder().redis_conf("rename-command HGETALL \"\"").start();
    s.run("HGETALL items:1").assert_error("ERR ");
    s.run("WT.HGETALL items:1").assert_error("ERR ");
    assert_eq!(s.run("HGET items:1 name"), bulk("pen"));
    s.run("HGETALL items:1").assert_error("ERR unknown command");
    s.run("HGETALL items:2").assert_error("ERR unknown command");
}

#[test]
fn who_monitors_sees_the_read_under_both_names() {
    let s = builder().start();
    let mut monitor = s.conn();
    assert_eq!(monitor.run("MONITOR"), ok());
    assert_eq!(s.run("HGET items:1 name"), bulk("pen"));
    assert_eq!(s.run("ECHO end"), bulk("end"));
    let mut lines = Vec::new();
    loop {
        let line = monitor.receive().text();
        if line.contains("ECHO") {
            break;
        }
        lines.push(line);
    }
    let reads: Vec<_> = lines.iter().filter(|line| line.contains("items:1")).collect();
    // And once what the module runs for it.
    assert_eq!(reads.len(), 2, "{reads:?}");
    assert!(reads[0].contains("\"wt.hget\"") && reads[1].contains("\"HGET\""), "{reads:?}");
}
