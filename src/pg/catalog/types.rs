//! What is known of PostgreSQL's types.

use postgres::types::Type;

use crate::model::input_syntax::InputSyntax;

/// Which literals the type accepts for certain, in a database of that encoding. The modifier of
/// `varchar` and `numeric` is 4 more than what it says, and -1 where there is none.
pub fn input_syntax(ty: Option<&Type>, modifier: i32, is_utf8: bool) -> InputSyntax {
    let limit = usize::try_from(modifier - 4).ok();
    let text = |limit| if is_utf8 { InputSyntax::Text(limit) } else { InputSyntax::Ascii(limit) };
    match ty {
        Some(&Type::INT2) => InputSyntax::Integer(i16::MIN.into(), i16::MAX.into()),
        Some(&Type::INT4) => InputSyntax::Integer(i32::MIN.into(), i32::MAX.into()),
        Some(&Type::INT8) => InputSyntax::Integer(i64::MIN, i64::MAX),
        Some(&Type::TEXT) => text(None),
        Some(&Type::VARCHAR) => text(limit),
        Some(&Type::BYTEA) => InputSyntax::Bytes,
        Some(&Type::BOOL) => InputSyntax::Boolean,
        Some(&Type::DATE) => InputSyntax::Date,
        Some(&(Type::TIMESTAMP | Type::TIMESTAMPTZ)) => InputSyntax::Timestamp,
        // 10^-20 is no smaller than what `real` holds; past that a number is out of its range.
        Some(&(Type::FLOAT4 | Type::FLOAT8)) => InputSyntax::Decimal { whole: 30, fraction: 20 },
        Some(&Type::NUMERIC) => {
            // Precision in the upper half, scale in the lower 11 bits.
            let whole = limit.map(|limit| (limit >> 16).saturating_sub(limit & 0x7ff));
            InputSyntax::Decimal { whole: whole.unwrap_or(1000), fraction: 100 }
        }
        _ => InputSyntax::Unknown,
    }
}

/// Two values of the type are equal only where their texts are the same: a key of this type names one
/// row. Not so for `numeric` (1 and 1.00), `float8` (0 and -0), `citext`, domains and many more.
pub fn is_identity(ty: Option<&Type>, is_deterministic: bool) -> bool {
    match ty {
        Some(&(Type::TEXT | Type::VARCHAR)) => is_deterministic,
        Some(&(Type::INT2 | Type::INT4 | Type::INT8 | Type::UUID | Type::BYTEA | Type::BOOL)) => {
            true
        }
        _ => false,
    }
}
