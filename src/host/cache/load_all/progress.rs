//! How far loads are, for INFO, WT.STATUS and the log.

use std::time::Duration;

use super::{Load, LOADS};

/// A field's value.
pub enum Field {
    /// A number.
    Number(u64),
    /// A text.
    Text(String),
}

/// The fields of INFO: their names, and their values.
pub fn fields() -> Vec<(&'static str, Field)> {
    let loads = LOADS.get();
    let running = || loads.running.values();
    let sum = |of: &dyn Fn(&Load) -> usize| running().map(of).sum::<usize>();
    let states: Vec<String> =
        running().map(|load| format!("{}: {}", load.mapping.name, load.progress())).collect();
    let state = if states.is_empty() { "idle".into() } else { states.join("; ") };
    let left = running().filter_map(Load::seconds_left).max().unwrap_or_default();
    let last = loads.last.clone().unwrap_or_else(|| "none".into());
    vec![
        ("load_state", Field::Text(state)),
        ("load_running", Field::Number(loads.running.len() as u64)),
        ("load_rows", Field::Number((loads.loaded + sum(&|load| load.loaded)) as u64)),
        (
            "load_rows_left_alone",
            Field::Number((loads.left_alone + sum(&|load| load.left_alone)) as u64),
        ),
        ("load_rows_expected", Field::Number(running().filter_map(Load::expected).sum())),
        ("load_rows_per_second", Field::Number(running().map(Load::rate).sum())),
        ("load_seconds_left", Field::Number(left)),
        ("load_last", Field::Text(last)),
    ]
}

impl Load {
    /// Rows that it has looked at.
    fn seen(&self) -> u64 {
        (self.loaded + self.left_alone + self.unusable) as u64
    }

    /// How many there are, as far as that is known.
    pub(super) fn expected(&self) -> Option<u64> {
        let limit = u64::try_from(self.limit).unwrap_or(u64::MAX);
        self.about.map(|about| about.min(limit).max(self.seen()))
    }

    fn took(&self) -> Duration {
        self.began.map(|began| began.elapsed()).unwrap_or_default()
    }

    /// Rows a second.
    fn rate(&self) -> u64 {
        (self.seen() as f64 / self.took().as_secs_f64().max(0.001)) as u64
    }

    fn seconds_left(&self) -> Option<u64> {
        let left = self.expected()?.saturating_sub(self.seen());
        Some(left.div_ceil(self.rate().max(1)))
    }

    fn progress(&self) -> String {
        let waits = self.waits.as_ref().map(|why| format!("; waits: {why}")).unwrap_or_default();
        let Some(expected) = self.expected() else {
            return format!("begins{waits}");
        };
        format!(
            "{} of about {expected} rows, {} a second, {} s left{waits}",
            self.seen(),
            self.rate(),
            self.seconds_left().unwrap_or_default(),
        )
    }

    /// What it has done.
    pub(super) fn counts(&self) -> String {
        let mut text = format!("{} rows in {:.1} s", self.loaded, self.took().as_secs_f64());
        if self.left_alone > 0 {
            text.push_str(&format!(", {} left alone", self.left_alone));
        }
        if self.unusable > 0 {
            text.push_str(&format!(", {} can't be keys", self.unusable));
        }
        text
    }
}
