//! examples/grafana: each field that a panel asks for exists, and each of its queries has an answer in
//! a real Prometheus. Grafana itself isn't in Debian: nothing here draws a panel.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::monitoring::{exporter, get, named, numbers, prometheus};
use crate::readme::read;
use crate::support::*;

fn dashboard() -> Value {
    serde_json::from_str(&read("examples/grafana/writethrough.json")).expect("JSON")
}

/// A panel's title, and a query of it.
fn queries() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let panels = dashboard["panels"].as_array().expect("panels");
    let of_panel = |panel: &Value| {
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        let title = text(&panel["title"]);
        targets.into_iter().map(move |target| (title.clone(), text(&target["expr"])))
    };
    panels.iter().flat_map(of_panel).collect()
}

#[test]
fn the_panels_ask_for_fields_that_there_are() {
    let s = Stack::users().start();
    let known = numbers(&s);
    let asked: BTreeSet<String> = queries().iter().flat_map(|(_, query)| named(query)).collect();
    assert!(asked.len() > 30, "{asked:?}");
    for name in asked.iter().filter(|name| *name != "writethrough_refused_class_") {
        assert!(known.contains_key(name), "{name} is no field of INFO");
    }
}

#[test]
fn the_panels_are_those_of_a_dashboard() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<u64> = panels.iter().map(|p| p["id"].as_u64().expect("an id")).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    for panel in panels {
        let place = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        assert!(place("x") + place("w") <= 24, "{}: Grafana's grid is 24 wide", panel["title"]);
        if panel["type"] != "row" {
            assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()));
        }
    }
}

/// As in a URL.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
#[ignore = "needs prometheus and prometheus-redis-exporter: make test-monitoring"]
fn prometheus_answers_every_panel() {
    let s = Stack::users().with("read_through", true).start();
    s.add_user(1);
    let (_exporter, exporter_port) = exporter(&s);
    let (_prometheus, port) = prometheus(&s, exporter_port);
    let has_answer = |query: &str| {
        let query = query.replace("$__rate_interval", "1m").replace("$instance", ".*");
        let page = get(port, &format!("/api/v1/query?query={}", encoded(&query)));
        let answer: Value = serde_json::from_str(&page?).ok()?;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        Some(!answer["data"]["result"].as_array().expect("a result").is_empty())
    };
    let mut id = 1;
    for (panel, query) in queries() {
        eventually(&format!("{panel}: {query}"), || {
            // What is measured by the second needs something that happens.
            id += 1;
            s.add_user(id);
            s.run("HGET users:1 username");
            has_answer(&query) == Some(true)
        });
    }
}
