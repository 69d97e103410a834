//! What README.md, `docs/` and `examples/` promise, typed into a real redis-cli and psql.
//!
//! A `console` block is a session: a line after `127.0.0.1:6379>` goes to redis-cli, one after
//! `example=>` to psql, and what follows is the answer, to the letter; `…` in it stands for any
//! text. Each `##` section begins with an empty Redis and the table of users, mapped and empty.
//! A section's `sql` blocks make more tables first, and a `json` block with one mapping adds it;
//! one with a whole document replaces all mappings and sets
//! its options. What a block leaves, the next one in the
//! section finds.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::*;

pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// README.md, the other pages beside it, and those in `docs/`.
pub fn pages() -> Vec<String> {
    let docs = std::fs::read_dir(repository("docs")).into_iter().flatten();
    let names = docs.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    let mut pages: Vec<String> =
        names.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}")).collect();
    pages.extend(["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(String::from));
    pages.sort();
    pages
}

pub fn read(path: &str) -> String {
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

/// A fenced block: where it begins, its language, its lines without their indentation, the heading
/// that it stands under, and the number of the `##` section it is in.
pub struct Block {
    pub line: usize,
    section: usize,
    pub heading: String,
    pub language: String,
    pub lines: Vec<String>,
}

pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open: Option<usize> = None; // the fence's indentation
    let (mut section, mut heading) = (0, "");
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
                blocks.push(Block {
                    line: number + 1,
                    section,
                    heading: heading.to_owned(),
                    language: language.trim().to_owned(),
                    lines: Vec::new(),
                });
            }
            (None, None) if line.starts_with('#') => {
                section += usize::from(line.starts_with("## "));
                heading = line;
            }
            (None, None) => {}
        }
    }
    blocks
}

fn steps(block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (number, line) in block.lines.iter().enumerate() {
        let typed = ["127.0.0.1:6379> ", "127.0.0.1:6379(TX)> ", "127.0.0.1:6379[1]> "]
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
            (None, None) => panic!("line {line_number}: a console block begins with a prompt"),
        }
    }
    steps
}

/// Without what an editor or a slow machine changes: blanks at the end of a line, empty lines
/// around, and redis-cli's `(0.51s)` after an answer that took long.
fn normal<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let took = |line: &str| {
        let number = line.strip_prefix('(').and_then(|line| line.strip_suffix("s)"));
        number.is_some_and(|number| number.parse::<f64>().is_ok())
    };
    let lines: Vec<&str> = lines.map(str::trim_end).filter(|line| !took(line)).collect();
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
        Tool::Psql => {
            command.args(["-X", "-h", host, "-p", &port, "-U", "postgres", stack.database.name()])
        }
    };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut typed = step.commands.join("\n");
    typed.push('\n');
    child.stdin.take().expect("a pipe").write_all(typed.as_bytes()).expect("stdin");
    let output = child.wait_with_output().expect("the answer");
    normal(String::from_utf8_lossy(&output.stdout).lines())
}

/// True when `got` is `shown`, in which each `…` stands for any text.
pub fn fits(shown: &str, got: &str) -> bool {
    let Some((first, rest)) = shown.split_once('…') else { return shown == got };
    let Some(mut got) = got.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = rest.split('…').collect();
    let last = pieces.pop().expect("split gives one at least");
    for piece in pieces {
        match got.split_once(piece) {
            Some((_, after)) => got = after,
            None => return false,
        }
    }
    got.ends_with(last)
}

/// The servers of a section, with the tables and mappings that it shows.
fn stack(section: &[Block]) -> Stack {
    let in_language = |language| section.iter().filter(move |b| b.language == language);
    let mut mappings = vec![users_mapping()];
    let mut options: Vec<(String, Value)> = Vec::new();
    for block in in_language("json") {
        let json: Value = serde_json::from_str(&block.lines.join("\n"))
            .unwrap_or_else(|e| panic!("the block at line {}: {e}", block.line));
        match json.get("mappings") {
            Some(all) => {
                mappings = all.as_array().expect("a list").clone();
                let others = json.as_object().expect("an object").iter();
                options.extend(
                    others
                        .filter(|(name, _)| !["url", "mappings"].contains(&name.as_str()))
                        .map(|(name, value)| (name.clone(), value.clone())),
                );
            }
            None => mappings.push(json),
        }
    }
    let stack = Stack::new().sql(USERS_SQL);
    let stack = in_language("sql").fold(stack, |stack, block| stack.sql(&block.lines.join("\n")));
    let stack = options.into_iter().fold(stack, |stack, (name, value)| stack.option(&name, value));
    let preloaded = mappings.iter().filter(|mapping| mapping.get("preload").is_some());
    let preloaded: Vec<Value> = preloaded.map(|mapping| mapping["table"].clone()).collect();
    let s = mappings.into_iter().fold(stack, |stack, mapping| stack.mapping(mapping)).start();
    // A reader types later than that.
    for name in preloaded {
        s.wait_for_log(&format!("the rows of {name} are loaded: "));
    }
    s
}

#[test]
fn the_pages_answer_as_they_show() {
    let mut wrong = Vec::new();
    for page in pages() {
        let blocks = blocks(&read(&page));
        let mut compared = 0;
        for section in blocks.chunk_by(|a, b| a.section == b.section) {
            let console = section.iter().filter(|b| b.language == "console");
            let steps: Vec<Step> = console.flat_map(steps).collect();
            if steps.is_empty() {
                continue;
            }
            let stack = stack(section);
            for step in steps {
                let shown = normal(step.expected.iter().map(String::as_str));
                let got = answer(&stack, &step);
                compared += 1;
                if !fits(&shown, &got) {
                    let (line, typed) = (step.line, step.commands.join("\n"));
                    wrong.push(format!(
                        "{page}:{line}:\n{typed}\n--- shows\n{shown}\n--- is\n{got}\n"
                    ));
                }
            }
        }
        assert!(page != "README.md" || compared > 2, "no console blocks any more?");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A stack with the table of an example, and the module loaded with its document as it is.
fn example(name: &str) -> Stack {
    let stack = Stack::new().sql(&read(&format!("examples/{name}.sql"))).without_module().start();
    let document = repository(&format!("examples/{name}.json")).display().to_string();
    let url = stack.database.url();
    // The defaults are for a machine that has time for its database.
    let times = ["TIMEOUT-MS", "600000", "CONNECT-TIMEOUT-MS", "20000"];
    assert_eq!(stack.load_with(&[&["CONFIG", &document, "URL", &url], &times[..]].concat()), ok());
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
    assert_eq!(stack.run("HSET __{products:AB-12} title Lamp price 19.999"), int(2));
    let lamp =
        [("sku", "AB-12"), ("title", "Lamp"), ("price", "20.00"), ("stock", "0"), ("tags", "{}")];
    assert_eq!(stack.hgetall("products:AB-12"), hash(&lamp));

    assert_eq!(stack.run("HSET __{line:7:1} sku AB-12 quantity 2"), int(2));
    let line = stack.row("select * from shop.order_lines");
    assert_eq!(line, stack.hgetall("line:7:1"));
    assert_eq!((&*line["order_id"], &*line["line_no"], &*line["quantity"]), ("7", "1", "2"));

    assert_eq!(stack.run("HSET __{session:5f0c} user 1 last_page /cart"), int(2));
    assert_eq!(stack.one("select user_id from shop.sessions where token = '5f0c'"), "1");
    assert_eq!(stack.run("HGET session:5f0c last_page"), bulk("/cart"));
    assert!((1..=1800).contains(&stack.run("TTL session:5f0c").int()), "half an hour to live");
}
