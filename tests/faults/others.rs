//! Another program that writes, in every scene: its own rows, and a column of its own in rows that our clients write.

use std::time::{Duration, Instant};

use crate::foreign::{psql, Program};
use crate::support::{eventually, Stack};

const ROWS: usize = 24;

/// Between two of its statements: our clients want to be served, too.
const PAUSE: Duration = Duration::from_millis(3);

pub struct Others(Program);

impl Others {
    /// It writes to these tables, too.
    pub fn start(url: String, shared: &'static [&'static str], seed: usize) -> Others {
        Others(psql(url, seed + 1000, move |random, n| {
            std::thread::sleep(PAUSE);
            let id = random.below(ROWS);
            match random.below(8) {
                0 => format!("delete from others where id = {id}"),
                1 if random.below(20) == 0 => "truncate others".into(),
                1 => format!("begin; update others set f = 'no{n}'; rollback"),
                2 => format!("update others set f = 'all{n}'"),
                3..=5 if !shared.is_empty() => {
                    let table = shared[random.below(shared.len())];
                    format!("update {table} set f = 'f{n}' where id = {id}")
                }
                _ => format!("insert into others values ({id}, 'f{n}') on conflict (id) do update set f = excluded.f"),
            }
        }))
    }

    /// It ends; then these servers have all that it wrote.
    #[track_caller]
    pub fn finish(self, servers: &[&Stack]) {
        self.0.wait_for(20);
        self.0.finish();
        let since = Instant::now();
        for server in servers {
            eventually("what another program wrote is followed", || {
                let lag = Duration::from_millis(server.info_int("follow_lag_ms") as u64);
                server.info_int("in_sync") == 1 && lag < since.elapsed()
            });
        }
    }
}
