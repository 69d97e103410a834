//! What a statement does, without its values.

use super::action::Action;

/// What a statement does with its rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Form {
    /// Set these columns; insert missing rows.
    Upsert(Vec<usize>),
    /// Set these columns, and all others to their defaults; insert missing rows.
    Replace(Vec<usize>),
    /// Set in each row the columns that its own action names; leave missing rows out.
    Mixed,
    /// Set these columns to NULL.
    Erase(Vec<usize>),
    /// Add to this column; insert missing rows.
    Add(usize),
    /// Set this column where it is NULL; insert missing rows.
    Fill(usize),
    /// Delete the rows.
    Delete,
    /// Read the rows.
    Read,
    /// Lock the rows, and read them.
    Lock,
    /// No statement at all.
    Pass,
}

impl Form {
    /// The form of an action.
    pub fn of(action: &Action) -> Form {
        match action {
            Action::Upsert(sets) => Form::Upsert(sets.iter().map(|(c, _)| *c).collect()),
            Action::Replace(sets) => Form::Replace(sets.iter().map(|(c, _)| *c).collect()),
            Action::Erase(columns) => Form::Erase(columns.clone()),
            Action::Add(column, _) => Form::Add(*column),
            Action::Fill(column, _) => Form::Fill(*column),
            Action::Delete => Form::Delete,
            Action::Read => Form::Read,
            Action::Expect(_) => Form::Lock,
            Action::Pass => Form::Pass,
        }
    }

    /// The columns, besides the key's, that a missing row is added with; `None` where none is added.
    pub fn added(&self) -> Option<Vec<usize>> {
        match self {
            Form::Upsert(columns) | Form::Replace(columns) => Some(columns.clone()),
            Form::Add(column) | Form::Fill(column) => Some(vec![*column]),
            _ => None,
        }
    }

    /// True when it only looks at rows.
    pub fn only_looks(&self) -> bool {
        matches!(self, Form::Read | Form::Lock | Form::Pass)
    }

    /// True when doing it twice differs from doing it once, in the row or in the answer.
    pub fn is_once(&self) -> bool {
        matches!(self, Form::Add(_) | Form::Fill(_))
    }

    /// `*self == Form::of(action)`, without making one.
    pub fn is_of(&self, action: &Action) -> bool {
        match (self, action) {
            (Form::Upsert(columns), Action::Upsert(sets)) => {
                columns.iter().eq(sets.iter().map(|(c, _)| c))
            }
            (Form::Upsert(_), _) | (_, Action::Upsert(_)) => false,
            _ => *self == Form::of(action),
        }
    }
}
