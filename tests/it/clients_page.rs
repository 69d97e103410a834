//! The code in docs/clients.md: what says what it prints is run, and prints that; all else is marked
//! as not run.

use std::process::Command;

use crate::clients::{
    current_python, node, node_is_installed, output, python, python_is_installed,
};
use crate::clients::{shop, url};
use crate::clients_compiled::{go_is_installed, in_go, in_java, in_rust, java_is_installed};
use crate::readme::{blocks, fits, read, Block};
use crate::support::*;

const PAGE: &str = "docs/clients.md";
/// Stands before a block, in the page's prose.
const NOT_RUN: &str = "*not run by tests*";
/// Stands before what a line prints, at its end.
const PRINTS: &str = "prints: ";

/// Runs code over the server with this URL, and returns what it printed.
pub type Run = fn(code: &str, url: &str) -> String;

/// A block of code that runs.
#[derive(Debug)]
pub struct Code {
    heading: &'static str,
    language: &'static str,
    /// The commands that the page tells its reader to type before.
    before: &'static [&'static str],
    /// What the shop has afterwards.
    stock: &'static str,
}

const fn over_an_empty_shop(
    heading: &'static str,
    language: &'static str,
    stock: &'static str,
) -> Code {
    Code { heading, language, before: &[], stock }
}

const PYTHON: Code = over_an_empty_shop("### redis-py", "python", "lamp 3");
const ASYNCIO: Code = over_an_empty_shop("### redis-py asyncio", "python", "lamp 4");
const NODE: Code = over_an_empty_shop("### node-redis", "js", "lamp 3");

/// One of "Transactions, and sending again".
const fn in_boxes(heading: &'static str, language: &'static str) -> Code {
    let before = &[
        "HSET __{products:lamp} title Lamp price 20 stock 5",
        "HSET __{products:boxed} title Box price 22 stock 0",
    ];
    Code { heading, language, before, stock: "boxed 1, lamp 3" }
}

pub const PYTHON_BOXES: Code = in_boxes("### Python", "python");
pub const ASYNCIO_BOXES: Code = in_boxes("### Python, asyncio", "python");
pub const NODE_BOXES: Code = in_boxes("### Node.js", "js");
pub const RUST_BOXES: Code = in_boxes("### Rust", "rust");
pub const GO_BOXES: Code = in_boxes("### Go", "go");
pub const JAVA_BOXES: Code = in_boxes("### Java", "java");

/// All of them: a test below runs each.
const ALL: [Code; 9] = [
    PYTHON,
    ASYNCIO,
    NODE,
    PYTHON_BOXES,
    ASYNCIO_BOXES,
    NODE_BOXES,
    RUST_BOXES,
    GO_BOXES,
    JAVA_BOXES,
];

impl Code {
    fn is(&self, block: &Block) -> bool {
        self.heading == block.heading && self.language == block.language && is_run(block)
    }

    /// Types what comes before it.
    pub fn prepare(&self, stack: &Stack) {
        for line in self.before {
            assert!(read(PAGE).contains(&format!("`{line}`")), "{PAGE} doesn't say: {line}");
            assert!(!stack.run(line).is_error(), "{line}");
        }
    }

    /// Runs it over these servers: it prints what it says, and the shop has in stock what it should.
    pub fn prints_what_it_says(&self, run: Run, stack: &Stack) {
        let mut found = blocks(&read(PAGE)).into_iter().filter(|block| self.is(block));
        let (block, None) = (found.next().expect("its block"), found.next()) else {
            panic!("{PAGE}: several blocks that run: {self:?}");
        };
        let said: Vec<_> = block.lines.iter().filter_map(|line| line.split_once(PRINTS)).collect();
        let printed = run(&block.lines.join("\n"), &url(stack));
        let lines: Vec<_> = printed.lines().collect();
        assert_eq!(lines.len(), said.len(), "{PAGE}:{}:\n{printed}", block.line);
        for ((_, said), line) in said.into_iter().zip(lines) {
            assert!(fits(said, line), "{PAGE}:{}: {said}\nprints: {line}", block.line);
        }
        let stock =
            "select string_agg(concat(sku, ' ', stock), ', ' order by sku) from shop.products";
        assert_eq!(stack.one(stock), self.stock, "{self:?}");
    }
}

/// Over an own shop, and without MULTI: in it the server itself would wait.
fn prints_what_it_says(code: Code, run: Run) {
    let stack = shop().start();
    code.prepare(&stack);
    code.prints_what_it_says(run, &stack);
    assert!(!stack.info_of("commandstats").contains_key("cmdstat_multi"), "{code:?}");
}

fn interpreted(mut interpreter: Command, flag: &str, code: &str, url: &str) -> String {
    let code = code.replace("redis://127.0.0.1:6379", url);
    output(interpreter.arg(flag).arg(code))
}

pub fn in_python(code: &str, url: &str) -> String {
    interpreted(python(), "-c", code, url)
}

pub fn in_current_python(code: &str, url: &str) -> String {
    let python = Command::new(current_python().expect("asked before"));
    interpreted(python, "-c", code, url)
}

pub fn in_node(code: &str, url: &str) -> String {
    interpreted(node(), "-e", code, url)
}

fn is_run(block: &Block) -> bool {
    block.lines.iter().any(|line| line.contains(PRINTS))
}

#[test]
fn the_python_code_runs_with_debians_redis_py() {
    if python_is_installed() {
        prints_what_it_says(PYTHON, in_python);
        prints_what_it_says(PYTHON_BOXES, in_python);
        prints_what_it_says(ASYNCIO_BOXES, in_python);
    }
}

#[test]
fn the_python_code_runs_with_the_current_redis_py() {
    if current_python().is_some() {
        prints_what_it_says(PYTHON, in_current_python);
        prints_what_it_says(ASYNCIO, in_current_python);
        prints_what_it_says(PYTHON_BOXES, in_current_python);
        prints_what_it_says(ASYNCIO_BOXES, in_current_python);
    }
}

#[test]
fn the_node_code_runs() {
    if node_is_installed() {
        prints_what_it_says(NODE, in_node);
        prints_what_it_says(NODE_BOXES, in_node);
    }
}

#[test]
fn the_rust_code_runs() {
    prints_what_it_says(RUST_BOXES, in_rust);
}

#[test]
fn the_go_code_runs() {
    if go_is_installed() {
        prints_what_it_says(GO_BOXES, in_go);
    }
}

#[test]
fn the_java_code_runs() {
    if java_is_installed() {
        prints_what_it_says(JAVA_BOXES, in_java);
    }
}

#[test]
fn code_that_is_not_run_says_so() {
    let text = read(PAGE);
    let lines: Vec<&str> = text.lines().collect();
    for block in blocks(&text).iter().filter(|block| block.language != "text") {
        let before = &lines[..block.line - 1];
        let heading = before.iter().rposition(|line| *line == block.heading).expect("a heading");
        let before = before[heading..].join(" ").to_lowercase();
        let is_marked = before.contains(NOT_RUN) || before.contains("*not run by tests.*");
        let is_run = is_run(block);
        assert!(is_run != is_marked, "{PAGE}:{}: either it prints, or it isn't run", block.line);
        let tests = ALL.iter().filter(|code| code.is(block)).count();
        assert_eq!(tests, usize::from(is_run), "{PAGE}:{}: tests that run it", block.line);
    }
}
