//! `__{users:1}` and `users:1` over bytes: staged and final name, and the parts of the id.

use std::fmt;

/// A row's key taken apart, staged or plain. Everything is borrowed from the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowKey<'a> {
    /// The final key, `users:1`.
    pub target: &'a [u8],
    /// The mapping's name, `users`.
    pub name: &'a [u8],
    /// The id, `1`; `7:3` for a composite key.
    pub id: &'a [u8],
}

/// Why a key with the prefix is no staged key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotStaged;

/// True when `key` claims to be a staged key: `<prefix>{…`.
pub fn has_prefix(prefix: &[u8], key: &[u8]) -> bool {
    key.len() > prefix.len() && key.starts_with(prefix) && key[prefix.len()] == b'{'
}

/// Takes `<prefix>{<name>:<id>}` apart.
pub fn parse<'a>(prefix: &[u8], key: &'a [u8]) -> Result<RowKey<'a>, NotStaged> {
    if !has_prefix(prefix, key) || !key.ends_with(b"}") {
        return Err(NotStaged);
    }
    let target = key.get(prefix.len() + 1..key.len() - 1).ok_or(NotStaged)?;
    plain(target).ok_or(NotStaged)
}

/// Takes `<name>:<id>` apart; `None` when it is something else.
pub fn plain(target: &[u8]) -> Option<RowKey<'_>> {
    let colon = target.iter().position(|&b| b == b':')?;
    let (name, id) = (&target[..colon], &target[colon + 1..]);
    (!name.is_empty() && !id.is_empty()).then_some(RowKey { target, name, id })
}

/// `<prefix>{<target>}`.
pub fn staged(prefix: &[u8], target: &[u8]) -> Vec<u8> {
    [prefix, b"{", target, b"}"].concat()
}

/// The id's parts, one a key column; the last takes the rest, `:` included. `None` when there are
/// too few or one is empty.
pub fn id_parts(id: &[u8], columns: usize) -> Option<Vec<&[u8]>> {
    let parts: Vec<&[u8]> = id.splitn(columns, |&b| b == b':').collect();
    (parts.len() == columns && parts.iter().all(|part| !part.is_empty())).then_some(parts)
}

/// Bytes as a person reads them: what is no printable ASCII is escaped, and 64 bytes are enough.
pub struct Show<'a>(pub &'a [u8]);

impl fmt::Display for Show<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        const MOST: usize = 64;
        write!(f, "\"{}", self.0[..self.0.len().min(MOST)].escape_ascii())?;
        f.write_str(if self.0.len() > MOST { "…\"" } else { "\"" })
    }
}

/// The same without the quotes: a key within a command that a person may type.
pub struct Bare<'a>(pub &'a [u8]);

impl fmt::Display for Bare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let shown = Show(self.0).to_string();
        f.write_str(&shown[1..shown.len() - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_staged_key_holds_the_final_key() {
        let key = parse(b"__", b"__{users:1}").unwrap();
        assert_eq!((key.target, key.name, key.id), (&b"users:1"[..], &b"users"[..], &b"1"[..]));
        assert_eq!(staged(b"__", key.target), b"__{users:1}");
        assert_eq!(parse(b"__", b"__{u:a:}b}").unwrap().id, b"a:}b");
        assert_eq!(parse(b"__", b"__{u:\xff\x00}").unwrap().id, b"\xff\x00");
    }

    #[test]
    fn what_is_no_staged_key() {
        for key in ["", "__", "__{", "__{}", "__{users}", "__{users:}", "__{:1}", "__{users:1", "x"]
        {
            assert_eq!(parse(b"__", key.as_bytes()), Err(NotStaged), "{key}");
        }
        assert!(!has_prefix(b"__", b"users:1"));
        assert!(has_prefix(b"__", b"__{users"));
    }

    #[test]
    fn the_last_part_takes_the_rest() {
        assert_eq!(id_parts(b"7:3:x", 2), Some(vec![&b"7"[..], b"3:x"]));
        assert_eq!(id_parts(b"7:3", 1), Some(vec![&b"7:3"[..]]));
        assert_eq!(id_parts(b"7", 2), None);
        assert_eq!(id_parts(b"7:", 2), None);
    }

    #[test]
    fn a_key_is_shown_short_and_safe() {
        assert_eq!(Show(b"a\"\n\xff").to_string(), r#""a\"\n\xff""#);
        assert_eq!(Show(&[b'x'; 100]).to_string().chars().count(), 67);
    }
}
