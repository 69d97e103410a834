//! MODULE LOAD: its arguments, the document, the check against the catalog.

use serde_json::{json, Value};

use crate::support::*;

const WRITE: &str = "HSET __{users:1} username a email a@x pwhash h";

/// No column of it finds one row for sure, whatever indexes there are.
const HEAP_SQL: &str = "
create table heap (a int, b int, c int, d int unique deferrable initially deferred);
create index on heap (a);
create unique index on heap (b) where a > 0;
create unique index on heap (abs(c))";

/// A server without the module, to load it with wrong documents one after the other.
fn unloaded() -> Stack {
    Stack::users().sql(HEAP_SQL).without_module().start()
}

/// The document is refused, and the log says why.
#[track_caller]
fn refuses(s: &Stack, document: &Value, why: &[&str]) {
    refuses_args(s, &["JSON", &document.to_string()], why);
}

#[track_caller]
fn refuses_args(s: &Stack, args: &[&str], why: &[&str]) {
    let seen = s.log().len();
    s.load_with(args).assert_error("ERR Error loading the extension");
    let log = s.log()[seen..].to_string();
    for words in why {
        assert!(log.contains(words), "`{words}` is missing in the log:\n{log}");
    }
    // Redis 8 and Valkey 9 come with modules of their own.
    assert!(!s.run("MODULE LIST").text().contains("name writethrough"));
}

#[test]
fn by_config_from_redis_conf() {
    let s = Stack::users().start();
    assert_eq!(s.run(WRITE), int(3));
    assert!(s.run("MODULE LIST").text().contains("name writethrough"));
}

/// `MODULE LIST` has a number: 0.1.0 is 100, 1.2.3 is 10203.
#[test]
fn its_versions_are_the_crates() {
    let s = Stack::users().start();
    let version = env!("CARGO_PKG_VERSION");
    let number =
        version.split('.').fold(0, |n, part| n * 100 + part.parse::<u32>().expect("a number"));
    let listed = s.run("MODULE LIST").text();
    assert!(listed.contains(&format!("name writethrough ver {number} ")), "{listed}");
    assert_eq!(s.run("WT.STATUS").array()[1], bulk(version));
}

#[test]
fn by_config_at_run_time() {
    let s = unloaded();
    assert_eq!(s.load(), ok());
    assert_eq!(s.run(WRITE), int(3));
}

#[test]
fn by_json_inline() {
    let s = unloaded();
    assert_eq!(s.load_with(&["json", &s.document.to_string()]), ok());
    assert_eq!(s.run(WRITE), int(3));
}

#[test]
fn by_json_in_redis_conf() {
    let s = Stack::users().module_args(&["JSON", "@DOCUMENT@"]).start();
    assert_eq!(s.run(WRITE), int(3));
}

#[test]
fn an_argument_wins_over_the_document() {
    let s = Stack::users().patient().arg("timeout-ms").arg("50").start();
    let shown = s.run("CONFIG GET writethrough.timeout-ms");
    assert_eq!(shown, Reply::Array(vec![bulk("writethrough.timeout-ms"), bulk("50")]));
}

#[test]
fn the_url_may_be_an_argument() {
    let s =
        Stack::users().option("url", "postgres://nobody@127.0.0.1:1/none").arg("URL").arg("@URL@");
    assert_eq!(s.start().run(WRITE), int(3));
}

#[test]
fn the_url_takes_names_from_the_environment() {
    let url = format!("postgres://{PASSWORD_USER}:${{WT_TEST_PASSWORD}}@@DB@");
    let s = Stack::users().option("url", url).env("WT_TEST_PASSWORD", PASSWORD).start();
    assert_eq!(s.run(WRITE), int(3));
}

/// A password is no part of a URL's syntax, whatever is in it.
#[test]
fn a_password_from_the_environment_may_hold_any_character() {
    const ODD: &str = "p@ss:w/rd?%41 #";
    let role = format!("create role wt_odd_password login superuser password '{ODD}'");
    let url = "postgres://wt_odd_password:${WT_TEST_PASSWORD}@@DB@";
    let server = std::sync::Arc::new(PostgresServer::start_new());
    let s = Stack::users()
        .postgres(&server)
        .sql(&role)
        .option("url", url)
        .env("WT_TEST_PASSWORD", ODD)
        .start();
    assert_eq!(s.run(WRITE), int(3));
}

#[test]
fn the_url_may_be_in_the_environment() {
    let s = Stack::users().option("url", Value::Null).env("WRITETHROUGH_URL", "@URL@").start();
    assert_eq!(s.run(WRITE), int(3));
}

#[test]
fn the_url_may_be_in_a_file() {
    let s = unloaded();
    let file = s.file("url", &format!("{}\n", s.database.url()));
    let document = s.document_with(|d| {
        d["url"] = Value::Null;
        d["url_file"] = file.into();
    });
    assert_eq!(s.load_with(&["JSON", &document.to_string()]), ok());
    assert_eq!(s.run(WRITE), int(3));
}

#[test]
fn wrong_arguments_are_named() {
    let s = unloaded();
    let path = s.config.display().to_string();
    refuses_args(&s, &[], &["CONFIG", "JSON"]);
    refuses_args(&s, &["CONFIG"], &["CONFIG"]);
    refuses_args(&s, &["CONFIG", "/nowhere/x.json"], &["/nowhere/x.json", "No such file"]);
    refuses_args(
        &s,
        &["CONFIG", &path, "POOL-SIZES", "8"],
        &["POOL-SIZES", "did you mean \"POOL-SIZE\"?"],
    );
    refuses_args(&s, &["CONFIG", &path, "POOL-SIZE", "many"], &["POOL-SIZE", "many", "number"]);
    refuses_args(&s, &["CONFIG", &path, "POOL-SIZE", "0"], &["pool_size", "expected"]);
    refuses_args(&s, &["CONFIG", &path, "POOL-SIZE"], &["POOL-SIZE"]);
    assert_eq!(s.load(), ok(), "after all that, the right one loads");
    assert_eq!(s.run(WRITE), int(3));
}

#[test]
fn wrong_documents_are_refused_with_the_place() {
    let s = unloaded();
    refuses_args(&s, &["JSON", "{"], &["JSON"]);
    refuses_args(&s, &["JSON", "[]"], &["object"]);
    refuses_args(&s, &["JSON", "\u{1}%s%n\u{0}"], &["JSON"]);
    refuses(&s, &s.document_with(|d| d["pool"] = 3.into()), &["pool", "unknown", "pool_size"]);
    refuses(&s, &s.document_with(|d| d["pool_size"] = "x".into()), &["pool_size"]);
    refuses(&s, &s.document_with(|d| d["timeout_ms"] = 0.into()), &["timeout_ms"]);
    refuses(&s, &s.document_with(|d| d["mappings"] = json!([])), &["mappings"]);
    refuses(&s, &s.document_with(|d| d["url"] = "mysql://x".into()), &["url"]);
    refuses(
        &s,
        &s.document_with(|d| d["url"] = "postgres://u:${WT_TEST_UNSET}@h/d".into()),
        &["url", "WT_TEST_UNSET"],
    );
    refuses(&s, &s.document_with(|d| d["url"] = Value::Null), &["url", "WRITETHROUGH_URL"]);
    refuses(
        &s,
        &s.document_with(|d| d["mappings"][0]["tabel"] = "users".into()),
        &["mappings[0].tabel"],
    );
    refuses(
        &s,
        &s.document_with(|d| d["mappings"][0]["unmapped"] = "drop".into()),
        &["mappings[0].unmapped", "reject", "keep"],
    );
    refuses(&s, &s.document_with(|d| d["mappings"][0]["ttl"] = 0.into()), &["mappings[0].ttl"]);
    let twice = |d: &mut Value| d["mappings"] = json!([users_mapping(), users_mapping()]);
    refuses(&s, &s.document_with(twice), &["mappings[1].name", "users"]);
}

#[test]
fn the_catalog_check_names_the_place_and_what_was_meant() {
    let s = unloaded();
    refuses(
        &s,
        &s.document_with(|d| d["mappings"][0]["fields"]["dob"] = "date_of_brith".into()),
        &["mappings[0].fields.dob: table \"users\" has no column \"date_of_brith\"; did you mean \"date_of_birth\"?"],
    );
    refuses(
        &s,
        &s.document_with(|d| d["mappings"][0]["table"] = "usres".into()),
        &["mappings[0].table", "usres", "did you mean \"users\"?"],
    );
    refuses(
        &s,
        &s.document_with(|d| d["mappings"][0]["table"] = "shop.users".into()),
        &["mappings[0].table", "shop"],
    );
    refuses(
        &s,
        &s.document_with(|d| d["mappings"][0]["key"] = "idd".into()),
        &["mappings[0].key", "idd", "did you mean \"id\"?"],
    );
    // Upper case is another identifier.
    refuses(
        &s,
        &s.document_with(|d| d["mappings"][0]["key"] = "ID".into()),
        &["mappings[0].key", "\"ID\""],
    );
    // Rows can't be found by it.
    refuses(
        &s,
        &s.document_with(|d| d["mappings"][0]["key"] = "first_name".into()),
        &["mappings[0].key", "first_name", "unique"],
    );
    refuses(
        &s,
        &s.document_with(|d| d["mappings"][0]["key"] = json!(["id", "email"])),
        &["mappings[0].key", "unique"],
    );
    let second = |d: &mut Value| d["mappings"] = json!([users_mapping(), { "table": "heap" }]);
    refuses(&s, &s.document_with(second), &["mappings[1].key", "heap", "primary key"]);
    for column in ["a", "b", "c", "d"] {
        let heap = |d: &mut Value| d["mappings"] = json!([{ "table": "heap", "key": column }]);
        refuses(&s, &s.document_with(heap), &["mappings[0].key", column, "unique"]);
    }
    assert_eq!(s.load(), ok());
}

#[test]
fn a_wrong_document_in_redis_conf_stops_the_start() {
    let started = Stack::users().with("key", "idd").try_start();
    let log = started.err().expect("redis-server must not start");
    assert!(log.contains("mappings[0].key"), "{log}");
}

#[test]
fn unload_is_refused() {
    let s = Stack::users().start();
    s.add_user(1);
    let seen = s.log().len();
    assert!(s.run("MODULE UNLOAD writethrough").is_error());
    assert!(s.log()[seen..].contains("restart"), "the log says what to do instead");
    assert_eq!(s.run("HSET __{users:1} username b"), int(0), "and it goes on working");
    s.assert_user_cached(1);
}

#[test]
fn a_second_load_is_refused() {
    let s = Stack::users().start();
    assert!(s.load().is_error());
    assert_eq!(s.run(WRITE), int(3));
}
