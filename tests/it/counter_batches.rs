//! Increments of one row that wait together: one statement, and each client's own running value.

use serde_json::json;

use crate::support::*;

const SQL: &str = "
create domain positive as int check (value > 0);
create table items (
    id int primary key,
    stock int check (stock >= 0),
    sold int,
    big bigint,
    price numeric(10,2) check (price < 100),
    level positive
)";

fn items() -> Builder {
    Stack::new().sql(SQL).mapping(json!({ "table": "items" }))
}

fn increments(field: &str, by: &[i64]) -> Vec<String> {
    by.iter().map(|n| format!("HINCRBY __{{items:1}} {field} {n}")).collect()
}

/// Replies of increments: a value, or `None` for a refusal with this code.
#[track_caller]
fn assert_values(replies: &[Reply], code: &str, expected: &[Option<i64>]) {
    assert_eq!(replies.len(), expected.len());
    for (at, (reply, value)) in replies.iter().zip(expected).enumerate() {
        match value {
            Some(value) => assert_eq!(*reply, int(*value), "{at} of {replies:?}"),
            None => {
                reply.assert_error(&format!("WTERR {code} "));
            }
        }
    }
}

/// The promise of a write-through counter: nothing is sold twice, and nothing is left unsold.
#[test]
fn each_of_51_pieces_is_sold_once_to_160_clients() {
    let s = items().option("timeout_ms", 600_000).start();
    assert_eq!(s.run("HSET __{items:1} stock 51"), int(1));
    let mut conns: Vec<Conn> = (0..160).map(|_| s.conn()).collect();
    conns.iter_mut().for_each(|conn| conn.send_line("HINCRBY __{items:1} stock -1"));
    let (mut sold, mut refused) = (Vec::new(), 0);
    for conn in &mut conns {
        match conn.receive() {
            Reply::Int(left) => sold.push(left),
            reply => {
                reply.assert_error("WTERR 23514 ");
                refused += 1;
            }
        }
    }
    sold.sort_unstable();
    assert_eq!(sold, (0..=50).collect::<Vec<_>>());
    assert_eq!(refused, 109);
    assert_eq!(s.one("select stock from items"), "0");
    s.assert_row_cached("items", 1);
}

#[test]
fn each_client_gets_its_own_running_value() {
    let s = items().one_worker().start();
    assert_eq!(s.run("HSET __{items:1} stock 10"), int(1));
    let by: Vec<i64> = (1..=50).collect();
    let (batches, statements) = (s.info_int("batches"), s.info_int("statements"));
    let replies = s.together(&increments("stock", &by));
    let running = by.iter().scan(10, |sum, n| {
        *sum += n;
        Some(Some(*sum))
    });
    assert_values(&replies, "", &running.collect::<Vec<_>>());
    s.assert_row_cached("items", 1);
    // One for the row that held the worker up, one for the first, one for all the rest.
    assert!(s.info_int("batches") - batches <= 3, "{:?}", s.info());
    assert!(s.info_int("statements") - statements <= 3, "{:?}", s.info());
}

#[test]
fn both_directions_in_one_batch() {
    let s = items().one_worker().start();
    assert_eq!(s.run("HSET __{items:1} stock 5"), int(1));
    let replies = s.together(&increments("stock", &[3, -8, 4, 0, -4, 7]));
    assert_values(&replies, "", &[8, 0, 4, 4, 0, 7].map(Some));
    s.assert_row_cached("items", 1);
}

#[test]
fn when_the_sum_is_refused_as_many_succeed_as_can_in_order() {
    let s = items().one_worker().start();
    assert_eq!(s.run("HSET __{items:1} stock 5"), int(1));
    let replies = s.together(&increments("stock", &[-3, -3, -1, -4, -1, -1]));
    assert_values(&replies, "23514", &[Some(2), None, Some(1), None, Some(0), None]);
    s.assert_row_cached("items", 1);
    // The sum is fine, and one of its parts is not.
    let replies = s.together(&increments("stock", &[-1, 5, -6, -2, 1]));
    assert_values(&replies, "23514", &[None, Some(5), None, Some(3), Some(4)]);
    s.assert_row_cached("items", 1);
}

#[test]
fn a_sum_past_the_type_is_tried_singly() {
    let s = items().one_worker().start();
    let replies = s.together(&increments("stock", &[2_000_000_000, 147_483_647, 1, 0]));
    let top = i64::from(i32::MAX);
    assert_values(&replies, "22003", &[Some(2_000_000_000), Some(top), None, Some(top)]);
    let replies = s.together(&increments("big", &[i64::MAX, i64::MAX, i64::MIN, i64::MIN]));
    assert_values(&replies, "22003", &[Some(i64::MAX), None, Some(-1), None]);
    s.assert_row_cached("items", 1);
}

#[test]
fn a_missing_row_and_a_null_start_at_zero() {
    let s = items().one_worker().start();
    let replies = s.together(&increments("stock", &[1, 2, 3]));
    assert_values(&replies, "", &[1, 3, 6].map(Some));
    let replies = s.together(&increments("sold", &[-1, -1]));
    assert_values(&replies, "", &[-1, -2].map(Some));
    let replies = s.together(&increments("level", &[-1, 2, -1, -1, 4]));
    assert_values(&replies, "23514", &[None, Some(2), Some(1), None, Some(5)]);
    s.assert_row_cached("items", 1);
}

#[test]
fn several_rows_and_columns_in_one_batch() {
    let s = items().one_worker().start();
    let mut lines = Vec::new();
    for n in 1..=5 {
        for id in 1..=3 {
            lines.push(format!("HINCRBY __{{items:{id}}} stock {n}"));
            lines.push(format!("HINCRBY __{{items:{id}}} sold {}", -n * id));
        }
    }
    let mut replies = s.together(&lines).into_iter();
    for n in 1..=5 {
        for id in 1..=3 {
            let sum = n * (n + 1) / 2;
            assert_eq!(replies.next(), Some(int(sum)));
            assert_eq!(replies.next(), Some(int(-sum * id)));
        }
    }
    (1..=3).for_each(|id| s.assert_row_cached("items", id));
}

#[test]
fn fractions_are_rounded_one_by_one() {
    let s = items().one_worker().start();
    let lines: Vec<String> = ["0.005", "0.005", "0.005", "99.98", "0.004", "-0.01", "99.985"]
        .map(|n| format!("HINCRBYFLOAT __{{items:1}} price {n}"))
        .to_vec();
    let replies = s.together(&lines);
    assert_eq!(replies[..3], ["0.01", "0.02", "0.03"].map(bulk), "each one is rounded");
    replies[3].assert_error("WTERR 23514 ");
    assert_eq!(replies[4..6], ["0.03", "0.02"].map(bulk));
    replies[6].assert_error("WTERR 23514 ");
    s.assert_row_cached("items", 1);
}

#[test]
fn a_trigger_sees_every_increment() {
    let trigger = "alter table items add seen int not null default 0;
        create function see() returns trigger language plpgsql as $$ begin
            new.seen := new.seen + 1;
            if new.stock = 7 then raise exception 'not seven'; end if;
            return new;
        end $$;
        create trigger see before insert or update on items for each row execute function see()";
    let s = items().sql(trigger).one_worker().start();
    assert_eq!(s.run("HSET __{items:1} sold 0"), int(1));
    let seen = s.hgetall("items:1")["seen"].parse::<i64>().expect("a number");
    let replies = s.together(&increments("stock", &[5, 2, 3, 1]));
    assert_values(&replies, "P0001", &[Some(5), None, Some(8), Some(9)]);
    s.assert_row_cached("items", 1);
    assert_eq!(s.hgetall("items:1")["seen"], (seen + 3).to_string());
}

/// Coalesced or not, by one worker or four, blocked or not: nothing is lost, nothing counted twice.
#[test]
fn a_counter_of_many_clients_on_all_paths_is_exact() {
    let s = items().patient().start();
    let mut seen = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|client| {
                let s = &s;
                scope.spawn(move || {
                    let mut conn = s.conn();
                    let line = "HINCRBY __{items:1} sold 1";
                    let script = "return redis.call('HINCRBY', KEYS[1], 'sold', 1)";
                    let one = |_| match client % 4 {
                        0 => transaction(&mut conn, &[line])[0].int(),
                        1 => conn.cmd(&["EVAL", script, "1", "__{items:1}"]).int(),
                        _ => conn.run(line).int(),
                    };
                    (0..30).map(one).collect::<Vec<i64>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect::<Vec<_>>()
    });
    seen.sort_unstable();
    assert_eq!(seen, (1..=240).collect::<Vec<_>>());
    s.assert_row_cached("items", 1);
}

/// A connection that is cut leaves open whether the increment was committed. Its client is told so,
/// and it isn't done twice.
#[test]
fn under_lost_connections_the_counter_counts_what_was_answered() {
    let s = items().option("timeout_ms", 600_000).start();
    assert_eq!(s.run("HSET __{items:1} sold 0"), int(1));
    let clients = 6;
    let (mut values, mut unsure) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        let (answers, answered) = std::sync::mpsc::channel();
        for _ in 0..clients {
            let (s, answers) = (&s, answers.clone());
            scope.spawn(move || {
                let mut conn = s.conn();
                for _ in 0..80 {
                    answers.send(conn.run("HINCRBY __{items:1} sold 1")).expect("a test");
                }
            });
        }
        drop(answers);
        for (n, reply) in answered.iter().enumerate() {
            if n % 30 == 15 {
                s.database.terminate_sessions();
            }
            match reply {
                Reply::Int(value) => values.push(value),
                Reply::Error(text) if text.starts_with("WTTIMEOUT ") => unsure += 1,
                reply => drop(reply.assert_error("WTDOWN ")),
            }
        }
    });
    let sold: i64 = s.one("select sold from items").parse().expect("a number");
    let done = values.len() as i64;
    assert!(
        (done..=done + unsure).contains(&sold),
        "{done} answered, {unsure} unsure, {sold} sold"
    );
    values.sort_unstable();
    values.dedup();
    assert_eq!(values.len() as i64, done, "no value twice");
    assert_eq!(s.run("HINCRBY __{items:1} sold 0"), int(sold));
    s.assert_row_cached("items", 1);
}
