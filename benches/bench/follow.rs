//! What other programs write: how long until Redis has it, how many rows a second, and what it costs them.

use std::time::{Duration, Instant};

use postgres::{Client, NoTls};
use serde_json::json;

use crate::cluster::Cluster;
use crate::drive::Run;
use crate::groups::Bench;
use crate::node::Node;
use crate::random::Random;
use crate::rounds::{Contestant, Pace, Summary};
use crate::support::resp::Reply;

const ACCOUNTS: u64 = 100_000;

/// Foreign writes a second.
const RATE: u64 = 1000;

/// Rows of one UPDATE, and keys of one WT.REFRESH.
const ROWS: u64 = 80_000;
const KEYS: u64 = 1000;

impl Bench {
    /// A server that follows, and tables with and without its triggers.
    pub fn follow(&self, pace: Pace) -> Vec<Summary> {
        const GROUP: &str = "What other programs write";
        if !self.wants(GROUP) {
            return Vec::new();
        }
        let port = self.cluster.port;
        self.cluster.fill_accounts(ACCOUNTS);
        let mut client = connect(port);
        let unwatched = "create table if not exists unwatched (like accounts including all);
            insert into unwatched select * from accounts on conflict do nothing";
        client.batch_execute(unwatched).expect(unwatched);
        let node = Node::following(port, &[json!({ "table": "accounts" })]);
        let loaded = node.conn().run("WT.LOAD accounts");
        assert!(!loaded.is_error(), "{loaded:?}");
        let mut contestants = vec![
            Contestant {
                name: format!("lag of {RATE} foreign writes a second"),
                run: Box::new(|pace| lag(&node, port, pace)),
            },
            Contestant {
                name: format!("rows of an UPDATE of {ROWS}, followed"),
                run: Box::new(|pace| followed(&node, port, pace)),
            },
            Contestant {
                name: format!("WT.REFRESH, {KEYS} keys a call"),
                run: Box::new(|pace| refreshed(&node, pace)),
            },
        ];
        for (table, what) in [("accounts", "with"), ("unwatched", "without")] {
            for rows in [1, 1000] {
                contestants.push(Contestant {
                    name: format!("foreign UPDATE of {rows}, {what} the triggers"),
                    run: Box::new(move |pace| updates(port, table, rows, pace)),
                });
            }
        }
        self.run(GROUP, contestants, pace)
    }
}

pub fn connect(port: u16) -> Client {
    Client::connect(&Cluster::url(port, "disable"), NoTls).expect("PostgreSQL")
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

pub fn percentiles(mut all: Vec<Duration>, rate: f64) -> Run {
    all.sort_unstable();
    if all.is_empty() {
        return Run { rate, ..Run::default() };
    }
    let at = |share: f64| micros(all[((all.len() - 1) as f64 * share) as usize]);
    Run { rate, p50: at(0.5), p99: at(0.99), ..Run::default() }
}

/// From the commit of a foreign write until its value is read in Redis; others go on meanwhile.
fn lag(node: &Node, port: u16, pace: Pace) -> Run {
    let (mut client, mut conn) = (connect(port), node.conn());
    let update = client.prepare("update accounts set balance = $1 where id = $2").expect("update");
    let (mut random, mut lags, began) = (Random::new(7), Vec::new(), Instant::now());
    let mut watched: Option<(i32, i64, Instant)> = None;
    let mut written = 0;
    while began.elapsed() < pace.time * 2 {
        let due = (began.elapsed().as_secs_f64() * RATE as f64) as u64;
        if written < due {
            written += 1;
            let (id, value) = (1 + (random.next() % ACCOUNTS) as i32, 2_000_000 + written as i64);
            client.execute(&update, &[&value, &id]).expect("update");
            watched.get_or_insert((id, value, Instant::now()));
        } else if let Some((id, value, since)) = watched {
            let reply = conn.run(&format!("HGET accounts:{id} balance"));
            if reply == Reply::Bulk(value.to_string().into_bytes()) {
                lags.push(since.elapsed());
                watched = None;
            }
        }
    }
    percentiles(lags, written as f64 / began.elapsed().as_secs_f64())
}

/// One UPDATE of many cached rows, until the last one is read again.
fn followed(node: &Node, port: u16, pace: Pace) -> Run {
    let (mut client, mut conn) = (connect(port), node.conn());
    let (mut times, mut value) = (Vec::new(), 3_000_000_i64);
    let until = Instant::now() + pace.time;
    while Instant::now() < until || times.is_empty() {
        value += Random::new(value as u64).next() as i64 % 1000 + 1;
        client
            .execute(&format!("update accounts set balance = {value} where id <= {ROWS}"), &[])
            .expect("update");
        let began = Instant::now();
        let is_there = |conn: &mut crate::support::resp::Conn, id: u64| {
            conn.run(&format!("HGET accounts:{id} balance"))
                == Reply::Bulk(value.to_string().into_bytes())
        };
        for id in (1..=ROWS).step_by(499) {
            while !is_there(&mut conn, id) {}
        }
        times.push(began.elapsed());
    }
    let sum: Duration = times.iter().sum();
    let rate = (ROWS * times.len() as u64) as f64 / sum.as_secs_f64();
    percentiles(times, rate)
}

fn refreshed(node: &Node, pace: Pace) -> Run {
    let mut conn = node.conn();
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed() < pace.time {
        let first = times.len() as u64 * KEYS % (ACCOUNTS - KEYS);
        let mut words = vec!["WT.REFRESH".to_string()];
        words.extend((1..=KEYS).map(|n| format!("accounts:{}", first + n)));
        let call = Instant::now();
        let reply = conn.cmd(&words);
        assert!(!reply.is_error(), "{reply:?}");
        times.push(call.elapsed());
    }
    let rate = (KEYS * times.len() as u64) as f64 / began.elapsed().as_secs_f64();
    percentiles(times, rate)
}

/// Another program's UPDATEs, of one row or of many.
fn updates(port: u16, table: &str, rows: u64, pace: Pace) -> Run {
    let mut client = connect(port);
    let update = client
        .prepare(&format!("update {table} set balance = balance + 1 where id between $1 and $2"))
        .expect("update");
    let (mut random, mut times, began) = (Random::new(rows), Vec::new(), Instant::now());
    while began.elapsed() < pace.time {
        let first = 1 + (random.next() % (ACCOUNTS - rows)) as i32;
        let call = Instant::now();
        client.execute(&update, &[&first, &(first + rows as i32 - 1)]).expect("update");
        times.push(call.elapsed());
    }
    let rate = (rows * times.len() as u64) as f64 / began.elapsed().as_secs_f64();
    percentiles(times, rate)
}
