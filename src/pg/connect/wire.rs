//! Values on the wire: arrays of raw bytes out, cells as raw bytes in.
//!
//! The database decides what is valid. So text is sent unchecked (a wrong byte is its error
//! 22021), and cells are read as they come.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use postgres::types::{to_sql_checked, FromSql, IsNull, ToSql, Type};

/// One column's values for the rows of a statement: `text[]` or `bytea[]`.
#[derive(Debug)]
pub struct Array<'a>(pub Vec<Option<&'a [u8]>>);

impl ToSql for Array<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let element = if *ty == Type::BYTEA_ARRAY { Type::BYTEA } else { Type::TEXT };
        // One dimension, whether there are NULLs, the element's type, its length, the lower bound.
        out.put_i32(1);
        out.put_i32(self.0.iter().any(Option::is_none).into());
        out.put_u32(element.oid());
        out.put_i32(i32::try_from(self.0.len())?);
        out.put_i32(1);
        for value in &self.0 {
            match value {
                Some(value) => {
                    out.put_i32(i32::try_from(value.len())?);
                    out.put_slice(value);
                }
                None => out.put_i32(-1),
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TEXT_ARRAY || *ty == Type::BYTEA_ARRAY
    }

    to_sql_checked!();
}

/// One value: `text` or `bytea`.
#[derive(Debug)]
pub struct Value<'a>(pub &'a [u8]);

impl ToSql for Value<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(self.0);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TEXT || *ty == Type::BYTEA
    }

    to_sql_checked!();
}

/// A cell's bytes as they came; only `text` and `bytea` are ever selected.
pub struct Cell<'a>(pub Option<&'a [u8]>);

impl<'a> FromSql<'a> for Cell<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Cell(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Cell(None))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TEXT || *ty == Type::BYTEA
    }
}
