//! The settings on which the text of a value depends, the same for each session of this process.
//!
//! A role, a database or a URL can say otherwise, so each session is told. What the document leaves
//! out is fixed (ISO, `postgres`, hex, 1) or the database's own: its zone, the order in which it
//! reads dates, its currency. The first session finds those out, and all others follow it: one that
//! is made after an ALTER DATABASE prints no other text than those that were there before.

use std::sync::OnceLock;

use crate::config::settings::{Setting, Settings};

/// What the settings are, in the order of [`Setting::ALL`].
pub type Found = [String; Setting::ALL.len()];

/// The settings of all sessions.
#[derive(Debug)]
pub struct SessionSettings {
    /// What the document says.
    pub document: Settings,
    found: OnceLock<Found>,
}

impl SessionSettings {
    /// For a document.
    pub fn new(document: Settings) -> SessionSettings {
        SessionSettings { document, found: OnceLock::new() }
    }

    /// What sets them in a session; its row holds what they are then.
    pub fn sql(&self) -> String {
        let value = |setting: Setting| match (self.found.get(), self.document.get(setting)) {
            (Some(found), _) => literal(&found[setting as usize]),
            (None, Some(given)) => literal(given),
            (None, None) => default(setting).into(),
        };
        let set = |setting: Setting| {
            format!("set_config('{}', {}, false)", setting.name(), value(setting))
        };
        format!("{OWN} SELECT {} FROM own", Setting::ALL.map(set).join(", "))
    }

    /// A session was set so. True when all others are set like it; else it has to be set again.
    pub fn note(&self, found: Found) -> bool {
        *self.found.get_or_init(|| found.clone()) == found
    }

    /// What they are. None while there was no session.
    pub fn all(&self) -> impl Iterator<Item = (Setting, &str)> {
        let found = self.found.get().into_iter();
        found.flat_map(|found| Setting::ALL.into_iter().zip(found.iter().map(String::as_str)))
    }

    /// What they are, as one text. Empty while there was no session.
    pub fn text(&self) -> String {
        self.found.get().map(|found| found.join("\n")).unwrap_or_default()
    }
}

/// Without what the document says.
fn default(setting: Setting) -> &'static str {
    match setting {
        // One by one: `DateStyle = German` of a database holds no order, and the order that it
        // leaves as it is must not be the role's.
        Setting::DateStyle => {
            "'ISO, ' || split_part(set_config('DateStyle', \
                 CASE WHEN set_config('DateStyle', 'ISO, MDY', false) IS NOT NULL \
                 THEN coalesce(own.datestyle, 'ISO, MDY') END, false), ', ', 2)"
        }
        Setting::IntervalStyle => "'postgres'",
        Setting::TimeZone => "coalesce(own.timezone, 'UTC')",
        Setting::ByteaOutput => "'hex'",
        Setting::ExtraFloatDigits => "'1'",
        Setting::LcMonetary => "coalesce(own.lc_monetary, 'C')",
    }
}

/// What a session of the database has where neither role nor client says anything. Where one does,
/// the server's own configuration is hidden behind it. A pooler may have set something before us.
const OWN: &str = "
    RESET DateStyle; RESET TimeZone; RESET lc_monetary;
    WITH own AS MATERIALIZED (
        SELECT max(v) FILTER (WHERE name = 'DateStyle') AS datestyle,
               max(v) FILTER (WHERE name = 'TimeZone') AS timezone,
               max(v) FILTER (WHERE name = 'lc_monetary') AS lc_monetary
        FROM (SELECT s.name, CASE
                  WHEN s.source NOT IN ('user', 'database user', 'client', 'session') THEN s.setting
                  ELSE (SELECT substr(c, strpos(c, '=') + 1)
                        FROM pg_db_role_setting r, unnest(r.setconfig) c
                        WHERE r.setrole = 0 AND lower(split_part(c, '=', 1)) = lower(s.name)
                          AND r.setdatabase IN (0, (SELECT oid FROM pg_database
                                                    WHERE datname = current_database()))
                        ORDER BY r.setdatabase DESC LIMIT 1) END AS v
              FROM pg_settings s WHERE s.name IN ('DateStyle', 'TimeZone', 'lc_monetary')) x)";

/// A text in SQL, also where `standard_conforming_strings` is off.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sessions_follow_the_first() {
        let document = serde_json::from_str(r#"{"TimeZone":"it's\\x"}"#).unwrap();
        let settings = SessionSettings::new(document);
        assert!(settings.sql().contains(r"set_config('TimeZone', E'it''s\\x', false)"));
        assert!(settings.sql().contains("coalesce(own.lc_monetary, 'C')"));
        let found = ["ISO, DMY", "postgres", "UTC", "hex", "1", "C"].map(str::to_string);
        assert!(settings.note(found.clone()));
        assert!(settings.sql().contains("set_config('TimeZone', E'UTC', false)"));
        let mut other = found.clone();
        other[5] = "POSIX".into();
        assert!(!settings.note(other));
        assert!(settings.note(found));
    }
}
