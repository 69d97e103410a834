//! The triggers by which other programs' writes are noted in the journal: made where they are missing, and
//! taken away.
//!
//! For ordinary sessions they fire once a statement, with all its rows; where `session_replication_role` is
//! `replica`, once a row. They call a function of the schema `writethrough`, one for each
//! mapping: its statements are planned once a session. What the module itself writes is left out (its
//! sessions say so), but for what follows from it: cascades, and triggers of the table's own.
//!
//! What was written while a trigger was missing isn't noted. So whoever makes triggers notes in the same
//! transaction that all rows of the mapping may have changed: each server on the table reads it.

mod sql;

use std::collections::{BTreeMap, BTreeSet};

use super::connect::own_schema::{self, Kept};
use super::connect::session::Session;
use crate::model::mapping::{Mapping, Mappings};
use sql::{Function, Trigger, FUNCTION, TRIGGERS};

/// What there is of one mapping's triggers.
#[derive(Debug, Default)]
pub struct State {
    /// Those that are as they have to be: table and event.
    pub present: Vec<String>,
    tables: Vec<Table>,
    /// Makes the function, where it is not as it has to be.
    function: Option<String>,
    /// Notes that all rows may have changed.
    note: String,
}

/// What there is on one table.
#[derive(Debug)]
struct Table {
    /// Quoted, with the schema.
    name: String,
    /// It has rows, not partitions.
    has_rows: bool,
    /// This role may do with its triggers what only the owner may.
    is_owned: bool,
    /// Those that call the mapping's function, by their names.
    found: BTreeMap<String, Found>,
    /// All that it has to have, where one of them is missing or other than that.
    wanted: Vec<Trigger>,
    /// Those that are missing, or other.
    missing: Vec<String>,
}

/// A trigger that there is.
#[derive(Debug)]
struct Found {
    /// When it fires: `pg_trigger.tgenabled`.
    fires: String,
    /// The transaction that wrote it.
    writer: String,
}

/// What has become of the triggers that were missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// None is missing.
    All,
    /// All but those that only a table's owner may make.
    WhatMayBeMade,
}

impl State {
    /// Nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.function.is_none() && self.tables.iter().all(|table| table.missing.is_empty())
    }

    /// What is missing: table and event.
    pub fn missing(&self) -> impl Iterator<Item = String> + '_ {
        let function = self.function.as_ref().map(|_| "the function".to_string());
        function.into_iter().chain(self.tables.iter().flat_map(|table| table.missing.clone()))
    }

    /// What makes it, for somebody who may. Nothing where nothing is missing.
    pub fn sql(&self) -> String {
        self.statements(|table| table.wanted.iter().map(Trigger::replace).collect())
    }

    /// As much of it as this role may do.
    fn own_sql(&self) -> String {
        self.statements(|table| match table.is_owned {
            true => table.wanted.iter().map(Trigger::replace).collect(),
            false => {
                let is_possible = |trigger: &&Trigger| {
                    trigger.serves_ordinary_sessions() && !table.found.contains_key(&trigger.name())
                };
                table.wanted.iter().filter(is_possible).map(Trigger::create).collect()
            }
        })
    }

    fn statements(&self, triggers: impl Fn(&Table) -> Vec<String>) -> String {
        let mut all: Vec<String> = self.function.clone().into_iter().collect();
        all.extend(self.tables.iter().flat_map(triggers));
        if all.is_empty() {
            return String::new();
        }
        all.push(self.note.clone());
        sql::together(&all.join("\n"))
    }
}

impl Table {
    /// Of these triggers some are missing, are disabled, or don't fire when they have to. One that was disabled
    /// and enabled again by hand has another writer than the others: what was written meanwhile isn't noted. (`ENABLE TRIGGER
    /// ALL`, as of pg_restore, leaves others than those that there have to be.)
    fn look_at(&mut self, all: Vec<Trigger>, present: &mut Vec<String>) {
        let mut writers = self.found.values().map(|found| &found.writer);
        let first = writers.next();
        let is_of_one_make = writers.all(|writer| Some(writer) == first);
        let is_right = |trigger: &Trigger| {
            let found = self.found.get(&trigger.name());
            is_of_one_make && found.is_some_and(|found| found.fires == trigger.fires())
        };
        for trigger in &all {
            match is_right(trigger) {
                true => present.push(trigger.shown()),
                false => self.missing.push(trigger.shown()),
            }
        }
        if !self.missing.is_empty() {
            self.wanted = all;
        }
    }
}

/// Looks at the triggers of a mapping. A view has none.
pub fn state(session: &mut Session, mapping: &Mapping) -> Result<State, postgres::Error> {
    let mut state = State { note: sql::note_all(mapping), ..State::default() };
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
    for row in session.client.query(TRIGGERS, &[&mapping.relation, &function.name()])? {
        let name: String = row.get(0);
        if state.tables.last().is_none_or(|table| table.name != name) {
            let (has_rows, is_owned) = (row.get(1), row.get(2));
            let (found, wanted, missing) = Default::default();
            state.tables.push(Table { name, has_rows, is_owned, found, wanted, missing });
        }
        let (Some(table), Some(trigger)) = (state.tables.last_mut(), row.get(3)) else { continue };
        table.found.insert(trigger, Found { fires: row.get(4), writer: row.get(5) });
    }
    for table in &mut state.tables {
        let all = Trigger::all(&function, &table.name, table.has_rows);
        table.look_at(all, &mut state.present);
    }
    Ok(state)
}

/// Makes what is missing and this role may make, all of it or nothing. A table that somebody has
/// locked is an error: then it is tried again later. Returns also the tables that have the rows, by their names.
pub fn make(
    session: &mut Session,
    mapping: &Mapping,
) -> Result<(Made, BTreeSet<String>), postgres::Error> {
    let state = state(session, mapping)?;
    let statements = state.own_sql();
    if !statements.is_empty() {
        own_schema::change(&mut session.client, Kept::Triggers, &statements)?;
    }
    let is_all = |table: &Table| table.missing.is_empty() || table.is_owned;
    let made = match state.tables.iter().all(is_all) {
        true => Made::All,
        false => Made::WhatMayBeMade,
    };
    Ok((made, state.tables.into_iter().map(|table| table.name).collect()))
}

/// Notes that all rows of a mapping may have changed: no trigger has seen what was written.
pub fn note_all(session: &mut Session, mapping: &Mapping) -> Result<(), postgres::Error> {
    session.client.batch_execute(&sql::note_all(mapping))
}

/// Takes the triggers of these mappings away, and their functions. Returns how many triggers there were.
pub fn drop(
    session: &mut Session,
    mappings: &Mappings,
    name: Option<&str>,
) -> Result<usize, postgres::Error> {
    let (mut statements, mut count) = (Vec::new(), 0);
    for mapping in mappings.iter().filter(|mapping| name.is_none_or(|name| mapping.name == name)) {
        for table in state(session, mapping)?.tables {
            for name in table.found.keys() {
                statements.push(format!(
                    "DROP TRIGGER {} ON {};",
                    crate::sql::quote(name),
                    table.name
                ));
                count += 1;
            }
        }
        statements.push(Function::of(mapping, &session.settings).drop());
    }
    own_schema::change(&mut session.client, Kept::Triggers, &statements.join(" "))?;
    Ok(count)
}
