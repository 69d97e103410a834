//! Panics on request, so that a test sees what becomes of their clients. Debug builds only.

use super::job::Row;

/// Panics when a row is set to the text `name`, and the environment asks for it.
pub fn hit(rows: &[Row], name: &str) {
    let asked = |row: &Row| row.action().values().any(|(_, value)| value == name.as_bytes());
    if std::env::var_os("WRITETHROUGH_FAILPOINTS").is_some() && rows.iter().any(asked) {
        panic!("{name}, as asked");
    }
}
