//! WT.TRANSACTION beside BEGIN … COMMIT, and what WT.ONCE costs.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::contestants::{bench, load, redis};
use crate::drive::Load;
use crate::groups::Bench;
use crate::node::Node;
use crate::random::Random;
use crate::rounds::{Pace, Summary};

/// Accounts, ids 1 to this.
const ACCOUNTS: u64 = 100_000;

/// What an application does on a connection of its own. The lower id first: others go the other way.
const SCRIPT: &str = "\
\\set a random(1, 100000)
\\set b random(1, 100000)
\\set low least(:a, :b)
\\set high greatest(:a, :b)
\\set n random(1, 100)
BEGIN;
UPDATE accounts SET balance = balance - :n WHERE id = :low;
UPDATE accounts SET balance = balance + :n WHERE id = :high;
COMMIT;
";

impl Bench {
    /// Sums that are moved between two of 100,000 accounts.
    pub fn transfers(&self, pace: Pace) -> Vec<Summary> {
        const GROUP: &str = "Transfers between 100,000 accounts";
        if !self.wants(GROUP) {
            return Vec::new();
        }
        let port = self.cluster.port;
        self.cluster.fill_accounts(ACCOUNTS);
        let node = Node::mapped(port, &[json!({ "table": "accounts" })]);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let script = script(folder.path());
        let mut contestants = Vec::new();
        for clients in [1, 64] {
            let name = format!("WT.TRANSACTION, {clients}");
            contestants.push(load(name, self.watch(&node), transfers(&node, clients)));
            let name = format!("BEGIN … COMMIT, {clients}");
            contestants.push(bench(name, script.clone(), port, clients));
            for (name, is_once) in [("HINCRBY", false), ("WT.ONCE HINCRBY", true)] {
                let name = format!("{name}, {clients}");
                contestants.push(load(name, self.watch(&node), counters(&node, clients, is_once)));
            }
        }
        self.run(GROUP, contestants, pace)
    }
}

fn script(folder: &Path) -> PathBuf {
    let file = folder.join("transfer.sql");
    std::fs::write(&file, SCRIPT).expect("a file");
    file
}

/// Each client's transfers.
fn transfers(node: &Node, clients: usize) -> Load {
    commands(node, clients, |random, words| {
        let (from, to) = (account(random), account(random));
        *words = transfer(from, to, 1 + random.next() as i64 % 100);
    })
}

/// The words of one transfer.
pub fn transfer(from: u64, to: u64, n: i64) -> Vec<String> {
    let mut words = vec!["WT.TRANSACTION".into(), "2".into()];
    for (id, n) in [(from, -n), (to, n)] {
        words.extend(["4", "HINCRBY"].map(String::from));
        words.extend([format!("__{{accounts:{id}}}"), "balance".into(), n.to_string()]);
    }
    words
}

/// One increment, with a new token or without.
fn counters(node: &Node, clients: usize, is_once: bool) -> Load {
    commands(node, clients, move |random, words| {
        if is_once {
            words.extend(["WT.ONCE".into(), format!("{:032x}", random.next()), "4".into()]);
        }
        let key = format!("__{{accounts:{}}}", account(random));
        words.extend(["HINCRBY".into(), key, "balance".into(), "1".into()]);
    })
}

fn account(random: &mut Random) -> u64 {
    1 + random.next() % ACCOUNTS
}

fn commands(
    node: &Node,
    clients: usize,
    mut make: impl FnMut(&mut Random, &mut Vec<String>) + 'static,
) -> Load {
    let mut words = Vec::new();
    Load {
        clients,
        steps: vec![redis(node)],
        rows: 1,
        request: Box::new(move |call, out| {
            words.clear();
            make(&mut Random::new(call.n), &mut words);
            send(&words, out);
        }),
    }
}

/// Appends a command.
pub fn send(words: &[String], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
}
