//! What `make dist` adds to the module and the pages: the man page, the bill of materials.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::clients::output;
use crate::readme::{read, repository};
use crate::support::*;

fn script(name: &str) -> String {
    output(&mut Command::new(repository(&format!("scripts/{name}"))))
}

#[test]
fn the_man_page_has_every_option_and_command() {
    let page = script("man");
    let has = |name: &str| page.contains(&format!("\\fB{}", name.replace('-', "\\-")));
    let schema: Value =
        serde_json::from_str(&read("examples/writethrough.schema.json")).expect("JSON");
    for place in ["/properties", "/properties/mappings/items/properties"] {
        let options = schema.pointer(place).and_then(Value::as_object).expect("an object");
        for name in options.keys().filter(|name| !["$schema", "mappings"].contains(&name.as_str()))
        {
            assert!(has(&format!("{name}\\fR")), "{name}");
        }
    }
    let s = Stack::users().start();
    let commands = s.run("COMMAND LIST FILTERBY MODULE writethrough");
    let commands = commands.array().iter().map(|name| name.text().to_uppercase());
    // WT.HSET and the like are what a plain command becomes; WT.REFUSE is what is refused.
    let is_typed = |name: &String| {
        let plain = name.strip_prefix("WT.").expect("the prefix");
        plain != "REFUSE" && !s.knows(plain)
    };
    for name in commands.filter(is_typed) {
        assert!(has(&name), "{name}");
    }
    for code in ["WTERR", "WTDOWN", "WTBUSY", "WTTIMEOUT", "WTABORT"] {
        assert!(has(code), "{code}");
    }
}

#[test]
fn groff_takes_the_man_page() {
    if Command::new("groff").arg("--version").output().is_err() {
        eprintln!("skipped: no groff");
        return;
    }
    let mut groff = Command::new("groff");
    groff.args(["-ww", "-man", "-Tascii"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut groff = groff.stderr(Stdio::piped()).spawn().expect("groff");
    let mut page = groff.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut page, script("man").as_bytes()).expect("stdin");
    drop(page);
    let said = groff.wait_with_output().expect("groff").stderr;
    assert_eq!(String::from_utf8_lossy(&said), "");
}

#[test]
fn the_bill_of_materials_has_what_is_linked() {
    let bom: Value = serde_json::from_str(&script("sbom")).expect("JSON");
    assert_eq!((&bom["bomFormat"], &bom["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    let this = &bom["metadata"]["component"];
    assert_eq!(
        (&this["name"], &this["version"]),
        (&"writethrough".into(), &env!("CARGO_PKG_VERSION").into())
    );
    let components = bom["components"].as_array().expect("a list");
    let names: Vec<&str> = components.iter().filter_map(|c| c["name"].as_str()).collect();
    for name in ["postgres", "redis-module", "rustls", "ring", "serde_json"] {
        assert!(names.contains(&name), "{name}");
    }
    for name in ["tempfile", "proptest", "jsonschema", "serde_derive", "bindgen"] {
        assert!(!names.contains(&name), "{name} is not linked");
    }
    for component in components {
        assert!(
            component["hashes"][0]["content"].as_str().is_some_and(|sum| sum.len() == 64),
            "{component}"
        );
        assert!(component["licenses"][0]["expression"].is_string(), "{component}");
    }
}
