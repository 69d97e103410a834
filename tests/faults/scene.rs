//! Tables under load, and the verdict at the end.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::history::{self, Column, Op};
use crate::support::*;
use crate::transfers;

/// What was tried and what was survived, over all scenes.
#[derive(Default)]
pub struct Tally {
    pub faults: AtomicUsize,
    pub writes: AtomicUsize,
    pub lost: AtomicUsize,
    pub differing: AtomicUsize,
}

pub static TALLY: Tally = Tally {
    faults: AtomicUsize::new(0),
    writes: AtomicUsize::new(0),
    lost: AtomicUsize::new(0),
    differing: AtomicUsize::new(0),
};

/// Counts a fault.
pub fn fault() {
    TALLY.faults.fetch_add(1, Ordering::Relaxed);
}

/// `items` is set and deleted, `counters` is added to, and of `logged` a trigger keeps the order
/// of the table. Between `accounts` numbers are moved, and `counted` is added to by WT.ONCE. A value that begins with `bad` is refused, and so is a large sum.
pub const SQL: &str = "
create table items (id int primary key, v text check (v not like 'bad%'), w text, f text);
create table counters (id int primary key, n bigint not null default 0 check (n < 1000000000000), f text);
create table logged (id int primary key, v text, w text);
create table accounts (id int primary key, n bigint not null check (n >= 0), f text);
insert into accounts select id, 1000 from generate_series(0, 23) id;
create table counted (id int primary key, n bigint not null default 0, f text);
create table others (id int primary key, f text);
create table log (seq bigserial primary key, id int, v text);
create table disk (full_ boolean);
create function log() returns trigger language plpgsql as $$ begin
    if exists (select from disk) then
        raise exception 'could not extend file: No space left on device' using errcode = '53100';
    end if;
    insert into log (id, v) values (new.id, new.v);
    return new;
end $$;
create trigger log after insert or update on logged for each row execute function log()";

/// The tables that are mapped.
const TABLES: [&str; 6] = ["items", "counters", "logged", "accounts", "counted", "others"];

/// In these another program writes the column `f`.
pub const SHARED: &[&str] = &["items", "counters", "accounts", "counted"];

/// The document for [`SQL`]. Nobody's time is up, however slow the machine is.
pub fn patient_builder() -> Builder {
    TABLES.iter().fold(Stack::new().option("follow", true), |b, table| b.mapping(mapping(table)))
}

/// Plain keys are written through, and delete rows.
pub fn mapping(table: &str) -> serde_json::Value {
    json!({ "table": table, "plain_writes": "through", "on_delete": "delete" })
}

/// The same with short times, so that a fault is over soon.
pub fn builder() -> Builder {
    let builder = patient_builder().option("timeout_ms", 1000).option("sync_timeout_ms", 400);
    builder.option("connect_timeout_ms", 400)
}

/// The load is over: nothing stays in flight, the table is what was acknowledged, and each cached
/// hash of these servers is its row.
#[track_caller]
pub fn verdict(database: &Database, servers: &[&Stack], ops: &[Op]) {
    for server in servers {
        eventually("nothing is in flight or staged", || {
            server.info_int("in_flight") == 0 && server.run("KEYS __*") == Reply::Array(vec![])
        });
    }
    let log = database.rows("select id, v from log order by seq");
    let log: Vec<_> = log.iter().map(|row| (number(row), row["v"].clone())).collect();
    let table = |name: &str, of: &str| column(database, name, of);
    let mut lost = history::check(ops, &table("items", "v"), &table("counters", "n"), &log);
    lost.extend(transfers::check(ops, &table("accounts", "n"), &table("counted", "n")));
    let differing: Vec<String> = servers.iter().flat_map(|s| differing(database, s)).collect();
    let answered = ops.iter().filter(|op| !matches!(op.act, history::Act::Saw(_))).count();
    TALLY.writes.fetch_add(answered, Ordering::Relaxed);
    TALLY.lost.fetch_add(lost.len(), Ordering::Relaxed);
    TALLY.differing.fetch_add(differing.len(), Ordering::Relaxed);
    let all = [lost, differing].concat();
    assert!(all.is_empty(), "{} wrong:\n{}", all.len(), all[..all.len().min(12)].join("\n"));
}

fn number(row: &Hash) -> usize {
    row["id"].parse().expect("an id")
}

fn column(database: &Database, table: &str, name: &str) -> Column {
    let rows = database.rows(&format!("select id, {name} from {table}"));
    rows.iter().filter_map(|row| Some((number(row), row.get(name)?.clone()))).collect()
}

fn differing(database: &Database, server: &Stack) -> Vec<String> {
    let mut wrong = Vec::new();
    for table in TABLES {
        let rows = database.rows(&format!("select * from {table}"));
        for key in server.keys().iter().filter(|key| key.starts_with(&format!("{table}:"))) {
            let id: usize = key[table.len() + 1..].parse().expect("an id");
            let row = rows.iter().find(|row| number(row) == id).cloned().unwrap_or_default();
            let cached = server.hgetall(key);
            if cached != row {
                wrong.push(format!("{key} is {cached:?} in the cache, {row:?} in the table"));
            }
        }
    }
    wrong
}

/// Waits until the module says that its data set is up to date.
pub fn wait_for_sync(server: &Stack) {
    if server.info().contains_key("writethrough_in_sync") {
        eventually("the data set is in sync", || server.info_int("in_sync") == 1);
        return;
    }
    // Before the journal: what a restart or a promotion made old is repaired by hand.
    for table in TABLES {
        let reply = server.run(&format!("WT.VERIFY {table} REPAIR"));
        assert!(!reply.is_error(), "{reply:?}");
    }
}
