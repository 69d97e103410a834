//! The condition of a mapping's `preload`, as the database sees it.

use postgres::Client;

use super::CatalogError;
use crate::config::ConfigError;
use crate::model::mapping::Mapping;
use crate::pg::error::is_end;
use crate::sql;

/// SQLSTATE classes of errors that are the condition's own: what it names, how it is written, a value in
/// it, what PostgreSQL can't do.
const ITS_OWN: [&str; 3] = ["42", "22", "0A"];

/// Asks the database whether the condition of the document's `mappings[index]` is one.
pub fn check(client: &mut Client, index: usize, mapping: &Mapping) -> Result<(), CatalogError> {
    if mapping.preload.condition().is_none() {
        return Ok(());
    }
    let wrong = |problem: String| {
        let problem = format!("{problem}; expected a condition like \"state = 'active'\"");
        CatalogError::from(ConfigError::at(format!("mappings[{index}].preload"), problem))
    };
    let statement = client.prepare(&sql::page(mapping, false, 1)).map_err(|error| {
        let is_own = |code: &str| ITS_OWN.contains(&&code[..2]);
        match error.as_db_error().filter(|db| !is_end(&error) && is_own(db.code().code())) {
            Some(db) => wrong(db.message().to_string()),
            None => error.into(),
        }
    })?;
    match statement.params() {
        [] => Ok(()),
        _ => Err(wrong("it holds a parameter, and there is nothing to put there".into())),
    }
}
