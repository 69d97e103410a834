//! Fields that are kept in Redis only, counted and set once: in order with the writes of their row,
//! and answered as Redis answers.

use serde_json::json;

use crate::support::*;

const SQL: &str = "
create table items (id int primary key, name text, n int default 7, v int check (v > 0));
create table strict (id int primary key, name text not null);
create function touch() returns trigger language plpgsql as $$ begin
    raise exception 'a write';
end $$";

fn items() -> Builder {
    let keep = |table| json!({ "table": table, "unmapped": "keep" });
    Stack::new().sql(SQL).mapping(keep("items")).mapping(keep("strict"))
}

/// The same commands on a plain hash, `plain`, and on the staged key: the same answers.
#[track_caller]
fn assert_as_redis(s: &Stack, conn: &mut Conn, lines: &[&str]) {
    for line in lines {
        let on = |conn: &mut Conn, key: &str| conn.run(&line.replace("KEY", key));
        let (expected, reply) = (on(conn, "plain"), on(conn, "__{items:1}"));
        assert_eq!(reply, expected, "{line}");
        let fields = |key: &str| s.cmd(&["HMGET", key, "seen", "rate", "once"]);
        assert_eq!(fields("items:1"), fields("plain"), "{line}");
    }
}

const LINES: &[&str] = &[
    "HINCRBY KEY seen 1",
    "HINCRBY KEY seen 41",
    "HINCRBY KEY seen -50",
    "HINCRBYFLOAT KEY rate 10.50",
    "HINCRBYFLOAT KEY rate 5.0e3",
    "HINCRBYFLOAT KEY rate -0.1",
    "HINCRBYFLOAT KEY seen 0.25",
    "HINCRBY KEY seen 1",
    "HSETNX KEY once x",
    "HSETNX KEY once y",
    "HINCRBY KEY once 1",
    "HINCRBYFLOAT KEY once 1",
    "HINCRBY KEY rate 1",
    "HINCRBY KEY big 9223372036854775807",
    "HINCRBY KEY big 1",
    "HINCRBY KEY seen x",
    "HINCRBY KEY seen 1.5",
    "HINCRBY KEY seen 99999999999999999999",
    "HINCRBYFLOAT KEY rate x",
    "HINCRBYFLOAT KEY rate inf",
    "HDEL KEY seen",
    "HINCRBY KEY seen 5",
    "HINCRBYFLOAT KEY rate 1e-17",
    "HINCRBYFLOAT KEY new 3",
];

#[test]
fn answers_and_errors_are_redis_own() {
    let s = items().start();
    assert_eq!(s.run("HSET __{items:1} name a"), int(1));
    let before = s.row("select xmin, * from items");
    assert_as_redis(&s, &mut s.conn(), LINES);
    assert_eq!(s.row("select xmin, * from items"), before, "the row has no part in it");
    assert_eq!(s.run("HMGET items:1 id name n").text(), "1 a 7");
    assert_eq!(s.run("EXISTS __{items:1}"), int(0));
}

#[test]
fn in_resp3_too() {
    let s = items().start();
    assert_eq!(s.run("HSET __{items:1} name a"), int(1));
    let mut conn = s.conn();
    assert!(!conn.run("HELLO 3").is_error());
    assert_as_redis(&s, &mut conn, LINES);
}

#[test]
fn in_transactions_and_scripts() {
    let s = items().start();
    assert_eq!(s.run("HSET __{items:1} name a"), int(1));
    let on = |key: &str| LINES.iter().map(|line| line.replace("KEY", key)).collect::<Vec<_>>();
    let (plain, staged) = (on("plain"), on("__{items:1}"));
    let run = |lines: &[String]| {
        transaction(&mut s.conn(), &lines.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(run(&staged), run(&plain));
    s.run("DEL plain items:1");
    let script = "local replies = {}
        for line in string.gmatch(ARGV[1], '[^\\n]+') do
            local words = {}
            for word in string.gmatch(line, '%S+') do table.insert(words, word) end
            table.insert(replies, redis.pcall(unpack(words)))
        end
        return replies";
    let eval = |lines: &[String], key: &str| s.cmd(&["EVAL", script, "1", key, &lines.join("\n")]);
    assert_eq!(eval(&staged, "__{items:1}"), eval(&plain, "plain"));
    assert_eq!(s.hgetall("items:1")["seen"], s.hgetall("plain")["seen"]);
}

/// As with HSET of such a field: the hash is a row's.
#[test]
fn a_missing_row_is_made() {
    let s = items().start();
    assert_eq!(s.run("HINCRBY __{items:1} seen 5"), int(5));
    assert_eq!(s.hgetall("items:1"), hash(&[("id", "1"), ("n", "7"), ("seen", "5")]));
    assert_eq!(s.run("HSETNX __{items:2} once x"), int(1));
    assert_eq!(s.run("HINCRBYFLOAT __{items:3} rate 1.50"), bulk("1.5"));
    assert_eq!(s.one("select string_agg(id::text, ',' order by id) from items"), "1,2,3");
    assert_eq!(transaction(&mut s.conn(), &["HINCRBY __{items:4} seen 1"]), [int(1)]);
    assert_eq!(s.count("items"), 4);
    // What the cache holds of a row that is gone is gone, too.
    s.execute("delete from items where id = 1");
    assert_eq!(s.run("HINCRBY __{items:1} seen 5"), int(5));
    for line in ["HINCRBY __{strict:1} seen 1", "HSETNX __{strict:1} once 1"] {
        s.assert_line_refused(line, "WTERR 23502 ");
    }
    // An error of Redis' makes no row.
    for line in ["HINCRBY __{items:9} seen x", "HINCRBYFLOAT __{items:9} seen inf"] {
        s.assert_line_refused(line, "ERR ");
    }
}

#[test]
fn a_refusal_changes_nothing() {
    let s = items().start();
    assert_eq!(s.run("HSET __{items:1} name a seen text"), int(2));
    s.execute("create trigger touch before insert or update on items execute function touch()");
    s.assert_line_refused("HINCRBY __{items:1} seen 1", "ERR hash value is not an integer");
    s.assert_line_refused("HINCRBYFLOAT __{items:1} seen 1", "ERR hash value is not a float");
    assert_eq!(s.run("HSETNX __{items:1} seen x"), int(0));
    assert_eq!(s.run("HINCRBY __{items:1} other 1"), int(1), "nothing is written");
    s.assert_line_refused("HINCRBY __{items:1} # 1", "ERR writethrough: ");
    assert_eq!(s.run("EXISTS __{items:1}"), int(0));
}

of_the_staged_key! {
/// The row comes into the cache with it.
#[test]
fn an_evicted_hash_is_whole_afterwards() {
    let s = items().start();
    assert_eq!(s.run("HSET __{items:1} name a seen 8"), int(2));
    assert_eq!(s.run("DEL items:1"), int(1));
    assert_eq!(s.run("HINCRBY __{items:1} seen 1"), int(1));
    let row = hash(&[("id", "1"), ("name", "a"), ("n", "7"), ("seen", "1")]);
    assert_eq!(s.hgetall("items:1"), row);
    assert_eq!(s.run("DEL items:1"), int(1));
    s.run("SET items:1 text");
    s.run("HINCRBY __{items:1} seen 1").assert_error("WRONGTYPE ");
    assert_eq!(s.run("GET items:1"), bulk("text"));
}
}

/// Many clients at once, whose writes go together: each sees what came before it.
#[test]
fn in_order_with_the_writes_on_their_way() {
    for id in [1, 2] {
        let s = items().one_worker().start();
        assert_eq!(s.run("HSET __{items:1} name a"), int(1));
        let lines = [
            ("HINCRBY KEY seen 1", "1"),
            ("HSET KEY seen 10 name b", if id == 1 { "0" } else { "1" }),
            ("HINCRBY KEY seen 1", "11"),
            ("HINCRBY KEY seen 1", "12"),
            ("HDEL KEY seen", "1"),
            ("HSETNX KEY seen 5", "1"),
            ("HSETNX KEY seen 6", "0"),
            ("HINCRBYFLOAT KEY seen 0.5", "5.5"),
            ("HINCRBY KEY seen 1", "ERR hash value is not an integer"),
            ("HSET KEY # + seen 20", "0"),
            ("HINCRBY KEY seen 1", "21"),
            ("HINCRBY KEY n 1", "8"),
            ("HINCRBY KEY seen 1", "22"),
            ("DEL KEY", "1"),
            ("HINCRBY KEY seen 1", "1"),
            ("HINCRBY KEY seen 1", "2"),
            ("HSET KEY seen text", "0"),
        ];
        let key = format!("__{{items:{id}}}");
        let sent: Vec<String> = lines.iter().map(|(line, _)| line.replace("KEY", &key)).collect();
        let replies: Vec<String> = s.together(&sent).iter().map(Reply::text).collect();
        let expected: Vec<&str> = lines.iter().map(|(_, answer)| *answer).collect();
        assert_eq!(replies, expected, "row {id}");
        let row = hash(&[("id", &id.to_string()), ("n", "7"), ("seen", "text")]);
        assert_eq!(s.hgetall(&format!("items:{id}")), row);
        assert_eq!(s.run(&format!("EXISTS {key}")), int(0));
    }
}

/// No key comes back after a flush.
#[test]
fn a_flushed_key_stays_gone() {
    let s = items().one_worker().start();
    assert_eq!(s.run("HSET __{items:1} name a seen 8"), int(2));
    let held = s.hold();
    let mut conns =
        ["HINCRBY __{items:1} seen 1", "HSET __{items:2} # + seen 1"].map(|l| s.send(l));
    s.wait_for_blocked(2);
    assert_eq!(conns[1].receive(), int(1), "nothing before it: at once");
    assert_eq!(s.run("FLUSHALL"), ok());
    held.release();
    assert_eq!(conns[0].receive(), int(1));
    assert_eq!(s.run("EXISTS items:1 items:2"), int(0));
}

#[test]
fn many_clients_count_together() {
    let s = items().start();
    assert_eq!(s.run("HSET __{items:1} name a"), int(1));
    let mut seen: Vec<i64> = std::thread::scope(|scope| {
        let count = || {
            let mut conn = s.conn();
            (0..50).map(|_| conn.run("HINCRBY __{items:1} seen 1").int()).collect::<Vec<_>>()
        };
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(count)).collect();
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    });
    seen.sort_unstable();
    assert_eq!(seen, (1..=400).collect::<Vec<i64>>());
    assert_eq!(s.hgetall("items:1")["seen"], "400");
}
