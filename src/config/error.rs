//! What is wrong with the configuration, without the secrets in it.

/// What is wrong with the configuration, where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", without_secrets(.path), without_secrets(.problem))]
pub struct ConfigError {
    /// The place, as `mappings[0].fields.dob`.
    pub path: String,
    /// What is wrong there and what was expected.
    pub problem: String,
}

impl ConfigError {
    /// An error at `path`.
    pub fn at(path: impl Into<String>, problem: impl Into<String>) -> Self {
        ConfigError { path: path.into(), problem: problem.into() }
    }
}

/// The text up to a connection string in it: one that stands in a wrong place (for a path, a name, a
/// number) is quoted like any other text there, and may hold the password.
fn without_secrets(text: &str) -> String {
    let is_shown = |after: &str| after.is_empty() || after.starts_with(char::is_whitespace);
    let lower = text.to_ascii_lowercase();
    let cut = ["://", "password="].into_iter().filter_map(|word| {
        let ends = lower.match_indices(word).map(|(at, _)| at + word.len());
        ends.filter(|end| !is_shown(&text[*end..])).min()
    });
    cut.min().map_or_else(|| text.to_string(), |end| format!("{}…", &text[..end]))
}
