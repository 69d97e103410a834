//! A redis-server of our own, with the module or without, and its cache filled.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::{json, Value};

use crate::cluster::Cluster;
use crate::shapes::{Commands, Shape, IDS};
use crate::support::find;
use crate::support::redis_server::{quoted, RedisServer};
use crate::support::resp::Conn;

pub struct Node {
    pub port: u16,
    pub pid: u32,
    pub version: String,
    pub has_module: bool,
    // Dropped, it ends.
    _server: RedisServer,
}

impl Node {
    /// With the module on the database at `postgres_port`, and these load arguments.
    pub fn with_module(postgres_port: u16, args: &[&str]) -> Node {
        Node::with(&find::module(), postgres_port, args)
    }

    /// With these mappings only.
    pub fn mapped(postgres_port: u16, mappings: &[Value]) -> Node {
        Node::loaded(&find::module(), postgres_port, mappings, &[])
    }

    /// With these mappings, following what others write.
    pub fn following(postgres_port: u16, mappings: &[Value]) -> Node {
        let args = ["FOLLOW", "true"];
        Node::empty(&[Node::line(&find::module(), postgres_port, mappings, &args)])
    }

    /// With the users, whose plain keys are written through.
    pub fn through(postgres_port: u16) -> Node {
        let mapping = json!({ "table": "users", "plain_writes": "through" });
        let node = Node::empty(&[Node::line(&find::module(), postgres_port, &[mapping], &[])]);
        let loaded = node.conn().run("WT.LOAD users");
        assert!(!loaded.is_error(), "{loaded:?}");
        node
    }

    /// With an append-only file that is written each second: the users are written behind, the people through.
    pub fn behind(postgres_port: u16) -> Node {
        let mappings =
            [json!({ "table": "users", "write": "behind" }), json!({ "table": "people" })];
        let args = ["BEHIND-MAX", "100000000"];
        let line = Node::line(&find::module(), postgres_port, &mappings, &args);
        let node = Node::empty(&[line, "appendonly yes".into(), "appendfsync everysec".into()]);
        for table in ["users", "people"] {
            let loaded = node.conn().run(&format!("WT.LOAD {table}"));
            assert!(!loaded.is_error(), "{loaded:?}");
        }
        node
    }

    /// With this build of the module.
    pub fn with(module: &Path, postgres_port: u16, args: &[&str]) -> Node {
        let mappings = ["users", "wide", "docs"].map(|table| json!({ "table": table }));
        Node::loaded(module, postgres_port, &mappings, args)
    }

    fn loaded(module: &Path, postgres_port: u16, mappings: &[Value], args: &[&str]) -> Node {
        Node::start(&[Node::line(module, postgres_port, mappings, args)])
    }

    /// The line of redis.conf.
    fn line(module: &Path, postgres_port: u16, mappings: &[Value], args: &[&str]) -> String {
        let url = Cluster::url(postgres_port, "disable");
        let document = json!({ "url": url, "mappings": mappings });
        let module = module.display().to_string();
        let words = [&module, "JSON", &document.to_string()].map(quoted).join(" ");
        format!("loadmodule {words} {}", args.join(" "))
    }

    pub fn without_module() -> Node {
        Node::start(&[])
    }

    fn start(conf: &[String]) -> Node {
        let node = Node::empty(conf);
        node.fill(IDS, 1000);
        node
    }

    /// With these mappings and nothing cached, run by another program.
    pub fn under(program: &[String], postgres_port: u16, mappings: &[Value]) -> Node {
        // Slow as it is, it is given time.
        let patient = ["CONNECT-TIMEOUT-MS", "60000", "TIMEOUT-MS", "120000"];
        let line = Node::line(&find::module(), postgres_port, mappings, &patient);
        // The server's own cron runs by the clock, and so more often for each write of a slow server.
        Node::running(program, &[line, "hz 1".into(), "dynamic-hz no".into()])
    }

    fn empty(conf: &[String]) -> Node {
        Node::running(&[], conf)
    }

    fn running(program: &[String], conf: &[String]) -> Node {
        let server = RedisServer::start_under(program, conf, &[]);
        let server = server.unwrap_or_else(|log| panic!("{log}"));
        let info = server.connect().run("INFO server").text();
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim().to_string())
        };
        Node {
            port: server.port(),
            pid: field("process_id:").and_then(|p| p.parse().ok()).expect("a pid"),
            has_module: !conf.is_empty(),
            version: field("redis_version:").unwrap_or_default(),
            _server: server,
        }
    }

    pub fn conn(&self) -> Conn {
        Conn::open(self.port).expect("redis-server")
    }

    /// Every row is cached, by plain HSETs, so many in a pipeline.
    pub fn fill(&self, ids: u64, pipeline: u64) {
        self.pipeline(&mut Commands::new(Shape::Whole, false), ids, pipeline);
    }

    /// So many writes of one row after the other, some in a pipeline.
    pub fn pipeline(&self, commands: &mut Commands, count: u64, pipeline: u64) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("redis-server");
        let (mut out, mut chunk) = (Vec::new(), vec![0; 65536]);
        for first in (1..=count).step_by(pipeline as usize) {
            out.clear();
            let last = count.min(first + pipeline - 1);
            (first..=last).for_each(|n| commands.write(0, 1 + (n - 1) % IDS, n, &mut out));
            stream.write_all(&out).expect("redis-server");
            let mut left = last + 1 - first;
            while left > 0 {
                let n = stream.read(&mut chunk).expect("redis-server");
                left -= chunk[..n].iter().filter(|&&b| b == b'\n').count() as u64;
            }
        }
    }

    /// The script that runs HSET: there the server can't block a client, and waits itself.
    pub fn load_script(&self) -> String {
        let script = "return redis.call('HSET', KEYS[1], unpack(ARGV))";
        self.conn().cmd(&["SCRIPT", "LOAD", script]).text()
    }
}
