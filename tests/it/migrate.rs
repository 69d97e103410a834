//! MIGRATE: Redis' own where no mapping is concerned, and its passwords are shown nowhere.

use crate::support::*;

const SECRET: &str = "s3cret-of-the-target";

/// Every command is in SLOWLOG.
fn source() -> Stack {
    let slow = "slowlog-log-slower-than 0";
    Stack::users().redis_conf(slow).redis_conf("slowlog-max-len 1000").start()
}

fn target() -> RedisServer {
    let user = format!("user mover on >{SECRET}-2 ~* +@all");
    let server = RedisServer::start(&[user], &[]).expect("a server");
    assert_eq!(server.connect().run(&format!("CONFIG SET requirepass {SECRET}")), ok());
    server
}

/// What MONITOR has shown up to this moment.
fn monitored(s: &Stack, monitor: &mut Conn) -> String {
    s.run("ECHO the-end-of-it");
    let mut shown = String::new();
    while !shown.contains("the-end-of-it") {
        shown += &monitor.receive().text();
    }
    shown
}

#[test]
fn a_password_is_shown_nowhere() {
    let (s, target) = (source(), target());
    let port = target.port();
    for id in 1..6 {
        s.add_user(id);
        s.run(&format!("SET plain:{id} x"));
    }
    s.run("SET plain x");
    let mut monitor = s.conn();
    assert_eq!(monitor.run("MONITOR"), ok());
    let wrong = format!("{SECRET}-wrong");
    let (auth, auth2) = (format!("AUTH {SECRET}"), format!("AUTH2 mover {SECRET}-2"));
    for (line, expected) in [
        (format!("MIGRATE 127.0.0.1 {port} users:1 0 5000 {auth}"), "OK"),
        (format!("MIGRATE 127.0.0.1 {port} users:2 0 5000 COPY REPLACE {auth2}"), "OK"),
        (format!("MIGRATE 127.0.0.1 {port} __{{users:1}} 0 5000 {auth}"), "NOKEY"),
        (format!("MIGRATE 127.0.0.1 {port} plain 0 5000 {auth}"), "OK"),
        (format!("MIGRATE 127.0.0.1 {port} users:3 0 5000 AUTH {wrong}"), "ERR Target instance"),
        (format!("MIGRATE 127.0.0.1 {port} users:3 0 5000 AUTH2 {wrong} {wrong}"), "ERR Target"),
        (format!("MIGRATE 127.0.0.1 {port} users:3 none 5000 {auth}"), "ERR "),
        (format!("MIGRATE 127.0.0.1 {port} users:3 0 5000 {auth} KEYS users:3"), "ERR "),
    ] {
        let reply = s.run(&line).text();
        assert!(reply.starts_with(expected), "{line}: {reply}");
        assert!(!reply.contains(SECRET), "{line}: {reply}");
    }
    let list = ["MIGRATE", "127.0.0.1", &port.to_string(), "", "0", "5000", "AUTH", SECRET, "KEYS"];
    for keys in [vec!["users:4", "plain:1"], vec!["plain:2", "__{users:5}", "users:5"]] {
        assert_eq!(s.cmd(&[&list[..], &keys].concat()), ok());
    }
    let shown = monitored(&s, &mut monitor);
    assert!(shown.contains("MIGRATE") && !shown.contains(SECRET), "{shown}");
    for line in ["SLOWLOG GET 1000", "INFO everything", "ACL LOG", "CLIENT LIST", "LATENCY LATEST"]
    {
        let text = s.run(line).text();
        assert!(!text.contains(SECRET), "{line}: {text}");
    }
    assert!(!s.log().contains(SECRET), "{}", s.log());
}

/// In MULTI as well, whose commands are shown when they run.
#[test]
fn a_password_is_shown_nowhere_in_a_transaction() {
    let (s, target) = (source(), target());
    let port = target.port();
    s.add_user(1);
    s.run("SET plain x");
    let mut monitor = s.conn();
    assert_eq!(monitor.run("MONITOR"), ok());
    let auth = format!("5000 AUTH {SECRET}");
    let replies = transaction(
        &mut s.conn(),
        &[
            &format!("MIGRATE 127.0.0.1 {port} users:1 0 {auth}"),
            &format!("MIGRATE 127.0.0.1 {port} plain 0 {auth}"),
        ],
    );
    assert_eq!(replies, [ok(), ok()]);
    let shown = monitored(&s, &mut monitor);
    assert!(!shown.contains(SECRET), "{shown}");
    assert!(!s.run("SLOWLOG GET 1000").text().contains(SECRET));
}

#[test]
fn without_a_mapping_it_is_redis_own() {
    let (s, target) = (source(), target());
    let port = target.port();
    for key in ["plain", "other:1", "users"] {
        s.run(&format!("SET {key} x"));
        let line = format!("MIGRATE 127.0.0.1 {port} {key} 0 5000 AUTH {SECRET}");
        assert_eq!(s.run(&line), ok());
    }
    assert_eq!(s.info_of("commandstats").get("cmdstat_wt.migrate"), None);
    let shown = s.run("SLOWLOG GET 1000").text();
    assert!(shown.contains("AUTH (redacted)"), "as Redis shows it: {shown}");
}
