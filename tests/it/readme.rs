//! What README.md and `examples/` promise, typed into a real redis-cli and psql.
//!
//! A `console` block is a session: a line after `127.0.0.1:6379>` goes to redis-cli, one after
//! `example=>` to psql, and what follows is the answer, to the letter. Each `##` section begins
//! with an empty Redis and an empty table of users; what a block leaves, the next one in the
//! section finds.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::*;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    let path = repository(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[derive(Clone, Copy, PartialEq)]
enum Tool {
    RedisCli,
    Psql,
}

/// Commands that go to one process, and what it has to answer.
struct Step {
    line: usize,
    tool: Tool,
    commands: Vec<String>,
    expected: Vec<String>,
}

/// A fenced block: where it begins, its language, its lines without their indentation, and the
/// number of the `##` section it is in.
struct Block {
    line: usize,
    section: usize,
    language: String,
    lines: Vec<String>,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open: Option<usize> = None; // the fence's indentation
    let mut section = 0;
    for (number, line) in text.lines().enumerate() {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        match (open, content.strip_prefix("```")) {
            (Some(_), Some(_)) => open = None,
            (Some(fence), None) => {
                let lines = &mut blocks.last_mut().expect("an open block").lines;
                lines.push(line[indent.min(fence)..].to_owned());
            }
            (None, Some(language)) => {
                open = Some(indent);
                let language = language.trim().to_owned();
                blocks.push(Block {
                    line: number + 1,
                    section,
                    language,
                    lines: Vec::new(),
                });
            }
            (None, None) => section += usize::from(line.starts_with("## ")),
        }
    }
    blocks
}

fn steps(block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (number, line) in block.lines.iter().enumerate() {
        let typed = ["127.0.0.1:6379> ", "127.0.0.1:6379(TX)> "]
            .iter()
            .find_map(|prompt| Some((Tool::RedisCli, line.strip_prefix(prompt)?)))
            .or_else(|| Some((Tool::Psql, line.strip_prefix("example=> ")?)));
        let line_number = block.line + 1 + number;
        match (typed, steps.last_mut()) {
            // One redis-cli for a run of commands: MULTI and AUTH need their connection.
            (Some((Tool::RedisCli, command)), Some(step)) if step.tool == Tool::RedisCli => {
                step.commands.push(command.into());
            }
            (Some((tool, command)), _) => steps.push(Step {
                line: line_number,
                tool,
                commands: vec![command.into()],
                expected: Vec::new(),
            }),
            (None, Some(step)) => step.expected.push(line.clone()),
            (None, None) => panic!("README.md:{line_number}: a console block begins with a prompt"),
        }
    }
    steps
}

/// Without what an editor or a slow machine changes: blanks at the end of a line, empty lines
/// around, and redis-cli's `(0.51s)` after an answer that took long.
fn normal<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let took = |line: &str| {
        let number = line
            .strip_prefix('(')
            .and_then(|line| line.strip_suffix("s)"));
        number.is_some_and(|number| number.parse::<f64>().is_ok())
    };
    let lines: Vec<&str> = lines
        .map(str::trim_end)
        .filter(|line| !took(line))
        .collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

fn answer(stack: &Stack, step: &Step) -> String {
    let port = match step.tool {
        Tool::RedisCli => stack.redis.port(),
        Tool::Psql => stack.database.server().port(),
    };
    let (host, port) = ("127.0.0.1", port.to_string());
    let mut command = match step.tool {
        Tool::RedisCli => Command::new("redis-cli"),
        Tool::Psql => Command::new("psql"),
    };
    match step.tool {
        Tool::RedisCli => command.args(["-h", host, "-p", &port, "--no-raw"]),
        Tool::Psql => command.args([
            "-X",
            "-h",
            host,
            "-p",
            &port,
            "-U",
            "postgres",
            stack.database.name(),
        ]),
    };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut typed = step.commands.join("\n");
    typed.push('\n');
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(typed.as_bytes())
        .expect("stdin");
    let output = child.wait_with_output().expect("the answer");
    normal(String::from_utf8_lossy(&output.stdout).lines())
}

#[test]
fn the_readme_answers_as_it_shows() {
    let blocks = blocks(&read("README.md"));
    let console: Vec<&Block> = blocks.iter().filter(|b| b.language == "console").collect();
    let sections = console.chunk_by(|a, b| a.section == b.section);
    let mut wrong = Vec::new();
    let mut compared = 0;
    for section in sections {
        let stack = Stack::users().start();
        for step in section.iter().flat_map(|block| steps(block)) {
            let expected = normal(step.expected.iter().map(String::as_str));
            let got = answer(&stack, &step);
            compared += 1;
            if got != expected {
                let typed = step.commands.join("\n");
                let line = step.line;
                wrong.push(format!(
                    "README.md:{line}:\n{typed}\n--- shows\n{expected}\n--- is\n{got}\n"
                ));
            }
        }
    }
    assert!(compared > 5, "the README has no console blocks any more?");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_readme_links_to_what_exists() {
    let text = read("README.md");
    let anchor = |title: &str| -> String {
        let kept = title.to_lowercase().replace(' ', "-");
        kept.chars()
            .filter(|c| c.is_alphanumeric() || *c == '-')
            .collect()
    };
    let anchors: Vec<String> = text
        .lines()
        .filter_map(|line| Some(anchor(line.strip_prefix("## ")?)))
        .collect();
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    for target in targets.filter(|target| !target.contains("://")) {
        match target.strip_prefix('#') {
            Some(name) => assert!(anchors.iter().any(|a| a == name), "no section {target}"),
            None => assert!(repository(target).exists(), "no file {target}"),
        }
    }
}

/// A stack with the table of an example, and the module loaded with its document as it is.
fn example(name: &str) -> Stack {
    let stack = Stack::new()
        .sql(&read(&format!("examples/{name}.sql")))
        .without_module()
        .start();
    let document = repository(&format!("examples/{name}.json"))
        .display()
        .to_string();
    assert_eq!(
        stack.load_with(&["CONFIG", &document, "URL", &stack.database.url()]),
        ok()
    );
    stack
}

#[test]
fn the_example_of_users_works() {
    let stack = example("users");
    stack.add_user(1);
    stack.assert_user_cached(1);
}

#[test]
fn the_example_of_a_shop_works() {
    let stack = example("shop");
    assert_eq!(
        stack.run("HSET __{products:AB-12} title Lamp price 19.999"),
        int(2)
    );
    let lamp = [
        ("sku", "AB-12"),
        ("title", "Lamp"),
        ("price", "20.00"),
        ("stock", "0"),
        ("tags", "{}"),
    ];
    assert_eq!(stack.hgetall("products:AB-12"), hash(&lamp));

    assert_eq!(stack.run("HSET __{line:7:1} sku AB-12 quantity 2"), int(2));
    let line = stack.row("select * from shop.order_lines");
    assert_eq!(line, stack.hgetall("line:7:1"));
    assert_eq!(
        (&*line["order_id"], &*line["line_no"], &*line["quantity"]),
        ("7", "1", "2")
    );

    assert_eq!(
        stack.run("HSET __{session:5f0c} user 1 last_page /cart"),
        int(2)
    );
    assert_eq!(
        stack.one("select user_id from shop.sessions where token = '5f0c'"),
        "1"
    );
    assert_eq!(stack.run("HGET session:5f0c last_page"), bulk("/cart"));
    assert!(
        (1..=1800).contains(&stack.run("TTL session:5f0c").int()),
        "half an hour to live"
    );
}
