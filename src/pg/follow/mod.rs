//! The triggers by which other programs' writes are noted in the journal: made where they are missing, and
//! taken away.
//!
//! They fire once a statement, with all its rows, and call a function of the schema `writethrough`, one for each
//! mapping: its statements are planned once a session. What the module itself writes is left out (its
//! sessions say so), but for what follows from it: cascades, and triggers of the table's own.

mod sql;

use std::collections::BTreeSet;

use super::connect::own_schema::{self, Kept};
use super::connect::session::Session;
use crate::model::mapping::{Mapping, Mappings};
use sql::{Function, Trigger, FUNCTION, RELATIONS, TRIGGERS};

/// What there is of one mapping's triggers.
#[derive(Debug, Default)]
pub struct State {
    /// Those that are as they have to be: table and event.
    pub present: Vec<String>,
    /// Those that are missing, or others.
    missing: Vec<Trigger>,
    /// Of its name, as they are and as somebody has left them.
    found: Vec<(String, String)>,
    /// Makes the function, where it is not as it has to be.
    function: Option<String>,
}

impl State {
    /// Nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.function.is_none()
    }

    /// What is missing: table and event.
    pub fn missing(&self) -> impl Iterator<Item = String> + '_ {
        let function = self.function.as_ref().map(|_| "the function".to_string());
        function.into_iter().chain(self.missing.iter().map(Trigger::shown))
    }

    /// What makes it, for somebody who may.
    pub fn sql(&self) -> String {
        let triggers = self.missing.iter().map(Trigger::create);
        self.function.clone().into_iter().chain(triggers).collect::<Vec<_>>().join("\n")
    }
}

/// Looks at the triggers of a mapping. A view has none.
pub fn state(session: &mut Session, mapping: &Mapping) -> Result<State, postgres::Error> {
    let mut state = State::default();
    if !mapping.has_arbiter {
        return Ok(state);
    }
    let settings = session.settings.clone();
    let function = Function::of(mapping, &settings);
    let source = session.client.query_opt(FUNCTION, &[&function.name()])?;
    let source: Option<String> = source.and_then(|row| row.get(0));
    if source.as_deref() != Some(&function.body()) {
        state.function = Some(function.create());
    }
    let found = session.client.query(TRIGGERS, &[&mapping.relation, &function.name()])?;
    let found: BTreeSet<(String, String)> =
        found.iter().map(|row| (row.get(0), row.get(1))).collect();
    for row in session.client.query(RELATIONS, &[&mapping.relation])? {
        let table: String = row.get(0);
        for trigger in Trigger::all(&function, &table) {
            match found.contains(&(table.clone(), trigger.name())) {
                true => state.present.push(trigger.shown()),
                false => state.missing.push(trigger),
            }
        }
    }
    state.found = found.into_iter().collect();
    Ok(state)
}

/// Makes what is missing, all of it or nothing. True when something was missing. A table that somebody has
/// locked is an error: then it is tried again later.
pub fn make(session: &mut Session, mapping: &Mapping) -> Result<bool, postgres::Error> {
    let state = state(session, mapping)?;
    if state.is_complete() {
        return Ok(false);
    }
    own_schema::change(&mut session.client, Kept::Triggers, &state.sql())?;
    Ok(true)
}

/// Takes the triggers of these mappings away, and their functions. Returns how many triggers there were.
pub fn drop(
    session: &mut Session,
    mappings: &Mappings,
    name: Option<&str>,
) -> Result<usize, postgres::Error> {
    let (mut statements, mut count) = (Vec::new(), 0);
    for mapping in mappings.iter().filter(|mapping| name.is_none_or(|name| mapping.name == name)) {
        for (table, name) in state(session, mapping)?.found {
            statements.push(format!("DROP TRIGGER {} ON {table};", crate::sql::quote(&name)));
            count += 1;
        }
        statements.push(Function::of(mapping, &session.settings).drop());
    }
    own_schema::change(&mut session.client, Kept::Triggers, &statements.join(" "))?;
    Ok(count)
}
