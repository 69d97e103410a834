//! Reads: of rows that are cached, and of rows that are not, beside what an application does itself.

use crate::cluster::Cluster;
use crate::contestants::{postgres, redis};
use crate::drive::Load;
use crate::groups::Bench;
use crate::node::Node;
use crate::pgwire;
use crate::rounds::{Contestant, Pace, Summary};
use crate::shapes::{self, number, IDS};

/// Rows of the table that is read.
pub const ROWS: u64 = 1_000_000;

/// What an application prepares to read a row.
const SELECT: &str = "select * from items where id = $1";

impl Bench {
    /// Hits, and misses.
    pub fn reads(&self, pace: Pace) -> Vec<Summary> {
        let mut summaries = self.hits(pace);
        summaries.extend(self.misses(pace));
        summaries
    }

    fn hits(&self, pace: Pace) -> Vec<Summary> {
        let group = "HGET of cached rows";
        if !self.wants(group) {
            return Vec::new();
        }
        let without = Node::reading(&self.cluster, "users", false);
        let with = Node::reading(&self.cluster, "users", true);
        let mut contestants = Vec::new();
        for clients in [1, 64] {
            for (what, node) in [("", &without), (", read_through", &with)] {
                let name = format!("hits{what}, {clients} clients");
                let load = hget(node, b"users:", b"email", IDS, clients);
                contestants.push(self.on(node, name, load));
            }
        }
        // A few per cent are asked for, so it takes more rounds.
        self.run(group, contestants, Pace { rounds: pace.rounds * 2, ..pace })
    }

    fn misses(&self, pace: Pace) -> Vec<Summary> {
        let group = "HGET of rows that are not cached";
        if !self.wants(group) {
            return Vec::new();
        }
        self.cluster.fill_items(ROWS);
        let through = Node::reading(&self.cluster, "items", true);
        let aside = Node::without_module();
        let mut contestants = Vec::new();
        for clients in [1, 64] {
            let load = hget(&through, b"items:", b"email", ROWS, clients);
            let name = format!("read-through, {clients} clients");
            contestants.push(emptied(&through, self.on(&through, name, load)));
            let load = cache_aside(&aside, self.cluster.port, clients);
            let name = format!("cache-aside, {clients} clients");
            contestants.push(emptied(&aside, self.on(&aside, name, load)));
        }
        self.run(group, contestants, pace)
    }

    fn on<'a>(&self, node: &Node, name: String, load: Load) -> Contestant<'a> {
        crate::contestants::load(name, self.watch(node), load)
    }
}

/// With an empty cache at the start of each round.
fn emptied<'a>(node: &'a Node, mut contestant: Contestant<'a>) -> Contestant<'a> {
    let run = move |pace| {
        node.conn().run("FLUSHALL");
        (contestant.run)(pace)
    };
    Contestant { name: contestant.name, run: Box::new(run) }
}

pub fn key(prefix: &[u8], id: u64) -> Vec<u8> {
    let mut key = prefix.to_vec();
    number(id, &mut key);
    key
}

fn word(out: &mut Vec<u8>, word: &[u8]) {
    out.push(b'$');
    number(word.len() as u64, out);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(word);
    out.extend_from_slice(b"\r\n");
}

/// Appends an HGET.
pub fn read(out: &mut Vec<u8>, key: &[u8], field: &[u8]) {
    out.extend_from_slice(b"*3\r\n");
    [b"HGET", key, field].into_iter().for_each(|text| word(out, text));
}

/// One field of a random row.
fn hget(
    node: &Node,
    prefix: &'static [u8],
    field: &'static [u8],
    rows: u64,
    clients: usize,
) -> Load {
    Load {
        clients,
        steps: vec![redis(node)],
        rows: 1,
        request: Box::new(move |call, out| read(out, &key(prefix, 1 + call.n % rows), field)),
    }
}

/// What an application does: it looks into the cache, reads the row, and fills the cache.
fn cache_aside(node: &Node, port: u16, clients: usize) -> Load {
    Load {
        clients,
        steps: vec![redis(node), postgres(port, SELECT), redis(node)],
        rows: 1,
        request: Box::new(move |call, out| {
            let id = 1 + call.n % ROWS;
            let key = key(b"items:", id);
            match call.step {
                0 => read(out, &key, b"email"),
                1 => pgwire::execute(out, 1, |_, out| number(id, out)),
                _ => {
                    out.extend_from_slice(b"*18\r\n");
                    word(out, b"HSET");
                    word(out, &key);
                    let mut value = Vec::new();
                    for (column, name) in shapes::COLUMNS.iter().enumerate() {
                        word(out, name.as_bytes());
                        value.clear();
                        shapes::value(column, id, call.n, &mut value);
                        word(out, &value);
                    }
                }
            }
        }),
    }
}

impl Node {
    /// With the module, and this table mapped only.
    fn reading(cluster: &Cluster, table: &str, read_through: bool) -> Node {
        let mapping = serde_json::json!({ "table": table, "read_through": read_through });
        Node::mapped(cluster.port, &[mapping])
    }
}
