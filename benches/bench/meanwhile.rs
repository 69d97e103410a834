//! What another client notices while a whole table's rows are followed, and how late rows are at which rate.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::chart::Line;
use crate::cluster::Cluster;
use crate::drive::Run;
use crate::follow::{connect, percentiles};
use crate::groups::Bench;
use crate::node::Node;
use crate::random::Random;
use crate::rounds::{Contestant, Pace, Summary};
use crate::shapes::IDS;
use crate::support::resp::{Conn, Reply};

/// Rows of the table that is updated as a whole. In a short run a tenth; both are more than the module takes as single
/// keys.
const ROWS: u64 = 1_000_000;
const FEW_ROWS: u64 = 200_000;

/// Foreign writes of rows a second.
pub const RATES: [usize; 6] = [100, 300, 1000, 3000, 10_000, 30_000];

/// Rows of the table in which they are.
const CACHED: u64 = 100_000;

/// Statements a second, at most: past it each changes several rows.
const STATEMENTS: usize = 1000;

/// What another client reads: these rows are in all tables.
const READ: [&str; 2] = ["large", "v"];

/// One in a millisecond, on the average: at regular times it could keep step with what it is to meet by chance.
const EACH: Duration = Duration::from_millis(1);

impl Bench {
    /// An UPDATE of a whole table.
    pub fn whole_table(&self, pace: Pace) -> Vec<Summary> {
        const GROUP: &str = "HGET while a whole table changes";
        if !self.wants(GROUP) {
            return Vec::new();
        }
        let (port, rows) = (self.cluster.port, if pace.rounds > 2 { ROWS } else { FEW_ROWS });
        self.cluster.fill_large(&["large", "large_unwatched"], rows);
        let node = Node::following(port, &[json!({ "table": "large" })]);
        let loaded = node.conn().run("WT.LOAD large");
        assert!(!loaded.is_error(), "{loaded:?}");
        let contestants = vec![
            Contestant {
                name: "HGET, nothing else".into(),
                run: Box::new(|pace| beside(&node, READ, || std::thread::sleep(pace.time * 3))),
            },
            Contestant {
                name: format!("HGET, UPDATE of {rows}, not followed"),
                run: Box::new(|_| {
                    beside(&node, READ, || {
                        update_all(&mut connect(port), "large_unwatched", rows);
                    })
                }),
            },
            Contestant {
                name: format!("HGET, UPDATE of {rows}, followed"),
                run: Box::new(|_| {
                    let before = memory(&mut node.conn());
                    let (mut most, mut took) = (before, Duration::ZERO);
                    let mut run = beside(&node, READ, || {
                        let value = update_all(&mut connect(port), "large", rows);
                        let began = Instant::now();
                        let mut conn = node.conn();
                        for id in (1..=rows).step_by(4999) {
                            while !holds(&mut conn, id, value) {
                                let now = memory(&mut conn);
                                most = [most[0].max(now[0]), most[1].max(now[1])];
                                std::thread::sleep(Duration::from_millis(20));
                            }
                        }
                        took = began.elapsed();
                    });
                    println!(
                        "  {rows} rows followed in {:.1} s; used_memory {:.1} MB and at most {:.1} more, RSS {:.1} \
                         MB and at most {:.1} more",
                        took.as_secs_f64(),
                        before[0],
                        most[0] - before[0],
                        before[1],
                        most[1] - before[1],
                    );
                    run.rate = rows as f64 / took.as_secs_f64();
                    run
                }),
            },
        ];
        self.run(GROUP, contestants, Pace { rounds: pace.rounds.min(2), ..pace })
    }

    /// Lag, and another client's reads, over the rate of foreign writes.
    pub fn follow_curve(&self, pace: Pace) -> Vec<Line> {
        const GROUP: &str = "Chart: foreign writes";
        if !self.wants(GROUP) {
            return Vec::new();
        }
        let port = self.cluster.port;
        self.cluster.fill_large(&["followed"], CACHED);
        let node = Node::following(port, &[json!({ "table": "followed" })]);
        let loaded = node.conn().run("WT.LOAD followed");
        assert!(!loaded.is_error(), "{loaded:?}");
        let line = |name: &str| Line { name: name.into(), points: Vec::new() };
        let mut lines = vec![line("lag"), line("HGET")];
        for rate in RATES {
            let contestants = vec![
                Contestant {
                    name: format!("lag, {rate} rows a second"),
                    run: Box::new(|pace| lag(&node, port, rate, pace.time * 4)),
                },
                Contestant {
                    name: format!("HGET, {rate} rows a second"),
                    run: Box::new(|pace| {
                        beside(&node, READ, || drop(lag(&node, port, rate, pace.time * 2)))
                    }),
                },
            ];
            let summaries =
                self.run(GROUP, contestants, Pace { rounds: pace.rounds.min(3), ..pace });
            for (line, summary) in lines.iter_mut().zip(summaries) {
                line.points.push((rate, summary));
            }
        }
        lines
    }
}

impl Cluster {
    fn fill_large(&self, tables: &[&str], rows: u64) {
        let mut client = connect(self.port);
        for table in tables {
            let sql = format!(
                "create table if not exists {table} (id int primary key, v bigint not null) with (fillfactor = 50); \
                 insert into {table} select n, 0 from generate_series(1, {rows}) n on conflict do nothing"
            );
            client.batch_execute(&sql).expect("a table");
            client.batch_execute(&format!("vacuum analyze {table}")).expect("vacuum");
        }
    }
}

/// Every row gets another value, which is returned.
fn update_all(client: &mut postgres::Client, table: &str, rows: u64) -> i64 {
    let sql = format!("update {table} set v = v + 1");
    assert_eq!(client.execute(&sql, &[]).expect("update"), rows);
    let value = client.query_one(&format!("select v from {table} where id = 1"), &[]);
    value.expect("a row").get(0)
}

fn holds(conn: &mut Conn, id: u64, value: i64) -> bool {
    conn.run(&format!("HGET large:{id} v")) == Reply::Bulk(value.to_string().into_bytes())
}

/// `used_memory` and RSS, in MB.
pub fn memory(conn: &mut Conn) -> [f64; 2] {
    let info = conn.run("INFO memory").text();
    ["used_memory:", "used_memory_rss:"].map(|name| {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|n| n.trim().parse::<f64>().ok()).unwrap_or_default() / 1e6
    })
}

/// The reads of a client of its own, of a table's field, while something goes on.
pub fn beside(node: &Node, [table, field]: [&str; 2], mut goes_on: impl FnMut()) -> Run {
    let stop = AtomicBool::new(false);
    let mut conn = node.conn();
    std::thread::scope(|scope| {
        let reads = scope.spawn(|| {
            let (mut times, mut random, began) = (Vec::new(), Random::new(3), Instant::now());
            while !stop.load(Ordering::Relaxed) {
                let call = Instant::now();
                conn.run(&format!("HGET {table}:{} {field}", 1 + random.next() % IDS));
                times.push(call.elapsed());
                std::thread::sleep(EACH * (random.next() % 200) as u32 / 100);
            }
            let rate = times.len() as f64 / began.elapsed().as_secs_f64();
            percentiles(times, rate)
        });
        goes_on();
        stop.store(true, Ordering::Relaxed);
        reads.join().expect("a client")
    })
}

/// From the commit of a foreign write until its value is read in Redis; others go on meanwhile.
fn lag(node: &Node, port: u16, rate: usize, time: Duration) -> Run {
    let (mut client, mut conn) = (connect(port), node.conn());
    let rows = rate.div_ceil(STATEMENTS);
    let update =
        client.prepare("update followed set v = $1 where id between $2 and $3").expect("update");
    let (mut random, mut lags, began) = (Random::new(7), Vec::new(), Instant::now());
    let mut watched: Option<(i32, i64, Instant)> = None;
    let mut value: i64 =
        client.query_one("select max(v) from followed", &[]).expect("a value").get(0);
    let mut written = 0;
    while began.elapsed() < time {
        let due = began.elapsed().as_secs_f64() * rate as f64;
        if (written as f64) < due {
            written += rows;
            value += 1;
            let id = 1 + (random.next() % (CACHED - rows as u64)) as i32;
            client.execute(&update, &[&value, &id, &(id + rows as i32 - 1)]).expect("update");
            watched.get_or_insert((id, value, Instant::now()));
            continue;
        }
        if let Some((id, value, since)) = watched {
            // A later write of the same row is as good.
            let reply = conn.run(&format!("HGET followed:{id} v"));
            if reply.text().parse::<i64>().is_ok_and(|now| now >= value) {
                lags.push(since.elapsed());
                watched = None;
            }
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    percentiles(lags, written as f64 / began.elapsed().as_secs_f64())
}
