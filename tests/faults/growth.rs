//! Memory doesn't grow with the number of writes.

use crate::scene::{builder, SQL};
use crate::support::*;

const FEW: usize = 20_000;
const MANY: usize = 200_000;

/// More than what an allocator keeps for itself, far less than a leak of a byte or two a write.
const SLACK_KB: i64 = 4096;

pub fn scene(_: usize) {
    let s = builder().sql(SQL).start();
    write(&s, FEW);
    let (rss, used) = memory(&s);
    write(&s, MANY);
    let (rss_later, used_later) = memory(&s);
    println!("    RSS {rss} → {rss_later} kB, used_memory {used} → {used_later} kB");
    assert!(rss_later - rss < SLACK_KB, "RSS grew from {rss} to {rss_later} kB");
    assert!(used_later - used < SLACK_KB / 4, "used_memory grew from {used} to {used_later} kB");
}

/// Each kind of write, good and bad, on few rows.
fn write(s: &Stack, writes: usize) {
    const CLIENTS: usize = 8;
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let mut conn = s.conn();
            scope.spawn(move || {
                for n in 0..writes / CLIENTS {
                    let id = (n + client) % 50;
                    let line = match n % 8 {
                        0 => format!("HINCRBY __{{counters:{id}}} n 1"),
                        1 => format!("HSET __{{items:{id}}} v bad{n}"),
                        2 => format!("DEL __{{items:{id}}}"),
                        3 => format!("HSETNX __{{items:{id}}} w x"),
                        4 => format!("HDEL __{{items:{id}}} w"),
                        _ => format!("HSET __{{items:{id}}} v v{n}"),
                    };
                    conn.run(&line);
                }
            });
        }
    });
}

/// RSS and used_memory in kB.
fn memory(s: &Stack) -> (i64, i64) {
    let info = s.info_of("memory");
    let kb = |name: &str| info[name].parse::<i64>().expect("a number") / 1024;
    (kb("used_memory_rss"), kb("used_memory"))
}
