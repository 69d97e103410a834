//! GROWTH=1: what more connections, larger batches, more cached keys and a long queue change.

use std::time::Duration;

use serde_json::{json, Value};

use crate::chart::{self, Line};
use crate::contestants::{load, others, staged};
use crate::groups::Bench;
use crate::node::Node;
use crate::proxy;
use crate::report;
use crate::rounds::{interleave, Contestant, Pace, Summary};
use crate::shapes::Shape;
use crate::support::eventually::eventually;
use crate::support::resp::Conn;

/// The results, and the chart of the options.
pub fn run(bench: &Bench, pace: Pace, about: &str) -> (Value, String) {
    let pools = [1, 2, 4, 8, 16];
    let sizes = [1, 16, 64, 256, 512, 2048];
    let options = [
        ("POOL-SIZE", "64 clients", 64, 0, &pools[..]),
        ("POOL-SIZE", "256 clients", 256, 0, &pools),
        ("POOL-SIZE", "64 clients, 1 ms away", 64, 1, &pools),
        ("POOL-SIZE", "256 clients, 5 ms away", 256, 5, &pools),
        ("BATCH-MAX", "1024 clients", 1024, 0, &sizes),
    ];
    let mut results = serde_json::Map::new();
    let (mut pool_lines, mut batch_lines) = (Vec::new(), Vec::new());
    for (option, case, clients, away, values) in options {
        let group = format!("{}, {case}", option.to_lowercase().replace('-', "_"));
        if bench.wants(&group) {
            let port = match away {
                0 => bench.cluster.port,
                ms => proxy::start(bench.cluster.port, Duration::from_millis(ms)),
            };
            let start = |value: &usize| Node::with_module(port, &[option, &value.to_string()]);
            let nodes: Vec<Node> = values.iter().map(start).collect();
            let contestants = nodes.iter().zip(values).map(|(node, value)| {
                let made = staged(node, Shape::Whole, clients);
                load(format!("{option} {value}"), bench.watch(node), made)
            });
            let summaries = measure(bench, pace, &group, contestants.collect());
            results.insert(group, to_json(&summaries));
            let points = values.iter().copied().zip(summaries).collect();
            let lines = if option == "POOL-SIZE" { &mut pool_lines } else { &mut batch_lines };
            lines.push(Line { name: case.into(), points });
        }
    }
    let panels = [
        ("Writes a second over pool_size", "connections", &pool_lines[..]),
        ("Writes a second over batch_max, 1024 clients", "rows", &batch_lines),
    ];
    let chart = chart::over_options(panels, about);
    if bench.wants("cached keys") {
        results.insert("cached keys".into(), cached_keys(bench, pace));
    }
    if bench.wants("queue") {
        results.insert("queue".into(), queue(bench));
    }
    (Value::Object(results), chart)
}

/// A thousand keys, and a million.
fn cached_keys(bench: &Bench, pace: Pace) -> Value {
    let start = || Node::with_module(bench.cluster.port, &[]);
    let (few, many) = (start(), start());
    few.conn().run("FLUSHALL");
    few.fill(1000, 1000);
    many.fill(1_000_000, 1000);
    let name = |n: &str| format!("{n} keys in Redis at first, 256 clients");
    let contestants = vec![
        load(name("1,000"), bench.watch(&few), staged(&few, Shape::One, 256)),
        load(name("1,000,000"), bench.watch(&many), staged(&many, Shape::One, 256)),
    ];
    to_json(&measure(bench, pace, "Cached keys", contestants))
}

fn measure(bench: &Bench, pace: Pace, group: &str, all: Vec<Contestant>) -> Vec<Summary> {
    let summaries = interleave(group, all, pace, || bench.cluster.tidy());
    report::print_group(&summaries);
    summaries
}

fn to_json(summaries: &[Summary]) -> Value {
    let value = |s: &Summary| json!({ "name": s.name, "writes_per_second": s.rate, "p50_us": s.p50, "p99_us": s.p99 });
    summaries.iter().map(value).collect()
}

/// Many waiting writes: the memory of each, what plain commands notice of them, how they drain.
fn queue(bench: &Bench) -> Value {
    let set = |n: usize| {
        format!("HSET __{{users:{}}} first_name Ann last_name Lee logins {n} balance 2.25 date_of_birth 1990-05-17", n + 1)
    };
    // One client can only wait for many writes by a command that names many keys.
    let delete = |n: usize| {
        let keys = (0..100).map(|k| format!("__{{users:{}}}", 10_000_000 + 100 * n + k));
        format!("UNLINK {}", keys.collect::<Vec<_>>().join(" "))
    };
    json!([
        waiting(bench, "8,000 clients, a write each", 8000, 1, set),
        waiting(bench, "1,000 clients, 100 writes each", 1000, 100, delete),
    ])
}

fn waiting(
    bench: &Bench,
    what: &str,
    clients: usize,
    writes_each: usize,
    command: impl Fn(usize) -> String,
) -> Value {
    let writes = clients * writes_each;
    let node = Node::with_module(bench.cluster.port, &["TIMEOUT-MS", "60000"]);
    let mut control = node.conn();
    control.run(&format!("CONFIG SET maxclients {}", clients + 1000));
    let pace = Pace {
        rounds: 1,
        warm: Duration::from_millis(100),
        time: Duration::from_millis(700),
        pgbench_seconds: 1,
    };
    let plain = |name: &str| {
        let made = others(&node, 64);
        let one = vec![load(name.into(), bench.watch(&node), made)];
        interleave("Queue", one, pace, || {}).remove(0).rate
    };
    let number = |control: &mut Conn, section: &str, field: &str| -> usize {
        let info = control.run(&format!("INFO {section}")).text();
        let line = info.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
        line.and_then(|n| n.trim().parse().ok()).unwrap_or_default()
    };
    let mut conns: Vec<_> = (0..clients).map(|_| node.conn()).collect();
    conns.iter_mut().for_each(|conn| drop(conn.run("PING")));
    let before = number(&mut control, "memory", "used_memory");
    let alone = plain("plain commands, nothing waits");
    let lock = bench.cluster.lock_users();
    conns.iter_mut().enumerate().for_each(|(n, conn)| conn.send_line(&command(n)));
    eventually("all wait", || {
        number(&mut control, "writethrough", "writethrough_in_flight") == writes
    });
    let each = (number(&mut control, "memory", "used_memory") - before) / writes;
    let ratio = plain("plain commands, while they wait") / alone;
    let began = std::time::Instant::now();
    drop(lock);
    let replies = conns.iter_mut().map(|conn| conn.receive());
    let failed: Vec<String> = replies.filter(|r| r.is_error()).map(|r| r.text()).collect();
    let drained = began.elapsed().as_secs_f64();
    println!(
        "\nQueue: {what}: {each} bytes a write; plain commands at {ratio:.2} of their speed; \
         drained in {drained:.2} s, {} failed {:?}",
        failed.len(),
        failed.first()
    );
    json!({ "writes": writes, "clients": clients, "bytes_each": each, "plain_ratio": ratio,
            "drained_in_seconds": drained, "failed": failed.len() })
}
