//! A user who may not run the plain command on the key may not write through it.

use crate::support::*;

const LINE: &str = "HSET __{users:1} username new";

#[track_caller]
fn assert_denied(s: &Stack, conn: &mut Conn) {
    let before = s.state();
    conn.run(LINE).assert_error("NOPERM ");
    conn.run("HMSET __{users:1} username new").assert_error("NOPERM ");
    let script = "return redis.call('HSET', KEYS[1], 'username', 'new')";
    let denied = conn.cmd(&["EVAL", script, "1", "__{users:1}"]);
    assert!(denied.is_error(), "{denied:?}");
    conn.run("MULTI");
    let queued = conn.run(LINE);
    let replies = conn.run("EXEC");
    assert!(queued.is_error() || replies.array()[0].is_error(), "{queued:?} {replies:?}");
    assert_eq!(s.state(), before);
}

#[test]
fn a_user_without_the_command_is_denied() {
    let s = Stack::users().start();
    s.add_user(1);
    assert_denied(&s, &mut s.user("a", "~* +@all -hset -hmset"));
    assert_denied(&s, &mut s.user("b", "~* +@all -@write"));
    assert_denied(&s, &mut s.user("c", "~* +@all -@hash"));
}

#[test]
fn a_user_without_the_key_is_denied() {
    let s = Stack::users().start();
    s.add_user(1);
    assert_denied(&s, &mut s.user("a", "~other:* +@all"));
    assert_denied(&s, &mut s.user("b", "%R~* +@all"));
    assert_denied(&s, &mut s.user("c", "~__{users:2} ~users:1 +@all"));
}

#[test]
fn a_user_with_the_command_and_the_staged_key_may_write() {
    let s = Stack::users().start();
    s.add_user(1);
    for (i, rules) in [
        "~* +@all",
        "~__{users:*} +@all",
        // Only to write: HSET reads nothing.
        "%W~__{users:*} +@all",
        "~__{users:*} -@all +hset +wt.hset",
    ]
    .iter()
    .enumerate()
    {
        let mut conn = s.user(&format!("u{i}"), rules);
        assert_eq!(conn.run(&format!("HSET __{{users:1}} username n{i}")), int(0), "{rules}");
        s.assert_user_cached(1);
    }
}

#[test]
fn a_denied_user_can_go_on() {
    let s = Stack::users().start();
    s.add_user(1);
    let mut conn = s.user("a", "~__{users:1} +@all");
    conn.run("HSET __{users:2} username x").assert_error("NOPERM ");
    assert_eq!(conn.run(LINE), int(0));
}
