//! `pgbench -M prepared` with the single-row upsert: what PostgreSQL alone gives.

use std::path::Path;
use std::process::Command;

use crate::drive::Run;
use crate::shapes::{self, COLUMNS, IDS};
use crate::support::find;

/// The script's file and the variables for [`run`].
pub fn script(dir: &Path) -> std::path::PathBuf {
    // As $1 … $9 in the prepared statement: every value is a parameter.
    let names = std::iter::once("id").chain(COLUMNS).enumerate();
    let sql = names.fold(shapes::UPSERT.to_string(), |sql, (n, name)| {
        sql.replace(&format!("${}", n + 1), &format!(":{name}"))
    });
    let file = dir.join("upsert.sql");
    let text = format!("\\set id random(1, {IDS})\n\\set logins random(1, 1000000000)\n{sql};\n");
    std::fs::write(&file, text).expect("a file");
    file
}

/// Runs pgbench for some whole seconds.
pub fn run(script: &Path, port: u16, connections: usize, seconds: u64) -> Run {
    let mut command = Command::new(find::postgres_program("pgbench"));
    // It would take TLS where there is some.
    command.env("PGSSLMODE", "disable");
    command.args(["-h", "127.0.0.1", "-U", "postgres", "-n", "-M", "prepared"]);
    command.args(["-p", &port.to_string(), "-T", &seconds.to_string()]);
    command.args(["-c", &connections.to_string(), "-j", "1"]);
    for (c, name) in COLUMNS.iter().enumerate().filter(|(c, _)| *c != 6) {
        let mut value = Vec::new();
        shapes::value(c, 12_345, 67_890, &mut value);
        let value = String::from_utf8(value).expect("ASCII");
        command.args(["-D", &format!("{name}={value}")]);
    }
    let output =
        command.arg("-f").arg(script).arg("postgres").output().expect("pgbench can't be run");
    let text = String::from_utf8_lossy(&output.stdout);
    let number = |name: &str| -> Option<f64> {
        let rest = text.lines().find_map(|line| line.trim().strip_prefix(name))?;
        rest.split_whitespace().next()?.parse().ok()
    };
    let rate = number("tps = ")
        .unwrap_or_else(|| panic!("pgbench: {text}\n{}", String::from_utf8_lossy(&output.stderr)));
    Run {
        rate,
        // It prints the mean, and a distribution only at a cost.
        p50: number("latency average = ").unwrap_or_default() * 1000.0,
        ..Run::default()
    }
}
