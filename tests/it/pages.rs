//! README.md and `docs/`: every link leads somewhere, every file, `make` target, option and log
//! line that they name exists, and what they say to type is a shell's language. (What their
//! `console` blocks show, `readme` types.)

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::readme::{blocks, pages, read, repository};

/// A page without its fenced blocks.
fn prose(text: &str) -> String {
    let mut is_open = false;
    let outside = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_open ^= is_fence;
        !is_open && !is_fence
    });
    outside.collect::<Vec<_>>().join("\n")
}

/// The `code spans` of a page's prose.
fn spans(text: &str) -> Vec<String> {
    prose(text).split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")).collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let anchor = |title: &str| -> String {
        let kept = title.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
    };
    let text = prose(text);
    let titles = text.lines().filter_map(|line| Some(line.strip_prefix('#')?.split_once(' ')?.1));
    titles.map(anchor).collect()
}

/// What each page says that isn't so, over all pages.
fn assert_nothing_wrong(check: impl Fn(&str, &str, &mut Vec<String>)) {
    let mut wrong = Vec::new();
    for page in pages() {
        check(&page, &read(&page), &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_link_leads_somewhere() {
    assert_nothing_wrong(|page, text, wrong| {
        let folder = Path::new(page).parent().expect("a folder");
        let text = prose(text);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => PathBuf::from(page),
                file => folder.join(file),
            };
            let file = file.display().to_string();
            if !repository(&file).exists() {
                wrong.push(format!("{page}: no file {target}"));
            } else if !anchor.is_empty() && !anchors(&read(&file)).iter().any(|a| a == anchor) {
                wrong.push(format!("{page}: no section {target}"));
            }
        }
    });
}

#[test]
fn every_page_can_be_reached_from_the_readme() {
    let readme = read("README.md");
    for page in pages().iter().filter(|page| *page != "README.md") {
        assert!(readme.contains(&format!("]({page}")), "README.md doesn't link to {page}");
    }
}

/// What a person would type: the code spans, and the lines of the `sh` blocks.
fn typed(text: &str) -> Vec<String> {
    let blocks = blocks(text).into_iter().filter(|block| block.language == "sh");
    let lines = blocks.flat_map(|block| block.lines);
    lines.chain(spans(text)).collect()
}

#[test]
fn every_file_that_is_named_exists() {
    let folders = ["src", "tests", "examples", "docs", "docker", "scripts", "benches", ".ci"];
    assert_nothing_wrong(|page, text, wrong| {
        let text = typed(text);
        let words = text.iter().flat_map(|typed| typed.split_whitespace());
        for word in words {
            let path = word.trim_matches(|c: char| "\"'(),:;".contains(c)).trim_end_matches('/');
            let is_ours = path.split_once('/').is_some_and(|(folder, _)| folders.contains(&folder));
            // A pattern names no single file.
            if is_ours && !path.contains(['*', '<', '…']) && !repository(path).exists() {
                wrong.push(format!("{page}: no file {path}"));
            }
        }
    });
}

#[test]
fn every_source_file_in_the_picture_exists() {
    let picture = read("docs/architecture.svg");
    let words = picture.split(|c: char| c.is_whitespace() || "<>".contains(c));
    let files: Vec<&str> = words.filter(|word| word.ends_with(".rs")).collect();
    assert!(files.len() > 12, "{files:?}");
    for file in files {
        assert!(repository(&format!("src/{file}")).exists(), "docs/architecture.svg: {file}");
    }
}

/// Debian's systemd unit lets redis-server map code from a few folders only; the package knows one.
/// An image has no such unit, and a path of its own.
#[test]
fn the_module_is_where_the_package_puts_it() {
    let place = "/usr/lib/redis/modules/libwritethrough.so";
    assert!(read("packaging/redis.conf").contains(&format!("\nloadmodule {place} ")));
    assert!(read("scripts/dist").contains("/usr/lib/redis/modules"));
    assert_nothing_wrong(|page, text, wrong| {
        let words = text.split(|c: char| c.is_whitespace() || c == '`');
        let paths = words.filter(|w| w.starts_with('/') && w.ends_with("libwritethrough.so"));
        for path in paths.filter(|path| *path != place && page != "docs/containers.md") {
            wrong.push(format!("{page}: {path} is not {place}"));
        }
    });
}

/// The folder's name would be the project's, and so that of the volumes.
#[test]
fn the_compose_project_has_a_name_of_its_own() {
    let settings = read("docker/.env");
    let settings: Vec<_> = settings.lines().filter_map(|line| line.split_once('=')).collect();
    assert!(settings.contains(&("COMPOSE_PROJECT_NAME", "writethrough")), "{settings:?}");
    // What the file says where .env is not read.
    let compose = read("docker/compose.yaml");
    for (name, value) in settings.iter().filter(|(name, _)| name.ends_with("_PORT")) {
        assert!(compose.contains(&format!("${{{name}:-{value}}}")), "{name} is not {value} there");
    }
    let link =
        "<http://localhost:8080/?pgsql=postgres&username=app&db=example&ns=public&select=users>";
    for page in ["README.md", "docs/containers.md", "docs/tutorial.md"] {
        assert!(read(page).contains(link), "{page} lacks the link to the table");
        let password = read("docker/password.txt");
        assert!(read(page).contains(&format!("`{}`", password.trim())), "{page}: the password");
    }
}

#[test]
fn every_make_target_exists() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0))
        .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        .collect();
    assert!(targets.contains("test"), "{targets:?}");
    assert_nothing_wrong(|page, text, wrong| {
        for line in typed(text) {
            let command = line.split('#').next().unwrap_or_default().replace("sudo ", "");
            let words: Vec<&str> = command.split_whitespace().collect();
            let arguments = words.iter().skip_while(|word| **word != "make").skip(1);
            let names = arguments.filter(|word| !word.contains('=') && !word.starts_with('…'));
            if let Some(name) = names.take(1).find(|name| !targets.contains(*name)) {
                wrong.push(format!("{page}: no target: make {name}"));
            }
        }
    });
}

#[test]
fn every_sh_block_is_a_shells_language() {
    assert_nothing_wrong(|page, text, wrong| {
        for block in blocks(text).iter().filter(|block| block.language == "sh") {
            let script = block.lines.join("\n");
            let read = Command::new("bash").args(["-n", "-c", &script]).output().expect("bash");
            if !read.status.success() {
                let error = String::from_utf8_lossy(&read.stderr).into_owned();
                wrong.push(format!("{page}:{}: {error}", block.line));
            }
        }
    });
}

/// The `code` that begins each row of the tables in a page's section.
fn first_cells(text: &str, section: &str) -> BTreeSet<String> {
    let text = text.split_once(&format!("\n## {section}\n")).expect(section).1;
    let text = text.split("\n## ").next().expect("split gives one at least");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(cell, _)| cell.to_owned()).collect()
}

#[test]
fn the_page_of_options_has_every_key_of_the_document_and_its_default() {
    let schema: Value =
        serde_json::from_str(&read("examples/writethrough.schema.json")).expect("JSON");
    let keys = |place: &str| schema.pointer(place).and_then(Value::as_object).expect("an object");
    let options = keys("/properties");
    let of_mappings = keys("/properties/mappings/items/properties");
    let all = options.keys().chain(of_mappings.keys()).filter(|key| *key != "$schema");
    let page = read("docs/options.md");
    assert_eq!(first_cells(&page, "Configuration"), all.cloned().collect());
    for (key, option) in options.iter().filter(|(_, option)| option["default"].is_number()) {
        let row = format!("| `{key}` | {} |", option["default"]);
        assert!(page.contains(&row), "docs/options.md: {row}");
    }
}

/// All of `src/`, with the line breaks in its string literals undone.
fn source(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            text += &source(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &std::fs::read_to_string(&path).expect("a file");
        }
    }
    text
}

#[test]
fn every_log_line_and_error_on_the_pages_is_in_the_source() {
    let source = source(&repository("src"));
    let mut joined = String::new();
    let mut pieces = source.split("\\\n");
    joined += pieces.next().expect("split gives one at least");
    pieces.for_each(|piece| joined += piece.trim_start());
    for (page, section) in [
        ("docs/operations.md", "Errors"),
        ("docs/existing-programs.md", "Errors"),
        ("docs/monitoring.md", "The log"),
    ] {
        let lines = first_cells(&read(page), section);
        assert!(lines.len() > 3, "{page}: {section}: {lines:?}");
        for line in lines {
            // A code is its own word; of a longer text every piece between `…` is looked for.
            for piece in line.split('…').map(str::trim).filter(|piece| !piece.is_empty()) {
                assert!(joined.contains(piece), "{page}: {section}: {piece:?}");
            }
        }
    }
}
