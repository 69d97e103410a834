//! The arguments of MODULE LOAD: `CONFIG path` or `JSON document`, and `NAME value` pairs.

use serde_json::Value;

use super::limits::Limit;
use super::suggest;
use crate::config::{Config, ConfigError};

/// Options that hold one number, in the document's spelling.
fn numbers() -> impl Iterator<Item = &'static str> {
    std::iter::once("db").chain(Limit::ALL.map(Limit::key))
}

/// Options that are `true` or `false`.
const SWITCHES: &[&str] = &["journal", "follow", "atomic_multi"];

/// Options that hold one text.
const TEXTS: &[&str] = &["url", "url_file", "prefix"];

/// Reads the load arguments, and the document they name.
pub fn parse<A: AsRef<[u8]>>(args: &[A]) -> Result<Config, ConfigError> {
    let mut document: Option<String> = None;
    let mut overrides = Vec::new();
    for pair in args.chunks(2) {
        let name = text("an argument's name", pair[0].as_ref())?.to_ascii_uppercase();
        let Some(value) = pair.get(1) else {
            return Err(ConfigError::at(name, "expected a value after it"));
        };
        let value = text(&name, value.as_ref())?;
        let found = match name.as_str() {
            "CONFIG" => Some(
                std::fs::read_to_string(value)
                    .map_err(|e| ConfigError::at(&name, format!("{value}: {e}")))?,
            ),
            "JSON" => Some(value.to_string()),
            _ => None,
        };
        match found {
            Some(_) if document.is_some() => {
                return Err(ConfigError::at(name, "give one document, by CONFIG or by JSON"));
            }
            Some(text) => document = Some(text),
            None => overrides.push(scalar(&name, value)?),
        }
    }
    let document = document
        .ok_or_else(|| ConfigError::at("arguments", "expected CONFIG <path> or JSON <document>"))?;
    Config::parse(&document, overrides)
}

/// Whether the URL is among the load arguments themselves, where MODULE LIST shows it.
pub fn hold_url(args: &[&[u8]], config: &Config) -> bool {
    let inline =
        |name: &[u8]| name.eq_ignore_ascii_case(b"json") || name.eq_ignore_ascii_case(b"url");
    config.url.is_some() && args.chunks(2).any(|pair| inline(pair[0]))
}

/// The load arguments for people: a document and a URL may hold a password, and are left out.
pub fn shown<A: AsRef<[u8]>>(args: &[A]) -> String {
    let words = args.chunks(2).flat_map(|pair| {
        let name = String::from_utf8_lossy(pair[0].as_ref());
        let is_secret = ["json", "url"].iter().any(|secret| name.eq_ignore_ascii_case(secret));
        let value = pair.get(1).map(|value| match is_secret {
            true => "…".into(),
            false => String::from_utf8_lossy(value.as_ref()),
        });
        std::iter::once(name).chain(value)
    });
    words.collect::<Vec<_>>().join(" ")
}

fn text<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str, ConfigError> {
    std::str::from_utf8(bytes).map_err(|_| ConfigError::at(name, "is no UTF-8"))
}

/// `POOL-SIZE 8` → `("pool_size", 8)`.
fn scalar(name: &str, value: &str) -> Result<(String, Value), ConfigError> {
    let key = name.to_ascii_lowercase().replace('-', "_");
    if TEXTS.contains(&key.as_str()) {
        return Ok((key, Value::from(value)));
    }
    if numbers().any(|name| name == key) {
        let number: i64 = value.parse().map_err(|_| {
            ConfigError::at(name, format!("{value:?} is no number; expected a whole number"))
        })?;
        return Ok((key, Value::from(number)));
    }
    if SWITCHES.contains(&key.as_str()) {
        let switch: bool = value.to_ascii_lowercase().parse().map_err(|_| {
            ConfigError::at(name, format!("{value:?} is neither \"true\" nor \"false\""))
        })?;
        return Ok((key, Value::from(switch)));
    }
    let texts = SWITCHES.iter().chain(TEXTS).copied();
    let known = ["config", "json"].into_iter().chain(numbers()).chain(texts);
    let names: Vec<String> = known.map(|n| n.to_ascii_uppercase().replace('_', "-")).collect();
    Err(ConfigError::at(
        name,
        format!("unknown argument{}", suggest::among(name, names.iter().map(String::as_str))),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"url":"postgres://h/d","mappings":[{"table":"users"}]}"#;

    fn parse_str(args: &[&str]) -> Result<Config, String> {
        let bytes: Vec<&[u8]> = args.iter().map(|a| a.as_bytes()).collect();
        parse(&bytes).map_err(|e| e.to_string())
    }

    #[test]
    fn names_are_case_insensitive() {
        let config = parse_str(&["json", JSON, "pool-size", "8", "Timeout_MS", "70"]).unwrap();
        assert_eq!(config.pool_size, 8);
        assert_eq!(config.timeout_ms, 70);
        assert!(parse_str(&["JSON", JSON, "JOURNAL", "true"]).unwrap().journal);
    }

    #[test]
    fn no_password_is_shown() {
        let url = "postgres://u:s3cret@h/d";
        assert_eq!(
            shown(&["CONFIG", "/x.json", "url", url, "db", "1"]),
            "CONFIG /x.json url … db 1"
        );
        assert_eq!(shown(&["Json", JSON]), "Json …");
        assert_eq!(shown(&["CONFIG"]), "CONFIG");
    }

    #[test]
    fn errors_name_the_argument() {
        let error = |args: &[&str]| parse_str(args).unwrap_err();
        assert_eq!(error(&[]), "arguments: expected CONFIG <path> or JSON <document>");
        assert_eq!(error(&["JSON"]), "JSON: expected a value after it");
        assert_eq!(
            error(&["JSON", JSON, "POOL-SIZES", "8"]),
            "POOL-SIZES: unknown argument; did you mean \"POOL-SIZE\"?"
        );
        assert_eq!(
            error(&["JSON", JSON, "POOL-SIZE", "many"]),
            "POOL-SIZE: \"many\" is no number; expected a whole number"
        );
        assert_eq!(
            error(&["JSON", JSON, "JSON", JSON]),
            "JSON: give one document, by CONFIG or by JSON"
        );
        assert_eq!(
            error(&["JSON", JSON, "JOURNAL", "1"]),
            "JOURNAL: \"1\" is neither \"true\" nor \"false\""
        );
        assert!(error(&["CONFIG", "/nowhere/x.json"]).starts_with("CONFIG: /nowhere/x.json: No"));
        assert!(error(&["JSON", JSON, "POOL-SIZE", "-1"]).starts_with("pool_size: invalid value"));
    }
}
