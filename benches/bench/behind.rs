//! Writes that are written behind beside plain ones on the same server, with an append-only file; and a backlog that
//! drains while another client reads.

use std::time::{Duration, Instant};

use crate::contestants::{commands, load};
use crate::cpu::Watch;
use crate::drive::{Load, Run};
use crate::groups::Bench;
use crate::meanwhile::{beside, memory};
use crate::node::Node;
use crate::rounds::{Contestant, Pace, Summary};
use crate::shapes::{Commands, Shape, IDS};
use crate::support::resp::Conn;

/// Entries of the backlog; in a short run a tenth.
const ENTRIES: u64 = 1_000_000;
const FEW_ENTRIES: u64 = 100_000;

/// Writes in flight while it is made.
const PIPELINE: u64 = 1000;

const STREAM: &str = "{writethrough}:behind:users";

/// Another client's reads.
const READS: [&str; 2] = ["HGET, no backlog", "a backlog drains"];

impl Bench {
    /// `users` is written behind, `people` through.
    pub fn behind(&self, pace: Pace) -> Vec<Summary> {
        const GROUP: &str = "Write-behind, append-only file, everysec";
        const BACKLOG: &str = "Write-behind: a backlog, and HGET of another client";
        let (wants, wants_backlog) = (self.wants(GROUP), self.wants(BACKLOG));
        if !wants && !wants_backlog {
            return Vec::new();
        }
        self.cluster.fill_like_users("people", IDS);
        let node = Node::behind(self.cluster.port);
        let mut summaries = Vec::new();
        if wants {
            summaries.extend(self.run(GROUP, self.beside_plain(&node), pace));
        }
        if wants_backlog {
            let entries = if pace.rounds > 2 { ENTRIES } else { FEW_ENTRIES };
            let pace = Pace { rounds: pace.rounds.min(2), ..pace };
            let run = self.run(BACKLOG, self.backlog(&node, entries), pace);
            let p99 = |name| run.iter().find(|s| s.name == name).map_or(0.0, |s| s.p99);
            let times = p99(READS[1]) / p99(READS[0]);
            println!("  p99 of HGET while {entries} entries drain: {times:.1} times that without, 3 at most");
            summaries.extend(run);
        }
        summaries
    }

    fn beside_plain<'a>(&self, node: &'a Node) -> Vec<Contestant<'a>> {
        let watch = self.watch(node);
        let mut all = Vec::new();
        for clients in [256, 1] {
            for (shape, what, plain) in
                [(Shape::Whole, "whole rows", "HSET"), (Shape::Counter, "counters", "HINCRBY")]
            {
                let made = commands(node, Commands::new(shape, true), clients);
                all.push(drained(node, format!("behind: {what}, {clients}"), watch, made));
                // Keys of no mapping.
                let others = Commands::of("others", shape, false);
                let name = format!("plain {plain}, everysec, {clients}");
                all.push(load(name, watch, commands(node, others, clients)));
            }
        }
        all
    }

    fn backlog<'a>(&'a self, node: &'a Node, entries: u64) -> Vec<Contestant<'a>> {
        let through = Commands::of("people", Shape::Whole, true);
        let through = commands(node, through, 256);
        vec![
            load("through, everysec, 256".into(), self.watch(node), through),
            Contestant {
                name: READS[0].into(),
                run: Box::new(|pace| {
                    beside(node, ["users", "email"], || std::thread::sleep(pace.time * 3))
                }),
            },
            Contestant { name: READS[1].into(), run: Box::new(move |_| self.drain(node, entries)) },
        ]
    }

    /// The rate is that of the entries that are written, the latencies are those of another client's reads.
    fn drain(&self, node: &Node, entries: u64) -> Run {
        let mut conn = node.conn();
        let before = memory(&mut conn)[0];
        let lock = self.cluster.lock_users();
        node.pipeline(&mut Commands::new(Shape::Whole, true), entries, PIPELINE);
        assert_eq!(waiting(&mut conn), entries);
        let filled = memory(&mut conn)[0];
        let stream = conn.run(&format!("MEMORY USAGE {STREAM}")).int() as f64 / 1e6;
        let (mut took, mut most, mut lock) = (Duration::ZERO, filled, Some(lock));
        let mut run = beside(node, ["users", "email"], || {
            drop(lock.take());
            // A statement that has met the lock is tried again after a pause.
            while waiting(&mut conn) == entries {
                std::thread::sleep(Duration::from_millis(1));
            }
            let began = Instant::now();
            while waiting(&mut conn) > 0 {
                most = most.max(memory(&mut conn)[0]);
                std::thread::sleep(Duration::from_millis(50));
            }
            took = began.elapsed();
        });
        println!(
            "  {entries} entries written in {:.1} s; the stream {stream:.1} MB, beside it {:.1} MB, and at most {:.1} \
             more while it drained",
            took.as_secs_f64(),
            filled - before - stream,
            most - filled
        );
        run.rate = entries as f64 / took.as_secs_f64();
        run
    }
}

/// A load whose entries are written before the next one begins.
fn drained(node: &Node, name: String, watch: Watch, mut made: Load) -> Contestant<'_> {
    Contestant {
        name,
        run: Box::new(move |pace| {
            let run = made.run(pace.warm, pace.time, &watch);
            let flushed = node.conn().run("WT.FLUSH users");
            assert!(!flushed.is_error(), "{flushed:?}");
            run
        }),
    }
}

/// Entries that wait.
fn waiting(conn: &mut Conn) -> u64 {
    let info = conn.run("INFO writethrough_behind").text();
    let line = info.lines().find_map(|line| line.strip_prefix("writethrough_behind_entries:"));
    line.and_then(|n| n.trim().parse().ok()).expect("behind_entries")
}
