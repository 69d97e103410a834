//! The append-only file, restarts and crashes of redis-server.

use crate::support::*;

/// All cached hashes.
fn hashes(s: &Stack) -> Vec<(String, Hash)> {
    let keys = s.keys().into_iter().filter(|key| key != "{writethrough}:sessions");
    keys.map(|key| (key.clone(), s.hgetall(&key))).collect()
}

fn row_versions(s: &Stack) -> String {
    s.one("select string_agg(id || ':' || xmin::text, ' ' order by id) from users")
}

#[test]
fn a_restart_from_the_append_only_file_has_the_data_and_writes_nothing() {
    let s = Stack::users().redis_conf("appendonly yes").start();
    (1..=20).for_each(|id| s.add_user(id));
    assert_eq!(s.run("HSET __{users:2} first x"), int(1));
    s.assert_line_refused("HSET __{users:3} username u4", "WTERR 23505 ");
    assert_eq!(s.run("DEL users:5"), int(1));
    let mut conn = s.conn();
    conn.run("MULTI");
    conn.run("HSET __{users:6} last y");
    conn.run("SET plain 1");
    assert_eq!(conn.run("EXEC"), Reply::Array(vec![int(1), ok()]));
    let script = "return redis.call('HSET', KEYS[1], 'first', 'z')";
    assert_eq!(s.cmd(&["EVAL", script, "1", "__{users:7}"]), int(1));
    assert_eq!(s.run("HSET tmp username t email t pwhash t"), int(3));
    assert_eq!(s.run("RENAME tmp __{users:30}"), ok());
    assert_eq!(s.run("DEL plain"), int(1));

    let (cached, rows) = (hashes(&s), row_versions(&s));
    assert_eq!(cached.len(), 20);
    for signal in ["TERM", "KILL"] {
        s.restart_redis(signal);
        assert_eq!(hashes(&s), cached, "after {signal}");
        assert_eq!(row_versions(&s), rows, "loading writes nothing");
    }
    assert_eq!(s.run("DEBUG LOADAOF"), ok());
    assert_eq!(hashes(&s), cached);
    assert_eq!(row_versions(&s), rows);
    assert_eq!(s.run("HSET __{users:5} last q"), int(1));
    s.assert_user_cached(5);
}

/// Many completions at once: each batch is one transaction in the file.
#[test]
fn concurrent_writes_reach_the_append_only_file() {
    let s = Stack::users().redis_conf("appendonly yes").start();
    s.add_user(999);
    std::thread::scope(|scope| {
        for client in 0..16 {
            let s = &s;
            scope.spawn(move || {
                let mut conn = s.conn();
                for n in 0..10 {
                    let id = client * 10 + n;
                    let line = format!("HSET __{{users:{id}}} username x{id} email x{id} pwhash h");
                    assert_eq!(conn.run(&line), int(3));
                    let hot = format!("HSET __{{users:999}} first c{client}n{n}");
                    assert!(conn.run(&hot).is_int());
                }
            });
        }
    });
    let cached = hashes(&s);
    s.restart_redis("KILL");
    assert_eq!(hashes(&s), cached);
    assert_eq!(cached.len(), 161);
    s.assert_user_cached(999);
    (0..160).step_by(31).for_each(|id| s.assert_user_cached(id));
}

#[test]
fn a_snapshot_has_no_staged_keys_left_after_its_load() {
    let s = Stack::users().redis_conf("save 3600 1").start();
    s.add_user(1);
    let cached = hashes(&s);
    s.restart_redis("TERM");
    assert_eq!(hashes(&s), cached);
}

/// The server crashes with a write in flight; the session's statement still commits.
#[test]
fn after_a_crash_with_a_write_in_flight_nothing_is_staged_or_stale() {
    let s = Stack::users().redis_conf("appendonly yes").patient().start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let _writer = s.send("HSET __{users:1} username new");
    s.database.wait_for_lock_waiters(1);
    s.redis.stop("KILL");
    lock.rollback();
    eventually("the orphan is done", || s.database.sessions() == 0);
    s.restart_redis("KILL");
    s.wait_until_settled();
    eventually("the cache is the row, or evicted", || {
        let cached = s.hgetall("users:1");
        cached.is_empty() || cached == user_row(&s, 1)
    });
    assert!(s.run("HSET __{users:1} last x").is_int());
    s.assert_user_cached(1);
}

#[test]
fn staged_keys_left_from_a_time_without_the_module_are_cleared() {
    let s = Stack::users().redis_conf("appendonly yes").without_module().start();
    s.execute("insert into users (id, username, email, password_hash) values (1, 'a', 'a', 'h')");
    assert_eq!(s.run("HSET __{users:1} username left"), int(1));
    s.restart_redis("TERM");
    s.wait_until_settled();
    assert!(s.run("HSET __{users:1} last x").is_int());
    s.assert_user_cached(1);
}

#[test]
fn staged_keys_are_cleared_at_a_load_at_run_time() {
    let s = Stack::users().without_module().start();
    assert_eq!(s.run("HSET __{users:1} username left email left pwhash h"), int(3));
    assert_eq!(s.load(), ok());
    s.wait_until_settled();
    s.add_user(2);
    eventually("the cache is the row", || s.hgetall("users:1") == user_row(&s, 1));
}
