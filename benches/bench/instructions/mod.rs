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

/// A ratio of the main thread may be so much above the expected one.
const TOLERANCE: f64 = 1.05;

/// One of the workers: how many writes share a statement depends on the scheduler.
const TOLERANCE_OF_WORKERS: f64 = 1.2;

/// How often each case is counted.
const TIMES: usize = 3;

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

/// A case's instructions beside those of a plain HSET.
struct Line {
    name: &'static str,
    main: f64,
    workers: f64,
}

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
    let servers = [&simple, &more].map(|mappings| Callgrind::start(&cluster, mappings));
    println!("Redis {}, PostgreSQL {}, callgrind", servers[0].node.version, cluster.version());
    println!(
        "\n{:<28} {:>10} {:>10} {:>9} {:>9} {:>9}",
        "instructions an operation", "main", "workers", "ratio", "workers", "profiled"
    );
    let mut lines: Vec<Line> = Vec::new();
    let mut base = None;
    for case in cases::all() {
        let is_wanted =
            only.is_none_or(|only| only.split('|').any(|part| case.name.contains(part)));
        if !is_wanted && !case.is_base {
            continue;
        }
        let (name, is_base) = (case.name, case.is_base);
        let profiled = case.rounds * case.clients as u64 * case.rows;
        let (main, workers) = count(&servers[case.server], case, mode, folder);
        if is_base {
            base = Some(main);
        }
        let base = base.expect("the first case is a plain HSET");
        println!(
            "  {name:<26} {main:>10.0} {workers:>10.0} {:>9.3} {:>9.3} {profiled:>9}",
            main / base,
            workers / base
        );
        lines.push(Line { name, main: main / base, workers: workers / base });
    }
    println!(
        "\n{:.0} s. To see the functions: callgrind_annotate --inclusive=yes FILE, with one of",
        began.elapsed().as_secs_f64()
    );
    println!("{}/*/main.out, worker-1.out", folder.display());
    match mode {
        Mode::Show => ExitCode::SUCCESS,
        Mode::Check => check(&lines),
        Mode::Write => write(&lines),
    }
}

/// Instructions of one operation, of the main thread and of the workers: the least of some times. The profile is
/// that of the last time.
fn count(server: &Callgrind, mut case: Case, mode: Mode, folder: &Path) -> (f64, f64) {
    let mut load = Lockstep::connect(server.node.port, case.clients);
    let rounds = match mode {
        Mode::Check => case.rounds / 2,
        _ => case.rounds,
    };
    // Statements are prepared, tables of the server have grown, and each row was written in this way before.
    let warm = ROWS.div_ceil(case.clients as u64 * case.rows);
    load.run(warm.max(case.rounds / 2), &mut case.request);
    let folder = folder.join(case.name.replace([' ', ','], "-").replace("--", "-"));
    let operations = rounds * case.clients as u64 * case.rows;
    let mut least = (f64::MAX, f64::MAX);
    for _ in 0..TIMES {
        server.zero();
        load.run(rounds, &mut case.request);
        let Counted { main, workers } = server.dump(&folder);
        let each = |all: u64| all as f64 / operations as f64;
        least = (least.0.min(each(main)), least.1.min(each(workers)));
    }
    least
}

fn expected_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/bench/instructions/expected.json")
}

/// The ratios of each case: of the main thread, and of the workers.
type Expected = BTreeMap<String, [f64; 2]>;

fn check(lines: &[Line]) -> ExitCode {
    let file = expected_file();
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let expected: Expected = serde_json::from_str(&text).expect("the expected ratios");
    let mut failed = false;
    for line in lines {
        let Some(&[main, workers]) = expected.get(line.name) else {
            println!("{}: no ratio is expected; run make bench INSTRUCTIONS=write", line.name);
            failed = true;
            continue;
        };
        for (who, ratio, expected, tolerance) in [
            ("main thread", line.main, main, TOLERANCE),
            ("workers", line.workers, workers, TOLERANCE_OF_WORKERS),
        ] {
            if ratio > expected * tolerance {
                println!(
                    "{}: {who}: {ratio:.3} times a plain HSET, expected {expected:.3}",
                    line.name
                );
                failed = true;
            }
        }
    }
    match failed {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

fn write(lines: &[Line]) -> ExitCode {
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
    ExitCode::SUCCESS
}
