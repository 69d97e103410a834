//! Which texts a column's type accepts for certain.
//!
//! Two writes of one row can share a statement only if the database would have taken the one that
//! is overwritten. For common literals that can be said without asking; for all others the answer
//! is "not certain", and the writes go one after the other.

/// What is known of a type's input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InputSyntax {
    /// Nothing.
    #[default]
    Unknown,
    /// Any valid UTF-8 without NUL, of this many characters at most.
    Text(Option<usize>),
    /// The same, of ASCII only: the database's encoding may lack every other character.
    Ascii(Option<usize>),
    /// Any bytes.
    Bytes,
    /// A whole number within these bounds.
    Integer(i64, i64),
    /// A decimal number with fewer digits before the point than `whole`, and no more than `fraction`
    /// after it.
    Decimal {
        /// Digits before the point.
        whole: usize,
        /// Digits after it.
        fraction: usize,
    },
    /// `true` or `false`.
    Boolean,
    /// `YYYY-MM-DD`.
    Date,
    /// `YYYY-MM-DD HH:MM:SS` with an optional fraction.
    Timestamp,
}

impl InputSyntax {
    /// True when the type accepts `value` for certain.
    pub fn accepts(self, value: &[u8]) -> bool {
        match self {
            InputSyntax::Unknown => false,
            InputSyntax::Bytes => true,
            InputSyntax::Text(most) => {
                is_text(value)
                    && most.is_none_or(|most| {
                        // Bytes bound characters from above: no need to count in the common case.
                        value.len() <= most
                            || String::from_utf8_lossy(value).chars().count() <= most
                    })
            }
            InputSyntax::Ascii(most) => {
                is_text(value) && value.is_ascii() && most.is_none_or(|most| value.len() <= most)
            }
            InputSyntax::Integer(low, high) => std::str::from_utf8(value)
                .ok()
                .filter(|text| !text.starts_with('+'))
                .and_then(|text| text.parse::<i64>().ok())
                .is_some_and(|number| (low..=high).contains(&number)),
            InputSyntax::Decimal { whole, fraction } => is_decimal(value, whole, fraction),
            InputSyntax::Boolean => matches!(value, b"true" | b"false" | b"t" | b"f"),
            InputSyntax::Date => is_date(value),
            InputSyntax::Timestamp => is_timestamp(value),
        }
    }
}

/// Text that PostgreSQL can hold at all.
pub fn is_text(value: &[u8]) -> bool {
    !value.contains(&0) && std::str::from_utf8(value).is_ok()
}

fn is_decimal(value: &[u8], most: usize, most_after: usize) -> bool {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let point = digits.iter().position(|&b| b == b'.').unwrap_or(digits.len());
    let (whole, fraction) = digits.split_at(point);
    let fraction_is_fine = match fraction {
        [] => true,
        [_, rest @ ..] => {
            !rest.is_empty() && rest.len() <= most_after && rest.iter().all(u8::is_ascii_digit)
        }
    };
    // One digit fewer than fits: rounding the fraction may carry into a new digit.
    !whole.is_empty()
        && whole.len() < most
        && whole.iter().all(u8::is_ascii_digit)
        && fraction_is_fine
}

/// A two-digit number within bounds.
fn two(value: &[u8], low: u8, high: u8) -> bool {
    matches!(value, [a @ b'0'..=b'9', b @ b'0'..=b'9']
        if (low..=high).contains(&((a - b'0') * 10 + (b - b'0'))))
}

fn is_date(value: &[u8]) -> bool {
    // Day 29 and later exist in some months only: not certain.
    value.len() == 10
        && value[..4].iter().all(u8::is_ascii_digit)
        && &value[..4] != b"0000"
        && value[4] == b'-'
        && two(&value[5..7], 1, 12)
        && value[7] == b'-'
        && two(&value[8..10], 1, 28)
}

fn is_timestamp(value: &[u8]) -> bool {
    value.len() >= 19
        && is_date(&value[..10])
        && matches!(value[10], b' ' | b'T')
        && two(&value[11..13], 0, 23)
        && value[13] == b':'
        && two(&value[14..16], 0, 59)
        && value[16] == b':'
        && two(&value[17..19], 0, 59)
        && match &value[19..] {
            [] => true,
            [b'.', rest @ ..] => {
                (1..=6).contains(&rest.len()) && rest.iter().all(u8::is_ascii_digit)
            }
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certain_only_where_it_is() {
        let integer = InputSyntax::Integer(-32768, 32767);
        let decimal = InputSyntax::Decimal { whole: 8, fraction: 3 };
        let table: &[(InputSyntax, &str, bool)] = &[
            (InputSyntax::Unknown, "1", false),
            (InputSyntax::Text(None), "a", true),
            (InputSyntax::Text(None), "a\0", false),
            (InputSyntax::Text(Some(2)), "äö", true),
            (InputSyntax::Text(Some(2)), "abc", false),
            (InputSyntax::Ascii(None), "a", true),
            (InputSyntax::Ascii(None), "ä", false),
            (InputSyntax::Ascii(Some(2)), "abc", false),
            (integer, "32767", true),
            (integer, "32768", false),
            (integer, "+1", false),
            (integer, " 1", false),
            (integer, "", false),
            (decimal, "-1234567.005", true),
            (decimal, "1.0055", false),
            (decimal, "12345678", false),
            (decimal, "1.", false),
            (decimal, ".5", false),
            (decimal, "1e5", false),
            (InputSyntax::Boolean, "true", true),
            (InputSyntax::Boolean, "perhaps", false),
            (InputSyntax::Date, "1990-02-28", true),
            (InputSyntax::Date, "1990-02-29", false),
            (InputSyntax::Date, "1990-13-01", false),
            (InputSyntax::Date, "today", false),
            (InputSyntax::Timestamp, "1990-01-02 03:04:05", true),
            (InputSyntax::Timestamp, "1990-01-02 03:04:05.123456", true),
            (InputSyntax::Timestamp, "1990-01-02 24:04:05", false),
            (InputSyntax::Timestamp, "1990-01-02 03:04:05+01", false),
        ];
        for &(syntax, value, expected) in table {
            assert_eq!(syntax.accepts(value.as_bytes()), expected, "{syntax:?} {value:?}");
        }
        assert!(InputSyntax::Bytes.accepts(b"\xff\0"));
        assert!(!InputSyntax::Text(None).accepts(b"\xff"));
    }
}
