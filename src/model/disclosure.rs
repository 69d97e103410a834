//! Which parts of PostgreSQL's error a client may read: no more than its own write held.
//!
//! PostgreSQL's errors quote rows: `Failing row contains (1, ann, …)` shows columns that the Redis user
//! may not read, or that aren't mapped. What is kept is a short list; all else is left out, since
//! nobody can tell whose values it holds.

use super::action::Action;
use super::change::Change;
use super::failure::{Class, Refusal};

/// Messages of these name encodings in quotes.
const ABOUT_ENCODING: [&str; 2] = ["22021", "22P05"];

/// The server's quotation marks, in the languages that it speaks.
const QUOTES: [(&str, &str); 5] = [("\"", "\""), ("»", "«"), ("«", "»"), ("„", "“"), ("“", "”")];

impl Refusal {
    /// What the client of this write may read of it.
    ///
    /// Names of tables, columns and constraints stay, and so does what a trigger says: its author
    /// chose the words. A message about a value may be about one that an expression of the table's
    /// has read: only the write's own are quoted.
    pub fn for_write(mut self, change: &Change) -> Refusal {
        let is_about_a_value = self.class() == Class::Data;
        let names_encodings = ABOUT_ENCODING.contains(&&*self.sqlstate);
        if is_about_a_value && !names_encodings {
            self.message = quoting_only(&self.message, change);
        }
        self.detail = self.detail.and_then(|mut detail| {
            if is_about_a_value && detail.is_about_value {
                detail.text = quoting_only(&detail.text, change).into();
                return Some(detail);
            }
            is_own_key(&detail.text, change).then_some(detail)
        });
        self
    }
}

/// True for `Key (email)=(a@x) already exists.`, in any language, where each column is one of the
/// key's or one that the write names, and each value is to the letter the write's.
fn is_own_key(detail: &str, change: &Change) -> bool {
    let Some((names, rest)) = detail.split_once(")=(") else { return false };
    let Some((_, names)) = names.split_once('(') else { return false };
    let values = names.split(", ").map(|name| own_value(name, change));
    let Some(values) = values.collect::<Option<Vec<&[u8]>>>() else { return false };
    let after = rest.as_bytes().strip_prefix(&*values.join(&b", "[..]));
    // An exclusion constraint's detail goes on with the other row's.
    after.is_some_and(|after| after.starts_with(b")") && !after.windows(2).any(|two| two == b"=("))
}

/// The value that the write has for a column; an expression of an index is none. The server quotes
/// names here and there.
fn own_value<'a>(name: &str, change: &'a Change) -> Option<&'a [u8]> {
    let columns = &change.mapping.columns;
    let unquoted = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
    let unquoted = unquoted.map(|name| name.replace("\"\"", "\""));
    let is_it = |c: usize| columns[c].info.name == *unquoted.as_deref().unwrap_or(name);
    let mut values = change.id_parts().enumerate().chain(change.action.values());
    if let Some((_, value)) = values.find(|(c, _)| is_it(*c)) {
        return Some(value);
    }
    match &change.action {
        Action::Erase(erased) if erased.iter().any(|c| is_it(*c)) => Some(b"null"),
        _ => None,
    }
}

/// The text with `…` for what it quotes and the write doesn't hold.
fn quoting_only(text: &str, change: &Change) -> String {
    let mut left = text;
    let mut shown = String::with_capacity(text.len());
    let first = |text: &str| {
        let open = |(open, close)| Some((text.find(open)?, open, close));
        QUOTES.into_iter().filter_map(open).min_by_key(|(at, ..)| *at)
    };
    while let Some((at, open, close)) = first(left) {
        let (before, quoted) = (&left[..at], &left[at + open.len()..]);
        let end = quoted.find(close).unwrap_or(quoted.len());
        shown.push_str(before);
        shown.push_str(open);
        shown.push_str(if holds(change, quoted[..end].trim()) { &quoted[..end] } else { "…" });
        left = &quoted[end..];
        if let Some(after) = left.strip_prefix(close) {
            shown.push_str(close);
            left = after;
        }
    }
    shown + left
}

/// The text is a part of a value of the write, as far as ASCII in whichever case.
fn holds(change: &Change, text: &str) -> bool {
    let is_part = |value: &[u8]| {
        text.is_empty()
            || value.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text.as_bytes()))
    };
    change.id_parts().chain(change.action.values().map(|(_, value)| value)).any(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::failure::Detail;
    use crate::model::mapping::tests::{resolve, users};
    use std::sync::Arc;

    /// What the writer of users:7, `username` ann and `email` a@x, reads.
    fn shown(sqlstate: &str, message: &str, text: &str, is_about_value: bool) -> (String, String) {
        let mapping = Arc::new(resolve(r#"{"table":"users"}"#, &users()).unwrap());
        let values = [(1, "ann"), (2, "a@x")];
        let values = values.map(|(c, value)| (c, value.as_bytes().into())).into();
        let change = Change::new(&mapping, b"users:7", Action::Upsert(values));
        let refusal = Refusal {
            sqlstate: sqlstate.into(),
            message: message.into(),
            detail: Some(Detail { text: text.into(), is_about_value }),
            ..Refusal::default()
        };
        let refusal = refusal.for_write(&change);
        (refusal.message, refusal.detail.map(|detail| detail.text.into()).unwrap_or_default())
    }

    fn detail(detail: &str) -> String {
        shown("23505", "", detail, false).1
    }

    #[test]
    fn a_key_of_the_writes_own_values_stays() {
        for kept in [
            "Key (email)=(a@x) already exists.",
            "Key (\"email\")=(a@x) already exists.",
            "Schlüssel »(email)=(a@x)« existiert bereits.",
            "Key (id)=(7) is still referenced from table \"orders\".",
            "Key (email, id)=(a@x, 7) already exists.",
        ] {
            assert_eq!(detail(kept), kept);
        }
    }

    #[test]
    fn what_may_hold_other_values_goes() {
        for gone in [
            "Failing row contains (7, ann, a@x, 1990-01-01).",
            "Fehlgeschlagene Zeile enthält (7, ann, a@x).",
            "Partition key of the failing row contains (dob) = (1990-01-01).",
            "Key (dob)=(1990-01-01) already exists.",
            "Key (email, dob)=(a@x, 1990-01-01) already exists.",
            "Key (lower(email))=(a@x) already exists.",
            // Another row's, or the value as a trigger has made it.
            "Key (id)=(8) is still referenced from table \"orders\".",
            "Key (email)=(b@x) already exists.",
            "Key (email)=(a@x) conflicts with existing key (email)=(secret).",
            "Key (email)=(a@x, secret) already exists.",
            "the salary is 5000",
            ")=(",
            "(",
            "()=()",
            "(email)=(",
            "(email)=(a@x",
        ] {
            assert_eq!(detail(gone), "", "{gone}");
        }
    }

    #[test]
    fn a_message_quotes_the_writes_own_values() {
        let message = |sqlstate, text| shown(sqlstate, text, "", false).0;
        for kept in [
            "invalid input syntax for type date: \"ann\"",
            "ungültige Eingabesyntax für Typ date: »ann«",
            "syntaxe en entrée invalide pour le type date : « ann »",
            "time zone \"ANN\" not recognized",
            "numeric field overflow",
        ] {
            assert_eq!(message("22007", kept), kept);
        }
        assert_eq!(message("22P02", "not an integer: \"5000\""), "not an integer: \"…\"");
        assert_eq!(message("22P02", "keine Zahl: »5000« \"ann\" x"), "keine Zahl: »…« \"ann\" x");
        assert_eq!(message("22P02", "no end: \"5000"), "no end: \"…");
        let names = "new row for relation \"users\" violates check constraint \"c\"";
        assert_eq!(message("23514", names), names);
        let bytes = "invalid byte sequence for encoding \"UTF8\": 0xff";
        assert_eq!(message("22021", bytes), bytes);
    }

    #[test]
    fn what_is_said_of_a_type_stays() {
        let scale = "A field with precision 5, scale 2 must round to less than 10^3.";
        assert_eq!(shown("22003", "", scale, true).1, scale);
        assert_eq!(shown("22003", "", scale, false).1, "");
        assert_eq!(shown("23514", "", scale, true).1, "");
        let token = |text: &str| format!("Token \"{text}\" is invalid.");
        assert_eq!(shown("22P02", "", &token("ann"), true).1, token("ann"));
        assert_eq!(shown("22P02", "", &token("5000"), true).1, token("…"));
    }
}
