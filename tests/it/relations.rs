//! Tables that are more than a table: views, partitions, policies, and what ties rows together.

use serde_json::json;

use crate::support::*;

const VIEW: &str = "
create table base (id int primary key, body text, size int);
create view notes as select id, upper(body) as body, size from base;
create function notes() returns trigger language plpgsql as $$ begin
    if tg_op = 'DELETE' then delete from base where id = old.id; return old; end if;
    if new.size < 0 then raise exception 'too small'; end if;
    insert into base values (new.id, new.body, new.size)
        on conflict (id) do update set body = excluded.body, size = excluded.size;
    return new;
end $$;
create trigger notes instead of insert or update or delete on notes
    for each row execute function notes()";

#[test]
fn a_view_with_an_instead_of_trigger() {
    let s = Stack::new().sql(VIEW).mapping(json!({ "table": "notes", "key": "id" })).start();
    assert_eq!(s.run("HSET __{notes:1} body one size 5"), int(2));
    assert_eq!(s.hgetall("notes:1"), hash(&[("id", "1"), ("body", "ONE"), ("size", "5")]));
    assert_eq!(s.run("HSET __{notes:1} body two"), int(0));
    assert_eq!(s.run("HINCRBY __{notes:1} size 2"), int(7));
    assert_eq!(s.run("HINCRBY __{notes:2} size 1"), int(1));
    assert_eq!(s.run("HSETNX __{notes:2} body b"), int(1));
    assert_eq!(s.run("HSETNX __{notes:2} body c"), int(0));
    s.assert_line_refused("HINCRBY __{notes:1} size -8", "WTERR P0001 too small");
    assert_eq!(s.run("HDEL __{notes:1} size body"), int(2));
    (1..=2).for_each(|id| s.assert_row_cached("notes", id));
    assert_eq!(s.run("DEL __{notes:1}"), int(1));
    assert_eq!(s.one("select string_agg(id::text, ',') from base"), "2");
    s.assert_row_cached("notes", 1);
}

#[test]
fn a_view_needs_a_key() {
    let s = Stack::new().sql(VIEW).mapping(json!({ "table": "notes" })).without_module().start();
    assert!(s.load().is_error());
    assert!(s.log().contains("mappings[0].key"), "{}", s.log());
}

#[test]
fn a_view_that_can_be_updated_by_itself() {
    let sql = "create table base (id int primary key, body text, secret text default 's');
        create view notes as select id, body from base where id < 100 with check option";
    let s = Stack::new().sql(sql).mapping(json!({ "table": "notes", "key": "id" })).start();
    assert_eq!(s.run("HSET __{notes:1} body a"), int(1));
    assert_eq!(s.run("HSET __{notes:1} body b"), int(0));
    s.assert_row_cached("notes", 1);
    s.assert_line_refused("HSET __{notes:100} body a", "WTERR 44000 ");
    assert_eq!(s.run("DEL __{notes:1}"), int(1));
    assert_eq!(s.count("base"), 0);
}

#[test]
fn a_partitioned_table() {
    let sql = "create table events (day date, id int, body text, n int default 0,
            primary key (day, id)) partition by range (day);
        create table events_2023 partition of events for values from ('2023-01-01') to ('2024-01-01');
        create table events_2024 partition of events for values from ('2024-01-01') to ('2025-01-01')";
    let s = Stack::new().sql(sql).mapping(json!({ "table": "events" })).start();
    assert_eq!(s.run("HSET __{events:2023-05-01:1} body a"), int(1));
    assert_eq!(s.run("HSET __{events:2024-05-01:1} body b"), int(1));
    assert_eq!(s.run("HINCRBY __{events:2024-05-01:1} n 3"), int(3));
    assert_eq!(s.run("HSETNX __{events:2024-05-01:1} body c"), int(0));
    assert_eq!((s.count("events_2023"), s.count("events_2024")), (1, 1));
    let expected = [("day", "2024-05-01"), ("id", "1"), ("body", "b"), ("n", "3")];
    assert_eq!(s.hgetall("events:2024-05-01:1"), hash(&expected));
    let text = s.assert_line_refused("HSET __{events:2025-05-01:1} body c", "WTERR 23514 ");
    assert!(text.contains("no partition"), "{text}");
    s.execute(
        "create table events_2025 partition of events for values from ('2025-01-01') to ('2026-01-01')",
    );
    assert_eq!(s.run("HSET __{events:2025-05-01:1} body c"), int(1), "the next write");
    assert_eq!(s.run("DEL __{events:2023-05-01:1} __{events:2025-05-01:1}"), int(2));
    assert_eq!(s.run("HDEL __{events:2024-05-01:1} body"), int(1));
    s.execute("drop table events_2023");
    assert_eq!(s.run("HSET __{events:2024-05-01:1} body d"), int(1));
    assert_eq!(s.count("events"), 1);
}

#[test]
fn a_trigger_on_a_partition_is_seen() {
    let sql = "create table items (id int primary key, stock int, seen int default 0)
            partition by list (id);
        create table items_1 partition of items for values in (1);
        create function see() returns trigger language plpgsql as
            $$ begin new.seen := new.seen + 1; return new; end $$;
        create trigger see before update on items_1 for each row execute function see()";
    let s = Stack::new().sql(sql).mapping(json!({ "table": "items" })).one_worker().start();
    assert_eq!(s.run("HSET __{items:1} stock 1"), int(1));
    let lines = ["1", "2", "3"].map(|n| format!("HINCRBY __{{items:1}} stock {n}"));
    assert_eq!(s.together(&lines), [2, 4, 7].map(int));
    assert_eq!(s.hgetall("items:1")["seen"], "3");
    s.assert_row_cached("items", 1);
}

/// The role may see and change its own rows.
const POLICY: &str = "
do $$ begin create role wt_tenant login; exception when others then null; end $$;
create table notes (id int primary key, owner name not null default current_user,
    body text, n int);
insert into notes values (2, 'postgres', 'secret', 5);
grant select, insert, update, delete on notes to wt_tenant;
alter table notes enable row level security;
create policy own on notes using (owner = current_user) with check (owner = current_user)";

#[test]
fn row_level_security_holds() {
    let s = Stack::new()
        .sql(POLICY)
        .mapping(json!({ "table": "notes" }))
        .option("url", "postgres://wt_tenant@@DB@")
        .start();
    assert_eq!(s.run("HSET __{notes:1} body mine"), int(1));
    assert_eq!(s.run("HSET __{notes:1} body still"), int(0));
    assert_eq!(s.run("HINCRBY __{notes:1} n 4"), int(4));
    assert_eq!(s.run("HSETNX __{notes:1} body x"), int(0));
    s.assert_row_cached("notes", 1);
    assert_eq!(s.hgetall("notes:1")["owner"], "wt_tenant");
    s.assert_line_refused("HSET __{notes:1} owner postgres", "WTERR 42501 ");
    s.assert_line_refused("HSET __{notes:3} owner postgres body x", "WTERR 42501 ");
    for line in [
        "HSET __{notes:2} body x",
        "HSET __{notes:2} body x owner wt_tenant n 1",
        "HINCRBY __{notes:2} n 1",
        "HSETNX __{notes:2} body x",
    ] {
        s.assert_line_refused(line, "WTERR ");
    }
    assert_eq!(s.run("HDEL __{notes:2} body"), int(0), "no such row, for this role");
    assert_eq!(s.run("DEL __{notes:2}"), int(0));
    assert_eq!(s.run("WT.REFRESH notes:2"), int(0));
    assert_eq!(s.run("EXISTS notes:2"), int(0), "and nothing of it is shown");
    assert_eq!(s.one("select body || n from notes where id = 2"), "secret5");
    assert_eq!(s.run("DEL __{notes:1}"), int(1));
}

const FAMILY: &str = "
create table parents (id int primary key, name text);
create table children (id int primary key,
    parent int references parents on delete cascade,
    friend int references parents on delete set null)";

/// Other rows that a write changes are another program's changes to the cache: VERIFY finds them.
#[test]
fn a_deletion_cascades() {
    let s = Stack::new()
        .sql(FAMILY)
        .mapping(json!({ "table": "parents" }))
        .mapping(json!({ "table": "children" }))
        .start();
    assert_eq!(s.run("HSET __{parents:1} name a"), int(1));
    assert_eq!(s.run("HSET __{parents:2} name b"), int(1));
    assert_eq!(s.run("HSET __{children:1} parent 1"), int(1));
    assert_eq!(s.run("HSET __{children:2} parent 2 friend 1"), int(2));
    assert_eq!(s.run("DEL __{parents:1}"), int(1));
    assert_eq!(s.one("select string_agg(id::text, ',') from children"), "2");
    assert!(s.run("WT.VERIFY children REPAIR").text().contains("children:1"));
    (1..=2).for_each(|id| s.assert_row_cached("children", id));
    assert!(!s.hgetall("children:2").contains_key("friend"));
    s.assert_line_refused("HSET __{children:3} parent 1", "WTERR 23503 ");
}

const DEFERRED: &str = "
create table parts (id int primary key, code int unique deferrable initially deferred,
    parent int references parts deferrable initially deferred, n int)";

#[test]
fn a_failure_at_commit_reaches_its_client_and_nothing_is_cached() {
    let s = Stack::new().sql(DEFERRED).mapping(json!({ "table": "parts" })).start();
    assert_eq!(s.run("HSET __{parts:1} code 1 parent 1"), int(2));
    assert_eq!(s.run("HSET __{parts:2} code 2 parent 1"), int(2));
    for line in [
        "HSET __{parts:3} parent 9",
        "HSET __{parts:2} parent 9",
        "HINCRBY __{parts:2} parent 7",
        "HSETNX __{parts:3} parent 9",
        "DEL __{parts:1}",
    ] {
        s.assert_line_refused(line, "WTERR 23503 ");
        transaction(&mut s.conn(), &[line])[0].assert_error("WTERR 23503 ");
    }
    s.assert_line_refused("HSET __{parts:3} code 2", "WTERR 23505 ");
    s.assert_line_refused("HINCRBY __{parts:2} code -1", "WTERR 23505 ");
    (1..=3).for_each(|id| s.assert_row_cached("parts", id));
}

#[test]
fn at_commit_a_bad_row_of_a_batch_fails_alone() {
    let s = Stack::new().sql(DEFERRED).mapping(json!({ "table": "parts" })).one_worker().start();
    let lines: Vec<String> = (1..=20)
        .map(|id| {
            let parent = if id % 7 == 3 { 99 } else { id };
            format!("HSET __{{parts:{id}}} parent {parent} n {id}")
        })
        .collect();
    for (at, reply) in s.together(&lines).iter().enumerate() {
        let id = at as i64 + 1;
        match id % 7 == 3 {
            true => assert!(reply.assert_error("WTERR 23503 ").contains("99")),
            false => assert_eq!(*reply, int(2)),
        }
        s.assert_row_cached("parts", id);
    }
    assert_eq!(s.count("parts"), 17);
    let lines = ["1", "1", "-1", "97"].map(|n| format!("HINCRBY __{{parts:1}} parent {n}"));
    let replies = s.together(&lines);
    assert_eq!(replies[0], int(2));
    replies[1].assert_error("WTERR 23503 ");
    assert_eq!(replies[2], int(1));
    replies[3].assert_error("WTERR 23503 ");
    s.assert_row_cached("parts", 1);
}

/// What one statement for both rows would let through, and no order of two statements does.
#[test]
fn rows_that_are_compared_at_the_end_of_a_statement_do_not_share_it() {
    let sql = "create table chain (id int primary key, next int references chain);
        create table places (id int primary key, place int unique deferrable);
        insert into places values (1, 1), (2, 2);
        create function room() returns bool language plpgsql as
            $$ begin return (select count(*) < 2 from few); end $$;
        create table few (id int primary key, v int check (room()))";
    let s = Stack::new()
        .sql(sql)
        .mapping(json!({ "table": "chain" }))
        .mapping(json!({ "table": "places" }))
        .mapping(json!({ "table": "few" }))
        .one_worker()
        .start();
    let lines = |lines: [&str; 2]| s.together(&lines.map(str::to_string));
    for reply in lines(["HSET __{chain:1} next 2", "HSET __{chain:2} next 1"]) {
        reply.assert_error("WTERR 23503 ");
    }
    for reply in lines(["HSET __{places:1} place 2", "HSET __{places:2} place 1"]) {
        reply.assert_error("WTERR 23505 ");
    }
    let few = ["1", "2", "3"].map(|id| format!("HSET __{{few:{id}}} v 1"));
    let refused = s.together(&few).iter().filter(|reply| reply.is_error()).count();
    assert_eq!((refused, s.count("few")), (1, 2));
}
