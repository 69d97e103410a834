//! No way round a user's rights: what the module does for a user, the user may do.
//!
//! The user is README's: one who may write the rows of users, and read what is cached of them.

use crate::support::*;

/// What README gives a user who writes and reads users.
const USER: &str = "~__{users:*} %R~users:* +hset +hmset +hget +hgetall +wt.hset +wt.hmset \
                    +multi +exec +eval +auth +ping";
/// And who waits for acknowledgements.
const ACKNOWLEDGED: &str = "%W~{users:*}* +xadd";

/// A connection of a user with these rules.
#[track_caller]
fn user(s: &Stack, rules: &str) -> Conn {
    assert_eq!(s.run(&format!("ACL SETUSER app reset on nopass {rules}")), ok());
    let mut conn = s.conn();
    assert_eq!(conn.run("AUTH app x"), ok());
    conn
}

/// The line is refused with this, alone, in MULTI and in a script, and changes nothing.
#[track_caller]
fn assert_refused(s: &Stack, conn: &mut Conn, line: &str, code: &str) {
    let before = s.state();
    conn.run(line).assert_error(code);
    transaction(conn, &[line])[0].assert_error(code);
    let words: Vec<&str> = line.split(' ').collect();
    let script = "return redis.call(unpack(ARGV))";
    let mut eval = vec!["EVAL", script, "1", words[1]];
    eval.extend(&words);
    let reply = conn.cmd(&eval);
    assert!(reply.is_error() && reply.text().contains(code.trim_end()), "{line}: {reply:?}");
    assert_eq!(s.state(), before, "{line}");
}

/// Keys of every type, which others have put where an acknowledgement would go.
#[track_caller]
fn others(s: &Stack) -> Vec<&'static str> {
    for line in [
        "SET {users:1}string x",
        "HSET {users:1}hash f v",
        "RPUSH {users:1}list x",
        "SADD {users:1}set x",
        "ZADD {users:1}zset 1 x",
        "XADD {users:1}stream * f v",
    ] {
        let reply = s.run(line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
    }
    vec!["string", "hash", "list", "set", "zset", "stream"]
}

#[test]
fn who_may_not_add_to_the_stream_has_no_acknowledgement() {
    let s = Stack::users().start();
    s.add_user(1);
    let mut conn = user(&s, USER);
    assert_eq!(conn.run("HSET __{users:1} first Ann"), int(1), "a write as such is allowed");
    let uuids = [others(&s), vec!["missing"]].concat();
    for uuid in uuids {
        for command in ["HSET", "HMSET"] {
            let line = format!("{command} __{{users:1}} # ={uuid} first x");
            assert_refused(&s, &mut conn, &line, "NOPERM ");
        }
        // The write itself is refused, too.
        let line = format!("HSET __{{users:1}} # ={uuid} nofield x");
        conn.run(&line).assert_error("");
        conn.run(&format!("HSET __{{users:1}} # ={uuid} dob soon")).assert_error("");
    }
    for (key, left) in [("stream", 1), ("missing", 0)] {
        assert_eq!(s.run(&format!("XLEN {{users:1}}{key}")), int(left));
    }
    s.assert_user_cached(1);
}

/// Each right that is missing of those that are needed.
#[test]
fn the_stream_of_another_key_is_not_given_with_the_right_to_some() {
    let s = Stack::users().start();
    s.add_user(1);
    for rules in [
        "%W~{users:2}* +xadd",
        "%R~{users:*}* +xadd",
        "%W~{users:*}* +expire",
        "~* +xread +expire",
        "~{users:1} +xadd",
    ] {
        let mut conn = user(&s, &format!("{USER} {rules}"));
        assert_refused(&s, &mut conn, "HSET __{users:1} # =u-1 first x", "NOPERM ");
    }
}

#[test]
fn who_may_add_to_the_stream_is_acknowledged() {
    let s = Stack::users().start();
    s.add_user(1);
    let mut conn = user(&s, &format!("{USER} {ACKNOWLEDGED}"));
    assert_eq!(conn.run("HSET __{users:1} # =u-1 first Ann"), int(1));
    conn.run("HSET __{users:1} # =u-2 dob soon").assert_error("WTERR 22007 ");
    conn.run("HSET __{users:1} # =u-3 nofield x").assert_error("ERR writethrough: ");
    assert_eq!(transaction(&mut conn, &["HSET __{users:1} # =u-4 first Bo"]), [int(0)]);
    let script = "return redis.call('HSET', KEYS[1], '#', '=u-5', 'first', 'Cy')";
    assert_eq!(conn.cmd(&["EVAL", script, "1", "__{users:1}"]), int(0));
    for (uuid, status) in
        [("u-1", "done"), ("u-2", "failed"), ("u-3", "failed"), ("u-4", "done"), ("u-5", "done")]
    {
        let entries = s.run(&format!("XRANGE {{users:1}}{uuid} - +")).text();
        assert!(entries.contains(&format!("status {status}")), "{uuid}: {entries}");
        let left = s.run(&format!("TTL {{users:1}}{uuid}")).int();
        assert!((3000..=3600).contains(&left), "{uuid} lives for {left} s");
    }
}

#[test]
fn an_acknowledgement_goes_to_a_stream_only() {
    let s = Stack::users().start();
    s.add_user(1);
    let mut admin = s.conn();
    for uuid in others(&s).into_iter().filter(|uuid| *uuid != "stream") {
        for operation in ["=", "+", "-", "~"] {
            let line = format!("HSET __{{users:1}} # {operation}{uuid} first x");
            assert_refused(&s, &mut admin, &line, "WRONGTYPE ");
        }
        let line = format!("HSET __{{users:1}} # ={uuid} nofield x");
        admin.run(&line).assert_error("");
        assert_eq!(s.run(&format!("TTL {{users:1}}{uuid}")), int(-1));
    }
}

#[test]
fn a_stream_of_others_lives_as_long_as_they_say() {
    let s = Stack::users().start();
    s.add_user(1);
    others(&s);
    assert_eq!(s.run("HSET __{users:1} # =stream first Ann"), int(1));
    assert_eq!(s.run("XLEN {users:1}stream"), int(2));
    assert_eq!(s.run("TTL {users:1}stream"), int(-1));
    assert_eq!(s.run("EXPIRE {users:1}stream 100000"), int(1));
    s.run("HSET __{users:1} # =stream dob soon").assert_error("WTERR ");
    s.run("HSET __{users:1} # =stream nofield x").assert_error("ERR ");
    assert_eq!(transaction(&mut s.conn(), &["HSET __{users:1} # +stream first Bo"]), [int(0)]);
    assert_eq!(s.run("XLEN {users:1}stream"), int(5));
    assert!(s.run("TTL {users:1}stream").int() > 90000);
    // One that an acknowledgement has made is its clients' afterwards.
    assert_eq!(s.run("HSET __{users:1} # =u-1 first Cy"), int(0));
    assert_eq!(s.run("PERSIST {users:1}u-1"), int(1));
    assert_eq!(s.run("HSET __{users:1} # =u-1 first Dee"), int(0));
    assert_eq!(s.run("TTL {users:1}u-1"), int(-1));
}

/// What is there when the write is settled counts, too.
#[test]
fn what_comes_under_the_streams_name_meanwhile_stays() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let mut writers =
        ["string", "stream"].map(|uuid| s.send(&format!("HSET __{{users:1}} # ={uuid} first Ann")));
    s.wait_for_blocked(2);
    others(&s);
    lock.rollback();
    assert_eq!(writers[0].receive(), int(1));
    assert_eq!(writers[1].receive(), int(0));
    assert_eq!(s.run("GET {users:1}string"), bulk("x"));
    assert_eq!(s.run("XLEN {users:1}stream"), int(2));
    for key in ["string", "stream"] {
        assert_eq!(s.run(&format!("TTL {{users:1}}{key}")), int(-1));
    }
}

/// A hash that is renamed can have a field `#`.
#[test]
fn a_whole_hash_is_acknowledged_with_the_same_rights() {
    let s = Stack::users().start();
    let rules = "~draft ~__{users:*} +hset +rename +copy +restore +dump +wt.rename +wt.copy \
                 +wt.restore";
    let mut conn = user(&s, rules);
    let draft = "HSET draft username ann email ann@x pwhash h # =cart";
    assert_eq!(conn.run(draft), int(4));
    s.run("HSET {users:1}cart f v");
    let payload = s.run("DUMP draft");
    let before = s.state();
    conn.run("COPY draft __{users:1}").assert_error("NOPERM ");
    conn.cmd(&[&b"RESTORE"[..], b"__{users:1}", b"0", payload.bytes()]).assert_error("NOPERM ");
    conn.run("RENAME draft __{users:1}").assert_error("NOPERM ");
    s.run("RENAME draft __{users:1}").assert_error("WRONGTYPE ");
    assert_eq!(s.state(), before);
    s.run("DEL {users:1}cart");
    conn.run("RENAME draft __{users:1}").assert_error("NOPERM ");
    assert_eq!(s.run("RENAME draft __{users:1}"), ok());
    assert_eq!(s.run("XLEN {users:1}cart"), int(1));
    s.assert_user_cached(1);
}

#[test]
fn the_cached_hash_is_changed_by_who_may_change_it() {
    let s = Stack::users().start();
    s.add_user(1);
    let mut conn = user(&s, USER);
    for line in
        ["HSET __{users:1} # + first forged", "HSET __{users:1} # -", "HMSET __{users:1} # -"]
    {
        assert_refused(&s, &mut conn, line, "NOPERM ");
    }
    // To write there is not to delete, and to delete is not to write.
    let mut conn = user(&s, &format!("{USER} ~users:*"));
    assert_refused(&s, &mut conn, "HSET __{users:1} # -", "NOPERM ");
    assert_eq!(conn.run("HSET __{users:1} # + first local"), int(1));
    let mut conn = user(&s, &format!("~__{{users:*}} ~users:2 {USER} +del"));
    assert_refused(&s, &mut conn, "HSET __{users:1} # -", "NOPERM ");
    for delete in ["+del", "+unlink"] {
        let mut conn = user(&s, &format!("{USER} ~users:* {delete}"));
        assert_eq!(s.run("WT.REFRESH users:1"), int(1));
        assert_eq!(conn.run("HSET __{users:1} # -"), int(1), "{delete}");
    }
    // Every field is one that HSET would set: a selector may allow it.
    let mut conn = user(&s, &format!("{USER} (~users:1 +hset) (~users:1 +unlink)"));
    assert_eq!(conn.run("HSET __{users:1} # + first local username x"), int(2));
    assert_eq!(conn.run("HSET __{users:1} # -"), int(1));
}

#[test]
fn a_row_is_deleted_by_who_may_delete_it() {
    let s = Stack::users().start();
    s.add_user(1);
    let line = "HSET __{users:1} # ~";
    for rules in [
        "",
        "~users:*",
        "+wt.del +wt.unlink",
        // Whom DEL is refused, since the module's command is missing.
        "+del +unlink",
        "+del +wt.unlink",
        "+unlink +wt.del",
    ] {
        let mut conn = user(&s, &format!("{USER} {rules}"));
        assert_refused(&s, &mut conn, line, "NOPERM ");
        conn.run("DEL __{users:1}").assert_error("NOPERM ");
    }
    for (id, rules) in [(1, "+del +wt.del"), (2, "+unlink +wt.unlink")] {
        s.add_user(id + 1);
        let mut conn = user(&s, &format!("{USER} {rules}"));
        assert_eq!(conn.run(&format!("HSET __{{users:{id}}} # ~")), int(1), "{rules}");
    }
    assert_eq!(s.one("select string_agg(id::text, ',') from users"), "3");
}

/// What the module does before the plain command runs needs its rights as well.
#[test]
fn the_modules_own_commands_give_nothing_by_themselves() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let mut writer = s.send("HSET __{users:1} first Ann");
    s.database.wait_for_lock_waiters(1);
    let mut conn = user(&s, "~__{users:*} +wt.hsetnx +wt.hincrby +wt.hincrbyfloat +wt.migrate");
    for line in [
        "WT.HSETNX __{users:1} first x",
        "WT.HINCRBY __{users:1} first 1",
        "WT.HINCRBYFLOAT __{users:1} first 1",
        // The server would wait for the write.
        "WT.MIGRATE 127.0.0.1 1 __{users:1} 0 1000",
    ] {
        let before = s.state();
        conn.run(line).assert_error("NOPERM ");
        assert_eq!(s.state(), before, "{line}");
    }
    lock.rollback();
    assert_eq!(writer.receive(), int(1));
    s.assert_user_cached(1);
}
