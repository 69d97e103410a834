//! How the code of docs/clients.md that has to be compiled is run.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::clients::{is_installed, output};
use crate::readme::read;

#[allow(dead_code)] // its `main`
#[path = "../../examples/clients/once.rs"]
mod once;

/// The code is a part of the example.
pub fn in_rust(code: &str, url: &str) -> String {
    let example = "examples/clients/once.rs";
    assert!(read(example).contains(code), "{example} doesn't hold the page's code:\n{code}");
    let mut out = Vec::new();
    once::run(url, &mut out).unwrap_or_else(|error| panic!("{error}"));
    String::from_utf8(out).expect("text")
}

/// No client library is needed: the code is given a connection of the test's own, in another file.
pub fn in_go(code: &str, url: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "page.go", &format!("package main\n\n{code}"));
    write(folder.path(), "send.go", &read("tests/it/clients_send.go"));
    let mut go = go();
    go.args(["run", "page.go", "send.go", address(url)]).current_dir(folder.path());
    output(&mut go)
}

pub fn in_java(code: &str, url: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "Once.java", code);
    write(folder.path(), "ClientsSend.java", &read("tests/it/ClientsSend.java"));
    let mut compiler = Command::new("javac");
    compiler.args(["-encoding", "UTF-8", "Once.java", "ClientsSend.java"]);
    assert_eq!(output(compiler.current_dir(folder.path())), "");
    let mut java = Command::new("java");
    java.args(["-cp", ".", "ClientsSend", address(url)]);
    output(java.current_dir(folder.path()))
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("a file");
}

fn address(url: &str) -> &str {
    url.strip_prefix("redis://").expect("a URL")
}

/// What it compiles is kept between runs, and nothing is downloaded.
fn go() -> Command {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut go = Command::new("go");
    go.env("GOCACHE", kept.join("go-build")).env("GOPATH", kept.join("go"));
    go.env("GOTOOLCHAIN", "local").env("GOPROXY", "off");
    go
}

pub fn go_is_installed() -> bool {
    let mut probe = go();
    probe.arg("version");
    is_installed("golang-go", probe)
}

pub fn java_is_installed() -> bool {
    let mut probe = Command::new("javac");
    probe.arg("-version");
    is_installed("default-jdk-headless", probe)
}
