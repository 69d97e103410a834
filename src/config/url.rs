//! Where the connection string comes from, and its `${NAME}`s.

use percent_encoding::{utf8_percent_encode, NON_ALPHANUMERIC};

use super::document::Config;
use super::error::ConfigError;

impl Config {
    /// The PostgreSQL URL from `url`, `url_file` or `$WRITETHROUGH_URL`, with `${NAME}` replaced.
    pub fn resolve_url(&self, env: impl Fn(&str) -> Option<String>) -> Result<String, ConfigError> {
        if let Some(path) = &self.url_file {
            let text = std::fs::read_to_string(path)
                .map_err(|e| ConfigError::at("url_file", format!("{}: {e}", path.display())))?;
            if text.trim().is_empty() {
                return Err(ConfigError::at(
                    "url_file",
                    format!("{}: it is empty", path.display()),
                ));
            }
            return expand("url_file", text.trim(), env);
        }
        match &self.url {
            Some(url) => expand("url", url, env),
            None => env("WRITETHROUGH_URL").ok_or_else(|| {
                ConfigError::at(
                    "url",
                    "missing; give `url`, `url_file` or the environment variable WRITETHROUGH_URL",
                )
            }),
        }
    }
}

/// Replaces `${NAME}` by the environment's value. A name that is not set is an error, not "".
fn expand(
    path: &str,
    text: &str,
    env: impl Fn(&str) -> Option<String>,
) -> Result<String, ConfigError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let Some(length) = rest[start..].find('}') else {
            return Err(ConfigError::at(path, "`${` without its `}`"));
        };
        let name = &rest[start + 2..start + length];
        let value = env(name).ok_or_else(|| {
            ConfigError::at(path, format!("the environment variable {name} is not set"))
        })?;
        out.push_str(&rest[..start]);
        rest = &rest[start + length + 1..];
        // A user or password may hold any character; a host or a whole URL is taken as it is.
        let is_url = out.contains("://");
        let in_userinfo = is_url && rest.contains('@');
        if in_userinfo || (is_url && out.contains('?')) {
            out.extend(utf8_percent_encode(&value, NON_ALPHANUMERIC));
        } else if !is_url && out.contains('=') {
            // A value of libpq's `host=… password=…`, within quotes or not.
            let is_special = |c: char| c.is_whitespace() || matches!(c, '\'' | '\\');
            let escape = |c: char| is_special(c).then_some('\\').into_iter().chain([c]);
            out.extend(value.chars().flat_map(escape));
        } else {
            out.push_str(&value);
        }
    }
    out.push_str(rest);
    Ok(out)
}
