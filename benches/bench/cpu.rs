//! Who used the processors: CPU time by process and thread, for each write (Linux).

use std::fs;

/// The servers that a contestant uses.
#[derive(Clone, Copy, Default)]
pub struct Watch {
    pub redis: Option<u32>,
    pub postgres: Option<u32>,
}

/// Nanoseconds: Redis' main thread, its other threads, PostgreSQL, the load itself. Between two
/// looks, and divided: microseconds a write.
#[derive(Clone, Copy, Default, Debug)]
pub struct Cpu(pub [f64; 4]);

pub const NAMES: [&str; 4] = ["redis main", "redis other", "postgres", "load"];

impl Watch {
    pub fn look(&self) -> Cpu {
        let (mut main, mut others) = (0.0, 0.0);
        for (task, time) in self.redis.map(tasks).unwrap_or_default() {
            match Some(task) == self.redis {
                true => main += time,
                false => others += time,
            }
        }
        let postgres = self.postgres.map(children).unwrap_or_default();
        let postgres = postgres.into_iter().flat_map(tasks).map(|(_, t)| t).sum();
        Cpu([main, others, postgres, time("/proc/thread-self/schedstat")])
    }
}

impl Cpu {
    pub fn since(&self, before: &Cpu, writes: u64) -> Cpu {
        let each = |i: usize| (self.0[i] - before.0[i]).max(0.0) / 1000.0 / writes as f64;
        Cpu(std::array::from_fn(each))
    }
}

fn tasks(pid: u32) -> Vec<(u32, f64)> {
    let entries = fs::read_dir(format!("/proc/{pid}/task"));
    let names = entries.into_iter().flatten().flatten();
    names
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .map(|task| (task, time(&format!("/proc/{pid}/task/{task}/schedstat"))))
        .collect()
}

fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn time(schedstat: &str) -> f64 {
    let text = fs::read_to_string(schedstat).unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|ns| ns.parse().ok()).unwrap_or_default()
}
