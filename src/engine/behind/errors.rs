//! Which errors set an entry aside, and how the others are told.

use crate::engine::{worker, StoreError};
use crate::model::failure::Refusal;
use crate::model::mapping::Mapping;

/// True when the database refuses this entry, whatever is tried; false where it would refuse others as well
/// until somebody has mended something.
pub(super) fn is_about_entry(refusal: &Refusal, mapping: &Mapping) -> bool {
    const MISSING: [&str; 5] = ["42P01", "42703", "42883", "42704", "3F000"];
    const SERVER: [&str; 8] = ["08", "25", "28", "53", "55", "57", "58", "XX"];
    match &*refusal.sqlstate {
        // A policy's refusal has the code of a missing right.
        "42501" => mapping.watched,
        code if MISSING.contains(&code) => false,
        code => !SERVER.contains(&code.get(..2).unwrap_or("XX")),
    }
}

/// Why it is tried again, without a row's values.
pub(super) fn describe(error: &StoreError) -> String {
    match error {
        StoreError::Refused(refusal) | StoreError::Conflict(refusal) => worker::describe(refusal),
        StoreError::Locked => "55P03 a row is locked".into(),
        StoreError::Canceled => "57014 a statement ran out of time".into(),
        StoreError::Down(reason) | StoreError::Retry(reason) => reason.clone(),
        StoreError::Lost(lost) => lost.reason.clone(),
        other => format!("{other:?}").chars().take(60).collect(),
    }
}
