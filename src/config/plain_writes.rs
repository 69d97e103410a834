//! What becomes of a write to a plain key, `users:1`.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};
use serde::de::{self, Deserializer};
use serde::Deserialize;

/// What becomes of a write to a plain key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum PlainWrites {
    /// It changes the cache only.
    #[default]
    Allow,
    /// It is refused: the cache can't be changed past the database.
    Refuse,
    /// It is written through, as one to the staged key is.
    Through,
}

/// What DEL and UNLINK of a plain key delete, where plain keys are written through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum OnDelete {
    /// The cached hash.
    #[default]
    Evict,
    /// The row, and the cached hash.
    Delete,
}

/// Which ids are rows of a mapping, as a regular expression that the whole id must match.
#[derive(Clone)]
pub struct IdPattern {
    text: String,
    whole: Regex,
}

impl IdPattern {
    /// True when the id may be a row's, by the pattern where there is one.
    pub fn allows(pattern: Option<&IdPattern>, id: &[u8]) -> bool {
        pattern.is_none_or(|pattern| pattern.whole.is_match(id))
    }

    /// As it is written in the document.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Of bytes, as ids are: `\d` is a digit of ASCII.
fn compiled(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).unicode(false).build()
}

impl PartialEq for IdPattern {
    fn eq(&self, other: &IdPattern) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for IdPattern {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl<'de> Deserialize<'de> for IdPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<IdPattern, D::Error> {
        let text = String::deserialize(deserializer)?;
        // Alone first: a pattern like `a)(b` is none, whatever stands around it.
        let whole = compiled(&text).and_then(|_| compiled(&format!("^(?:{text})$")));
        match whole {
            Ok(whole) => Ok(IdPattern { text, whole }),
            Err(e) => {
                // The library draws an arrow under the place, on lines of its own.
                let lines = e.to_string();
                let reason = lines.lines().last().unwrap_or_default().trim_start_matches("error: ");
                Err(de::Error::custom(format!("{text:?} is no regular expression: {reason}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Result<IdPattern, String> {
        serde_json::from_value(text.into()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_whole_id_has_to_match() {
        let of = |text| {
            let pattern = pattern(text).unwrap();
            move |id: &[u8]| IdPattern::allows(Some(&pattern), id)
        };
        let digits = of("[0-9]+|new");
        assert!(digits(b"12") && digits(b"new"));
        assert!(!digits(b"1:idx") && !digits(b"x1") && !digits(b"1\n"));
        assert!(!digits(b"") && !digits(b"\xff"));
        let words = of(r"\w+-\d{2}|ü*");
        assert!(words(b"a_1-07") && words("üü".as_bytes()));
        assert!(!words("a-٧٧".as_bytes()) && !words("é-07".as_bytes()));
    }

    #[test]
    fn what_is_no_pattern() {
        assert_eq!(
            pattern("a)(b").unwrap_err(),
            r#""a)(b" is no regular expression: unopened group"#
        );
        assert_eq!(
            pattern("[0-9").unwrap_err(),
            r#""[0-9" is no regular expression: unclosed character class"#
        );
    }
}
