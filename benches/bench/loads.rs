//! WT.LOAD beside a pipeline of plain HSETs of the same rows: how fast, and what other clients feel of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::drive::{percentiles, Run};
use crate::groups::Bench;
use crate::node::Node;
use crate::random::Random;
use crate::rounds::{Contestant, Pace, Summary};
use crate::shapes::IDS;

/// HSETs in flight.
const PIPELINE: u64 = 2000;

/// Fills an empty cache.
type Fill = fn(&Node);

impl Bench {
    /// All rows of `users` into an empty cache. The latencies are those of another client's GET meanwhile.
    pub fn loads(&self, pace: Pace) -> Vec<Summary> {
        const GROUP: &str = "Bulk loads of 100,000 rows, and GET of another client";
        if !self.wants(GROUP) {
            return Vec::new();
        }
        let node = Node::mapped(self.cluster.port, &[json!({ "table": "users" })]);
        let nothing = |_: &Node| std::thread::sleep(Duration::from_millis(500));
        let kinds = [
            ("WT.LOAD", load as Fill),
            ("pipeline of plain HSETs", |node| node.fill(IDS, PIPELINE)),
            ("GET alone", nothing),
        ];
        let contestants = kinds.map(|(name, fill)| {
            let node = &node;
            Contestant { name: name.into(), run: Box::new(move |_| filled(node, fill)) }
        });
        let summaries = self.run(GROUP, contestants.into(), pace);
        let memory = node.conn().run("INFO memory").text();
        let used = memory.lines().find_map(|line| line.strip_prefix("used_memory_peak_human:"));
        println!("  the server's memory at most: {}", used.unwrap_or_default());
        summaries
    }
}

fn load(node: &Node) {
    let loaded = node.conn().run("WT.LOAD users");
    assert!(!loaded.is_error(), "{loaded:?}");
}

fn filled(node: &Node, fill: Fill) -> Run {
    let mut conn = node.conn();
    conn.run("FLUSHALL");
    conn.run("SET other x");
    let (is_over, began) = (AtomicBool::new(false), Instant::now());
    let (mut latencies, took) = std::thread::scope(|scope| {
        let gets = scope.spawn(|| {
            let (mut latencies, mut random) = (Vec::new(), Random::new(3));
            while !is_over.load(Ordering::Relaxed) {
                let sent = Instant::now();
                conn.run("GET other");
                latencies.push(sent.elapsed().as_micros() as u32);
                std::thread::sleep(Duration::from_micros(random.next() % 400));
            }
            latencies
        });
        fill(node);
        let took = began.elapsed();
        is_over.store(true, Ordering::Relaxed);
        (gets.join().expect("a thread that reads"), took)
    });
    let rows = node.conn().run("DBSIZE").int() as f64;
    let (p50, p99) = percentiles(&mut latencies);
    Run { rate: rows / took.as_secs_f64(), p50, p99, ..Run::default() }
}
