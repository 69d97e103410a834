//! All write commands on the same rows in one batch, against the same writes one by one.

use serde_json::json;

use crate::support::*;

#[test]
fn each_command_sees_what_the_one_before_it_did() {
    let sql = "create table items (id int primary key, stock int, name text)";
    let s = Stack::new().sql(sql).mapping(json!({ "table": "items" })).one_worker().start();
    let steps = [
        ("HSET __{items:1} stock 5", 1),
        ("HINCRBY __{items:1} stock 3", 8),
        ("HSETNX __{items:1} stock 1", 0),
        ("HSETNX __{items:1} name lamp", 1),
        ("HDEL __{items:1} stock name", 2),
        ("HINCRBY __{items:1} stock 2", 2),
        ("HSETNX __{items:1} stock 9", 0),
        ("DEL __{items:1}", 1),
        ("HDEL __{items:1} stock", 0),
        ("DEL __{items:1}", 0),
        ("HINCRBY __{items:1} stock 4", 4),
        ("HSET __{items:1} stock 6 name desk", 1),
        ("UNLINK __{items:1}", 1),
        ("HSETNX __{items:1} name chair", 1),
        ("HINCRBY __{items:1} stock -1", -1),
    ];
    let replies = s.together(&steps.map(|(line, _)| line.to_string()));
    for ((line, expected), reply) in steps.iter().zip(&replies) {
        assert_eq!(*reply, int(*expected), "{line}");
    }
    assert_eq!(s.hgetall("items:1"), hash(&[("id", "1"), ("name", "chair"), ("stock", "-1")]));
    s.assert_row_cached("items", 1);
}

/// Constraints over one column, over two, a domain, a default, a required column; none that ties
/// rows together, since only the order within a row is promised.
const GUARDED: &str = "
create domain level as int check (value between -3 and 6);
create table items (
    id int primary key,
    stock int not null check (stock >= 0),
    most int,
    grade level default 1,
    count bigint,
    price numeric(5,2),
    code varchar(4),
    check (most is null or stock <= most)
)";

/// Where nothing but ranges stands in the way of a sum.
const OPEN: &str = "
create table items (
    id int primary key,
    stock int check (stock >= 0),
    most int check (most <= 9),
    grade int,
    count bigint,
    price numeric(5,2),
    code varchar(4)
)";

/// A trigger, which sees every write.
const WATCHED: &str = "
create table items (
    id int primary key,
    stock int,
    most int,
    grade int not null default 0,
    count bigint,
    price numeric(5,2),
    code varchar(4)
);
create function watch() returns trigger language plpgsql as $$ begin
    if new.stock = 3 then raise exception 'three'; end if;
    new.most := coalesce(new.most, 0) + 1;
    return new;
end $$;
create trigger watch before update on items for each row execute function watch()";

fn random_set(random: &mut Lcg) -> String {
    let field = random.pick(&["stock", "stock", "most", "grade", "count", "price", "code"]);
    let value = match field {
        "stock" => random.pick(&["0", "3", "5", "8", "-1", "many", "99999999999"]),
        "most" => random.pick(&["4", "6", "9", "x"]),
        "grade" => random.pick(&["-3", "0", "6", "7"]),
        "count" => random.pick(&["9223372036854775807", "0", "-5"]),
        "price" => random.pick(&["999.99", "0.005", "1e2", "1e3"]),
        _ => random.pick(&["a", "bc", "four", "fives"]),
    };
    format!("{field} {value}")
}

fn random_line(random: &mut Lcg) -> String {
    let key = format!("__{{items:{}}}", random.pick(&["1", "1", "2", "3"]));
    match random.below(20) {
        0..5 => format!("HSET {key} {}", random_set(random)),
        5..7 => format!("HSET {key} {} {}", random_set(random), random_set(random)),
        7 => format!("HMSET {key} stock 4 {}", random_set(random)),
        8..10 => format!("HSETNX {key} {}", random_set(random)),
        10..15 => {
            let field = random.pick(&["stock", "stock", "most", "grade", "count"]);
            let n = random.pick(&["1", "1", "2", "-1", "-2", "0", "2147483647"]);
            format!("HINCRBY {key} {field} {n}")
        }
        15 => {
            let n = random.pick(&["0.005", "-0.5", "100", "900"]);
            format!("HINCRBYFLOAT {key} price {n}")
        }
        16..18 => {
            let field = random.pick(&["stock", "most", "grade", "price", "code"]);
            format!("HDEL {key} count {field}")
        }
        18 => format!("DEL {key}"),
        _ => format!("UNLINK {key}"),
    }
}

#[track_caller]
fn compare(sql: &str, seeds: std::ops::RangeInclusive<u64>) {
    let start = || Stack::new().sql(sql).mapping(json!({ "table": "items" })).one_worker().start();
    let (batch, single) = (start(), start());
    for seed in seeds {
        let mut random = Lcg::new(seed);
        let lines: Vec<String> = (0..24).map(|_| random_line(&mut random)).collect();
        let expected: Vec<Reply> = lines.iter().map(|line| single.run(line)).collect();
        let replies = batch.together(&lines);
        for (i, line) in lines.iter().enumerate() {
            assert_eq!(replies[i], expected[i], "seed {seed}, write {i}: {line}\nof {lines:#?}");
        }
        let rows = |s: &Stack| s.database.rows("select * from items order by id");
        assert_eq!(rows(&batch), rows(&single), "seed {seed}: {lines:#?}");
        for id in 1..=3 {
            batch.assert_row_cached("items", id);
            single.assert_row_cached("items", id);
        }
    }
}

#[test]
fn a_guarded_table_answers_as_one_by_one() {
    compare(GUARDED, 1..=14);
}

#[test]
fn a_table_of_counters_answers_as_one_by_one() {
    compare(OPEN, 101..=114);
}

#[test]
fn a_table_with_a_trigger_answers_as_one_by_one() {
    compare(WATCHED, 201..=208);
}
