//! A redis-server under callgrind, whose threads are counted each for itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::node::Node;

/// Rows of each table that are used.
pub const ROWS: u64 = 500;

/// What only the module's workers run.
const WORKER: &str = "writethrough::engine::worker::";

pub struct Callgrind {
    pub node: Node,
    profiles: tempfile::TempDir,
}

/// What the server does by the clock, however many operations there are.
const CRON: &str = "serverCron";

/// Instructions.
#[derive(Clone, Copy)]
pub struct Counted {
    pub main: u64,
    /// All workers together.
    pub workers: u64,
}

impl Callgrind {
    /// A server with these mappings, whose rows are cached as the cases need it. Nothing is counted yet.
    pub fn start(cluster: &Cluster, mappings: &[Value]) -> Callgrind {
        assert!(
            Command::new("vgdb").arg("--help").output().is_ok(),
            "no valgrind found: apt-get install valgrind"
        );
        let profiles = tempfile::tempdir().expect("a temporary folder");
        let out = profiles.path().join("profile.%p");
        let program = [
            "valgrind",
            "--tool=callgrind",
            "--separate-threads=yes",
            // Starting and filling the cache is faster so, and not counted.
            "--instr-atstart=no",
            // Or the main thread keeps the others from running.
            "--fair-sched=try",
            &format!("--callgrind-out-file={}", out.display()),
        ];
        let node = Node::under(&program.map(String::from), cluster.port, mappings);
        for mapping in mappings.iter().filter(|mapping| mapping["read_through"] != true) {
            let load =
                format!("WT.LOAD {} LIMIT {ROWS}", mapping["table"].as_str().expect("a name"));
            let loaded = node.conn().run(&load);
            assert!(!loaded.is_error(), "{loaded:?}");
        }
        let server = Callgrind { node, profiles };
        server.order(&["instrumentation", "on"]);
        server
    }

    /// Begins to count.
    pub fn zero(&self) {
        self.order(&["zero"]);
    }

    /// What was counted since, without the server's cron. The profiles of the main thread and the workers are
    /// copied to `folder`.
    pub fn dump(&self, folder: &Path) -> Counted {
        let before = self.files();
        self.order(&["dump"]);
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder).expect("a folder for profiles");
        let (mut main, mut workers) = (0, Vec::new());
        for file in self.files().into_iter().filter(|file| !before.contains(file)) {
            let profile = std::fs::read_to_string(&file).expect("a profile");
            if file.to_string_lossy().ends_with("-01") {
                main = total(&profile) - called(&profile, CRON);
                std::fs::copy(&file, folder.join("main.out")).expect("a profile");
            } else if profile.contains(WORKER) {
                workers.push((total(&profile), file));
            }
        }
        workers.sort_by_key(|(total, _)| std::cmp::Reverse(*total));
        for (n, (_, file)) in workers.iter().enumerate() {
            std::fs::copy(file, folder.join(format!("worker-{}.out", n + 1))).expect("a profile");
        }
        Counted { main, workers: workers.iter().map(|(total, _)| total).sum() }
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.profiles.path()).expect("the folder of profiles");
        entries.flatten().map(|entry| entry.path()).collect()
    }

    /// An order for callgrind, which has obeyed when this returns.
    fn order(&self, words: &[&str]) {
        let pid = format!("--pid={}", self.node.pid);
        let output = Command::new("vgdb").arg(pid).args(words).output().expect("vgdb can't be run");
        assert!(output.status.success(), "vgdb: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// All instructions of a profile.
fn total(profile: &str) -> u64 {
    let total = profile.lines().find_map(|line| line.strip_prefix("totals: "));
    total.and_then(|n| n.trim().parse().ok()).unwrap_or_default()
}

/// Those of a function that is called, and of what it calls. A name is spelt out where it comes first:
/// `cfn=(17) serverCron`, and `cfn=(17)` afterwards; `calls=…` and a line with the cost follow.
fn called(profile: &str, function: &str) -> u64 {
    let (mut id, mut sum, mut is_its) = (None, 0, false);
    let mut lines = profile.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("cfn=") {
            let (number, name) = name.split_once(' ').unwrap_or((name, ""));
            if name == function {
                id = Some(number);
            }
            is_its = id == Some(number);
        } else if line.starts_with("fn=") && line.ends_with(&format!(" {function}")) {
            id = line["fn=".len()..].split(' ').next();
        } else if line.starts_with("calls=") && is_its {
            let cost = lines.next().and_then(|line| line.split(' ').nth(1));
            sum += cost.and_then(|cost| cost.parse::<u64>().ok()).unwrap_or_default();
        }
    }
    sum
}
