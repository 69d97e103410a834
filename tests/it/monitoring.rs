//! The way to Prometheus: the exporter's script, the alerts, and a real run that is watched.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;

use crate::support::*;

pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/prometheus").join(name)
}

pub fn text(name: &str) -> String {
    std::fs::read_to_string(example(name)).expect("an example")
}

/// INFO's numbers, as the script is to show them.
pub fn numbers(s: &Stack) -> Hash {
    let mut info = s.info();
    info.remove("writethrough_last_error");
    let database = info.remove("writethrough_database").expect("the database");
    info.insert("writethrough_up".into(), i32::from(database == "up").to_string());
    info.retain(|_, value| value.parse::<f64>().is_ok());
    info
}

#[test]
fn the_script_shows_every_number_of_info() {
    let s = Stack::users().start();
    s.add_user(1);
    s.run("HSET __{users:1} dob soon").assert_error("WTERR ");
    // The module itself may use a connection in between.
    let shown = eventually_some("the script and INFO agree", || {
        let reply = s.cmd(&["EVAL", &text("writethrough.lua"), "0", "0"]);
        let pairs = reply.array().chunks(2).map(|pair| (pair[0].text(), pair[1].text()));
        Some(pairs.collect::<Hash>()).filter(|shown| *shown == numbers(&s))
    });
    assert_eq!(shown["writethrough_refused_class_22"], "1");
    assert!(shown.len() > 30, "{shown:?}");
}

#[test]
fn the_script_shows_nothing_without_the_module() {
    let s = Stack::users().without_module().start();
    assert_eq!(s.cmd(&["EVAL", &text("writethrough.lua"), "0", "0"]), Reply::Array(vec![]));
}

/// Names after `writethrough_` in a text.
pub fn named(text: &str) -> BTreeSet<String> {
    let names = text.split("writethrough_").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        format!("writethrough_{}", &rest[..end])
    });
    names.collect()
}

#[test]
fn the_alerts_ask_for_fields_that_there_are() {
    let s = Stack::users().start();
    let known = numbers(&s);
    let alerts = text("alerts.yml");
    let expressions = alerts.lines().filter(|line| line.contains("redis_script_values"));
    let asked: BTreeSet<String> = expressions.flat_map(named).collect();
    assert!(asked.len() >= 8, "{asked:?}");
    for name in asked.iter().filter(|name| *name != "writethrough_refused_class_") {
        assert!(known.contains_key(name), "{name} is no field of INFO");
    }
}

/// The page lists what there is, and nothing else.
#[test]
fn the_page_lists_every_field_event_and_alert() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/monitoring.md");
    let page = std::fs::read_to_string(page).expect("docs/monitoring.md");
    let s = Stack::users().start();
    for field in s.info().keys() {
        let name = field.strip_prefix("writethrough_").expect("the prefix");
        let is_there = page.contains(&format!("`{name}`"));
        assert!(is_there, "docs/monitoring.md says nothing of {name}");
    }
    for alert in text("alerts.yml").lines().filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        assert!(page.contains(&format!("`{alert}`")), "docs/monitoring.md says nothing of {alert}");
    }
    for event in ["writethrough-commit", "writethrough-sync", "writethrough-merge"] {
        assert!(page.contains(&format!("`{event}`")), "docs/monitoring.md says nothing of {event}");
    }
}

/// The body of a page.
pub fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| body.to_owned())
}

pub fn start(argv: &[String]) -> Supervisor {
    let supervisor = Supervisor::new(server_dir("wt-monitoring-", None), "KILL", None, argv);
    supervisor.start();
    supervisor
}

/// The exporter beside a redis-server, and its port.
pub fn exporter(s: &Stack) -> (Supervisor, u16) {
    let port = free_port();
    let argv = [
        monitoring_program("prometheus-redis-exporter").display().to_string(),
        format!("-web.listen-address=127.0.0.1:{port}"),
        format!("-redis.addr=redis://127.0.0.1:{}", s.redis.port()),
        format!("-script={}", example("writethrough.lua").display()),
    ];
    (start(&argv), port)
}

/// A Prometheus that scrapes that exporter five times a second, and its port.
pub fn prometheus(s: &Stack, exporter_port: u16) -> (Supervisor, u16) {
    let config = text("prometheus.yml")
        .replace(": 15s", ": 200ms")
        .replace("alerts.yml", &example("alerts.yml").display().to_string())
        .replace("127.0.0.1:9121", &format!("127.0.0.1:{exporter_port}"));
    let (config, data, port) = (s.file("prometheus.yml", &config), s.file("none", ""), free_port());
    let argv = [
        monitoring_program("prometheus").display().to_string(),
        format!("--config.file={config}"),
        format!("--storage.tsdb.path={data}.data"),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ];
    (start(&argv), port)
}

#[test]
#[ignore = "needs prometheus-redis-exporter: make test-monitoring"]
fn the_exporter_shows_a_real_run() {
    let s = Stack::users().start();
    (1..=5).for_each(|id| s.add_user(id));
    s.run("HSET __{users:1} dob soon").assert_error("WTERR ");
    let (_exporter, port) = exporter(&s);
    let number = |line: &str| {
        let rest = line.strip_prefix("redis_script_values{key=\"")?;
        let (key, value) = rest.split_once("\"} ")?;
        let number: f64 = value.parse().expect("a number");
        Some((key.to_owned(), number.to_string()))
    };
    let shown = eventually_some("the exporter and INFO agree", || {
        let page = get(port, "/metrics")?;
        let shown: Hash = page.lines().filter_map(number).collect();
        Some(shown).filter(|shown| *shown == numbers(&s))
    });
    assert_eq!(shown["writethrough_writes_acknowledged"], "5");
    assert_eq!(shown["writethrough_refused_class_22"], "1");
    assert_eq!(shown["writethrough_up"], "1");
}

#[test]
#[ignore = "needs promtool: make test-monitoring"]
fn promtool_agrees_with_the_alerts() {
    for arguments in [
        ["check", "rules", "alerts.yml"],
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let mut promtool = Command::new(monitoring_program("promtool"));
        let output = promtool.args(arguments).current_dir(example("")).output().expect("promtool");
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "promtool {arguments:?}: {said}");
    }
    // Each alert is shown to fire, and not to.
    let (alerts, tests) = (text("alerts.yml"), text("alerts_test.yml"));
    for alert in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let evaluations = tests.matches(&format!("alertname: {alert}\n")).count();
        assert_eq!(evaluations, 2, "{alert}");
    }
}

#[test]
#[ignore = "needs prometheus and prometheus-redis-exporter: make test-monitoring"]
fn prometheus_raises_the_alarm_when_the_database_is_away() {
    let server = Arc::new(PostgresServer::start_new());
    let s = Stack::users().told_soon_of_outages().postgres(&server).start();
    s.add_user(1);
    let (_exporter, exporter_port) = exporter(&s);
    let (_prometheus, port) = prometheus(&s, exporter_port);
    let ask = |path: &str| -> Option<Value> { serde_json::from_str(&get(port, path)?).ok() };
    let query = "/api/v1/query?query=redis_script_values%7Bkey%3D%22writethrough_up%22%7D";
    let value = |answer: &Value| {
        answer.pointer("/data/result/0/value/1").and_then(Value::as_str).map(str::to_owned)
    };
    eventually("Prometheus has scraped", || {
        ask(query).is_some_and(|answer| value(&answer).as_deref() == Some("1"))
    });
    server.stop_fast();
    assert!(s.run_late("HSET __{users:1} username b").is_error());
    let alert = eventually_some("the alert is raised", || {
        let answer = ask("/api/v1/alerts")?;
        answer.pointer("/data/alerts/0").cloned()
    });
    assert_eq!(alert["labels"]["alertname"], "WritethroughDatabaseDown", "{alert}");
    assert_eq!(alert["labels"]["severity"], "critical", "{alert}");
}
