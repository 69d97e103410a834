use super::*;
use crate::config::Unmapped;

const USERS: &str = r#"{"url":"postgres://h/d","mappings":[{"table":"users"}]}"#;

fn error(document: &str) -> String {
    Config::parse(document, vec![]).unwrap_err().to_string()
}

#[test]
fn defaults() {
    let c = Config::parse(USERS, vec![]).unwrap();
    assert_eq!((c.prefix.as_str(), c.db, c.pool_size), ("__", 0, 4));
    assert_eq!((c.batch_max, c.queue_max), (512, 100_000));
    assert_eq!((c.timeout_ms, c.sync_timeout_ms, c.connect_timeout_ms), (3000, 1000, 1000));
    assert_eq!(c.mappings[0].name(), "users");
    assert_eq!(c.mappings[0].unmapped, Unmapped::Reject);
}

#[test]
fn an_argument_wins_over_the_document() {
    let c = Config::parse(USERS, vec![("pool_size".into(), 9.into())]).unwrap();
    assert_eq!(c.pool_size, 9);
}

#[test]
fn the_error_names_the_place() {
    assert!(error(r#"{"mappings":[{"tabel":"users"}]}"#)
        .starts_with("mappings[0].tabel: unknown field `tabel`, expected one of"));
    assert!(error(r#"{"mappings":[{"table":"users","key":7}]}"#)
        .starts_with("mappings[0].key: invalid type: integer `7`, expected a column or a list"));
    assert!(error(r#"{"mappings":[{"table":"u"}],"pool_size":0}"#)
        .starts_with("pool_size: 0 is out of range, expected 1 to 1000"));
    assert!(error(r#"{"mappings":[{"table":"u"},{"name":"u","table":"v"}]}"#)
        .starts_with("mappings[1].name: \"u\" is the name of mappings[0] already"));
    assert!(error("{").starts_with("document: no valid JSON: EOF"));
    assert!(error("[]").starts_with("document: expected a JSON object"));
    assert!(error(r#"{"mappings":[{"table":"u","unmapped":"drop"}]}"#)
        .contains("expected `reject` or `keep`"));
}

#[test]
fn a_schema_is_no_part_of_the_name() {
    let c = Config::parse(r#"{"mappings":[{"table":"shop.items"}]}"#, vec![]).unwrap();
    assert_eq!(c.mappings[0].name(), "items");
    assert_eq!(c.mappings[0].schema_and_table(), (Some("shop"), "items"));
}

#[test]
fn the_url_takes_names_from_the_environment() {
    let env = |name: &str| (name == "PW").then(|| "s3cret".to_string());
    let mut c = Config::parse(USERS, vec![]).unwrap();
    c.url = Some("postgres://app:${PW}@db/x".into());
    assert_eq!(c.resolve_url(env).unwrap(), "postgres://app:s3cret@db/x");
    let odd = |name: &str| (name == "PW").then(|| "p@s:/%".to_string());
    assert_eq!(c.resolve_url(odd).unwrap(), "postgres://app:p%40s%3A%2F%25@db/x");
    // libpq's other form: what is a blank or a quote is a part of the value, too.
    let pairs = |name: &str| (name == "PW").then(|| r"a 'b\ host=evil".to_string());
    for text in ["user=u password=${PW} host=h", "user=u password='${PW}' host=h"] {
        c.url = Some(text.into());
        let url: postgres::Config = c.resolve_url(pairs).unwrap().parse().unwrap();
        assert_eq!(url.get_password(), Some(&br"a 'b\ host=evil"[..]), "{text}");
        assert_eq!(url.get_hosts().len(), 1, "{text}");
    }
    c.url = Some("${PW}".into());
    assert_eq!(c.resolve_url(odd).unwrap(), "p@s:/%");
    c.url = Some("postgres://app:${NOPE}@db/x".into());
    let error = c.resolve_url(env).unwrap_err().to_string();
    assert_eq!(error, "url: the environment variable NOPE is not set");
    c.url = None;
    assert!(c.resolve_url(env).unwrap_err().to_string().contains("WRITETHROUGH_URL"));
}

#[test]
fn a_connection_string_in_a_wrong_place_is_not_shown() {
    for document in [
        r#"{"mappings":[{"table":"t"}],"url_file":["postgres://u:s3cret@h/d"]}"#,
        r#"{"mappings":[{"table":"t"}],"pool_size":"host=h password=s3cret"}"#,
        r#"{"mappings":[{"table":"t"}],"postgres://u:s3cret@h/d":1}"#,
        r#"{"mappings":[{"table":"t","name":"postgres://u:s3cret@h/d"}]}"#,
    ] {
        let error = error(document);
        assert!(!error.contains("s3cret"), "{error}");
    }
    let mut c = Config::parse(USERS, vec![]).unwrap();
    c.url = None;
    c.url_file = Some("postgres://u:s3cret@h/d".into());
    let error = c.resolve_url(|_| None).unwrap_err().to_string();
    assert_eq!(error, "url_file: postgres://…");
    let unchanged = ConfigError::at("url", "it is no postgres:// URL, nor libpq's host=… user=…");
    assert_eq!(unchanged.to_string(), format!("url: {}", unchanged.problem));
}
