//! Rounds: every contestant of a group runs once a round, so that what disturbs the machine
//! disturbs all of them; medians over the rounds are compared.

use std::io::Write;
use std::time::Duration;

use crate::cpu::Cpu;
use crate::drive::Run;

/// How long, how often.
#[derive(Clone, Copy)]
pub struct Pace {
    pub rounds: usize,
    pub warm: Duration,
    pub time: Duration,
    /// pgbench counts in whole seconds.
    pub pgbench_seconds: u64,
}

pub struct Contestant<'a> {
    pub name: String,
    pub run: Box<dyn FnMut(Pace) -> Run + 'a>,
}

/// The medians of a contestant's rounds.
#[derive(Clone)]
pub struct Summary {
    pub group: String,
    pub name: String,
    pub rates: Vec<f64>,
    pub rate: f64,
    pub p50: f64,
    pub p99: f64,
    /// Part of the operations that were answered with an error.
    pub errors: f64,
    pub error: Option<String>,
    pub cpu: Option<Cpu>,
}

/// Runs a group. `between` is called before each round.
pub fn interleave(
    group: &str,
    mut contestants: Vec<Contestant>,
    pace: Pace,
    mut between: impl FnMut(),
) -> Vec<Summary> {
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(); contestants.len()];
    for round in 0..pace.rounds {
        between();
        // There and back: a drift of the machine's speed cancels out.
        let mut order: Vec<usize> = (0..contestants.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            let contestant = &mut contestants[at];
            progress(&format!(
                "{group}: round {} of {}: {}",
                round + 1,
                pace.rounds,
                contestant.name
            ));
            runs[at].push((contestant.run)(pace));
        }
    }
    progress("");
    let names = contestants.into_iter().map(|c| c.name);
    names.zip(runs).map(|(name, runs)| summarize(group, name, &runs)).collect()
}

fn summarize(group: &str, name: String, runs: &[Run]) -> Summary {
    let of = |f: fn(&Run) -> f64| median(runs.iter().map(f).collect());
    let of_cpu =
        |f: &dyn Fn(Cpu) -> f64| median(runs.iter().filter_map(|r| r.cpu.map(f)).collect());
    Summary {
        group: group.to_string(),
        name,
        rates: runs.iter().map(|r| r.rate).collect(),
        rate: of(|r| r.rate),
        p50: of(|r| r.p50),
        p99: of(|r| r.p99),
        errors: of(|r| r.errors as f64),
        error: runs.iter().find_map(|r| r.error.clone()),
        cpu: runs[0].cpu.map(|first| Cpu {
            times: std::array::from_fn(|i| of_cpu(&|cpu| cpu.times[i])),
            rows: of_cpu(&|cpu| cpu.rows),
            ..first
        }),
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// One line on the terminal that the next one replaces.
fn progress(text: &str) {
    use std::io::IsTerminal;
    let mut err = std::io::stderr();
    let _ = match err.is_terminal() {
        true => write!(err, "\r\x1b[K{text}"),
        false if text.is_empty() => Ok(()),
        false => writeln!(err, "{text}"),
    };
}
