//! `make bench`: the module beside what one would do instead, on servers of its own.
//!
//! Every figure is a ratio of medians from interleaved rounds in one run. Settings are read from
//! the environment: QUICK=1 (a minute), FSYNC=off (the disk's part is left out), GROWTH=1 (sizes
//! of pool, batches, cache and queue as well), ONLY=words (contestants whose name has them),
//! ROUNDS=n, SECONDS=x, BASE=path (only this: the build beside another libwritethrough.so),
//! INSTRUCTIONS=1 (only this: instructions instead of times, by callgrind; ONLY chooses here, too).

mod behind;
mod chart;
mod cluster;
mod contestants;
mod cpu;
mod drive;
mod follow;
mod groups;
mod growth;
mod instructions;
mod loads;
mod meanwhile;
mod node;
mod panel;
mod pgbench;
mod pgwire;
mod plain_keys;
mod proxy;
mod random;
mod reads;
mod report;
mod rounds;
mod scan;
mod shapes;
mod support;
mod targets;
mod transfers;

/// A command names the key that it is given.
const KEYS: support::keys::Keys = support::keys::Keys::Staged;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use groups::Bench;
use instructions::Mode;
use rounds::Pace;
use serde_json::json;

fn main() -> ExitCode {
    // `cargo test` builds and runs benchmarks too.
    if !std::env::args().any(|arg| arg == "--bench") {
        println!("this is the benchmark: run make bench");
        return ExitCode::SUCCESS;
    }
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let number = |name: &str| set(name).and_then(|value| value.parse::<f64>().ok());
    let (quick, durable) = (set("QUICK").is_some(), set("FSYNC").as_deref() != Some("off"));
    let only = set("ONLY");
    if let Some(mode) = set("INSTRUCTIONS") {
        let folder = target_folder().join("instructions");
        return instructions::run(Mode::of(&mode), only.as_deref(), &folder);
    }
    let seconds = number("SECONDS").unwrap_or(if quick { 0.4 } else { 1.0 });
    let pace = Pace {
        rounds: number("ROUNDS").unwrap_or(if quick { 2.0 } else { 5.0 }) as usize,
        warm: Duration::from_millis(if quick { 150 } else { 250 }),
        time: Duration::from_secs_f64(seconds),
        pgbench_seconds: if quick { 1 } else { (seconds.ceil() as u64).max(2) },
    };
    let began = std::time::Instant::now();
    let busy = load_average();
    let bench = Bench::start(durable, only.clone());
    let about = format!(
        "{} processors, Redis {}, PostgreSQL {} (fsync={}, synchronous_commit=on), \
         pool_size 4; {} rounds of {seconds} s; load before: {busy}",
        std::thread::available_parallelism().map_or(0, usize::from),
        bench.node.version,
        bench.cluster.version(),
        if durable { "on" } else { "off" },
        pace.rounds,
    );
    println!("{about}");
    println!(
        "redis-server {} with the module, postgres {}, this {}",
        bench.node.pid,
        bench.cluster.pid,
        std::process::id()
    );
    if let Some(base) = set("BASE") {
        bench.beside(&PathBuf::from(base), pace);
        return ExitCode::SUCCESS;
    }
    let mut summaries = bench.cases(pace);
    let curve = bench.curve(pace);
    let followed = bench.follow_curve(pace);
    summaries.extend(followed.iter().flat_map(|line| line.points.iter().map(|p| p.1.clone())));
    summaries.extend(curve.iter().flat_map(|line| line.points.iter().map(|p| p.1.clone())));
    let (growth, options) = match set("GROWTH") {
        Some(_) => growth::run(&bench, pace, &about),
        None => (json!(null), String::new()),
    };
    report::print_targets(&summaries);
    chart::print_growth(&curve);

    let folder = target_folder();
    std::fs::create_dir_all(&folder).expect("a folder for the results");
    let write = |file: PathBuf, text: &str| {
        std::fs::write(&file, text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        println!("{}", file.display());
    };
    println!("\n{about}; {:.0} s in all. Written:", began.elapsed().as_secs_f64());
    let results = report::json(json!(about), &summaries, growth);
    write(folder.join("results.json"), &format!("{results:#}\n"));
    // A short run's chart is no one's documentation.
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs");
    let place = if quick || only.is_some() { folder } else { docs };
    if !curve.is_empty() {
        write(place.join("bench.svg"), &chart::over_clients(&curve, &about));
    }
    if !followed.is_empty() {
        write(place.join("follow.svg"), &chart::over_foreign_writes(&followed, &about));
    }
    if !options.is_empty() {
        write(place.join("options.svg"), &options);
    }
    ExitCode::SUCCESS
}

/// How busy the machine is with other things: above a few tenths, only ratios say something.
fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_string()
}

/// `target/bench`, wherever cargo's target folder is.
fn target_folder() -> PathBuf {
    let exe = std::env::current_exe().expect("a program knows its path");
    let target = exe.ancestors().nth(3).expect("target/release/deps/bench");
    target.join("bench")
}
