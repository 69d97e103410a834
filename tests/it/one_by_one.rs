//! A batch against its model: the same writes, one by one, on another server.

use serde_json::json;

use crate::support::*;

/// Constraints over one column, over two, and types that refuse; none that ties rows together,
/// since only the order within a row is promised.
const SQL: &str = "
create table items (
    id int primary key,
    stock int not null check (stock >= 0),
    most int,
    day date,
    code varchar(4),
    check (most is null or stock <= most)
)";

fn random_line(random: &mut Lcg) -> String {
    let mut line = format!("HSET __{{items:{}}}", random.pick(&["1", "2", "3"]));
    for _ in 0..random.pick(&["1", "1", "2", "3"]).parse().unwrap() {
        let field = random.pick(&["stock", "stock", "most", "day", "code"]);
        let value = match field {
            "stock" => random.pick(&["0", "3", "5", "8", "-1", "many", "99999999999"]),
            "most" => random.pick(&["4", "6", "9", "x"]),
            "day" => random.pick(&["2024-01-01", "2024-02-29", "2023-02-29", "soon"]),
            _ => random.pick(&["a", "bc", "four", "fives"]),
        };
        line.push_str(&format!(" {field} {value}"));
    }
    line
}

#[test]
fn a_batch_answers_as_one_by_one() {
    let start = || Stack::new().sql(SQL).mapping(json!({ "table": "items" })).one_worker().start();
    let (batch, single) = (start(), start());
    for seed in 1..=12 {
        let mut random = Lcg::new(seed);
        let lines: Vec<String> = (0..20).map(|_| random_line(&mut random)).collect();
        let expected: Vec<Reply> = lines.iter().map(|line| single.run(line)).collect();
        let replies = batch.together(&lines);
        for (i, line) in lines.iter().enumerate() {
            assert_eq!(replies[i], expected[i], "seed {seed}, write {i}: {line}\nof {lines:#?}");
        }
        let rows = |s: &Stack| s.database.rows("select * from items order by id");
        assert_eq!(rows(&batch), rows(&single), "seed {seed}: {lines:#?}");
        for id in 1..=3 {
            let key = format!("items:{id}");
            assert_eq!(batch.hgetall(&key), single.hgetall(&key), "seed {seed}: {lines:#?}");
        }
    }
}
