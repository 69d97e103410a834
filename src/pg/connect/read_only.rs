//! Whether a server takes writes, and why it doesn't.

use postgres::Client;

use super::session::cell;
use crate::model::failure::READ_ONLY;

/// What a session is told outside of any transaction: what its next one would be.
const SQL: &str = "
    SELECT current_setting('transaction_read_only'), pg_is_in_recovery(),
           (SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only')";

/// Why this session can't write; `None` when it can.
pub fn why(client: &mut Client) -> Result<Option<String>, postgres::Error> {
    let told = client.simple_query(SQL)?;
    if cell(&told, 0) != Some("on") {
        return Ok(None);
    }
    if cell(&told, 1) == Some("t") {
        return Ok(Some("it is a standby, in recovery".into()));
    }
    let by = match cell(&told, 2).unwrap_or_default() {
        "user" => "by ALTER ROLE",
        "database" => "by ALTER DATABASE",
        "database user" => "by ALTER ROLE … IN DATABASE",
        "client" => "by the URL's options",
        "configuration file" => "in the server's configuration",
        _ => "in this session",
    };
    Ok(Some(format!("default_transaction_read_only is on {by}")))
}

/// In the words that the client and the log read.
pub fn text(address: &str, why: &str) -> String {
    format!("{READ_ONLY} {address} takes no writes: {why}")
}
