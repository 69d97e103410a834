//! rgsync's operation field `#` and its acknowledgement streams.

use crate::support::*;

const WHOLE: &str = "username john email john@example.com pwhash h";

/// The one entry of the acknowledgement stream, which lives for about an hour.
#[track_caller]
fn acknowledged(s: &Stack, uuid: &str) -> Hash {
    let stream = format!("{{users:1}}{uuid}");
    let entries = s.cmd(&["XRANGE", &stream, "-", "+"]);
    let [entry] = entries.array() else { panic!("{stream}: {entries:?}") };
    let left = s.cmd(&["TTL", &stream]).int();
    assert!((3000..=3600).contains(&left), "{stream} lives for {left} s");
    let fields = entry.array()[1].array();
    fields.chunks(2).map(|pair| (pair[0].text(), pair[1].text())).collect()
}

#[test]
fn equals_writes_through() {
    let s = Stack::users().start();
    assert_eq!(s.run(&format!("HSET __{{users:1}} # = {WHOLE}")), int(3), "# is no field");
    s.assert_user_cached(1);
    assert_eq!(s.run("HSET __{users:1} first Ann # ="), int(1), "wherever it stands");
    assert_eq!(s.run("HMSET __{users:1} # = last Lee"), ok());
    assert_eq!(s.one("select first_name || last_name from users"), "AnnLee");
    s.assert_user_cached(1);
    s.assert_line_refused("HSET __{users:1} # = dob soon", "WTERR 22007 ");
}

#[test]
fn plus_writes_to_the_cache_only() {
    let s = Stack::users().start();
    s.add_user(1);
    let before = s.row("select xmin, * from users");
    assert_eq!(s.run("HSET __{users:1} # + first Ann username other"), int(1));
    assert_eq!(s.row("select xmin, * from users"), before);
    let mut expected = user_row(&s, 1);
    expected.extend(hash(&[("first", "Ann"), ("username", "other")]));
    assert_eq!(s.hgetall("users:1"), expected);
    assert_eq!(s.run("EXISTS __{users:1}"), int(0), "nothing is left staged");
    assert_eq!(s.run("HSET __{users:2} # + username ghost"), int(1), "no row at all");
    assert_eq!(s.hgetall("users:2"), hash(&[("username", "ghost")]));
    assert_eq!(s.count("users"), 1);
    // The next write brings the row back.
    assert_eq!(s.run("HSET __{users:1} last Lee"), int(1));
    s.assert_user_cached(1);
}

#[test]
fn minus_deletes_from_the_cache_only() {
    let s = Stack::users().start();
    s.add_user(1);
    let before = s.row("select xmin, * from users");
    let reply = s.run("HSET __{users:1} # -");
    assert!(!reply.is_error(), "{reply:?}");
    assert_eq!(s.run("EXISTS users:1 __{users:1}"), int(0));
    let reply = s.run("HSET __{users:1} # -");
    assert!(!reply.is_error(), "nothing to evict: {reply:?}");
    assert_eq!(s.row("select xmin, * from users"), before);
    assert_eq!(s.run("HSET __{users:1} first Ann"), int(1));
    s.assert_user_cached(1);
}

#[test]
fn tilde_deletes_both() {
    let s = Stack::users().start();
    s.add_user(1);
    s.add_user(2);
    assert_eq!(s.run("HSET __{users:1} # ~"), int(1), "one row");
    assert_eq!(s.count("users"), 1);
    assert_eq!(s.run("EXISTS users:1 __{users:1}"), int(0));
    assert_eq!(s.run("HSET __{users:1} # ~"), int(0), "no row");
    assert_eq!(s.run("DEL users:2"), int(1));
    assert_eq!(s.run("HSET __{users:2} # ~"), int(1), "the row, whatever the cache holds");
    assert_eq!(s.count("users"), 0);
}

of_the_staged_key! {
#[test]
fn another_operation_is_refused() {
    let s = Stack::users().start();
    s.add_user(1);
    for operation in ["*", "x", "", "set", "6ba7", " ="] {
        s.assert_refused(&["HSET", "__{users:1}", "#", operation, "first", "x"], "ERR ");
    }
    s.assert_line_refused("HSET __{users:1} # + nick x", "ERR writethrough: ");
    s.assert_line_refused("HSET __{users:1} # = nick x", "ERR writethrough: ");
    s.assert_line_refused("HSET __{nobody:1} # -", "ERR writethrough: ");
    s.assert_line_refused("HSET __{users:1} #", "ERR wrong number of arguments for 'hset' command");
}
}

#[test]
fn a_write_with_a_uuid_is_acknowledged() {
    let s = Stack::users().start();
    let uuid = "6ce0c902-30c2-4ac9-8342-2f04fb359a94";
    assert_eq!(s.run(&format!("HSET __{{users:1}} # ={uuid} {WHOLE}")), int(3));
    assert_eq!(acknowledged(&s, uuid), hash(&[("status", "done")]));
    s.assert_user_cached(1);
    assert_eq!(s.keys(), ["users:1".to_string(), format!("{{users:1}}{uuid}")]);
    for operation in ["+", "-", "~"] {
        let uuid = format!("uuid-{}", operation.as_bytes()[0]);
        let reply = s.run(&format!("HSET __{{users:1}} # {operation}{uuid} first Ann"));
        assert!(!reply.is_error(), "{operation}: {reply:?}");
        assert_eq!(acknowledged(&s, &uuid)["status"], "done", "{operation}");
    }
    assert_eq!(s.count("users"), 0);
}

#[test]
fn a_refused_write_with_a_uuid_is_reported() {
    let s = Stack::users().start();
    s.add_user(1);
    s.add_user(2);
    let reply = s.run("HSET __{users:1} # =u-1 username u2");
    reply.assert_error("WTERR 23505 ");
    let entry = acknowledged(&s, "u-1");
    assert_eq!(entry["status"], "failed");
    assert!(entry["error"].contains("23505"), "{entry:?}");
    s.assert_user_cached(1);
    s.execute("create table owners (owner int references users); insert into owners values (1)");
    s.run("HSET __{users:1} # ~u-2").assert_error("WTERR 23503 ");
    assert_eq!(acknowledged(&s, "u-2")["status"], "failed");
    assert_eq!(s.count("users"), 2);
    s.assert_user_cached(1);
}

#[test]
fn a_program_that_waits_for_the_stream_is_woken() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let mut writer = s.send("HSET __{users:1} # =u-1 first Ann");
    s.database.wait_for_lock_waiters(1);
    let mut reader = s.send("XREAD BLOCK 0 STREAMS {users:1}u-1 0");
    s.wait_for_blocked(2);
    assert_eq!(s.run("EXISTS {users:1}u-1"), int(0));
    lock.rollback();
    assert!(reader.receive().text().contains("status done"));
    assert_eq!(writer.receive(), int(1));
}

#[test]
fn operations_in_transactions_and_scripts() {
    let s = Stack::users().start();
    let lines = [
        format!("HSET __{{users:1}} # =u-1 {WHOLE}"),
        "HSET __{users:1} # + first Ann".into(),
        "HGET users:1 first".into(),
        "HSET __{users:1} # -".into(),
        "EXISTS users:1".into(),
        "HSET __{users:1} # ~u-2".into(),
        "HSET __{users:1} # *".into(),
        "HSET __{users:1} # =u-3 first Bob".into(),
    ];
    let replies = transaction(&mut s.conn(), &lines.each_ref().map(String::as_str));
    assert_eq!(replies[..3], [int(3), int(1), bulk("Ann")]);
    assert_eq!((&replies[4], &replies[5]), (&int(0), &int(1)));
    replies[6].assert_error("ERR ");
    replies[7].assert_error("WTERR 23502 ");
    let status = |uuid| acknowledged(&s, uuid)["status"].clone();
    assert_eq!([status("u-1"), status("u-2"), status("u-3")], ["done", "done", "failed"]);
    assert_eq!(s.count("users"), 0);
    s.add_user(1);
    let script = "return redis.call('HSET', KEYS[1], '#', ARGV[1])";
    assert_eq!(s.cmd(&["EVAL", script, "1", "__{users:1}", "~u-4"]), int(1));
    assert_eq!(status("u-4"), "done");
    assert_eq!(s.count("users"), 0);
}

/// Order on one key holds for what goes past the database, too.
#[test]
fn a_cache_only_write_comes_after_the_write_in_flight_before_it() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let mut first = s.send("HSET __{users:1} username new");
    s.database.wait_for_lock_waiters(1);
    let mut second = s.send("HSET __{users:1} # + first Ghost");
    eventually("the second was taken", || {
        second.has_reply() || s.info_of("clients")["blocked_clients"] == "2"
    });
    lock.rollback();
    assert_eq!(first.receive(), int(0));
    assert_eq!(second.receive(), int(1));
    let mut expected = user_row(&s, 1);
    assert_eq!(expected["username"], "new");
    expected.insert("first".into(), "Ghost".into());
    assert_eq!(s.hgetall("users:1"), expected);
    assert_eq!(s.run("EXISTS __{users:1}"), int(0));
}

#[test]
fn a_column_may_be_named_so() {
    let sql = "create table items (id int primary key, \"#\" text)";
    let mapping = serde_json::json!({ "table": "items", "fields": { "n": "#" } });
    let s = Stack::new().sql(sql).mapping(mapping).start();
    assert_eq!(s.run("HSET __{items:1} n + # ="), int(1));
    assert_eq!(s.hgetall("items:1"), hash(&[("n", "+")]));
}

/// A program that waits for the stream must hear of every refusal.
#[test]
fn a_write_that_is_refused_early_is_acknowledged_too() {
    let s = Stack::users().start();
    for (line, uuid) in [
        ("HSET __{users:1} # =early-1 nofield x", "early-1"),
        ("HMSET __{users:1} nofield x # +early-2", "early-2"),
    ] {
        s.run(line).assert_error("ERR writethrough: ");
        let entry = acknowledged(&s, uuid);
        assert_eq!(entry["status"], "failed", "{line}");
        assert!(entry["error"].contains("nofield"), "{entry:?}");
    }
    s.run("HSET __{users:1} # xearly-3 first x").assert_error("ERR writethrough: ");
    assert_eq!(s.run("EXISTS {users:1}early-3"), int(0));
}
