//! A trigger or a rule that leaves the row out: PostgreSQL reports success, and nothing is written.
//! The client is told so.

use serde_json::json;

use crate::support::*;

const ITEMS: &str = "create table items (id int primary key, name text, stock int);
insert into items values (1, 'lamp', 5), (2, 'desk', 6);";

const CHANGES: &[&str] = &[
    "HSET __{items:1} name chair stock 7",
    "HSET __{items:1} name chair",
    "HMSET __{items:1} stock 7",
    "HINCRBY __{items:1} stock 1",
    "HDEL __{items:1} name",
];

const ADDITIONS: &[&str] = &[
    "HSET __{items:9} name chair stock 7",
    "HSET __{items:9} name chair",
    "HINCRBY __{items:9} stock 1",
    "HSETNX __{items:9} name chair",
];

fn items(sql: &str) -> Stack {
    let sql = format!("{ITEMS} {sql}");
    Stack::new().sql(&sql).mapping(json!({ "table": "items" })).start()
}

fn trigger(when: &str) -> String {
    format!(
        "create function swallow() returns trigger language plpgsql as
            $$ begin return null; end $$;
         create trigger swallow before {when} on items for each row execute function swallow()"
    )
}

#[track_caller]
fn assert_told(s: &Stack, line: &str, prefix: &str) {
    s.assert_line_refused(line, prefix);
    let reply = transaction(&mut s.conn(), &[line]);
    reply[0].assert_error(prefix);
}

#[test]
fn a_trigger_that_swallows_updates() {
    let s = items(&trigger("update"));
    for line in CHANGES {
        assert_told(&s, line, "WTERR 02000 ");
    }
    assert_eq!(s.run("HSETNX __{items:1} name chair"), int(0), "nothing was to be written");
    for line in ADDITIONS {
        let reply = s.run(line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
        s.assert_row_cached("items", 9);
        assert_eq!(s.run("DEL __{items:9}"), int(1));
    }
}

#[test]
fn a_trigger_that_swallows_inserts() {
    let s = items(&trigger("insert"));
    for line in ADDITIONS {
        assert_told(&s, line, "WTERR 02000 ");
    }
    assert_eq!(s.run("HINCRBY __{items:1} stock 1"), int(6));
    s.assert_row_cached("items", 1);
    assert_eq!(s.run("HDEL __{items:1} name"), int(1));
    assert_eq!(s.run("HSETNX __{items:1} name chair"), int(1));
    s.assert_row_cached("items", 1);
}

/// The row is there for all to see: "0 rows deleted" would be true, and silent.
#[test]
fn a_trigger_that_swallows_deletions() {
    let s = items(&trigger("delete"));
    for line in ["DEL __{items:1}", "UNLINK __{items:2} __{items:1}"] {
        assert_told(&s, line, "WTERR 02000 ");
    }
    assert_eq!(s.run("DEL __{items:9}"), int(0));
    assert_eq!(s.count("items"), 2);
}

#[test]
fn one_row_of_a_batch_is_swallowed() {
    let sql = "create function swallow() returns trigger language plpgsql as $$ begin
            if new.name = 'ghost' then return null; end if;
            return new;
        end $$;
        create trigger swallow before insert or update on items
            for each row execute function swallow()";
    let s = Stack::new().sql(ITEMS).sql(sql).mapping(json!({ "table": "items" })).one_worker();
    let s = s.start();
    let lines: Vec<String> = (1..=12)
        .map(|id| {
            let name = if id % 4 == 2 { "ghost".to_string() } else { format!("n{id}") };
            format!("HSET __{{items:{id}}} name {name} stock {id}")
        })
        .collect();
    for (at, reply) in s.together(&lines).iter().enumerate() {
        let id = at as i64 + 1;
        if id % 4 == 2 {
            reply.assert_error("WTERR 02000 ");
            assert_eq!(s.run(&format!("EXISTS items:{id} __{{items:{id}}}")), int(0));
        } else {
            assert!(!reply.is_error(), "{reply:?}");
            s.assert_row_cached("items", id);
        }
    }
    assert_eq!(s.one("select name from items where id = 2"), "desk");
    assert_eq!(s.count("items where name = 'ghost'"), 0);
}

/// PostgreSQL itself doesn't take RETURNING or ON CONFLICT where a rule stands.
#[test]
fn a_rule_that_swallows() {
    for event in ["insert", "update"] {
        let s = items(&format!("create rule nothing as on {event} to items do instead nothing"));
        let lines = if event == "insert" { ADDITIONS } else { CHANGES };
        for line in lines {
            assert_told(&s, line, "WTERR ");
        }
    }
    let s = items("create rule nothing as on delete to items do instead nothing");
    assert_told(&s, "DEL __{items:1}", "WTERR ");
}
