//! What the server knows of the module's commands: documentation, categories, keys, arity; and who
//! may run them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::readme::read;
use crate::support::*;

/// The module's command for each of the server's that it writes through.
const PLAIN: &[&str] =
    &["hset", "hmset", "hsetnx", "hincrby", "hincrbyfloat", "hdel", "del", "unlink"];
const ADMIN: &[&str] = &[
    "wt.status",
    "wt.mappings",
    "wt.refresh",
    "wt.verify",
    "wt.load",
    "wt.reload",
    "wt.flush",
    "wt.retry",
];

fn commands(s: &Stack) -> Vec<String> {
    let reply = s.run("COMMAND LIST FILTERBY MODULE writethrough");
    reply.array().iter().map(Reply::text).collect()
}

/// 7.0 knows no way to put a module's command into a category.
fn has_categories(s: &Stack) -> bool {
    let has = s.redis_version() >= (7, 2);
    if !has {
        eprintln!("skipped: ACL categories of a module's commands need Redis 7.2");
    }
    has
}

fn categories(s: &Stack, command: &str) -> BTreeSet<String> {
    let info = s.cmd(&["COMMAND", "INFO", command]);
    info.array()[0].array()[6].array().iter().map(Reply::text).collect()
}

#[test]
fn every_command_is_known_and_documented() {
    let s = Stack::users().start();
    let names = commands(&s);
    for name in
        PLAIN.iter().map(|name| format!("wt.{name}")).chain(ADMIN.iter().map(|n| n.to_string()))
    {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    for name in &names {
        assert!(s.knows(name), "COMMAND INFO {name}");
        let docs = s.cmd(&["COMMAND", "DOCS", name]);
        let docs = docs.array()[1].array();
        let docs: BTreeMap<String, String> =
            docs.chunks(2).map(|pair| (pair[0].text(), pair[1].text())).collect();
        let summary = docs.get("summary").map(String::as_str).unwrap_or_default();
        assert!(summary.len() > 10, "COMMAND DOCS {name}: {docs:?}");
    }
}

/// What CHANGELOG.md says of 0.1.0.
const FIRST: &[&str] =
    &["hset", "hmset", "rename", "renamenx", "copy", "restore", "status", "mappings"];

#[test]
fn each_command_tells_the_version_in_which_it_came() {
    let s = Stack::users().start();
    let changelog = read("CHANGELOG.md");
    for name in commands(&s) {
        let docs = s.cmd(&["COMMAND", "DOCS", &name]);
        let docs = docs.array()[1].array();
        let since =
            docs.chunks(2).find(|pair| pair[0].text() == "since").map(|pair| pair[1].text());
        let since = since.unwrap_or_default();
        let is_first = FIRST.iter().any(|first| name == format!("wt.{first}"));
        assert_eq!(since == "0.1.0", is_first, "{name}: {since}");
        assert!(changelog.contains(&format!("\n## [{since}]")), "{name}: {since} is no version");
    }
}

#[test]
fn arity_and_key_positions_are_the_plain_commands() {
    let s = Stack::users().start();
    for name in PLAIN {
        let (plain, ours) =
            (s.cmd(&["COMMAND", "INFO", name]), s.cmd(&["COMMAND", "INFO", &format!("wt.{name}")]));
        let (plain, ours) = (plain.array()[0].array(), ours.array()[0].array());
        assert_eq!(ours[1], plain[1], "arity of {name}");
        assert_eq!(ours[3..6], plain[3..6], "first key, last key, step of {name}");
    }
    for (line, keys) in [
        ("wt.hincrby __{users:1} n 1", vec!["__{users:1}"]),
        ("wt.del __{users:1} a __{users:2}", vec!["__{users:1}", "a", "__{users:2}"]),
        ("wt.unlink a b", vec!["a", "b"]),
        ("wt.refresh users:1 users:2", vec!["users:1", "users:2"]),
    ] {
        let reply = s.run(&format!("COMMAND GETKEYS {line}"));
        assert_eq!(reply, Reply::Array(keys.iter().map(bulk).collect()), "{line}");
    }
}

/// What is typed; the others are what a plain command becomes.
#[test]
fn the_help_names_every_command() {
    let s = Stack::users().start();
    let reply = s.run("WT.HELP");
    let lines: Vec<String> = reply.array().iter().map(Reply::text).collect();
    let named = |name: &str| {
        let mut words = lines.iter().flat_map(|line| line.split([' ', '|', ',']));
        words.any(|word| word == name)
    };
    for name in commands(&s).iter().map(|name| name.to_uppercase()) {
        let plain = name.strip_prefix("WT.").expect("the prefix");
        let is_read_or_refused = plain == "REFUSE" || plain == "MIGRATE";
        match s.knows(plain) {
            true if PLAIN.contains(&&*plain.to_lowercase()) => assert!(named(plain), "{plain}"),
            false if !is_read_or_refused => assert!(named(&name), "{name}"),
            _ => {}
        }
    }
    assert!(lines.iter().all(|line| line.len() < 116), "{lines:?}");
}

#[test]
fn every_command_has_its_categories() {
    let s = Stack::users().start();
    if !has_categories(&s) {
        return;
    }
    for name in PLAIN {
        let speed = ["@fast".to_string(), "@slow".to_string()].into();
        let plain: BTreeSet<String> = &categories(&s, name) - &speed;
        let ours: BTreeSet<String> = &categories(&s, &format!("wt.{name}")) - &speed;
        assert_eq!(ours, plain, "{name}");
    }
    for name in ADMIN {
        let ours = categories(&s, name);
        assert!(ours.contains("@admin") && ours.contains("@dangerous"), "{name}: {ours:?}");
    }
    for name in commands(&s) {
        assert!(!categories(&s, &name).is_empty(), "{name}");
    }
}

#[test]
fn a_user_without_administration_is_denied_it() {
    let s = Stack::users().start();
    s.add_user(1);
    let lines = [
        "WT.STATUS",
        "WT.MAPPINGS",
        "WT.REFRESH users:1",
        "WT.VERIFY users REPAIR",
        "WT.LOAD users",
        "WT.RELOAD",
    ];
    // Without categories a module's command is nobody's whom no rule gives it by name.
    let rules = match has_categories(&s) {
        true => vec!["~* -@all +@read +@write", "~* +@all -@admin", "~* +@all -@dangerous"],
        false => vec!["~* -@all +@read +@write +@admin"],
    };
    for (i, rules) in rules.iter().enumerate() {
        let mut conn = s.user(&format!("u{i}"), rules);
        for line in lines {
            let reply = conn.run(line);
            assert!(reply.assert_error("NOPERM ").len() > 7, "{rules}: {line}: {reply:?}");
        }
    }
    let mut conn = s.user("admin", "~* +@all");
    lines.iter().for_each(|line| assert!(!conn.run(line).is_error(), "{line}"));
    let mut conn = s.user("other", "~other:* +@all");
    conn.run("WT.REFRESH users:1").assert_error("NOPERM ");
}

#[test]
fn a_user_without_the_plain_command_or_the_key_is_denied_the_write() {
    let sql = "create table items (id int primary key, stock int, name text)";
    let s = Stack::new().sql(sql).mapping(json!({ "table": "items" })).start();
    assert_eq!(s.run("HSET __{items:1} stock 5 name lamp"), int(2));
    assert_eq!(s.run("SET plain x"), ok());
    let before = s.state();
    for line in [
        "HSETNX __{items:1} stock 1",
        "HSETNX __{items:2} stock 1",
        "HINCRBY __{items:1} stock 1",
        "HINCRBYFLOAT __{items:1} stock 1",
        "HDEL __{items:1} name",
        "DEL __{items:1}",
        "UNLINK __{items:1}",
        "DEL plain __{items:1}",
    ] {
        let command = line.split(' ').next().unwrap().to_lowercase();
        for (i, rules) in [
            format!("~* +@all -{command}"),
            "~* +@all -@write".into(),
            "%R~* +@all".into(),
            "~items:* ~plain +@all".into(),
        ]
        .iter()
        .enumerate()
        {
            let mut conn = s.user(&format!("{command}{i}"), rules);
            let reply = conn.run(line);
            assert!(reply.assert_error("NOPERM ").len() > 7, "{rules}: {line}: {reply:?}");
            assert_eq!(s.state(), before, "{rules}: {line}");
        }
    }
    let rules = "~__{items:*} -@all +hincrby +wt.hincrby +del +wt.del";
    let mut conn = s.user("allowed", rules);
    assert_eq!(conn.run("HINCRBY __{items:1} stock 1"), int(6));
    assert_eq!(conn.run("DEL __{items:1}"), int(1));
    conn.run("DEL __{items:1} plain").assert_error("NOPERM ");
}

#[test]
fn a_wrong_number_of_arguments_gets_redis_own_words() {
    let s = Stack::users().start();
    s.add_user(1);
    for (command, tails) in [
        ("hsetnx", &["", "__{users:1}", "__{users:1} first", "__{users:1} first a b"][..]),
        ("hincrby", &["", "__{users:1}", "__{users:1} first", "__{users:1} first 1 2"]),
        ("hincrbyfloat", &["", "__{users:1}", "__{users:1} first", "__{users:1} first 1 2"]),
        ("hdel", &["", "__{users:1}"]),
        ("del", &[""]),
        ("unlink", &[""]),
        ("rename", &["__{users:1}", "a __{users:1} b"]),
        ("copy", &["__{users:1}"]),
        ("restore", &["__{users:1}", "__{users:1} 0"]),
    ] {
        let words = format!("ERR wrong number of arguments for '{command}' command");
        for tail in tails {
            let text = s.assert_line_refused(&format!("{command} {tail}"), "ERR ");
            assert_eq!(text, words, "{command} {tail}");
        }
    }
    for line in
        ["WT.STATUS x", "WT.MAPPINGS x", "WT.REFRESH", "WT.VERIFY", "WT.RELOAD x", "WT.HELP x"]
    {
        let name = line.split(' ').next().unwrap().to_lowercase();
        let words = format!("ERR wrong number of arguments for '{name}' command");
        assert_eq!(s.assert_line_refused(line, "ERR "), words);
    }
}
