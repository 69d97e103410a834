//! The programs in `examples/clients/`: each sells five lamps to ten buyers.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread;

use crate::readme::{read, repository};
use crate::support::*;

#[allow(dead_code)] // its `main`
#[path = "../../examples/clients/client.rs"]
mod rust;

const OUTPUT: &str = "\
new fields: 3
the row: Lamp 20.00 5
refused: 23514 products_price_check
sold: 5 of 10, left: 0
";

/// Runs a client's program with the server's URL and returns what it printed.
type Client = fn(&str) -> String;

fn in_rust(url: &str) -> String {
    let mut out = Vec::new();
    rust::run(url, &mut out).unwrap_or_else(|error| panic!("{error}"));
    String::from_utf8(out).expect("text")
}

fn in_python(url: &str) -> String {
    output(python().arg(repository("examples/clients/client.py")).arg(url))
}

fn in_node(url: &str) -> String {
    output(node().arg(repository("examples/clients/client.js")).arg(url))
}

pub fn output(command: &mut Command) -> String {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

/// Debian's interpreter first: it has the library that `scripts/deps` installs.
fn program(name: &str) -> Command {
    let debian = format!("/usr/bin/{name}");
    let name = if Path::new(&debian).exists() { &debian } else { name };
    Command::new(name)
}

pub fn python() -> Command {
    program("python3")
}

/// pip's current redis-py. `None`, with a line that says so, where pip can't have it.
pub fn current_python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    PYTHON.get_or_init(|| environment("redis-py", "redis", "redis.asyncio")).as_deref()
}

/// pip's current Redis OM. `None`, with a line that says so, where pip can't have it.
pub fn redis_om() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    PYTHON.get_or_init(|| environment("redis-om", "redis-om", "redis_om")).as_deref()
}

/// The interpreter of an environment with this package, made once and kept between runs.
pub fn environment(name: &str, package: &str, module: &str) -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let python = venv.join("bin/python");
    let quiet = |command: &mut Command| {
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let has_it = || quiet(Command::new(&python).args(["-c", &format!("import {module}")]));
    let is_made = has_it()
        || quiet(Command::new("python3").args(["-m", "venv"]).arg(&venv))
            && quiet(Command::new(&python).args(["-m", "pip", "install", package]))
            && has_it();
    if !is_made {
        let line = format!("skipped: pip can't install the current {name}\n");
        io::stderr().write_all(line.as_bytes()).expect("stderr");
    }
    is_made.then_some(python)
}

fn current(program: &str, url: &str) -> String {
    let python = current_python().expect("asked before");
    output(Command::new(python).arg(repository(program)).arg(url))
}

fn in_current_python(url: &str) -> String {
    current("examples/clients/client.py", url)
}

fn in_asyncio(url: &str) -> String {
    current("examples/clients/client_asyncio.py", url)
}

/// With the folder where Debian's packages are: a `node` of another source doesn't look there.
pub fn node() -> Command {
    let mut node = program("node");
    node.env("NODE_PATH", "/usr/share/nodejs");
    node
}

/// False, with a line that says so, where a package is not installed.
pub fn is_installed(package: &str, mut probe: Command) -> bool {
    let status = probe.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_there = status.is_ok_and(|status| status.success());
    if !is_there {
        // Past the test runner, which would keep it to itself.
        let line = format!("skipped: {package} is not installed\n");
        io::stderr().write_all(line.as_bytes()).expect("stderr");
    }
    is_there
}

pub fn python_is_installed() -> bool {
    let mut probe = python();
    probe.args(["-c", "import redis"]);
    is_installed("python3-redis, which scripts/deps installs,", probe)
}

pub fn node_is_installed() -> bool {
    let mut probe = node();
    probe.args(["-e", "require('redis')"]);
    is_installed("node-redis, which scripts/deps installs,", probe)
}

pub fn shop() -> Builder {
    let document: serde_json::Value =
        serde_json::from_str(&read("examples/shop.json")).expect("a document");
    let mappings = document["mappings"].as_array().expect("a list").clone();
    mappings.into_iter().fold(Stack::new(), Builder::mapping).sql(&read("examples/shop.sql"))
}

pub fn url(stack: &Stack) -> String {
    format!("redis://127.0.0.1:{}", stack.redis.port())
}

fn sells_what_is_there(client: Client) {
    let stack = shop().start();
    assert_eq!(client(&url(&stack)), OUTPUT);
    assert_eq!(stack.one("select stock from shop.products"), "0");
    assert_eq!(stack.keys(), ["products:lamp"]);
}

/// A database that is away, and then a row that is locked for longer than a client waits: the
/// program goes on when it can, and has sold no lamp twice.
fn sends_again(client: Client) {
    let server = Arc::new(PostgresServer::start_new());
    let stack = shop().told_soon_of_outages().postgres(&server).start();
    server.stop_fast();
    thread::scope(|scope| {
        let url = url(&stack);
        let program = scope.spawn(move || client(&url));
        eventually("a write is answered with WTDOWN", || {
            stack.info_int("writes_refused_down") > 0 || program.is_finished()
        });
        server.start_again();
        assert_eq!(program.join().expect("the program"), OUTPUT);
    });

    stack.execute("update shop.products set stock = 0");
    let row = stack.database.hold("select from shop.products for update");
    stack.set("timeout-ms", 1000);
    thread::scope(|scope| {
        let url = url(&stack);
        let program = scope.spawn(move || client(&url));
        let before = stack.info_int("writes_timed_out");
        eventually("a write is answered with WTTIMEOUT", || {
            stack.info_int("writes_timed_out") > before || program.is_finished()
        });
        stack.set("timeout-ms", 600_000);
        row.commit();
        let printed = program.join().expect("the program");
        assert_eq!(printed.replace("fields: 0", "fields: 3"), OUTPUT);
    });
    assert_eq!(stack.one("select stock from shop.products"), "0");
}

#[test]
fn the_rust_client_sells_what_is_there() {
    sells_what_is_there(in_rust);
}

#[test]
fn the_rust_client_sends_again() {
    sends_again(in_rust);
}

#[test]
fn the_python_client_sells_what_is_there() {
    if python_is_installed() {
        sells_what_is_there(in_python);
    }
}

#[test]
fn the_python_client_sends_again() {
    if python_is_installed() {
        sends_again(in_python);
    }
}

#[test]
fn the_node_client_sells_what_is_there() {
    if node_is_installed() {
        sells_what_is_there(in_node);
    }
}

#[test]
fn the_node_client_sends_again() {
    if node_is_installed() {
        sends_again(in_node);
    }
}

#[test]
fn the_current_python_client_sells_what_is_there() {
    if current_python().is_some() {
        sells_what_is_there(in_current_python);
        sells_what_is_there(in_asyncio);
    }
}

#[test]
fn the_current_python_client_sends_again() {
    if current_python().is_some() {
        sends_again(in_current_python);
    }
}

#[test]
fn the_asyncio_client_sends_again() {
    if current_python().is_some() {
        sends_again(in_asyncio);
    }
}
