//! Things break under load: the database, the network, the server, its replicas, its cluster.
//!
//! Each scene breaks things while many clients write, and a checker compares what they were
//! answered with the table and the cache. The scenes run one after the other:
//! `cargo test --test faults -- network` runs those with the word in their name. `SOAK=10` runs
//! all of them for ten minutes with other random choices; `SEED=7` repeats one run.

#[path = "../it/support/mod.rs"]
mod support;

/// Writes name the staged key.
const KEYS: support::Keys = support::Keys::Staged;

mod behind;
mod behind_cluster;
mod behind_database;
mod behind_torn;
mod cluster;
mod database;
mod foreign;
mod growth;
mod history;
mod load;
mod network;
mod others;
mod panics;
mod reads;
mod replicas;
mod restarts;
mod router;
mod scene;
mod server;
mod transfers;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use scene::TALLY;

/// A scene takes the seed of its random choices.
type Scene = (&'static str, fn(usize));

const SCENES: &[Scene] = &[
    ("checker", |_| {
        history::self_test();
        transfers::self_test();
    }),
    ("database", database::scene),
    ("network", network::scene),
    ("foreign", foreign::scene),
    ("panics", panics::scene),
    ("server", server::scene),
    ("restart-aof-always", |seed| restarts::scene(restarts::Kept::Always, seed)),
    ("restart-aof-everysec", |seed| restarts::scene(restarts::Kept::EverySecond, seed)),
    ("restart-old-rdb", |seed| restarts::scene(restarts::Kept::OldRdb, seed)),
    ("restart-empty", |seed| restarts::scene(restarts::Kept::Nothing, seed)),
    ("behind-aof-always", |seed| behind::scene(restarts::Kept::Always, seed)),
    ("behind-aof-everysec", |seed| behind::scene(restarts::Kept::EverySecond, seed)),
    ("behind-old-rdb", |seed| behind::scene(restarts::Kept::OldRdb, seed)),
    ("behind-aof-torn", behind_torn::scene),
    ("behind-cluster", behind_cluster::scene),
    ("behind-failover-synchronous", |seed| behind_database::failover(true, seed)),
    ("behind-failover", |seed| behind_database::failover(false, seed)),
    ("behind-restored", behind_database::restored),
    ("replicas", replicas::scene),
    ("cluster", cluster::scene),
    ("reads-database", reads::database),
    ("reads-restart", reads::restarts),
    ("reads-failover", reads::failover),
];

/// Scenes of the soak only.
const LONG: &[Scene] = &[("growth", growth::scene)];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let soak: Option<usize> = number("SOAK");
    let until = Instant::now() + Duration::from_secs(60 * soak.unwrap_or(0) as u64);
    let wanted = |(name, _): &&Scene| words.is_empty() || words.iter().any(|w| name.contains(w));
    let scenes = SCENES.iter().chain(if soak.is_some() { LONG } else { &[] });
    let scenes: Vec<&Scene> = scenes.filter(wanted).collect();
    let mut failed = Vec::new();
    for seed in number("SEED").unwrap_or(1).. {
        for (name, scene) in &scenes {
            let (began, faults) = (Instant::now(), TALLY.faults.load(Ordering::Relaxed));
            let result = catch_unwind(AssertUnwindSafe(|| scene(seed)));
            let faults = TALLY.faults.load(Ordering::Relaxed) - faults;
            let verdict = if result.is_ok() { "ok" } else { "FAILED" };
            let seconds = began.elapsed().as_secs_f32();
            println!("fault scene {name} … {verdict}, {faults} faults, {seconds:.1} s");
            failed.extend(result.is_err().then(|| format!("{name} (SEED={seed})")));
        }
        if Instant::now() >= until || scenes.is_empty() {
            break;
        }
    }
    let of = |count: &std::sync::atomic::AtomicUsize| count.load(Ordering::Relaxed);
    println!(
        "faults {}, writes {}, acknowledged and lost {}, cache differing {}",
        of(&TALLY.faults),
        of(&TALLY.writes),
        of(&TALLY.lost),
        of(&TALLY.differing),
    );
    if !failed.is_empty() {
        println!("failed: {}", failed.join(", "));
        std::process::exit(1);
    }
}
