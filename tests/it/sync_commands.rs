//! Counters and deletions where a client can't be blocked: MULTI/EXEC, scripts, functions.

use serde_json::json;

use crate::support::*;

const SQL: &str = "
create table items (
    id int primary key,
    stock int check (stock >= 0),
    price numeric(10,2),
    name text not null default 'thing'
);
create table parts (id int primary key, item int references items)";

fn items() -> Stack {
    Stack::new().sql(SQL).mapping(json!({ "table": "items" })).start()
}

#[test]
fn a_transaction_answers_as_single_commands_do() {
    let s = items();
    let replies = transaction(
        &mut s.conn(),
        &[
            "HINCRBY __{items:1} stock 5",
            "HGET items:1 stock",
            "HINCRBY __{items:1} stock -6",
            "HINCRBYFLOAT __{items:1} price 1.005",
            "HSETNX __{items:1} price 9",
            "HSETNX __{items:2} name a",
            "HDEL __{items:1} price name",
            "HDEL __{items:1} price",
            "HGETALL items:1",
            "HINCRBY __{items:1} stock x",
            "HINCRBY __{items:1} name 1",
            "SET plain x",
            "DEL __{items:1} plain __{items:9}",
            "UNLINK __{items:2}",
            "DBSIZE",
        ],
    );
    assert_eq!(replies[..2], [int(5), bulk("5")]);
    replies[2].assert_error("WTERR 23514 ");
    assert_eq!(replies[3..6], [bulk("1.01"), int(0), int(1)]);
    replies[6].assert_error("WTERR 23502 ");
    assert_eq!(replies[7], int(1));
    assert_eq!(replies[8].text(), "id 1 stock 5 name thing");
    assert_eq!(replies[9], error("ERR value is not an integer or out of range"));
    replies[10].assert_error("ERR writethrough: ");
    assert_eq!(replies[11..], [ok(), int(2), int(1), int(0)]);
    assert_eq!(s.count("items"), 0);
}

of_the_staged_key! {
#[test]
fn a_script_answers_as_single_commands_do() {
    let s = items();
    let script = "local key, out = KEYS[1], {}
        local function call(...) out[#out + 1] = redis.call(...) end
        call('HINCRBY', key, 'stock', 5)
        call('HSETNX', key, 'stock', 1)
        call('HSETNX', key, 'price', 2)
        call('HINCRBYFLOAT', key, 'price', '0.5')
        call('HINCRBY', key, 'stock', -1)
        call('HGET', 'items:1', 'stock')
        call('HDEL', key, 'price')
        call('HEXISTS', 'items:1', 'price')
        call('EXISTS', key)
        call('DEL', key, 'nothing')
        call('EXISTS', 'items:1')
        return out";
    let reply = s.cmd(&["EVAL", script, "1", "__{items:1}"]);
    let expected = vec![
        int(5),
        int(0),
        int(1),
        bulk("2.50"),
        int(4),
        bulk("4"),
        int(1),
        int(0),
        int(0),
        int(1),
        int(0),
    ];
    assert_eq!(reply, Reply::Array(expected));
    assert_eq!(s.count("items"), 0);
}
}

of_the_staged_key! {
#[test]
fn a_script_gets_the_same_errors() {
    let s = items();
    assert_eq!(s.run("HSET __{items:1} stock 1"), int(1));
    s.execute("insert into parts values (1, 1)");
    // A detail may hold the time of day.
    let words = |text: &str| text.split(" detail=").next().unwrap().to_string();
    for line in [
        "HINCRBY __{items:1} stock -2",
        "HINCRBY __{items:1} stock 99999999999",
        "HINCRBY __{items:1} stock many",
        "HINCRBYFLOAT __{items:1} price much",
        "HINCRBY __{items:1} name 1",
        "HSETNX __{items:1} price much",
        "HSETNX __{items:1} nick x",
        "HDEL __{items:1} name",
        "HDEL __{items:1} id",
        "DEL __{items:1}",
        "UNLINK __{items:1} __{items:2}",
        "DEL __{nobody:1}",
    ] {
        let direct = s.assert_line_refused(line, "");
        for call in ["pcall", "call"] {
            let script = format!("return redis.{call}(unpack(ARGV))");
            let mut args = vec!["EVAL", &script, "0"];
            args.extend(line.split_whitespace());
            let scripted = s.assert_refused(&args, "");
            assert!(scripted.starts_with(&words(&direct)), "{line}: {scripted} is not {direct}");
        }
    }
    s.assert_row_cached("items", 1);
}
}

#[test]
fn in_a_transaction_a_refused_command_leaves_the_others() {
    let s = items();
    let replies = transaction(
        &mut s.conn(),
        &[
            "HINCRBY __{items:1} stock 3",
            "HINCRBY __{items:1} stock -4",
            "HINCRBY __{items:1} stock -3",
            "HINCRBY __{items:1} stock -1",
            "DEL __{items:1}",
            "HINCRBY __{items:1} stock -1",
            "HINCRBY __{items:1} stock 1",
        ],
    );
    assert_eq!(replies[0], int(3));
    replies[1].assert_error("WTERR 23514 ");
    assert_eq!(replies[2], int(0));
    replies[3].assert_error("WTERR 23514 ");
    assert_eq!(replies[4], int(1));
    replies[5].assert_error("WTERR 23514 ");
    assert_eq!(replies[6], int(1));
    s.assert_row_cached("items", 1);
}

#[test]
fn a_synchronous_increment_comes_after_the_blocked_one_before_it() {
    let s = Stack::new().sql(SQL).mapping(json!({ "table": "items" })).patient().start();
    assert_eq!(s.run("HSET __{items:1} stock 10"), int(1));
    let lock = s.database.hold("select from items for update");
    let mut first = s.send("HINCRBY __{items:1} stock -3");
    s.database.wait_for_lock_waiters(1);
    let mut second = s.conn();
    second.run("MULTI");
    second.run("HINCRBY __{items:1} stock -2");
    second.run("DEL __{items:1}");
    second.send_line("EXEC");
    // From now on the server may wait for the database, and so can't be asked anything.
    lock.rollback();
    assert_eq!(second.receive(), Reply::Array(vec![int(5), int(1)]));
    assert_eq!(first.receive(), int(7));
    assert_eq!(s.count("items"), 0);
    s.assert_row_cached("items", 1);
}

#[test]
fn the_paths_take_turns_on_one_connection() {
    let s = items();
    let mut conn = s.conn();
    for n in 1..=30 {
        let script = "return redis.call('HINCRBY', KEYS[1], 'stock', 1)";
        conn.send(&["EVAL", script, "1", "__{items:1}"]);
        conn.send_line("HINCRBY __{items:1} stock 1");
        conn.send_line("HGET items:1 stock");
        conn.send_line("DEL __{items:1}");
        conn.send(&["EVAL", script, "1", "__{items:1}"]);
        conn.send_line("HDEL __{items:1} stock");
        conn.send_line("UNLINK __{items:1}");
        let replies: Vec<Reply> = (0..7).map(|_| conn.receive()).collect();
        let expected = [int(1), int(2), bulk("2"), int(1), int(1), int(1), int(1)];
        assert_eq!(replies, expected, "round {n}");
    }
    assert_eq!(s.count("items"), 0);
}
