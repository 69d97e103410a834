//! Where a client can't be blocked: MULTI/EXEC, scripts, functions; and RENAME, COPY, RESTORE.

use crate::support::*;

const WHOLE: &str = "username a email a@x pwhash h";

of_the_staged_key! {
#[test]
fn a_transaction_answers_as_single_commands_do() {
    let s = Stack::users().start();
    let replies = transaction(
        &mut s.conn(),
        &[
            "HSET __{users:1} username a email a@x pwhash h",
            "HGET users:1 username",
            "HSET __{users:1} username b first B",
            "HGETALL __{users:1}",
            "HMSET __{users:2} username c email c@x pwhash h",
            "HSET __{users:2} username b",
            "HSET __{users:2} nick x",
            "HSET __{users:2} dob soon",
            "HSET __{nobody:2} username b",
            "HGET users:1 first",
        ],
    );
    assert_eq!(replies[..5], [int(3), bulk("a"), int(1), Reply::Array(vec![]), ok()]);
    replies[5].assert_error("WTERR 23505 duplicate key value");
    replies[6].assert_error("ERR writethrough: ");
    replies[7].assert_error("WTERR 22007 ");
    replies[8].assert_error("ERR writethrough: ");
    assert_eq!(replies[9], bulk("B"));
    assert_eq!(s.one("select username from users where id = 2"), "c");
    s.assert_user_cached(1);
    s.assert_user_cached(2);
    assert_eq!(s.keys(), ["users:1", "users:2"]);
}
}

#[test]
fn a_wrong_number_of_arguments_aborts_the_transaction() {
    let s = Stack::users().start();
    let mut conn = s.conn();
    assert_eq!(conn.run("MULTI"), ok());
    let words = "ERR wrong number of arguments for 'hset' command";
    assert_eq!(conn.run("HSET __{users:1}"), error(words));
    conn.run("EXEC").assert_error("EXECABORT ");
}

#[test]
fn an_odd_number_of_arguments_in_a_transaction_gets_redis_own_words() {
    let s = Stack::users().start();
    let replies = transaction(&mut s.conn(), &["HSET __{users:1} username a email"]);
    assert_eq!(replies, [error("ERR wrong number of arguments for 'hset' command")]);
}

of_the_staged_key! {
#[test]
fn a_script_reads_what_it_wrote() {
    let s = Stack::users().start();
    let script = "local n = redis.call('HSET', KEYS[1], 'username', ARGV[1], 'email', 'a@x', 'pwhash', 'h')
                  local m = redis.call('hset', KEYS[1], 'username', ARGV[2])
                  return {n, m, redis.call('HGET', 'users:1', 'username'), redis.call('EXISTS', KEYS[1])}";
    let reply = s.cmd(&["EVAL", script, "1", "__{users:1}", "a", "b"]);
    assert_eq!(reply, Reply::Array(vec![int(3), int(0), bulk("b"), int(0)]));
    assert_eq!(s.one("select username from users"), "b");
    s.assert_user_cached(1);
}
}

of_the_staged_key! {
#[test]
fn a_script_gets_the_same_errors() {
    let s = Stack::users().start();
    s.add_user(1);
    s.add_user(2);
    // A detail may hold the time of day.
    let words = |text: &str| text.split(" detail=").next().unwrap().to_string();
    let call = "return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])";
    let catch = "return redis.pcall('HSET', KEYS[1], ARGV[1], ARGV[2])";
    for (key, field, value) in [
        ("__{users:2}", "username", "u1"),
        ("__{users:2}", "dob", "soon"),
        ("__{users:2}", "nick", "x"),
        ("__{users:3}", "username", "u3"),
        ("__{nobody:3}", "username", "u3"),
        ("__{users:}", "username", "u3"),
    ] {
        let direct = s.cmd(&["HSET", key, field, value]);
        let caught = s.assert_refused(&["EVAL", catch, "1", key, field, value], "");
        assert_eq!(words(&caught), words(direct.error()));
        let thrown = s.assert_refused(&["EVAL", call, "1", key, field, value], "");
        assert!(thrown.starts_with(&words(direct.error())), "{thrown}");
    }
}
}

#[test]
fn hmset_in_a_script_answers_ok() {
    let s = Stack::users().start();
    let script =
        "return redis.call('HMSET', KEYS[1], 'username', 'a', 'email', 'a@x', 'pwhash', 'h')";
    assert_eq!(s.cmd(&["EVAL", script, "1", "__{users:1}"]), ok());
    s.assert_user_cached(1);
}

#[test]
fn a_function_writes_through() {
    let s = Stack::users().start();
    let library = "#!lua name=wt\n
        redis.register_function('save', function(keys, args)
            return redis.call('HSET', keys[1], unpack(args))
        end)";
    assert_eq!(s.cmd(&["FUNCTION", "LOAD", library]), bulk("wt"));
    assert_eq!(s.run(&format!("FCALL save 1 __{{users:1}} {WHOLE}")), int(3));
    s.assert_user_cached(1);
    s.run("FCALL save 1 __{users:1} dob soon").assert_error("WTERR 22007 ");
    s.assert_user_cached(1);
}

#[test]
fn a_transaction_comes_after_the_blocked_write_before_it() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let mut first = s.send("HSET __{users:1} username a last a");
    s.database.wait_for_lock_waiters(1);
    let mut second = s.conn();
    second.run("MULTI");
    second.run("HSET __{users:1} username b first b");
    second.run("HGETALL users:1");
    second.send_line("EXEC");
    // From now on the server may wait for the database, and so can't be asked anything.
    lock.rollback();
    let replies = second.receive();
    assert_eq!(replies.array()[0], int(1));
    assert!(
        replies.array()[1].text().contains("last a"),
        "the first is in the cache before: {replies:?}"
    );
    assert_eq!(first.receive(), int(1));
    assert_eq!(s.one("select username || last_name || first_name from users"), "bab");
    s.assert_user_cached(1);
}

#[test]
fn a_blocked_write_comes_after_the_script_before_it() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    let mut conn = s.conn();
    for n in 0..50 {
        let script = "return redis.call('HSET', KEYS[1], 'username', ARGV[1])";
        conn.send(&["EVAL", script, "1", "__{users:1}", &format!("script{n}")]);
        conn.send_line(&format!("HSET __{{users:1}} username plain{n}"));
        conn.send_line("HGET users:1 username");
        let replies = [conn.receive(), conn.receive(), conn.receive()];
        assert_eq!(replies, [int(0), int(0), bulk(format!("plain{n}"))]);
    }
    s.assert_user_cached(1);
}

/// The synchronous write must first apply what was committed before and waits to be merged.
#[test]
fn mixed_paths_from_many_clients_leave_the_cache_equal_to_the_row() {
    let s = Stack::users().patient().start();
    s.add_user(1);
    std::thread::scope(|scope| {
        for client in 0..6 {
            let s = &s;
            scope.spawn(move || {
                let mut conn = s.conn();
                for n in 0..40 {
                    let value = format!("c{client}n{n}");
                    let line = format!("HSET __{{users:1}} username {value}");
                    if client % 2 == 0 {
                        assert_eq!(conn.run(&line), int(0));
                    } else {
                        let replies = transaction(&mut conn, &[&line, "HGET users:1 username"]);
                        assert_eq!(replies, [int(0), bulk(value)]);
                    }
                }
            });
        }
    });
    s.assert_user_cached(1);
}

#[test]
fn the_server_waits_no_longer_than_the_synchronous_time() {
    let s = Stack::users().option("sync_timeout_ms", 100).start();
    s.add_user(1);
    let lock = s.lock_user(1);
    let replies = transaction(&mut s.conn(), &["HSET __{users:1} username late", "PING"]);
    replies[0].assert_error("WTTIMEOUT ");
    assert_eq!(replies[1], Reply::Status("PONG".into()));
    assert_eq!(s.run("HGET users:1 username"), bulk("u1"));
    lock.rollback();
    s.wait_until_settled();
    s.assert_user_cached(1);
}

#[test]
fn a_hash_that_is_renamed_copied_or_restored_onto_a_staged_key_is_written_through() {
    let s = Stack::users().start();
    assert_eq!(s.run("HSET tmp username a email a@x pwhash h"), int(3));
    let dump = s.run("DUMP tmp");
    assert_eq!(s.run("RENAME tmp __{users:1}"), ok());
    s.assert_user_cached(1);
    assert_eq!(s.hgetall("users:1")["username"], "a");

    assert_eq!(s.run("HSET tmp username b email b@x pwhash h"), int(3));
    assert_eq!(s.run("COPY tmp __{users:2}"), int(1));
    s.assert_user_cached(2);
    assert_eq!(s.hgetall("users:2")["username"], "b");

    s.execute("delete from users where id = 1");
    let restore = [b"RESTORE".as_slice(), b"__{users:3}", b"0", dump.bytes()];
    assert_eq!(s.cmd(&restore), ok());
    s.assert_user_cached(3);
    assert_eq!(s.hgetall("users:3")["username"], "a");

    assert_eq!(s.run("HSET tmp username d email d@x pwhash h"), int(0));
    let replies =
        transaction(&mut s.conn(), &["RENAMENX tmp __{users:4}", "HGET users:4 username"]);
    assert_eq!(replies, [int(1), bulk("d")]);
    s.assert_user_cached(4);
    assert_eq!(s.keys(), ["users:1", "users:2", "users:3", "users:4"]);
}

/// RENAME has its reply before the module hears of it; what went wrong must be told all the same.
#[test]
fn a_refused_rename_changes_nothing_and_is_told() {
    let s = Stack::users().start();
    s.add_user(1);
    for (hash, told) in [
        ("username u1 email b@x pwhash h", "23505"),
        ("username b email b@x pwhash h dob soon", "22007"),
        ("username b email b@x pwhash h nick x", "nick"),
    ] {
        s.run("DEL tmp");
        assert!(s.run(&format!("HSET tmp {hash}")).is_int());
        let reply = s.run("RENAME tmp __{users:2}");
        let log = s.log();
        assert!(reply.text().contains(told) || log.contains(told), "{hash}: {reply:?}");
        assert_eq!(s.run("EXISTS __{users:2} users:2"), int(0), "{hash}");
        assert_eq!(s.count("users"), 1, "{hash}");
    }
    s.assert_user_cached(1);
}

#[test]
fn a_script_does_not_wait_for_what_is_committed_and_not_merged_yet() {
    // More rows than are merged in one turn of the event loop; a statement's rows are sorted by key.
    let s = Stack::users().one_worker().start();
    let held = s.hold();
    let line = |id: u32| format!("HSET __{{users:{id}}} username u{id} email u{id}@x pwhash h");
    let mut first = s.send(&line(1));
    s.wait_for_blocked(2);
    // Runs in the turn in which the write before it is answered.
    let script = "return redis.call('HSET', KEYS[1], 'username', 'z')";
    first.send(&["EVAL", script, "1", "__{users:99}"]);
    let mut others: Vec<Conn> = (2..=200).map(|id| s.send(&line(id))).collect();
    s.wait_for_blocked(201);
    held.release();
    assert_eq!(first.receive(), int(3));
    assert_eq!(first.receive(), int(0));
    assert!(others.iter_mut().all(|conn| conn.receive() == int(3)));
    assert_eq!(s.one("select username from users where id = 99"), "z");
    s.assert_user_cached(99);
}
