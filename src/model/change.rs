//! What one write does to one row.

use std::sync::Arc;

use super::action::{Action, Bytes};
use super::input_syntax;
use super::mapping::Mapping;

/// What one write does to one row.
#[derive(Debug, Clone)]
pub struct Change {
    /// The table and its columns.
    pub mapping: Arc<Mapping>,
    /// The final key, `users:1`; the id follows the mapping's name.
    pub target: Arc<[u8]>,
    /// What happens to the row.
    pub action: Action,
}

impl AsRef<Change> for Change {
    fn as_ref(&self) -> &Change {
        self
    }
}

impl Change {
    /// A change for a final key whose id was checked before.
    pub fn new(mapping: &Arc<Mapping>, target: &[u8], action: Action) -> Change {
        Change::of(mapping, target.into(), action)
    }

    /// The same, where the key is shared.
    pub fn of(mapping: &Arc<Mapping>, target: Arc<[u8]>, action: Action) -> Change {
        Change { mapping: mapping.clone(), target, action }
    }

    /// The id's parts, one a key column. The host checked their number when it took the write.
    pub fn id_parts(&self) -> impl Iterator<Item = &[u8]> {
        let id = &self.target[self.mapping.name.len() + 1..];
        id.splitn(self.mapping.key_len, |&b| b == b':')
    }

    /// Bytes that the change holds, for the bounds of a batch.
    pub fn size(&self) -> usize {
        self.target.len() + self.action.values().map(|(_, value)| value.len() + 32).sum::<usize>()
    }

    /// True when some value can't even be sent as text: the database would refuse the whole
    /// statement without saying which row it means.
    pub fn is_unsendable(&self) -> bool {
        let mut cells = self.id_parts().enumerate().chain(self.action.values());
        cells.any(|(column, value)| {
            !self.mapping.columns[column].info.bytea && !input_syntax::is_text(value)
        })
    }

    /// Within a transaction it may be done before or after the writes of other rows. Deleting is on no such
    /// list: it may delete rows of other tables.
    pub fn stands_alone(&self) -> bool {
        let holds_alone = |column: usize| self.mapping.columns[column].holds_alone;
        let all = self.mapping.key_len..self.mapping.columns.len();
        let sets_alone = match &self.action {
            Action::Upsert(_) | Action::Add(..) | Action::Fill(..) => {
                self.action.values().all(|(column, _)| holds_alone(column))
            }
            Action::Erase(columns) => columns.iter().all(|column| holds_alone(*column)),
            Action::Replace(_) => all.into_iter().all(holds_alone),
            Action::Read | Action::Expect(_) | Action::Pass => true,
            Action::Delete => false,
        };
        sets_alone && self.mapping.stands_alone && !self.is_unsendable()
    }

    /// The same change by a newer reading of the catalog or the document; an error when a column
    /// that it names is gone.
    pub fn adopt(&mut self, mapping: &Arc<Mapping>) -> Result<(), String> {
        let is_same_key = self.mapping.key_columns().eq(mapping.key_columns());
        if !is_same_key {
            return Err(format!("mapping {:?} has another key now", mapping.name));
        }
        let renumber = |column: usize| {
            let own = &self.mapping.columns[column];
            let name = &own.info.name;
            let found = mapping.columns.iter().position(|c| c.is_same(own));
            found.ok_or_else(|| format!("mapping {:?} has no column {name:?} now", mapping.name))
        };
        let renumber_all = |sets: &[(usize, Bytes)]| {
            let sets = sets.iter().map(|(c, value)| Ok((renumber(*c)?, value.clone())));
            let mut sets = sets.collect::<Result<Vec<_>, String>>()?;
            sets.sort_by_key(|(column, _)| *column);
            Ok::<_, String>(sets)
        };
        self.action = match &self.action {
            Action::Upsert(sets) => Action::Upsert(renumber_all(sets)?),
            Action::Replace(sets) => Action::Replace(renumber_all(sets)?),
            Action::Expect(sets) => Action::Expect(renumber_all(sets)?),
            Action::Erase(columns) => {
                let columns = columns.iter().map(|c| renumber(*c));
                let mut columns = columns.collect::<Result<Vec<_>, String>>()?;
                columns.sort_unstable();
                Action::Erase(columns)
            }
            Action::Add(column, value) => Action::Add(renumber(*column)?, value.clone()),
            Action::Fill(column, value) => Action::Fill(renumber(*column)?, value.clone()),
            Action::Delete => Action::Delete,
            Action::Read => Action::Read,
            Action::Pass => Action::Pass,
        };
        self.mapping = mapping.clone();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::mapping::tests::{resolve, users};

    #[test]
    fn what_is_no_text_is_found() {
        let mapping = Arc::new(resolve(r#"{"table":"users"}"#, &users()).unwrap());
        let unsendable = |target: &[u8], value: &[u8]| {
            let action = Action::Upsert(vec![(1, value.into())]);
            Change::new(&mapping, target, action).is_unsendable()
        };
        assert!(!unsendable(b"users:1", "é".as_bytes()));
        assert!(unsendable(b"users:1", b"\xff"));
        assert!(unsendable(b"users:1", b"a\0"));
        assert!(unsendable(b"users:\xff", b"a"));
    }
}
