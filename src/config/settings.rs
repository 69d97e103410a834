//! The settings of a session on which the text of a value depends: what the document says of them.
//!
//! One row must always have the same text, whatever the role, the database or the URL says.

use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, Visitor};

use super::suggest;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// How a date is written; always ISO, and in which order a client's `01/02/2024` is read.
    DateStyle,
    /// How an interval is written.
    IntervalStyle,
    /// The zone in which a `timestamptz` is written.
    TimeZone,
    /// How a `bytea` inside an array or a composite value is written.
    ByteaOutput,
    /// How many digits a `real` or `double precision` has.
    ExtraFloatDigits,
    /// How `money` is written.
    LcMonetary,
}

impl Setting {
    /// All of them.
    pub const ALL: [Setting; 6] = [
        Setting::DateStyle,
        Setting::IntervalStyle,
        Setting::TimeZone,
        Setting::ByteaOutput,
        Setting::ExtraFloatDigits,
        Setting::LcMonetary,
    ];

    /// PostgreSQL's name.
    pub const fn name(self) -> &'static str {
        match self {
            Setting::DateStyle => "DateStyle",
            Setting::IntervalStyle => "IntervalStyle",
            Setting::TimeZone => "TimeZone",
            Setting::ByteaOutput => "bytea_output",
            Setting::ExtraFloatDigits => "extra_float_digits",
            Setting::LcMonetary => "lc_monetary",
        }
    }

    /// The value, or what would be right. PostgreSQL checks the rest.
    fn check(self, value: &str) -> Result<(), String> {
        if value.contains('\0') {
            return Err("must not hold a NUL".into());
        }
        match self {
            Setting::IntervalStyle if !["postgres", "iso_8601"].contains(&value) => {
                Err(format!("{value:?} is neither \"postgres\" nor \"iso_8601\""))
            }
            // The other styles leave out what tells two values apart.
            Setting::DateStyle if !["ISO, MDY", "ISO, DMY", "ISO, YMD"].contains(&value) => {
                Err(format!("{value:?}: expected \"ISO, MDY\", \"ISO, DMY\" or \"ISO, YMD\""))
            }
            _ => Ok(()),
        }
    }
}

/// What the document says; what it leaves out is the module's or the database's to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings([Option<String>; Setting::ALL.len()]);

impl Settings {
    /// What it says of one.
    pub fn get(&self, setting: Setting) -> Option<&str> {
        self.0[setting as usize].as_deref()
    }

    /// The first of those that it names whose name is in an error of the database.
    pub fn named_in(&self, error: &str) -> Option<Setting> {
        let is_named = |setting: &Setting| error.contains(&format!("\"{}\"", setting.name()));
        Setting::ALL.into_iter().filter(|setting| self.get(*setting).is_some()).find(is_named)
    }
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Settings, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Settings;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of PostgreSQL's settings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Settings, A::Error> {
                let mut settings = Settings::default();
                while let Some(setting) = map.next_key::<Setting>()? {
                    settings.0[setting as usize] = Some(map.next_value_seed(Checked(setting))?);
                }
                Ok(settings)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Setting, D::Error> {
        let name = String::deserialize(deserializer)?;
        Setting::ALL.into_iter().find(|setting| setting.name() == name).ok_or_else(|| {
            let names = Setting::ALL.map(Setting::name);
            let right = match suggest::among(&name, names) {
                near if near.is_empty() => format!("; expected one of {}", names.join(", ")),
                near => near,
            };
            de::Error::custom(format!("unknown setting {name:?}{right}"))
        })
    }
}

/// The value of a setting: a text, or a whole number.
struct Checked(Setting);

impl<'de> DeserializeSeed<'de> for Checked {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Checked {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a text or a whole number")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<String, E> {
        self.0.check(value).map_err(E::custom)?;
        Ok(value.to_string())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<String, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<String, E> {
        self.visit_str(&value.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Settings, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn a_value_is_a_text_or_a_number() {
        let settings = parse(
            r#"{"TimeZone":"Europe/Berlin","extra_float_digits":0,"DateStyle":"ISO, DMY",
                "IntervalStyle":"iso_8601"}"#,
        );
        let settings = settings.unwrap();
        assert_eq!(settings.get(Setting::TimeZone), Some("Europe/Berlin"));
        assert_eq!(settings.get(Setting::ExtraFloatDigits), Some("0"));
        assert_eq!(settings.get(Setting::DateStyle), Some("ISO, DMY"));
        assert_eq!(settings.get(Setting::LcMonetary), None);
        assert_eq!(parse("{}"), Ok(Settings::default()));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        let error = |json: &str| parse(json).unwrap_err();
        let near = r#"unknown setting "timezone"; did you mean "TimeZone"?"#;
        assert!(error(r#"{"timezone":"UTC"}"#).contains(near));
        assert!(error(r#"{"xmlbinary":"hex"}"#).contains("expected one of DateStyle, "));
        for style in ["German", "SQL, DMY", "ISO, XYZ", "ISO", "DMY", "iso, dmy", ""] {
            let text = error(&format!(r#"{{"DateStyle":"{style}"}}"#));
            assert!(text.contains(r#"expected "ISO, MDY""#), "{text}");
        }
        assert!(error(r#"{"IntervalStyle":"sql_standard"}"#).contains("neither"));
        assert!(error(r#"{"TimeZone":null}"#).contains("a text or a whole number"));
        assert!(error(r#"{"TimeZone":"a\u0000"}"#).contains("NUL"));
        assert!(error("7").contains("an object"));
    }

    #[test]
    fn an_error_names_its_setting() {
        let settings = parse(r#"{"TimeZone":"x","lc_monetary":"y"}"#).unwrap();
        let of = |text: &str| settings.named_in(text).map(Setting::name);
        assert_eq!(of(r#"invalid value for parameter "lc_monetary": "y""#), Some("lc_monetary"));
        assert_eq!(of(r#"invalid value for parameter "DateStyle": "y""#), None);
    }
}
