//! WT.TRANSACTION: several writes that are committed together, or not at all.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::support::*;

const SQL: &str = "
create table accounts (id int primary key, owner text, balance int not null default 0 check (balance >= 0));
create table notes (id text primary key, body text, code int unique default null);
create table lines (a int, b text, n int, primary key (a, b));
create table parents (id int primary key, name text);
create table children (id int primary key, parent int references parents deferrable initially deferred);
create table watched (id int primary key, n int not null default 0);
create function up() returns trigger language plpgsql as $$ begin
    if new.n > 100 then raise 'too many' using errcode = 'P0001'; end if;
    new.n := new.n + 1; return new; end $$;
create trigger up before insert or update on watched for each row execute function up();
create view seen as select id, owner from accounts;";

fn bank() -> Builder {
    Stack::new()
        .sql(SQL)
        .mapping(json!({ "table": "accounts", "unmapped": "keep" }))
        .mapping(json!({ "table": "notes", "plain_writes": "through", "on_delete": "delete" }))
        .mapping(json!({ "table": "lines" }))
        .mapping(json!({ "table": "parents" }))
        .mapping(json!({ "table": "children" }))
        .mapping(json!({ "table": "watched" }))
        .mapping(json!({ "table": "seen", "key": ["id"] }))
}

const TRANSFER: [&str; 2] =
    ["HINCRBY __{accounts:1} balance -10", "HINCRBY __{accounts:2} balance 10"];

fn with_two(s: &Stack) {
    for id in [1, 2] {
        assert_eq!(s.run(&format!("HSET __{{accounts:{id}}} owner o{id} balance 100")), int(2));
    }
}

fn sum(s: &Stack) -> String {
    s.one("select concat_ws(' ', sum(balance), count(*)) from accounts")
}

#[test]
fn all_of_it_is_committed_and_answered_in_order() {
    let s = bank().start();
    with_two(&s);
    assert_eq!(s.cmd(&transaction_of(&TRANSFER)), Reply::Array(vec![int(90), int(110)]));
    s.assert_row_cached("accounts", 1);
    s.assert_row_cached("accounts", 2);
    // All commands, all kinds of keys, several of one row.
    let replies = s.cmd(&transaction_of(&[
        "HSET __{accounts:3} owner cy balance 5 nick c",
        "HINCRBY __{accounts:3} balance 7",
        "HINCRBYFLOAT __{accounts:3} balance -1",
        "HSETNX __{accounts:3} owner x",
        "HSETNX __{notes:a:b} body x",
        "HMSET __{lines:1:x:y} n 3",
        "HDEL __{accounts:2} owner",
        "DEL __{accounts:1}",
        "HSET __{watched:1} n 4",
        "HINCRBY __{watched:1} n 1",
        "HSETNX __{watched:2} n 7",
        "HSET __{seen:9} owner nine",
        "HSET notes:z body last",
        "HSET notes:z body more",
        "UNLINK notes:none",
    ]));
    let expected = [
        int(3),
        int(12),
        bulk("11"),
        int(0),
        int(1),
        ok(),
        int(1),
        int(1),
        int(1),
        int(7),
        int(1),
        int(1),
        int(1),
        int(0),
        int(0),
    ];
    assert_eq!(replies, Reply::Array(expected.into()));
    assert_eq!(
        s.one("select string_agg(concat(id, owner, balance), ' ' order by id) from accounts"),
        "2110 3cy11 9nine0"
    );
    assert_eq!(s.one("select string_agg(concat(id, n), ' ' order by id) from watched"), "17 28");
    assert_eq!(
        s.one("select string_agg(concat(id, body), ' ' order by id) from notes"),
        "a:bx zmore"
    );
    assert_eq!(s.one("select concat(a, b, n) from lines"), "1x:y3");
    let keys = [
        "accounts:2",
        "accounts:3",
        "lines:1:x:y",
        "notes:a:b",
        "notes:z",
        "seen:9",
        "watched:1",
        "watched:2",
    ];
    assert_eq!(s.keys(), keys);
    assert_eq!(s.run("HGET accounts:3 nick"), bulk("c"));
    assert_eq!(s.run("HGET watched:1 n"), bulk("7"));
    assert_eq!(s.info_int("in_flight"), 0);
    assert_eq!(s.info_int("transactions"), 2);
}

#[test]
fn a_refused_one_changes_nothing_and_says_which_command_it_was() {
    let s = bank().start();
    with_two(&s);
    let before = s.keys();
    for (lines, problem) in [
        (
            vec!["HINCRBY __{accounts:2} balance 10", "HSET __{notes:a} body x", "HINCRBY __{accounts:1} balance -101"],
            "WTERR 23514 new row for relation \"accounts\" violates check constraint \"accounts_balance_check\" constraint=accounts_balance_check command=3 key=__{accounts:1}",
        ),
        (
            vec!["HSET __{accounts:1} balance x", "HSET __{accounts:2} balance 1"],
            "WTERR 22P02 invalid input syntax for type integer: \"x\" command=1 key=__{accounts:1}",
        ),
        (vec!["HSET __{watched:1} n 4", "HSET __{watched:2} n 101"], "WTERR P0001 too many command=2 key=__{watched:2}"),
        (
            vec!["HSET __{notes:a} code 1", "HSET notes:b code 1"],
            "WTERR 23505 duplicate key value violates unique constraint \"notes_code_key\" constraint=notes_code_key detail=Key (code)=(1) already exists. command=2 key=notes:b",
        ),
        // A deferred constraint decides at the commit, where no command is known.
        (
            vec!["HSET __{parents:1} name p", "HSET __{children:1} parent 2"],
            "WTERR 23503 insert or update on table \"children\" violates foreign key constraint \"children_parent_fkey\" constraint=children_parent_fkey",
        ),
        (vec!["HSET __{accounts:1} owner a", "HSET __{accounts:01} owner b"], "ERR writethrough: the database writes the id \"01\" as \"1\"; use that command=2 key=__{accounts:01}"),
        (vec!["HSET __{accounts:1} owner a", "HINCRBY __{accounts:2} owner 1"], "ERR writethrough: column \"owner\" is of type text; a number can be added to a numeric column only command=2 key=__{accounts:2}"),
        (vec!["HSET __{accounts:1} owner a", "HSET __{nobody:1} a b"], "ERR writethrough: no mapping is named \"nobody\" command=2 key=__{nobody:1}"),
        (vec!["HINCRBYFLOAT __{accounts:1} balance 1", "GET x"], "ERR writethrough: \"GET\" can't be part of a batch or a transaction; HSET, HMSET, HSETNX, HINCRBY, HINCRBYFLOAT, HDEL, DEL and UNLINK can command=2 key=x"),
        (vec!["HINCRBY __{accounts:1} nick 1"], "ERR writethrough: field \"nick\" is kept in Redis only: what the transaction writes could not be taken back when the server refuses it command=1 key=__{accounts:1}"),
        (vec!["HINCRBY __{accounts:1} balance x"], "ERR value is not an integer or out of range command=1 key=__{accounts:1}"),
        (vec!["WT.TRANSACTION 1 1 PING"], "ERR writethrough: \"WT.TRANSACTION\" can't be part of a batch or a transaction; HSET, HMSET, HSETNX, HINCRBY, HINCRBYFLOAT, HDEL, DEL and UNLINK can command=1 key=1"),
    ] {
        assert_eq!(s.cmd(&transaction_of(&lines)), error(problem), "{lines:?}");
        assert_eq!(sum(&s), "200 2", "{lines:?}");
        assert_eq!(s.keys(), before, "{lines:?}");
    }
    for table in ["notes", "watched", "parents", "children"] {
        assert_eq!(s.count(table), 0, "{table}");
    }
    assert_eq!(s.run("HGET accounts:1 balance"), bulk("100"));
    assert_eq!(s.info_int("in_flight"), 0);
    // The deferred constraint is kept by a later command.
    let lines = ["HSET __{children:1} parent 1", "HSET __{parents:1} name p"];
    assert_eq!(s.cmd(&transaction_of(&lines)), Reply::Array(vec![int(1), int(1)]));
}

#[test]
fn a_row_that_is_not_as_expected_leaves_all_as_it_is() {
    let s = bank().start();
    with_two(&s);
    let expecting = |expected: &str| {
        s.cmd(&transaction_of(&[
            expected,
            "HINCRBY __{accounts:1} balance -10",
            "HINCRBY __{accounts:2} balance 10",
        ]))
    };
    assert_eq!(
        expecting("WT.EXPECT __{accounts:1} balance 100 owner o1"),
        Reply::Array(vec![ok(), int(90), int(110)])
    );
    assert_eq!(expecting("wt.expect __{accounts:1} balance 100"), error("WTABORT field \"balance\" is not as expected; nothing was written command=1 key=__{accounts:1}"));
    assert_eq!(expecting("WT.EXPECT __{accounts:7} id 7"), error("WTABORT there is no row \"accounts:7\"; nothing was written command=1 key=__{accounts:7}"));
    // What a command before it has made of the row.
    let lines = ["HINCRBY __{accounts:1} balance 5", "WT.EXPECT __{accounts:1} balance 95"];
    assert_eq!(s.cmd(&transaction_of(&lines)), Reply::Array(vec![int(95), ok()]));
    expecting("WT.EXPECT __{accounts:1} nick x")
        .assert_error("ERR writethrough: mapping \"accounts\" has no field \"nick\"");
    expecting("WT.EXPECT __{accounts:1} owner")
        .assert_error("ERR wrong number of arguments for 'wt.expect' command");
    assert_eq!(sum(&s), "205 2");
    assert_eq!(s.info_int("transactions_unmet"), 2);
    // By a table that a trigger watches, too.
    assert_eq!(s.run("HSET __{watched:1} n 1"), int(1));
    let lines = ["WT.EXPECT __{watched:1} n 2", "HINCRBY __{watched:1} n 1"];
    assert_eq!(s.cmd(&transaction_of(&lines)), Reply::Array(vec![ok(), int(4)]));
    s.cmd(&transaction_of(&lines)).assert_error("WTABORT ");
    // Somebody else changes the row meanwhile: the database says so.
    let other = s.database.hold("update accounts set balance = 1 where id = 1");
    let mut conn = s.conn();
    conn.send(&transaction_of(&[
        "WT.EXPECT __{accounts:1} balance 95",
        "HINCRBY __{accounts:1} balance 1",
    ]));
    s.database.wait_for_lock_waiters(1);
    other.commit();
    conn.receive().assert_error("WTABORT field \"balance\" is not as expected");
}

/// The conservative list: on a table with unique values the order of the commands decides.
#[test]
fn the_commands_are_done_in_their_order() {
    let s = bank().start();
    assert_eq!(
        s.cmd(&transaction_of(&["HSET notes:a code 1", "HSET notes:b code 2"])),
        Reply::Array(vec![int(1), int(1)])
    );
    // b frees 2 before a takes it; not the other way round.
    let swap = ["HDEL notes:b code", "HSET notes:a code 2", "HSET notes:b code 1"];
    assert_eq!(s.cmd(&transaction_of(&swap)), Reply::Array(vec![int(1), int(0), int(1)]));
    let wrong = ["HSET notes:b code 2", "HDEL notes:a code"];
    s.cmd(&transaction_of(&wrong)).assert_error("WTERR 23505 ");
    assert_eq!(s.one("select string_agg(concat(id, code), ' ' order by id) from notes"), "a2 b1");
}

/// DEL and then HSET of a plain key are one replacement.
#[test]
fn a_plain_key_is_replaced() {
    let s = bank().start();
    assert_eq!(s.run("HSET notes:a body x code 7"), int(2));
    let lines =
        ["DEL notes:a", "HSET notes:a body y", "DEL notes:b", "HSET notes:b code 7", "DEL notes:b"];
    assert_eq!(
        s.cmd(&transaction_of(&lines)),
        Reply::Array(vec![int(1), int(1), int(0), int(1), int(1)])
    );
    assert_eq!(
        s.one("select string_agg(concat(id, body, code), ' ' order by id) from notes"),
        "ay"
    );
    assert_eq!(s.hgetall("notes:a"), hash(&[("id", "a"), ("body", "y")]));
}

/// A transfer that waits for a write, which waits for the lock: the lock, the write's client, the transfer's.
fn behind_a_write(s: &Stack) -> (OpenTransaction, Conn, Conn) {
    let lock = s.database.hold("select from accounts where id = 1 for update");
    let before = s.send("HINCRBY __{accounts:1} balance 1");
    s.wait_for_blocked(1);
    let mut conn = s.conn();
    conn.send(&transaction_of(&TRANSFER));
    s.wait_for_blocked(2);
    (lock, before, conn)
}

#[test]
fn behind_what_is_on_its_way_and_before_what_comes_later() {
    let s = bank().start();
    with_two(&s);
    let (lock, mut before, mut conn) = behind_a_write(&s);
    // The transaction waits for the first account; the second one's write waits for the transaction.
    let mut after = s.send("HINCRBY __{accounts:2} balance 100");
    s.wait_for_blocked(3);
    let mut third = s.conn();
    third.send(&transaction_of(&[
        "HINCRBY __{accounts:2} balance -5",
        "HINCRBY __{accounts:3} balance 5",
    ]));
    s.wait_for_blocked(4);
    assert_eq!(s.run("HSET __{accounts:4} owner x"), int(1));
    lock.rollback();
    assert_eq!(before.receive(), int(101));
    assert_eq!(conn.receive(), Reply::Array(vec![int(91), int(110)]));
    assert_eq!(after.receive(), int(210));
    assert_eq!(third.receive(), Reply::Array(vec![int(205), int(5)]));
}

/// 64 clients between 10 accounts; and those who look never see half of a transfer.
#[test]
fn the_sum_stays_and_nobody_sees_half_of_a_transfer() {
    let s = bank().start();
    for id in 0..10 {
        s.run(&format!("HSET __{{accounts:{id}}} balance 1000"));
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..64u64)
            .map(|number| {
                let s = &s;
                scope.spawn(move || {
                    let (mut conn, mut random) = (s.conn(), Lcg::new(number));
                    for _ in 0..15 {
                        let (from, to) = (random.below(10), random.below(10));
                        let amount = 1 + random.below(200);
                        let lines = [
                            format!("HINCRBY __{{accounts:{from}}} balance -{amount}"),
                            format!("HINCRBY __{{accounts:{to}}} balance {amount}"),
                        ];
                        match conn.cmd(&transaction_of(&lines)) {
                            Reply::Array(both) => assert!(both.iter().all(Reply::is_int)),
                            refused => drop(refused.assert_error("WTERR 23514 ")),
                        }
                    }
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            let (mut conn, mut looks) = (s.conn(), 0);
            while !done.load(Ordering::Relaxed) {
                let lines: Vec<String> =
                    (0..10).map(|id| format!("HGET accounts:{id} balance")).collect();
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                let sum: i64 = transaction(&mut conn, &lines)
                    .iter()
                    .map(|reply| reply.text().parse::<i64>().unwrap())
                    .sum();
                assert_eq!(sum, 10_000);
                looks += 1;
            }
            looks
        });
        let writers: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::Relaxed);
        writers.into_iter().for_each(Result::unwrap);
        assert!(reader.join().unwrap() > 0);
    });
    assert_eq!(sum(&s), "10000 10");
    for id in 0..10 {
        s.assert_row_cached("accounts", id);
    }
    assert_eq!(s.info_int("conflicts"), 0);
}

/// Independent transactions share a commit, and one that is refused is refused alone.
#[test]
fn many_share_a_commit() {
    let s = bank().one_worker().start();
    s.execute("insert into accounts select n, 'o', 100 from generate_series(1, 200) n");
    let held = s.hold();
    let before = s.info_int("batches");
    let lines: Vec<Vec<String>> = (0..100)
        .map(|n| {
            let amount = if n == 33 { 1000 } else { 10 };
            transaction_of(&[
                format!("HINCRBY __{{accounts:{}}} balance -{amount}", 2 * n + 1),
                format!("HINCRBY __{{accounts:{}}} balance {amount}", 2 * n + 2),
            ])
        })
        .collect();
    let mut conns: Vec<Conn> = lines
        .iter()
        .map(|line| {
            let mut conn = s.conn();
            conn.send(line);
            conn
        })
        .collect();
    s.wait_for_blocked(101);
    held.release();
    for (n, conn) in conns.iter_mut().enumerate() {
        match (n, conn.receive()) {
            (33, refused) => drop(refused.assert_error("WTERR 23514 ")),
            (_, reply) => assert_eq!(reply, Reply::Array(vec![int(90), int(110)])),
        }
    }
    assert_eq!(sum(&s), "20000 200");
    assert!(s.info_int("batches") - before < 20);
    assert_eq!(s.info_int("transactions"), 99);
}

#[test]
fn in_multi_and_scripts_it_is_one_transaction_too() {
    let s = bank().start();
    with_two(&s);
    let mut conn = s.conn();
    conn.run("MULTI");
    conn.cmd(&transaction_of(&TRANSFER));
    conn.run("HGET accounts:2 balance");
    let bad = ["HINCRBY __{accounts:2} balance 1000", "HINCRBY __{accounts:1} balance -1000"];
    conn.cmd(&transaction_of(&bad));
    let replies = conn.run("EXEC");
    assert_eq!(replies.array()[..2], [Reply::Array(vec![int(90), int(110)]), bulk("110")]);
    replies.array()[2].assert_error("WTERR 23514 ");
    let script = "return redis.call('WT.TRANSACTION', 2, 4, 'HINCRBY', KEYS[1], 'balance', -10, 4, 'HINCRBY', KEYS[2], 'balance', 10)";
    let reply = s.cmd(&["EVAL", script, "2", "__{accounts:1}", "__{accounts:2}"]);
    assert_eq!(reply, Reply::Array(vec![int(80), int(120)]));
    // The server's time is over: nothing is written.
    s.set("sync-timeout-ms", 100);
    let lock = s.database.hold("select from accounts where id = 1 for update");
    let reply = s.cmd(&["EVAL", script, "2", "__{accounts:1}", "__{accounts:2}"]);
    assert!(reply.text().contains("WTTIMEOUT 55P03 "), "{reply:?}");
    lock.rollback();
    eventually("nothing is in flight", || s.info_int("in_flight") == 0);
    assert_eq!(sum(&s), "200 2");
    assert_eq!(s.run("HGET accounts:2 balance"), bulk("120"));
}

#[test]
fn rights_and_keys_are_those_of_the_commands() {
    let s = bank().start();
    with_two(&s);
    let run = |name: &str, rules: &str| s.user(name, rules).cmd(&transaction_of(&TRANSFER));
    assert_eq!(
        run("may", "~__{accounts:*} +wt.transaction +hincrby"),
        Reply::Array(vec![int(90), int(110)])
    );
    let one = run("one", "~__{accounts:1} +wt.transaction +hincrby");
    one.assert_error("NOPERM ");
    let no = run("no", "~* +wt.transaction +hset");
    assert!(no.assert_error("NOPERM ").ends_with(" command=1 key=__{accounts:1}"), "{no:?}");
    let lines = ["WT.EXPECT __{accounts:1} balance 90", "HINCRBY __{accounts:1} balance 1"];
    let writes = s.user("writes", "%W~* +wt.transaction +hincrby").cmd(&transaction_of(&lines));
    writes.assert_error("NOPERM ");
    let keys = [
        vec!["COMMAND".into(), "GETKEYS".into()],
        transaction_of(&["HSET a b c", "WT.EXPECT d e f"]),
    ]
    .concat();
    assert_eq!(s.cmd(&keys), Reply::Array(vec![bulk("a"), bulk("d")]));
    assert_eq!(sum(&s), "200 2");
}

#[test]
fn counts_that_do_not_fit_are_told() {
    let s = bank().start();
    for (line, problem) in [
        (
            "WT.TRANSACTION 2 4 HSET __{accounts:1} owner x",
            "2 commands are said to follow, and there are 1",
        ),
        ("WT.TRANSACTION 0 1 x", "\"0\" is no number of commands, expected 1 or more"),
        ("WT.TRANSACTION 99999999999999999999 1 x", "is no number of commands"),
        (
            "WT.TRANSACTION 1 3 HSET __{accounts:1} owner x",
            "1 arguments are left after the 1 commands",
        ),
    ] {
        let text = s.assert_line_refused(line, "ERR writethrough: ");
        assert!(text.contains(problem), "{line}: {text}");
    }
    s.assert_line_refused("WT.TRANSACTION 0", "ERR wrong number of arguments");
    let lines: Vec<String> =
        (0..1000).map(|id| format!("HSET __{{accounts:{id}}} balance 1")).collect();
    assert_eq!(s.cmd(&transaction_of(&lines)).array().len(), 1000);
    let more: Vec<String> =
        (0..10_000).map(|id| format!("HSET __{{accounts:{id}}} balance 2")).collect();
    s.cmd(&transaction_of(&more))
        .assert_error("ERR writethrough: 10000 commands are more than transaction_max = 1000");
    s.set("transaction-max", 2);
    s.cmd(&transaction_of(&lines[..3]))
        .assert_error("ERR writethrough: 3 commands are more than transaction_max = 2");
    assert_eq!(sum(&s), "1000 1000");
}

#[test]
fn a_client_that_leaves_takes_what_was_not_sent() {
    let s = bank().start();
    with_two(&s);
    let lock = s.database.hold("select from accounts where id = 1 for update");
    let mut first = s.send("HINCRBY __{accounts:1} balance 1");
    s.wait_for_blocked(1);
    let mut conn = s.conn();
    let id = conn.id();
    conn.send(&transaction_of(&TRANSFER));
    s.wait_for_blocked(2);
    assert_eq!(s.run(&format!("CLIENT KILL ID {id}")), int(1));
    lock.rollback();
    assert_eq!(first.receive(), int(101));
    eventually("nothing is in flight", || s.info_int("in_flight") == 0);
    assert_eq!(sum(&s), "201 2");
    // Its time is up while somebody else has the row.
    s.set("timeout-ms", 300);
    let lock = s.database.hold("select from accounts where id = 1 for update");
    let refused = s.cmd(&transaction_of(&TRANSFER));
    assert!(refused
        .assert_error("WTTIMEOUT 55P03 the row is locked")
        .ends_with("nothing was written"));
    lock.rollback();
    eventually("nothing is in flight", || s.info_int("in_flight") == 0);
    assert_eq!(sum(&s), "201 2");
    s.set("timeout-ms", 60_000);
    s.set("queue-max", 1);
    s.cmd(&transaction_of(&TRANSFER)).assert_error("WTBUSY ");
}

/// AOF and replica get all of it or nothing: one MULTI/EXEC.
#[test]
fn one_unit_in_the_stream_of_changes() {
    let s = bank().redis_conf("appendonly yes").start();
    with_two(&s);
    let mut monitor = s.conn();
    monitor.send(&["SYNC"]);
    let lines: Vec<String> =
        (0..300).map(|id| format!("HSET __{{accounts:{id}}} balance 1")).collect();
    assert_eq!(s.cmd(&transaction_of(&lines)).array().len(), 300);
    s.run("DEBUG LOADAOF");
    s.restart_redis("KILL");
    for id in [0, 1, 299] {
        s.assert_row_cached("accounts", id);
    }
}

/// The server itself waits for a write behind a transaction, which waits for a write of another key.
#[test]
fn what_the_server_waits_for_may_be_behind_other_keys() {
    let s = bank().start();
    with_two(&s);
    let (lock, mut before, mut conn) = behind_a_write(&s);
    let mut multi = s.conn();
    multi.run("MULTI");
    multi.run("HINCRBY __{accounts:2} balance 100");
    multi.send(&["EXEC"]);
    // It waits now, and so does the whole server.
    s.database.wait_for_lock_waiters(1);
    lock.rollback();
    assert_eq!(multi.receive(), Reply::Array(vec![int(210)]));
    assert_eq!(before.receive(), int(101));
    assert_eq!(conn.receive(), Reply::Array(vec![int(91), int(110)]));
    s.assert_row_cached("accounts", 2);
}

/// Two servers, whose clients go both ways between the same rows: of a table whose writes share statements,
/// and of one whose commands go in order.
#[test]
fn two_servers_do_not_lock_each_other_out() {
    let s = bank().start();
    s.execute("insert into accounts select n, 'o', 1000 from generate_series(1, 4) n; insert into notes values ('a'), ('b'), ('c')");
    let other = Stack::new()
        .option("url", s.database.url())
        .mapping(json!({ "table": "accounts" }))
        .mapping(json!({ "table": "notes" }))
        .start();
    std::thread::scope(|scope| {
        for (number, server) in [&s, &other, &s, &other, &s, &other].into_iter().enumerate() {
            scope.spawn(move || {
                let (mut conn, mut random) = (server.conn(), Lcg::new(number as u64));
                for _ in 0..30 {
                    let (from, to) = (1 + random.below(4), 1 + random.below(4));
                    let [first, second] = if number % 2 == 0 { ["a", "b"] } else { ["b", "a"] };
                    for lines in [
                        [
                            format!("HINCRBY __{{accounts:{from}}} balance -1"),
                            format!("HINCRBY __{{accounts:{to}}} balance 1"),
                        ],
                        [
                            format!("HSET __{{notes:{first}}} body x{number}"),
                            format!("HSET __{{notes:{second}}} body x{number}"),
                        ],
                    ] {
                        let reply = conn.cmd(&transaction_of(&lines));
                        assert!(reply.array().iter().all(Reply::is_int), "{reply:?}");
                    }
                }
            });
        }
    });
    assert_eq!(sum(&s), "4000 4");
    assert_eq!(s.one("select count(distinct body) from notes where id in ('a', 'b')"), "1");
}

/// The table is another one when the transaction runs.
#[test]
fn after_ddl_it_is_for_the_table_as_it_is() {
    let s = bank().start();
    with_two(&s);
    let lines = ["HSET __{accounts:1} owner x", "HINCRBY __{accounts:2} balance 1"];
    assert_eq!(s.cmd(&transaction_of(&lines)), Reply::Array(vec![int(0), int(101)]));
    s.execute("alter table accounts alter balance type numeric(12,2)");
    assert_eq!(s.cmd(&transaction_of(&lines)), Reply::Array(vec![int(0), bulk("102.00")]));
    s.execute("alter table accounts rename owner to holder");
    let reply = s
        .cmd(&transaction_of(&["HINCRBY __{accounts:2} balance 1", "HSET __{accounts:1} owner x"]));
    let text = reply.assert_error("ERR writethrough: mapping \"accounts\" has no ");
    assert!(text.ends_with(" command=2 key=__{accounts:1}"), "{text}");
    assert_eq!(s.one("select balance from accounts where id = 2"), "102.00");
}

#[test]
fn in_a_cluster_all_keys_are_in_one_slot() {
    let s = bank().redis_conf("cluster-enabled yes").start();
    s.run("CLUSTER ADDSLOTSRANGE 0 16383");
    eventually("the cluster is up", || s.run("CLUSTER INFO").text().contains("cluster_state:ok"));
    eventually("it can be written", || s.run("HSET __{accounts:1} owner x balance 5").is_int());
    s.cmd(&transaction_of(&["HSET __{accounts:1} owner y", "HSET __{accounts:2} owner y"]))
        .assert_error("CROSSSLOT ");
    let lines = ["HSET __{accounts:1} owner y", "HINCRBY __{accounts:1} balance 2"];
    assert_eq!(s.cmd(&transaction_of(&lines)), Reply::Array(vec![int(0), int(7)]));
    assert_eq!(s.run("KEYS *"), Reply::Array(vec![bulk("accounts:1")]));
}
