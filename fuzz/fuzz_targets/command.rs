//! A command's arguments, one a line: the filter's decision, and what the command does to a row.
#![no_main]

use libfuzzer_sys::fuzz_target;
use writethrough::command::rewrite::{self, Rewrite};
use writethrough::command::{self, Named, Reply, Write};
use writethrough::model::action::Action;
use writethrough::model::mapping::Mapping;
use writethrough::model::table::{Index, Table, TableColumn};
use writethrough::model::{input_syntax, key};

fn mapping(unmapped: &str) -> Mapping {
    let column = |name: &str| TableColumn { name: name.into(), ..TableColumn::default() };
    let table = Table {
        name: "t".into(),
        columns: ["id", "part", "a", "b", "c"].map(column).to_vec(),
        primary_key: vec![0, 1],
        indexes: vec![Index {
            key: vec![0, 1],
            columns: Some(vec![0, 1]),
            is_unique: true,
            is_arbiter: true,
            is_exact: true,
            is_builtin: true,
        }],
        ..Table::default()
    };
    let config = format!(r#"{{"table":"t","unmapped":"{unmapped}"}}"#);
    Mapping::resolve(0, &serde_json::from_str(&config).unwrap(), &table).unwrap()
}

fn check(mapping: &Mapping, write: &Write) {
    let columns: Vec<usize> = match &write.action {
        Action::Upsert(sets) => sets.iter().map(|(column, _)| *column).collect(),
        Action::Erase(columns) => columns.clone(),
        Action::Add(column, _) | Action::Fill(column, _) => vec![*column],
        Action::Delete | Action::Read | Action::Pass => Vec::new(),
    };
    // Ascending, each once, and no part of the key.
    assert!(columns.is_sorted_by(|a, b| a < b));
    assert!(columns.iter().all(|column| (mapping.key_len..mapping.columns.len()).contains(column)));
    if let Reply::NewFields(named) | Reply::OldFields(named) = &write.reply {
        for field in named {
            match field {
                Named::Column(column) => assert!(*column < mapping.columns.len()),
                Named::Kept(at) => assert!(*at < write.kept.len() || write.cache.is_some()),
                Named::Dropped(at) => assert!(*at < write.dropped.len()),
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let argv: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let Some((rewrite, keys)) = rewrite::rule(argv[0], argv.len()) else { return };
    let is_staged = |key: &[u8]| key::has_prefix(b"__", key);
    keys.any(argv.len(), |at| argv[at], is_staged, |_| false, |_| false);
    if rewrite == Rewrite::Refuse {
        return;
    }
    let Ok(taken) = key::parse(b"__", argv[1]) else { return };
    let fields = || argv[2..].iter().copied();
    for unmapped in ["reject", "keep"] {
        let mapping = mapping(unmapped);
        if command::check_id(&mapping, taken.id).is_err() {
            continue;
        }
        let name = argv[0].to_ascii_lowercase();
        let write = match &name[..] {
            b"hset" | b"hmset" => command::hset(&mapping, taken.id, fields()),
            b"hsetnx" => command::hsetnx(&mapping, argv[2], argv[3]),
            b"hincrby" => command::hincrby(&mapping, argv[2], argv[3], true),
            b"hdel" => command::hdel(&mapping, fields()),
            _ => continue,
        };
        match write {
            Ok(write) => check(&mapping, &write),
            Err(problem) => assert!(!problem.is_empty()),
        }
        command::uuid(fields());
    }
    argv.iter().for_each(|word| {
        input_syntax::is_text(word);
    });
});
