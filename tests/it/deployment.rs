//! docs/deployment.md and the files that it gives people: systemd's own checker takes the drop-in.
//! `sentinel`, `cluster_of_six` and `kubernetes` run the others.

use std::path::Path;
use std::process::Command;

use crate::readme::read;

/// An example's lines for redis.conf, but for those that name a place: the test has its own.
pub fn settings(example: &str) -> Vec<String> {
    let text = read(example);
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let is_ours =
        |line: &&str| !["port", "loadmodule", "dir"].contains(&line.split(' ').next().unwrap());
    lines.filter(is_ours).map(str::to_owned).collect()
}

/// What systemd-analyze says of Debian's unit with the drop-in, and its status.
fn systemd_analyze(dir: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).arg("redis-server.service");
    command.env("SYSTEMD_UNIT_PATH", format!("{}:/lib/systemd/system", dir.display()));
    let output = command.output().expect("systemd-analyze");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// `10`: an exposure of 1.0.
fn exposure(dir: &Path) -> String {
    let (_, said) = systemd_analyze(dir, &["security", "--offline=true", "--no-pager"]);
    let last = said.lines().rev().find(|line| line.contains("Overall exposure level"));
    let words = last.unwrap_or_else(|| panic!("no exposure in {said}")).split(": ");
    words.last().expect("split gives one at least").split(' ').next().expect("a number").to_owned()
}

#[test]
fn systemd_takes_the_drop_in() {
    let unit = Path::new("/lib/systemd/system/redis-server.service");
    let has_systemd = Command::new("systemd-analyze").arg("--version").output().is_ok();
    if !has_systemd || !unit.exists() {
        eprintln!("skipped: no systemd-analyze, or no unit of Debian's redis-server");
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::copy(unit, dir.path().join("redis-server.service")).expect("the unit");
    let before = exposure(dir.path());
    let drop_ins = dir.path().join("redis-server.service.d");
    std::fs::create_dir(&drop_ins).expect("a folder");
    let text = read("examples/systemd/writethrough.conf");
    // What is commented out is taken, too.
    for text in [text.clone(), text.replace("\n#IP", "\nIP")] {
        std::fs::write(drop_ins.join("writethrough.conf"), &text).expect("the drop-in");
        let verify = ["verify", "--man=no", "--recursive-errors=no"];
        assert_eq!(systemd_analyze(dir.path(), &verify), (true, String::new()));
        let now = exposure(dir.path());
        let number = |text: &str| text.parse::<f64>().expect("a number");
        assert!(number(&now) <= number(&before), "exposure {now}, without the drop-in {before}");
    }
    // The checker does look at it.
    std::fs::write(drop_ins.join("wrong.conf"), "[Service]\nRestartSek=1\n").expect("a file");
    assert!(systemd_analyze(dir.path(), &["verify", "--man=no"]).1.contains("RestartSek"));
}
