//! What is known of PostgreSQL's types.

use postgres::types::Type;

use crate::literal::Literal;

/// Which literals the type accepts for certain. The modifier of `varchar` and `numeric` is 4 more
/// than what it says, and -1 where there is none.
pub fn literal(ty: Option<&Type>, modifier: i32) -> Literal {
    let limit = usize::try_from(modifier - 4).ok();
    match ty {
        Some(&Type::INT2) => Literal::Integer(i16::MIN.into(), i16::MAX.into()),
        Some(&Type::INT4) => Literal::Integer(i32::MIN.into(), i32::MAX.into()),
        Some(&Type::INT8) => Literal::Integer(i64::MIN, i64::MAX),
        Some(&Type::TEXT) => Literal::Text(None),
        Some(&Type::VARCHAR) => Literal::Text(limit),
        Some(&Type::BYTEA) => Literal::Bytes,
        Some(&Type::BOOL) => Literal::Boolean,
        Some(&Type::DATE) => Literal::Date,
        Some(&(Type::TIMESTAMP | Type::TIMESTAMPTZ)) => Literal::Timestamp,
        Some(&(Type::FLOAT4 | Type::FLOAT8)) => Literal::Decimal(30),
        Some(&Type::NUMERIC) => match limit {
            None => Literal::Decimal(1000),
            // Precision in the upper half, scale in the lower 11 bits.
            Some(limit) => Literal::Decimal((limit >> 16).saturating_sub(limit & 0x7ff)),
        },
        _ => Literal::Unknown,
    }
}
