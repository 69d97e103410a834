//! Client libraries as they are, on plain keys that are written through.

use std::process::Command;

use serde_json::json;

use crate::clients::{
    current_python, node, node_is_installed, output, python, python_is_installed, redis_om, url,
};
use crate::readme::repository;
use crate::support::*;

fn accounts(on_delete: &str) -> Stack {
    Stack::new()
        .sql(
            "create table accounts (id int primary key, name text not null, email text unique,
             visits int default 0, balance numeric(10,2))",
        )
        .mapping(json!({
            "table": "accounts", "plain_writes": "through", "on_delete": on_delete, "read_through": true,
        }))
        .start()
}

fn all_rows(s: &Stack) -> String {
    s.one(
        "select string_agg(concat_ws(' ', id, name, email, visits, balance), ', ' order by id)
         from accounts",
    )
}

/// What the program printed.
fn run(mut interpreter: Command, program: &str, s: &Stack) -> String {
    output(interpreter.arg(repository(program)).arg(url(s)))
}

/// Every account that is cached is its row.
#[track_caller]
fn assert_cached(s: &Stack, ids: &[i64]) {
    for &id in ids {
        let key = format!("accounts:{id}");
        assert_eq!(s.hgetall(&key), s.row_of("accounts", id), "{key}");
    }
}

/// All but the last two lines, in which deletions are seen.
const REDIS_PY: &str = "\
3
[('email', 'a@x'), ('id', '1'), ('name', 'ann'), ('visits', '1')]
0 anne
2 0.5
['2', None] True
0 1
True True True
2 5 [('email', 'b@x'), ('id', '2'), ('name', 'ben'), ('visits', '5')]
[0, 1]
[2, 2, 2, 2, 'a7']
refused: WTERR 23505 14
refused: WTERR 22P02
refused: writethrough: mapping
refused: writethrough: column
1 2
";

fn redis_py(python: fn() -> Command) {
    for (on_delete, deleted, ids) in [
        ("delete", "1 1 0\n{} 1\n", &[1, 2, 3, 4, 7][..]),
        ("evict", "1 1 1\n{'id': '5', 'name': 'a5', 'visits': '5'} 1\n", &[1, 2, 3, 4, 5, 6, 7]),
    ] {
        let s = accounts(on_delete);
        let printed = run(python(), "tests/it/plain_redis_py.py", &s);
        assert_eq!(printed, format!("{REDIS_PY}{deleted}"), "{on_delete}");
        let rows = "1 anne 2 0.50, 2 ben b@x 5, 3 cid 0, 4 a4 14, 5 a5 5, 6 a6 6, 7 a7 7";
        let left = match on_delete {
            "delete" => rows.replace("5 a5 5, 6 a6 6, ", ""),
            _ => rows.to_owned(),
        };
        assert_eq!(all_rows(&s), left);
        assert_cached(&s, ids);
        let staged = s.keys().into_iter().filter(|key| key.starts_with("__")).count();
        assert_eq!(staged, 0);
    }
}

#[test]
fn debians_redis_py() {
    if python_is_installed() {
        redis_py(python);
    }
}

#[test]
fn the_current_redis_py() {
    if current_python().is_some() {
        redis_py(|| Command::new(current_python().expect("asked before")));
    }
}

/// Redis OM's keys are `members:Member:<pk>`: it knows a date as seconds, and a missing value as no field.
const MEMBERS: &str = "
create table members (
    model text check (model = 'Member'), pk text, name text not null, email text unique,
    joined float8, paid boolean, age int, primary key (model, pk)
)";

const REDIS_OM: &str = "\
True ('ann', 'a@x', '2020-01-02', False, 30)
('ann', 'a@x', '2020-01-02', True, 31)
True
WTERR 23505
4
1
not found
('ben', 'b@x', '2021-01-02', False, None)
";

#[test]
fn redis_om_for_python() {
    let Some(python) = redis_om() else { return };
    let s = Stack::new()
        .sql(MEMBERS)
        .mapping(json!({
            "table": "members", "read_through": true, "plain_writes": "through",
            "on_delete": "delete", "id_pattern": "Member:[0-9A-HJKMNP-TV-Z]{26}",
        }))
        .start();
    assert_eq!(run(Command::new(python), "tests/it/plain_redis_om.py", &s), REDIS_OM);
    let rows = "
        select string_agg(concat_ws(' ', name, email, to_timestamp(joined)::date, paid, age), ', ' order by name)
        from members";
    let expected = "ann a@x 2020-01-02 t 31, ben b@x 2021-01-02 f, dan d@x 2023-01-02 f";
    assert_eq!(s.one(rows), expected);
    let pks = s.one("select string_agg(pk, ' ') from members");
    let mut keys: Vec<String> = pks.split(' ').map(|pk| format!("members:Member:{pk}")).collect();
    keys.sort();
    assert_eq!(s.keys(), keys);
    for key in &keys {
        let pk = key.rsplit(':').next().expect("a pk");
        let mut row = s.row(&format!("select * from members where pk = '{pk}'"));
        // psql's boolean is the text `t`, that of a cast is `true`.
        row.entry("paid".into()).and_modify(|paid| {
            *paid = if paid == "t" { "true" } else { "false" }.into();
        });
        assert_eq!(s.hgetall(key), row, "{key}");
    }
}

const NODE_REDIS: &str = r#"[3]
[{"id":"1","name":"ann","email":"a@x","visits":"1"}]
[5,"5"]
[[1,1]]
["WTERR 22P02"]
[[2,2]]
[true,1,0]
"#;

#[test]
fn node_redis() {
    if node_is_installed() {
        let s = accounts("delete");
        assert_eq!(run(node(), "tests/it/plain_node_redis.js", &s), NODE_REDIS);
        assert_eq!(all_rows(&s), "1 anne 0, 3 a3 3");
        assert_cached(&s, &[1, 3]);
    }
}

/// What Redis holds when the module is loaded.
#[test]
fn hashes_that_are_there_already() {
    let s = Stack::users().with("plain_writes", "through").without_module().start();
    let fields = "username ann email a@x pwhash h";
    for key in ["users:1", "users:2", "old:users:3", "users:4:idx"] {
        assert_eq!(s.run(&format!("HSET {key} {fields}")), int(3));
    }
    s.execute(
        "insert into users (id, username, email, password_hash) values (2, 'ben', 'b@x', 'h')",
    );
    assert_eq!(s.load(), ok());
    eventually("in sync", || s.info_int("in_sync") == 1);
    // The table is right. What has no row goes, but for what can be no row's.
    assert_eq!(s.keys(), ["old:users:3", "users:2", "users:4:idx"]);
    s.assert_user_cached(2);
    assert_eq!(s.run("RENAME old:users:3 users:3"), ok());
    assert_eq!(s.one("select username from users where id = 3"), "ann");
    s.assert_user_cached(3);
}
