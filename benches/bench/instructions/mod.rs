//! `make bench INSTRUCTIONS=1`: how many instructions an operation takes, counted by valgrind's callgrind.
//!
//! Rates and times differ from host to host; instructions don't. Two runs of one build differ by less
//! than 1%. Each case is a ratio to the plain HSET of a whole row, of the same run and as many clients.
//! `INSTRUCTIONS=check` does less of it, and fails where a ratio is 5% above that in `expected.json`;
//! `INSTRUCTIONS=write` writes that file.

mod callgrind;
mod cases;
mod lockstep;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use callgrind::{Callgrind, Counted, ROWS};
use cases::Case;
use lockstep::Lockstep;
use serde_json::json;

use crate::cluster::Cluster;
use crate::shapes::IDS;

/// A ratio may be so much above the expected one.
const TOLERANCE: f64 = 1.05;

/// How often each case is counted: the least is taken.
const TIMES: usize = 3;

/// The same where one client writes: how often the server's event loop turns for a write is the scheduler's to say.
const TIMES_OF_ONE: usize = 9;

/// How often a case is counted anew that is above what is expected.
const AGAIN: usize = 2;

/// What is done with the counts.
#[derive(Clone, Copy, PartialEq)]
pub enum Mode {
    /// They are shown.
    Show,
    /// Less is counted, and compared with what is expected.
    Check,
    /// They are what is expected from now on.
    Write,
}

impl Mode {
    /// By the value of `INSTRUCTIONS`.
    pub fn of(text: &str) -> Mode {
        match text {
            "1" => Mode::Show,
            "check" => Mode::Check,
            "write" => Mode::Write,
            other => panic!("INSTRUCTIONS={other}: 1, check or write"),
        }
    }
}

/// Of a case: the instructions of an operation beside those of a plain HSET.
struct Line {
    name: &'static str,
    main: f64,
    workers: f64,
    /// The workers do the same on each host. With many clients how many writes share a statement depends on how
    /// fast PostgreSQL is, so their ratio is shown and not compared (0.49 on one host was 0.65 on another).
    compares_workers: bool,
}

impl Line {
    /// What is above the expected ratios.
    fn excess(&self, expected: &Expected) -> Vec<String> {
        let Some(&[main, workers]) = expected.get(self.name) else {
            let how = "no ratio is expected; run make bench INSTRUCTIONS=write";
            return vec![format!("{}: {how}", self.name)];
        };
        [
            ("main thread", self.main, main, true),
            ("workers", self.workers, workers, self.compares_workers),
        ]
        .into_iter()
        .filter(|&(_, ratio, expected, is_compared)| is_compared && ratio > expected * TOLERANCE)
        .map(|(who, ratio, expected, _)| {
            format!("{}: {who}: {ratio:.3} times a plain HSET, expected {expected:.3}", self.name)
        })
        .collect()
    }
}

/// The ratios of each case: of the main thread, and of the workers.
type Expected = BTreeMap<String, [f64; 2]>;

/// Counts all cases, or those that `only` names. `folder`: where each case's profile is kept.
pub fn run(mode: Mode, only: Option<&str>, folder: &Path) -> ExitCode {
    let began = std::time::Instant::now();
    let cluster = Cluster::start(false);
    cluster.fill_like_users("people", ROWS);
    cluster.fill_items(IDS);
    cluster.fill_accounts(ROWS);
    // Each command of a server whose mappings read through, or take plain writes, is looked at once more.
    let simple = [json!({ "table": "users" }), json!({ "table": "accounts" })];
    let more = [
        json!({ "table": "people", "plain_writes": "through" }),
        json!({ "table": "items", "read_through": true }),
    ];
    let behind = [
        json!({ "table": "users", "write": "behind" }),
        json!({ "table": "accounts", "write": "behind" }),
    ];
    let servers =
        [&simple, &more, &behind].map(|mappings: &[_; 2]| Callgrind::start(&cluster, mappings));
    // Batches are as large as they can be: with what a client has written just now it would be the scheduler's to say.
    let set = servers[2].node.conn().run("CONFIG SET writethrough.behind-delay-ms 60000");
    assert!(!set.is_error(), "{set:?}");
    println!("Redis {}, PostgreSQL {}, callgrind", servers[0].node.version, cluster.version());
    println!(
        "\n{:<28} {:>10} {:>10} {:>9} {:>9} {:>9}",
        "instructions an operation", "main", "workers", "ratio", "workers", "profiled"
    );
    let expected = (mode == Mode::Check).then(expected);
    let (mut lines, mut excess, mut base) = (Vec::new(), Vec::new(), None);
    for case in cases::all() {
        let is_wanted =
            only.is_none_or(|only| only.split('|').any(|part| case.name.contains(part)));
        if !is_wanted && !case.is_base {
            continue;
        }
        let (name, is_base, compares_workers) = (case.name, case.is_base, case.clients == 1);
        let profiled = case.rounds * case.clients as u64 * case.rows;
        let line = |(main, workers): (f64, f64)| {
            let base = if is_base { main } else { base.expect("the first case is a plain HSET") };
            Line { name, main: main / base, workers: workers / base, compares_workers }
        };
        let above = |least| {
            expected.as_ref().map_or_else(Vec::new, |expected| line(least).excess(expected))
        };
        let least =
            count(&servers[case.server], case, mode, folder, |so_far| above(so_far).is_empty());
        let of_it = line(least);
        excess.extend(above(least));
        println!(
            "  {name:<26} {:>10.0} {:>10.0} {:>9.3} {:>9.3} {profiled:>9}",
            least.0, least.1, of_it.main, of_it.workers
        );
        lines.push(of_it);
        if is_base {
            base = Some(least.0);
        }
    }
    println!(
        "\n{:.0} s. To see the functions: callgrind_annotate --inclusive=yes FILE, with one of",
        began.elapsed().as_secs_f64()
    );
    println!("{}/*/main.out, worker-1.out", folder.display());
    if mode == Mode::Write {
        write(&lines);
    }
    excess.iter().for_each(|line| println!("{line}"));
    match excess.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Instructions of one operation, of the main thread and of the workers: the least of some times, or of more while
/// they are not `few_enough`. The profile is that of the last time.
fn count(
    server: &Callgrind,
    mut case: Case,
    mode: Mode,
    folder: &Path,
    few_enough: impl Fn((f64, f64)) -> bool,
) -> (f64, f64) {
    let mut load = Lockstep::connect(server.node.port, case.clients);
    let rounds = match mode {
        Mode::Check => case.rounds / 2,
        _ => case.rounds,
    };
    // Statements are prepared, tables of the server have grown, and each row was written in this way before.
    let warm = ROWS.div_ceil(case.clients as u64 * case.rows);
    let mut run = |rounds| {
        load.run(rounds, &mut case.request);
        if let Some(queue) = case.queue {
            load.flush(queue);
        }
    };
    run(warm.max(case.rounds / 2));
    let folder = folder.join(case.name.replace([' ', ','], "-").replace("--", "-"));
    let operations = rounds * case.clients as u64 * case.rows;
    let mut least = (f64::MAX, f64::MAX);
    let times = match (mode, case.clients) {
        (Mode::Show | Mode::Write, 1) => TIMES_OF_ONE,
        _ => TIMES,
    };
    for time in 1..=times * (1 + AGAIN) {
        server.zero();
        run(rounds);
        let Counted { main, workers } = server.dump(&folder);
        let each = |all: u64| all as f64 / operations as f64;
        least = (least.0.min(each(main)), least.1.min(each(workers)));
        if time >= times && few_enough(least) {
            break;
        }
    }
    least
}

fn expected_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/bench/instructions/expected.json")
}

fn expected() -> Expected {
    let file = expected_file();
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    serde_json::from_str(&text).expect("the expected ratios")
}

fn write(lines: &[Line]) {
    let three = |ratio: f64| (ratio * 1000.0).round() / 1000.0;
    let ratios = |line: &Line| (line.name.to_string(), [three(line.main), three(line.workers)]);
    let expected: Expected = lines.iter().map(ratios).collect();
    let text: Vec<String> = expected
        .iter()
        .map(|(name, [main, workers])| format!("  \"{name}\": [{main}, {workers}]"))
        .collect();
    let file = expected_file();
    std::fs::write(&file, format!("{{\n{}\n}}\n", text.join(",\n"))).expect("the expected ratios");
    println!("{}", file.display());
}
