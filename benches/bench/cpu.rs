//! Who used the processors: CPU time by process and thread, for each write (Linux); and how many
//! rows shared a statement.

use std::fs;

use crate::support::resp::Conn;

/// The servers that a contestant uses.
#[derive(Clone, Copy, Default)]
pub struct Watch {
    pub redis: Option<u32>,
    pub postgres: Option<u32>,
    /// The port of a server that has the module.
    pub module: Option<u16>,
}

/// A look: nanoseconds of Redis' main thread, its other threads, PostgreSQL, the load itself; the
/// module's statements and rows so far. Between two looks: microseconds a write, and rows a
/// statement.
#[derive(Clone, Copy, Default, Debug)]
pub struct Cpu {
    pub times: [f64; 4],
    pub statements: f64,
    pub rows: f64,
}

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
        let own = time("/proc/thread-self/schedstat");
        let (statements, rows) = self.module.map(counters).unwrap_or_default();
        Cpu { times: [main, others, postgres, own], statements, rows }
    }
}

impl Cpu {
    pub fn since(&self, before: &Cpu, writes: u64) -> Cpu {
        let each = |i: usize| (self.times[i] - before.times[i]).max(0.0) / 1000.0 / writes as f64;
        let statements = self.statements - before.statements;
        Cpu {
            times: std::array::from_fn(each),
            statements,
            rows: (self.rows - before.rows) / statements.max(1.0),
        }
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

fn counters(port: u16) -> (f64, f64) {
    let mut conn = Conn::open(port).expect("redis-server");
    let info = conn.run("INFO writethrough").text();
    let number = |name: &str| -> f64 {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|value| value.trim().parse().ok());
        value.unwrap_or_default()
    };
    let (statements, rows) = ("writethrough_statements:", "writethrough_rows:");
    (number(statements), number(rows))
}

fn time(schedstat: &str) -> f64 {
    let text = fs::read_to_string(schedstat).unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|ns| ns.parse().ok()).unwrap_or_default()
}
