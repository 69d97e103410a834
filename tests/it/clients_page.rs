//! The code in docs/clients.md: what is in Python or Node.js runs, and prints what its comment says;
//! all else is marked as not run.

use std::process::Command;

use crate::clients::{
    current_python, node, node_is_installed, output, python, python_is_installed,
};
use crate::clients::{shop, url};
use crate::readme::{blocks, read, Block};

const PAGE: &str = "docs/clients.md";
/// Stands before a block, in the page's prose.
const NOT_RUN: &str = "*not run by tests*";
/// Stands at the end of the line that prints.
const PRINTS: &str = "prints: ";

/// A block prints what it says, over any of these interpreters, and sends no MULTI.
fn runs(language: &str, pick: impl Fn(&str) -> bool, interpreter: impl Fn() -> Command) {
    let mut ran = 0;
    for block in in_language(language) {
        let code = block.lines.join("\n");
        if !pick(&code) {
            continue;
        }
        let (_, expected) = code.split_once(PRINTS).unwrap_or_else(|| panic!("{PAGE}: {code}"));
        let expected = expected.lines().next().expect("a line");
        let stack = shop().start();
        let code = code.replace("redis://127.0.0.1:6379", &url(&stack));
        let flag = if language == "python" { "-c" } else { "-e" };
        let printed = output(interpreter().arg(flag).arg(&code));
        assert_eq!(printed.trim(), expected, "{PAGE}:{}", block.line);
        assert_eq!(stack.one("select stock from shop.products"), expected[..1]);
        assert!(!stack.info_of("commandstats").contains_key("cmdstat_multi"), "{code}");
        ran += 1;
    }
    assert_eq!(ran, 1, "{PAGE}: blocks in {language} that run");
}

fn in_language(language: &str) -> impl Iterator<Item = Block> + '_ {
    blocks(&read(PAGE)).into_iter().filter(move |block| block.language == language)
}

fn is_asyncio(code: &str) -> bool {
    code.contains("asyncio")
}

fn is_run(code: &str) -> bool {
    code.contains(PRINTS)
}

#[test]
fn the_python_code_runs_with_debians_redis_py() {
    if python_is_installed() {
        runs("python", |code| !is_asyncio(code), python);
    }
}

#[test]
fn the_python_code_runs_with_the_current_redis_py() {
    if let Some(python) = current_python() {
        runs("python", |code| !is_asyncio(code), || Command::new(python));
        runs("python", is_asyncio, || Command::new(python));
    }
}

#[test]
fn the_node_code_runs() {
    if node_is_installed() {
        runs("js", is_run, node);
    }
}

#[test]
fn code_that_is_not_run_says_so() {
    let text = read(PAGE);
    let lines: Vec<&str> = text.lines().collect();
    for block in blocks(&text).iter().filter(|block| block.language != "text") {
        let before = &lines[..block.line - 1];
        let heading = before.iter().rposition(|line| line.starts_with('#')).expect("a heading");
        let before = before[heading..].join(" ").to_lowercase();
        let is_marked = before.contains(NOT_RUN) || before.contains("*not run by tests.*");
        let is_run = is_run(&block.lines.join("\n"));
        assert!(is_run != is_marked, "{PAGE}:{}: either it prints, or it isn't run", block.line);
    }
}
