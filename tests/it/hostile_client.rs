//! A client that means harm, or uses what few clients use: the server lives on, is in step, and
//! holds no more memory than before.

use serde_json::json;

use crate::support::*;

/// The whole thing still works, for others.
#[track_caller]
fn assert_serves(s: &Stack, id: i64) {
    s.add_user(id);
    s.assert_user_cached(id);
}

fn memory(s: &Stack) -> i64 {
    s.info_of("memory")["used_memory"].parse().expect("a number")
}

/// Memory goes back to about what it was; `slack` is for buffers that stay.
#[track_caller]
fn assert_no_leak(s: &Stack, before: i64, slack: i64) {
    eventually(&format!("memory is back at {before}"), || memory(s) < before + slack);
}

#[test]
fn random_bytes_and_half_commands_hurt_nobody() {
    let s = Stack::users().redis_conf("maxclients 200").start();
    s.add_user(1);
    let mut random = Lcg::new(7);
    let pieces: [&[u8]; 16] = [
        b"*3\r\n",
        b"*100000\r\n",
        b"*-1\r\n",
        b"$4\r\nHSET\r\n",
        b"$7\r\nWT.HSET\r\n",
        b"$11\r\n__{users:1}\r\n",
        b"$11\r\n__{users:1}",
        b"$5\r\nfirst\r\n",
        b"$536870912\r\n",
        b"HSET __{users:1} first\r\n",
        b"HSET __{users:\x00\xff} first x\r\n",
        b"WT.REFUSE\r\n",
        b"WT.DEL __{users:9}\r\n",
        b"MULTI\r\nHSET __{users:1} first x\r\n",
        b"\x00\xff\xfe{}%s%n",
        b"\r\n",
    ];
    for _ in 0..400 {
        let mut conn = s.conn();
        for _ in 0..random.below(12) {
            let piece = pieces[random.below(pieces.len())];
            if conn.send_raw(&piece[..1 + random.below(piece.len())]).is_err() {
                break;
            }
        }
        // Half of them are gone before an answer.
        if random.below(2) == 0 {
            let _ = conn.receive_within(std::time::Duration::from_millis(2));
        }
    }
    assert!(s.redis.is_alive());
    eventually("nothing is in flight", || s.info_int("in_flight") == 0);
    assert_serves(&s, 2);
}

of_the_staged_key! {
#[test]
fn the_modules_own_commands_called_by_name_do_no_more_than_the_plain_ones() {
    let s = Stack::users().start();
    s.add_user(1);
    for line in [
        "WT.HSET users:1 first x",
        "WT.HSET plain first x",
        "WT.HMSET plain first x",
        "WT.HSETNX plain first x",
        "WT.HINCRBY plain n 1",
        "WT.HINCRBYFLOAT plain n 1",
        "WT.HDEL users:1 first",
        "WT.HSET __{users:1} first",
        "WT.HSET __{users:1}",
        "WT.HSET",
        "WT.REFUSE",
        "WT.REFUSE SET x y",
        "WT.REFUSE HSET __{users:1} first x",
    ] {
        s.assert_line_refused(line, "");
    }
    // As HSET and DEL would.
    assert_eq!(s.run("WT.HSET __{users:1} first x"), int(1));
    assert_eq!(s.run("SET plain x"), ok());
    assert_eq!(s.run("WT.DEL plain"), int(1));
    s.assert_user_cached(1);
}
}

of_the_staged_key! {
#[test]
fn huge_arguments_and_thousands_of_fields_are_answered() {
    let sql = "create table blobs (id text primary key, v text, n int)";
    let s = Stack::users()
        .sql(sql)
        .mapping(json!({ "table": "blobs", "unmapped": "keep" }))
        .patient()
        .start();
    let before = memory(&s);
    let big = vec![b'x'; 24 << 20];
    assert_eq!(s.cmd(&[b"HSET".as_slice(), b"__{blobs:1}", b"v", &big]), int(1));
    assert_eq!(s.run("HSTRLEN blobs:1 v"), int(24 << 20));
    assert_eq!(s.run("DEL __{blobs:1}"), int(1));
    // Not in a statement's text, and not in an error.
    let key = [b"__{users:", &big[..], b"}"].concat();
    let reply = s.cmd(&[b"HSET".as_slice(), &key, b"first", b"x"]);
    assert!(reply.error().len() < 2000, "{} bytes", reply.error().len());
    let reply = s.cmd(&[b"HSET".as_slice(), b"__{users:1}", &big, b"x"]);
    assert!(reply.error().len() < 2000, "{} bytes", reply.error().len());
    let key = [b"__{", &big[..], b":1}"].concat();
    let reply = s.cmd(&[b"HSET".as_slice(), &key, b"first", b"x"]);
    assert!(reply.error().len() < 2000, "{} bytes", reply.error().len());

    // The same field, and fields that aren't columns.
    let mut words: Vec<String> = vec!["HSET".into(), "__{blobs:2}".into()];
    (0..20_000).for_each(|n| words.extend(["n".into(), n.to_string()]));
    assert_eq!(s.cmd(&words), int(1));
    assert_eq!(s.one("select n from blobs"), "19999");
    let mut words: Vec<String> = vec!["HSET".into(), "__{blobs:2}".into()];
    (0..20_000).for_each(|n| words.extend([format!("f{n}"), n.to_string()]));
    assert_eq!(s.cmd(&words), int(20_000));
    assert_eq!(s.run("HLEN blobs:2"), int(20_002));
    let mut words: Vec<String> = vec!["HSET".into(), "__{users:2}".into()];
    (0..20_000).for_each(|n| words.extend([format!("f{n}"), n.to_string()]));
    s.assert_refused(&words, "ERR writethrough: ");
    let mut words: Vec<String> = vec!["HDEL".into(), "__{blobs:2}".into()];
    (0..20_000).for_each(|n| words.push(format!("f{n}")));
    assert_eq!(s.cmd(&words), int(20_000));
    assert_serves(&s, 3);
    assert_no_leak(&s, before, 16 << 20);
}
}

#[test]
fn very_many_staged_keys_meet_the_bound_and_leave_nothing() {
    let s = Stack::users().one_worker().option("queue_max", 20_000).start();
    s.add_user(1);
    let held = s.hold();
    let before = memory(&s);
    let unlink = |keys: usize| -> Vec<String> {
        let keys = (0..keys).map(|id| format!("__{{users:{}}}", 1_000 + id));
        std::iter::once("UNLINK".to_string()).chain(keys).collect()
    };
    // More than may wait at all: refused at once.
    s.cmd(&unlink(1_000_000)).assert_error("WTBUSY ");
    assert_eq!(s.info_int("in_flight"), 1);
    // As many as may wait; then nobody else's.
    let mut many = s.conn();
    many.send(&unlink(19_900));
    s.wait_for_blocked(2);
    let mut others: Vec<Conn> =
        (0..200).map(|id| s.send(&format!("HSET __{{users:{id}}} first x"))).collect();
    let refused =
        |conn: &mut Conn| conn.has_reply() && conn.receive().text().starts_with("WTBUSY ");
    eventually("the rest are refused", || {
        others.retain_mut(|conn| !refused(conn));
        others.len() <= 101
    });
    held.release();
    assert_eq!(many.receive(), int(0));
    others.iter_mut().for_each(|conn| drop(conn.receive()));
    eventually("nothing is in flight", || s.info_int("in_flight") == 0);
    s.wait_until_settled();
    assert_serves(&s, 2);
    assert_no_leak(&s, before, 32 << 20);
}

/// In a transaction the server waits; for all its keys it waits once.
#[test]
fn a_delete_of_many_rows_in_a_transaction_holds_the_server_no_longer_than_one_write() {
    let s = Stack::users().option("sync_timeout_ms", 300).start();
    let lock = s.database.hold("lock table users");
    let mut words = vec!["UNLINK".to_string()];
    words.extend((0..1_000).map(|id| format!("__{{users:{id}}}")));
    let mut conn = s.conn();
    assert_eq!(conn.run("MULTI"), ok());
    conn.cmd(&words);
    // A thousand times 300 ms would be longer than an answer is waited for.
    conn.run("EXEC").array()[0].assert_error("WTTIMEOUT ");
    lock.rollback();
    s.set("sync-timeout-ms", 600_000);
    s.wait_until_settled();
    assert_serves(&s, 1);
}

#[test]
fn resp3_gets_the_same_answers() {
    let s = Stack::users().start();
    let mut conn = s.conn();
    conn.run("HELLO 3");
    assert_eq!(conn.run("HSET __{users:1} username a email a@x pwhash h"), int(3));
    assert_eq!(conn.run("HMSET __{users:1} first b"), ok());
    conn.run("HSET __{users:1} dob never").assert_error("WTERR 22007 ");
    conn.run("HSET __{users:1} nothing x").assert_error("ERR writethrough: ");
    assert!(matches!(conn.run("WT.STATUS"), Reply::Map(_)));
    let script = "return redis.call('HSET', KEYS[1], 'first', 'c')";
    assert_eq!(conn.cmd(&["EVAL", script, "1", "__{users:1}"]), int(0));
    s.assert_user_cached(1);
    assert_eq!(conn.run("DEL __{users:1}"), int(1));
}

#[test]
fn a_client_that_wants_no_reply_gets_none() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let mut conn = s.conn();
    conn.send_line("CLIENT REPLY OFF");
    for line in ["HSET __{users:1} first a", "HSET __{users:1} dob never", "DEL __{users:7}"] {
        conn.send_line(line);
    }
    conn.send_line("CLIENT REPLY ON");
    assert_eq!(conn.receive(), ok());
    assert_eq!(s.one("select first_name from users"), "a");
    for line in ["HSET __{users:1} first b", "HSET __{users:1} dob never", "HSET __{no:1} a b"] {
        conn.send_line("CLIENT REPLY SKIP");
        conn.send_line(line);
        assert_eq!(conn.run("ECHO x"), bulk("x"), "{line}");
    }
    // The mode changes while the write waits; its reply is what it was when it was sent.
    let lock = s.lock_user(1);
    conn.send_line("CLIENT REPLY SKIP");
    conn.send_line("HSET __{users:1} first c");
    conn.send_line("ECHO y");
    s.wait_for_blocked(1);
    lock.rollback();
    assert_eq!(conn.receive(), bulk("y"));
    assert_eq!(s.one("select first_name from users"), "c");
    s.assert_user_cached(1);
}

#[test]
fn a_subscriber_writes_as_it_may_write_a_plain_key() {
    let s = Stack::users().start();
    s.add_user(1);
    let mut two = s.conn();
    two.run("SUBSCRIBE news");
    let before = s.state();
    two.run("HSET __{users:1} first x").assert_error("ERR Can't execute ");
    assert_eq!(s.state(), before);
    let mut three = s.conn();
    three.run("HELLO 3");
    three.run("SUBSCRIBE news");
    three.send_line("HSET __{users:1} first x");
    assert_eq!(three.receive(), int(1));
    s.assert_user_cached(1);
    s.run("PUBLISH news hello");
    assert_eq!(two.receive().text(), "message news hello");
    assert_eq!(three.receive().text(), "message news hello");
}

#[test]
fn a_tracking_client_is_told_when_the_hash_changes() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let mut conn = s.conn();
    conn.run("HELLO 3");
    assert_eq!(conn.run("CLIENT TRACKING ON"), ok());
    conn.run("HGET users:1 first");
    assert_eq!(s.run("HSET __{users:1} first x"), int(1));
    assert_eq!(conn.receive().text(), "invalidate users:1");
    // What it wrote itself, too; the notice comes before or after the answer.
    conn.run("HGET users:1 first");
    conn.send_line("HSET __{users:1} first y");
    let mut got = [conn.receive().text(), conn.receive().text()];
    got.sort();
    assert_eq!(got, ["0", "invalidate users:1"]);
    assert_eq!(conn.run("CLIENT TRACKING OFF"), ok());
    assert_eq!(conn.run("CLIENT TRACKING ON BCAST PREFIX users:"), ok());
    assert_eq!(s.run("DEL __{users:1}"), int(1));
    assert_eq!(conn.receive().text(), "invalidate users:1");
    assert_eq!(conn.run("CLIENT TRACKING OFF"), ok());
    assert_eq!(conn.run("CLIENT TRACKING ON NOLOOP"), ok());
    conn.run("HGET users:1 first");
    assert_serves(&s, 1);
    assert_eq!(conn.receive().text(), "invalidate users:1");
    assert_eq!(conn.run("ECHO x"), bulk("x"));
}
