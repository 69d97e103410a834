//! The documents that we give people, held against the JSON Schema that we give them.

use std::path::Path;

use serde_json::Value;

use crate::readme::{blocks, pages, read, repository};

fn json(name: &str, text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[track_caller]
pub fn assert_valid(name: &str, document: &Value) {
    let schema = json("the schema", &read("examples/writethrough.schema.json"));
    let validator = jsonschema::validator_for(&schema).expect("a JSON Schema");
    let errors: Vec<String> =
        validator.iter_errors(document).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{name}: {}", errors.join("\n"));
}

#[test]
fn the_examples_name_their_schema_and_follow_it() {
    let mut checked = 0;
    for entry in std::fs::read_dir(repository("examples")).expect("examples") {
        let name = entry.expect("an entry").file_name().into_string().expect("text");
        if !name.ends_with(".json") || name == "writethrough.schema.json" {
            continue;
        }
        let document = json(&name, &read(&format!("examples/{name}")));
        let schema = document["$schema"].as_str().unwrap_or_else(|| panic!("{name}: no $schema"));
        assert!(Path::new(&repository("examples")).join(schema).exists(), "{name}: {schema}");
        assert_valid(&name, &document);
        checked += 1;
    }
    assert!(checked >= 2, "{checked} documents in examples/");
}

#[test]
fn the_documents_on_the_pages_and_in_docker_follow_the_schema() {
    assert_valid("docker", &json("docker", &read("docker/writethrough.json")));
    let mut checked = 0;
    for page in pages() {
        for block in blocks(&read(&page)).iter().filter(|block| block.language == "json") {
            let name = format!("{page}:{}", block.line);
            let shown = json(&name, &block.lines.join("\n"));
            let is_whole = shown.get("mappings").is_some();
            let document =
                if is_whole { shown } else { serde_json::json!({ "mappings": [shown] }) };
            assert_valid(&name, &document);
            checked += 1;
        }
    }
    assert!(checked >= 3, "{checked} json blocks in README.md and docs/");
}
