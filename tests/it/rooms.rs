//! The folders of `src/`: what each may know, and how long a file may be.

use std::path::{Path, PathBuf};

use crate::readme::repository;

/// From the bottom to the top: a room knows those before it, and itself.
const ROOMS: &[&str] = &[
    "config",
    "model",
    "command",
    "plan",
    "sql",
    "engine",
    "pg/error",
    "pg/connect",
    "pg/catalog",
    "pg/journal",
    "pg/statement",
    "pg",
    "host/ffi",
    "host/module",
    "host/write",
    "host/read",
    "host/cache",
    "host/operator",
    "host",
];

/// The server enters the module by name, so the border names who answers it.
const ENTRY: (&str, &str) = ("host/ffi/entry.rs", "host::Server");

/// Lines of a file, at most.
const LINES: usize = 300;

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => files(&path, found),
            false if path.extension().is_some_and(|end| end == "rs") => found.push(path),
            false => {}
        }
    }
}

/// Each file of `src/` by its path in there, and its text.
fn sources() -> Vec<(String, String)> {
    let src = repository("src");
    let mut found = Vec::new();
    files(&src, &mut found);
    let name = |path: &PathBuf| path.strip_prefix(&src).expect("in src").display().to_string();
    found.iter().map(|path| (name(path), std::fs::read_to_string(path).expect("a text"))).collect()
}

/// The room of a path, `pg/connect/pool` or `pg::connect::pool`: the longest that it begins with.
fn room(path: &str) -> Option<usize> {
    let path = path.replace("::", "/");
    let is_in = |room: &&&str| path.strip_prefix(**room).is_some_and(|rest| rest.starts_with('/'));
    let longest = ROOMS.iter().filter(is_in).max_by_key(|room| room.len())?;
    ROOMS.iter().position(|room| room == longest)
}

#[test]
fn knowledge_runs_downwards() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let Some(own) = room(&file) else { continue };
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for path in line.split("crate::").skip(1) {
                let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
                let end = path.find(|c| !is_path(c)).unwrap_or(path.len());
                let known = room(&format!("{}::", path[..end].trim_end_matches(':')));
                if known.is_some_and(|known| known > own) && (&*file, &path[..end]) != ENTRY {
                    wrong.push(format!("{file}: {}", &path[..end]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "these know a room above their own:\n{}", wrong.join("\n"));
}

#[test]
fn no_file_is_long() {
    let long = sources().into_iter().map(|(file, text)| (text.lines().count(), file));
    let long: Vec<_> = long.filter(|(lines, _)| *lines > LINES).collect();
    assert!(long.is_empty(), "more than {LINES} lines: {long:?}");
}

#[test]
fn unsafe_is_in_one_room_only() {
    let unsafe_code = "unsafe";
    let elsewhere = sources().into_iter().filter(|(file, text)| {
        let mut code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        !file.starts_with("host/ffi/") && code.any(|line| line.split(' ').any(|w| w == unsafe_code))
    });
    let elsewhere: Vec<String> = elsewhere.map(|(file, _)| file).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}
