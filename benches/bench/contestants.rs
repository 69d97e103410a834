//! Who runs against whom.

use std::path::PathBuf;

use crate::cpu::Watch;
use crate::drive::{Call, Load, Step, Wire};
use crate::node::Node;
use crate::pgbench;
use crate::pgwire;
use crate::rounds::Contestant;
use crate::shapes::{self, number, Commands, Shape, IDS};

/// A load on this machine's servers.
pub fn load<'a>(name: String, watch: Watch, mut load: Load) -> Contestant<'a> {
    Contestant { name, run: Box::new(move |pace| load.run(pace.warm, pace.time, &watch)) }
}

/// Writes of this shape through the module.
pub fn staged(node: &Node, shape: Shape, clients: usize) -> Load {
    written(node, shape, true, clients)
}

/// The same by the staged key or the plain one.
pub fn written(node: &Node, shape: Shape, staged: bool, clients: usize) -> Load {
    commands(node, Commands::new(shape, staged), clients)
}

/// One connection that writes so many whole rows by each WT.BATCH.
pub fn batch_command(node: &Node, rows: u64) -> Load {
    let mut made = Commands::new(Shape::Whole, true);
    let request = Box::new(move |call: &Call, out: &mut Vec<u8>| made.batch(rows, call.n, out));
    Load { clients: 1, steps: vec![redis(node)], rows, request }
}

/// Writes that these make, one after the other.
pub fn commands(node: &Node, mut commands: Commands, clients: usize) -> Load {
    Load {
        clients,
        steps: vec![redis(node)],
        rows: 1,
        request: Box::new(move |call, out| commands.write(call.client, call.id, call.n, out)),
    }
}

/// Plain HSETs of whole rows.
pub fn plain(node: &Node, clients: usize) -> Load {
    commands(node, Commands::new(Shape::Whole, false), clients)
}

/// The same writes in a script, where the server itself waits for the database.
pub fn blocking(node: &Node, clients: usize) -> Load {
    let mut made = Commands::new(Shape::Whole, true);
    made.script = Some(node.load_script());
    commands(node, made, clients)
}

/// HGET and HSET of plain keys in turn: what clients pay who don't use the module.
pub fn others(node: &Node, clients: usize) -> Load {
    let mut commands = Commands::new(Shape::Whole, false);
    Load {
        clients,
        steps: vec![redis(node)],
        rows: 1,
        request: Box::new(move |call, out| match call.n % 2 {
            0 => commands.write(call.client, call.id, call.n, out),
            _ => {
                let mut key = Vec::with_capacity(16);
                key.extend_from_slice(b"users:");
                number(call.id, &mut key);
                out.extend_from_slice(b"*3\r\n$4\r\nHGET\r\n$");
                number(key.len() as u64, out);
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(&key);
                out.extend_from_slice(b"\r\n$5\r\nemail\r\n");
            }
        }),
    }
}

/// An application's upsert, each client on a connection of its own.
pub fn direct(port: u16, clients: usize) -> Load {
    Load {
        clients,
        steps: vec![postgres(port, shapes::UPSERT)],
        rows: 1,
        request: Box::new(|call, out| upsert(call.id, call.n, out)),
    }
}

/// An application's upsert and then its HSET: two connections a client.
pub fn dual(node: &Node, port: u16, clients: usize) -> Load {
    let mut commands = Commands::new(Shape::Whole, false);
    Load {
        clients,
        steps: vec![postgres(port, shapes::UPSERT), redis(node)],
        rows: 1,
        request: Box::new(move |call, out| match call.step {
            0 => upsert(call.id, call.n, out),
            _ => commands.write(call.client, call.id, call.n, out),
        }),
    }
}

/// Many rows in one statement, on as many connections as the pool has: PostgreSQL's ceiling.
pub fn batches(port: u16, connections: usize, rows: u64) -> Load {
    let mut cell = Vec::new();
    Load {
        clients: connections,
        steps: vec![postgres(port, shapes::UNNEST)],
        rows,
        request: Box::new(move |call, out| {
            // Each connection has rows of its own, sorted, spread over the table.
            let (clients, stride) = (connections as u64, IDS / rows);
            let id = |row: u64| {
                let spread = row * stride + (call.n ^ row) % stride;
                spread / clients * clients + call.client as u64 % clients + 1
            };
            pgwire::execute(out, 9, |p, out| {
                out.push(b'{');
                for row in 0..rows {
                    if row > 0 {
                        out.push(b',');
                    }
                    cell.clear();
                    match p {
                        0 => number(id(row), &mut cell),
                        _ => shapes::value(p as usize - 1, id(row), call.n + row, &mut cell),
                    }
                    out.extend_from_slice(&cell);
                }
                out.push(b'}');
            });
        }),
    }
}

/// pgbench with this many connections.
pub fn bench<'a>(name: String, script: PathBuf, port: u16, connections: usize) -> Contestant<'a> {
    Contestant {
        name,
        run: Box::new(move |pace| pgbench::run(&script, port, connections, pace.pgbench_seconds)),
    }
}

fn upsert(id: u64, n: u64, out: &mut Vec<u8>) {
    pgwire::execute(out, 9, |p, out| match p {
        0 => number(id, out),
        _ => shapes::value(p as usize - 1, id, n, out),
    });
}

/// A request to the server.
pub fn redis(node: &Node) -> Step {
    Step { port: node.port, wire: Wire::Redis }
}

/// One of this prepared statement.
pub fn postgres(port: u16, sql: &'static str) -> Step {
    Step { port, wire: Wire::Postgres(sql) }
}
