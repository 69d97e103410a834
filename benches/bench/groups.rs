//! The servers, and the groups of contestants that run on them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::chart::{Line, CLIENTS};
use crate::cluster::Cluster;
use crate::contestants::{
    batch_command, batches, bench, blocking, direct, dual, load, others, plain, staged,
};
use crate::cpu::Watch;
use crate::drive::Load;
use crate::node::Node;
use crate::pgbench;
use crate::proxy;
use crate::report;
use crate::rounds::{interleave, Contestant, Pace, Summary};
use crate::shapes::Shape;

/// A client that has a connection to PostgreSQL of its own: as many as a server may have.
const CONNECTIONS_MAX: usize = 256;

pub struct Bench {
    pub cluster: Cluster,
    /// With the module.
    pub node: Node,
    only: Option<String>,
    script: PathBuf,
    _folder: tempfile::TempDir,
}

impl Bench {
    pub fn start(durable: bool, only: Option<String>) -> Bench {
        let cluster = Cluster::start(durable);
        let node = Node::with_module(cluster.port, &[]);
        let folder = tempfile::tempdir().expect("a temporary folder");
        Bench { script: pgbench::script(folder.path()), cluster, node, only, _folder: folder }
    }

    /// All groups but the chart's.
    pub fn cases(&self, pace: Pace) -> Vec<Summary> {
        let mut summaries = self.run("One client", self.one(), pace);
        summaries.extend(self.run("Many clients", self.many(), pace));
        summaries.extend(self.run("64 clients", self.sixty_four(), pace));
        summaries.extend(self.tls_and_journal(pace));
        summaries.extend(self.far(1, "A database 1 ms away", pace));
        summaries.extend(self.far(5, "A database 5 ms away", pace));
        summaries.extend(self.plain_commands(pace));
        summaries.extend(self.reads(pace));
        summaries.extend(self.plain_keys(pace));
        summaries.extend(self.loads(pace));
        summaries.extend(self.transfers(pace));
        summaries.extend(self.follow(pace));
        summaries.extend(self.whole_table(pace));
        summaries.extend(self.behind(pace));
        summaries
    }

    /// This build and another one, in turn: what a change of the code has gained.
    pub fn beside(&self, base: &Path, pace: Pace) -> Vec<Summary> {
        let base = Node::with(base, self.cluster.port, &[]);
        let mut contestants = Vec::new();
        for (shape, what, clients) in [
            (Shape::Whole, "whole rows", 1),
            (Shape::Whole, "whole rows", 64),
            (Shape::Whole, "whole rows", 256),
            (Shape::Mixed, "mixed column sets", 64),
            (Shape::Hot, "one hot key", 64),
            (Shape::One, "one column", 64),
            (Shape::Counter, "counters", 64),
        ] {
            for (build, node) in [("BASE", &base), ("this", &self.node)] {
                let name = format!("{build}: {what}, {clients}");
                contestants.push(load(name, self.watch(node), staged(node, shape, clients)));
            }
        }
        let summaries = self.run("This build beside BASE", contestants, pace);
        for pair in summaries.chunks_exact(2) {
            let cpu = |s: &Summary| s.cpu.map_or(0.0, |cpu| cpu.times.iter().sum());
            println!(
                "  {:<38} {:>8.2} times the rate, {:.2} of the CPU time",
                pair[1].name,
                pair[1].rate / pair[0].rate,
                cpu(&pair[1]) / cpu(&pair[0])
            );
        }
        summaries
    }

    fn one(&self) -> Vec<Contestant<'_>> {
        vec![
            self.load("write-through, 1 client", self.staged(Shape::Whole, 1)),
            self.pgbench(1),
            self.load("server-blocking, 1 client", blocking(&self.node, 1)),
            self.load("dual write, 1 client", dual(&self.node, self.cluster.port, 1)),
        ]
    }

    fn many(&self) -> Vec<Contestant<'_>> {
        vec![
            self.load("write-through, 256 clients", self.staged(Shape::Whole, 256)),
            self.pgbench(4),
            self.load("plain HSET, 256 clients", plain(&self.node, 256)),
            self.load("unnest of 256 rows, 4 connections", batches(self.cluster.port, 4, 256)),
        ]
    }

    fn sixty_four(&self) -> Vec<Contestant<'_>> {
        let mut all = vec![
            self.load("write-through, 64 clients", self.staged(Shape::Whole, 64)),
            self.pgbench(64),
            self.load("dual write, 64 clients", dual(&self.node, self.cluster.port, 64)),
            self.load("server-blocking, 64 clients", blocking(&self.node, 64)),
        ];
        let shapes = [
            ("one hot key", Shape::Hot),
            ("mixed column sets", Shape::Mixed),
            ("1% bad rows", Shape::Bad),
            ("one column", Shape::One),
            ("new rows", Shape::Insert),
            ("64 columns", Shape::Wide),
            ("values of 10 KB", Shape::Doc),
        ];
        all.extend(shapes.map(|(name, shape)| self.load(name, self.staged(shape, 64))));
        all.extend([100, 1000].map(|rows| {
            self.load(&format!("WT.BATCH of {rows}, 1 client"), batch_command(&self.node, rows))
        }));
        let counter = self.node.conn().run("HINCRBY __{users:1} logins 1");
        match counter.is_error() {
            true => println!("hot counters (HINCRBY): skipped, the server says {counter:?}"),
            false => all.push(self.load("hot counters (HINCRBY)", self.staged(Shape::Counter, 64))),
        }
        all
    }

    /// What they cost beside neither.
    fn tls_and_journal(&self, pace: Pace) -> Vec<Summary> {
        let group = "TLS and the journal";
        if !self.wants(group) {
            return Vec::new();
        }
        let port = self.cluster.port;
        let tls = Node::with_module(port, &["URL", &Cluster::url(port, "require")]);
        let journal = Node::with_module(port, &["JOURNAL", "true"]);
        let kinds = [("neither", &self.node), ("TLS", &tls), ("journal", &journal)];
        let mut contestants = Vec::new();
        for clients in [1, 64, 256] {
            for (kind, node) in kinds {
                let made = staged(node, Shape::Whole, clients);
                contestants.push(load(format!("{kind}, {clients}"), self.watch(node), made));
            }
        }
        self.run(group, contestants, pace)
    }

    /// The same database through a proxy, and a server of its own for it.
    fn far(&self, ms: u64, group: &'static str, pace: Pace) -> Vec<Summary> {
        if !self.wants(group) && !self.wants(&format!("{ms} ms away: ")) {
            return Vec::new();
        }
        let port = proxy::start(self.cluster.port, Duration::from_millis(ms));
        let node = Node::with_module(port, &[]);
        let name = |who: &str| format!("{ms} ms away: {who}");
        let watch = self.watch(&node);
        let contestants = vec![
            load(name("write-through, 64 clients"), watch, staged(&node, Shape::Whole, 64)),
            bench(name("pgbench -c 4"), self.script.clone(), port, 4),
            load(name("write-through, 1 client"), watch, staged(&node, Shape::Whole, 1)),
            load(name("write-through, 256 clients"), watch, staged(&node, Shape::Whole, 256)),
            load(name("dual write, 64 clients"), watch, dual(&node, port, 64)),
            load(name("unnest of 16 rows, 4 connections"), watch, batches(port, 4, 16)),
        ];
        let rounds = pace.rounds.div_ceil(2);
        self.run(group, contestants, Pace { rounds, ..pace })
    }

    fn plain_commands(&self, pace: Pace) -> Vec<Summary> {
        if !self.wants("plain commands") {
            return Vec::new();
        }
        let bare = Node::without_module();
        let contestants = vec![
            self.load("plain commands, with the module", others(&self.node, 64)),
            load("plain commands, without".into(), self.watch(&bare), others(&bare, 64)),
        ];
        // A few per cent are asked for, so it takes more rounds.
        let rounds = pace.rounds * 2;
        self.run("Plain HSET and HGET, 64 clients", contestants, Pace { rounds, ..pace })
    }

    /// Throughput and latency over the number of clients.
    pub fn curve(&self, pace: Pace) -> Vec<Line> {
        if !self.wants("chart") {
            return Vec::new();
        }
        let pace = Pace { rounds: (pace.rounds / 2).max(1), ..pace };
        let kinds = ["write-through", "plain HSET", "PostgreSQL alone", "dual write"];
        let line = |kind: &str| Line { name: kind.into(), points: Vec::new() };
        let mut lines: Vec<Line> = kinds.map(line).into();
        for clients in CLIENTS {
            let mut contestants = Vec::new();
            for kind in kinds {
                let made = match kind {
                    "write-through" => self.staged(Shape::Whole, clients),
                    "plain HSET" => plain(&self.node, clients),
                    _ if clients > CONNECTIONS_MAX => continue,
                    "PostgreSQL alone" => direct(self.cluster.port, clients),
                    _ => dual(&self.node, self.cluster.port, clients),
                };
                contestants.push(self.load(&format!("chart: {kind}, {clients}"), made));
            }
            let summaries = interleave("Chart", contestants, pace, || self.cluster.tidy());
            report::print_group(&summaries);
            for (line, summary) in lines.iter_mut().zip(summaries) {
                line.points.push((clients, summary));
            }
        }
        lines
    }

    /// Runs a group, or those of it that are wanted.
    pub fn run(&self, group: &'static str, all: Vec<Contestant>, pace: Pace) -> Vec<Summary> {
        let chosen: Vec<Contestant> =
            all.into_iter().filter(|c| self.wants(&c.name) || self.wants(group)).collect();
        if chosen.is_empty() {
            return Vec::new();
        }
        let summaries = interleave(group, chosen, pace, || self.cluster.tidy());
        report::print_group(&summaries);
        summaries
    }

    /// ONLY names it, or nothing.
    pub fn wants(&self, name: &str) -> bool {
        let names = |only: &String| only.split('|').any(|part| name.contains(part));
        self.only.as_ref().is_none_or(names)
    }

    fn staged(&self, shape: Shape, clients: usize) -> Load {
        staged(&self.node, shape, clients)
    }

    fn load<'a>(&self, name: &str, made: Load) -> Contestant<'a> {
        load(name.into(), self.watch(&self.node), made)
    }

    fn pgbench<'a>(&self, connections: usize) -> Contestant<'a> {
        let name = format!("pgbench -c {connections}");
        bench(name, self.script.clone(), self.cluster.port, connections)
    }

    pub fn watch(&self, node: &Node) -> Watch {
        Watch {
            redis: Some(node.pid),
            postgres: Some(self.cluster.pid),
            module: node.has_module.then_some(node.port),
        }
    }
}
