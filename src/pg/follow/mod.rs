//! The triggers by which other programs' writes are noted in the journal: made where they are missing, and
//! taken away.
//!
//! They fire once a statement, with all its rows, and call one function of the schema `writethrough`. What the
//! module itself writes is left out (its sessions say so), but for what follows from it: cascades, and
//! triggers of the table's own.

mod sql;

use std::collections::BTreeSet;

use postgres::Client;

use super::connect::session::Session;
use crate::model::mapping::{Mapping, Mappings};
use sql::{body, create_function, Trigger, DROP_FUNCTION, FUNCTION, RELATIONS, TRIGGERS};

/// What there is of one mapping's triggers.
#[derive(Debug, Default)]
pub struct State {
    /// Those that are as they have to be: table and event.
    pub present: Vec<String>,
    /// Those that are missing, or others.
    missing: Vec<Trigger>,
    /// Of its name, as they are and as somebody has left them.
    found: Vec<(String, String)>,
    /// The function is not as it has to be.
    needs_function: bool,
}

impl State {
    /// Nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && !self.needs_function
    }

    /// What is missing: table and event.
    pub fn missing(&self) -> impl Iterator<Item = String> + '_ {
        let function = self.needs_function.then(|| "the function writethrough.follow()".into());
        function.into_iter().chain(self.missing.iter().map(Trigger::shown))
    }

    /// What makes it, for somebody who may.
    pub fn sql(&self, session: &Session) -> String {
        let mut statements = Vec::new();
        if self.needs_function {
            statements.push(create_function(&session.settings));
        }
        statements.extend(self.missing.iter().map(Trigger::create));
        statements.join("\n")
    }
}

/// Looks at the triggers of a mapping. A view has none.
pub fn state(session: &mut Session, mapping: &Mapping) -> Result<State, postgres::Error> {
    let mut state = State::default();
    if !mapping.has_arbiter {
        return Ok(state);
    }
    let source: Option<String> =
        session.client.query_opt(FUNCTION, &[])?.and_then(|row| row.get(0));
    state.needs_function = source.as_deref() != Some(&body(&session.settings));
    let found: BTreeSet<(String, String, Vec<u8>)> = session
        .client
        .query(TRIGGERS, &[&mapping.relation])?
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    for row in session.client.query(RELATIONS, &[&mapping.relation])? {
        let table: String = row.get(0);
        for trigger in Trigger::all(mapping, &table) {
            let is_it = |(table, name, args): &(String, String, Vec<u8>)| {
                *table == trigger.table && *name == trigger.name() && *args == trigger.args()
            };
            match found.iter().any(is_it) {
                true => state.present.push(trigger.shown()),
                false => state.missing.push(trigger),
            }
        }
    }
    let own = Trigger::all(mapping, "").map(|trigger| trigger.name());
    state.found = found.into_iter().map(|(table, name, _)| (table, name)).collect();
    state.found.retain(|(_, name)| own.contains(name));
    Ok(state)
}

/// Makes what is missing, all of it or nothing. True when something was missing. A table that somebody has
/// locked is an error: then it is tried again later.
pub fn make(session: &mut Session, mapping: &Mapping) -> Result<bool, postgres::Error> {
    let state = state(session, mapping)?;
    if state.is_complete() {
        return Ok(false);
    }
    // One server after the other, so that none makes what another one has just made.
    let lock = "SELECT pg_advisory_xact_lock(8319104480);";
    let sql = format!("BEGIN; {lock} {} COMMIT", state.sql(session));
    run(&mut session.client, &sql)?;
    Ok(true)
}

/// Takes the triggers of these mappings away, and the function where no trigger calls it any more. Returns
/// how many there were.
pub fn drop(
    session: &mut Session,
    mappings: &Mappings,
    name: Option<&str>,
) -> Result<usize, postgres::Error> {
    let mut statements = Vec::new();
    for mapping in mappings.iter().filter(|mapping| name.is_none_or(|name| mapping.name == name)) {
        let found = state(session, mapping)?.found.into_iter();
        statements.extend(
            found.map(|(table, name)| {
                format!("DROP TRIGGER {} ON {table};", crate::sql::quote(&name))
            }),
        );
    }
    let count = statements.len();
    run(&mut session.client, &format!("BEGIN; {} {DROP_FUNCTION} COMMIT", statements.join(" ")))?;
    Ok(count)
}

fn run(client: &mut Client, sql: &str) -> Result<(), postgres::Error> {
    let done = client.batch_execute(sql);
    if done.is_err() {
        // A transaction that failed half-way must not stay open; the error is what counts.
        let _ = client.batch_execute("ROLLBACK");
    }
    done
}
