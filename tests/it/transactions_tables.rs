//! WT.TRANSACTION over all kinds of keys and tables.

use serde_json::json;

use crate::support::*;

const SQL: &str = "
create extension citext;
create table k_uuid (id uuid primary key, n int);
create table k_citext (id citext primary key, n int);
create table k_numeric (id numeric primary key, n int);
create table k_bytea (id bytea primary key, n int);
create table k_date (id date primary key, n int);
create table \"K odd\" (\"the id\" text primary key, \"n\" int);
create table k_many (a int, b uuid, c text, n int, primary key (a, b, c));
create table parts (id int primary key, n int) partition by hash (id);
create table parts_0 partition of parts for values with (modulus 2, remainder 0);
create table parts_1 partition of parts for values with (modulus 2, remainder 1);
create table owned (id int primary key, n int, who text default current_user);
create table docs (id int primary key, doc jsonb, n int generated always as (id * 2) stored);";

const UUID: &str = "7d444840-9dc0-11d1-b245-5ffdce74fad2";

fn tables() -> Builder {
    let plain =
        ["k_uuid", "k_citext", "k_numeric", "k_bytea", "k_date", "k_many", "parts", "owned"];
    plain
        .iter()
        .fold(Stack::new().sql(SQL), |b, table| b.mapping(json!({ "table": table })))
        .mapping(json!({ "table": "K odd", "name": "odd" }))
        .mapping(json!({
            "table": "docs",
            "fields": { "city": { "column": "doc", "path": ["city"] }, "zip": { "column": "doc", "path": ["zip"] } }
        }))
}

#[test]
fn each_kind_of_key_can_be_part_of_it() {
    let s = tables().start();
    let ids = [
        ("k_uuid", UUID),
        ("k_citext", "Ann"),
        ("k_numeric", "1.50"),
        ("k_bytea", "\u{1}x"),
        ("k_date", "2024-02-29"),
        ("odd", "a:b"),
        ("parts", "1"),
        ("parts", "2"),
        ("owned", "1"),
    ];
    let composite = format!("k_many:1:{UUID}:x:y");
    let mut lines: Vec<String> =
        ids.iter().map(|(name, id)| format!("HSET __{{{name}:{id}}} n 1")).collect();
    lines.push(format!("HSET __{{{composite}}} n 1"));
    lines.push("HSET __{docs:1} city Rome zip 1".into());
    lines.extend(ids.iter().map(|(name, id)| format!("HINCRBY __{{{name}:{id}}} n 1")));
    lines.push(format!("HINCRBY __{{{composite}}} n 1"));
    lines.push("HDEL __{docs:1} zip".into());
    let replies = s.cmd(&transaction_of(&lines));
    let new = [vec![int(1); 10], vec![int(2)]].concat();
    let counted = [vec![int(2); 10], vec![int(1)]].concat();
    assert_eq!(replies, Reply::Array([new, counted].concat()));
    for (name, id) in ids {
        assert_eq!(s.run(&format!("HGET {name}:{id} n")), bulk("2"), "{name}");
    }
    assert_eq!(s.run(&format!("HGET {composite} n")), bulk("2"));
    assert_eq!(s.one("select doc from docs"), "{\"city\": \"Rome\"}");
    assert_eq!(s.one("select string_agg(concat(id, n), ' ') from k_numeric"), "1.502");
}

/// An id that the database writes in another way: none of it is done, and the right one is told.
#[test]
fn a_misspelt_id_takes_all_with_it() {
    let s = tables().start();
    s.execute("insert into k_citext values ('Ann', 1); insert into k_numeric values (1.5, 1)");
    for (line, right) in [
        ("HSET __{k_citext:ann} n 2", "\"Ann\""),
        ("HINCRBY __{k_numeric:1.50} n 2", "\"1.5\""),
        ("HSET __{k_uuid:7D444840-9DC0-11D1-B245-5FFDCE74FAD2} n 2", UUID),
        ("HSET __{parts:01} n 2", "\"1\""),
        ("HSET __{k_date:20240229} n 2", "\"2024-02-29\""),
        ("DEL __{k_citext:ANN}", "\"Ann\""),
    ] {
        let reply = s.cmd(&transaction_of(&["HSET __{owned:1} n 1", line, "HSET __{owned:2} n 1"]));
        let text = reply.assert_error("ERR writethrough: the database writes the id ");
        let key = line.split(' ').nth(1).unwrap();
        assert!(
            text.contains(right) && text.ends_with(&format!("; use that command=2 key={key}")),
            "{text}"
        );
        assert_eq!(s.count("owned"), 0, "{line}");
    }
    assert_eq!(s.one("select concat((select n from k_citext), (select n from k_numeric))"), "11");
    assert_eq!(s.keys(), [""; 0]);
}

/// Row-level security: what a policy refuses takes all with it.
#[test]
fn a_policy_refuses_all_of_it() {
    let role = format!("wt_tx_{}", std::process::id());
    let s = tables().start();
    s.execute(&format!(
        "drop role if exists {role}; create role {role} login;
         grant select, insert, update, delete on all tables in schema public to {role};
         alter table owned enable row level security;
         create policy mine on owned to {role} using (n < 100) with check (n < 10);
         insert into owned values (7, 500)"
    ));
    let url = s.database.url().replace("postgres@", &format!("{role}@"));
    let other = Stack::new()
        .option("url", url)
        .mapping(json!({ "table": "owned" }))
        .mapping(json!({ "table": "parts" }))
        .start();
    let run = |lines: &[&str]| other.cmd(&transaction_of(lines));
    assert_eq!(
        run(&["HSET __{parts:1} n 1", "HSET __{owned:1} n 5"]),
        Reply::Array(vec![int(1), int(1)])
    );
    for (lines, code) in [
        // The new row isn't allowed; the row that is there isn't seen.
        (["HSET __{parts:1} n 2", "HSET __{owned:1} n 50"], "WTERR 42501 "),
        (["HSET __{parts:1} n 2", "HSET __{owned:7} n 5"], "WTERR "),
    ] {
        let reply = run(&lines);
        let text = reply.assert_error(code);
        assert!(text.contains(" command=2 key=__{owned:"), "{text}");
    }
    let unmet = run(&["WT.EXPECT __{owned:7} n 500", "HSET __{parts:1} n 2"]);
    unmet.assert_error("WTABORT there is no row \"owned:7\"");
    assert_eq!(s.one("select n from parts"), "1");
    assert_eq!(s.one("select string_agg(concat(id, n), ' ' order by id) from owned"), "15 7500");
    drop(other);
    s.execute(&format!("drop owned by {role}; drop role {role}"));
}

/// CLIENT PAUSE WRITE: what is committed meanwhile is shown, all at once, when it is over.
#[test]
fn a_pause_holds_it_up() {
    let s = tables().start();
    let lines = ["HINCRBY __{parts:1} n 1", "HINCRBY __{parts:2} n 1"];
    assert_eq!(s.cmd(&transaction_of(&lines)), Reply::Array(vec![int(1), int(1)]));
    let lock = s.database.hold("select from parts where id = 2 for update");
    let mut conn = s.conn();
    conn.send(&transaction_of(&lines));
    s.database.wait_for_lock_waiters(1);
    assert_eq!(s.run("CLIENT PAUSE 60000 WRITE"), ok());
    let mut later = s.conn();
    later.send(&transaction_of(&lines));
    lock.rollback();
    eventually("it is committed", || s.one("select sum(n) from parts") == "4");
    assert_eq!((s.run("HGET parts:1 n"), s.run("HGET parts:2 n")), (bulk("1"), bulk("1")));
    assert!(!conn.has_reply() && !later.has_reply());
    assert_eq!(s.run("CLIENT UNPAUSE"), ok());
    assert_eq!(conn.receive(), Reply::Array(vec![int(2), int(2)]));
    assert_eq!(later.receive(), Reply::Array(vec![int(3), int(3)]));
    assert_eq!((s.run("HGET parts:1 n"), s.run("HGET parts:2 n")), (bulk("3"), bulk("3")));
}
