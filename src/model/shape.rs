//! What gives the values of a mapping their text, and says which rows there are.
//!
//! When it changes, hashes differ from their rows although nobody wrote: a column that is added with a
//! default, a label of an enum that is renamed, a partition that is attached, another field in the
//! document.

use std::collections::BTreeMap;

/// Of one mapping, as the catalog was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// Changes when something changes, but for labels of enums.
    pub facts: String,
    /// The labels of all enums in the mapping's types, by their number.
    pub labels: BTreeMap<u32, String>,
    /// What is looked at.
    pub reach: Reach,
}

/// What a mapping's values are made of, by their numbers in the catalog: what a table leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// The table, its partitions, the tables behind a view.
    pub relations: Vec<u32>,
    /// The columns' types, and what those are made of.
    pub types: Vec<u32>,
    /// The functions of a view.
    pub functions: Vec<u32>,
}

impl Shape {
    /// Nothing is new.
    pub fn is(&self, facts: &str, labels: &BTreeMap<u32, String>) -> bool {
        self.facts == facts && self.labels == *labels
    }

    /// A value that was read by the earlier shape has the same text by this one. A label that is new
    /// is in no row yet.
    pub fn keeps_texts_of(&self, earlier: &Shape) -> bool {
        let is_kept = |(number, label)| self.labels.get(number) == Some(label);
        self.facts == earlier.facts && earlier.labels.iter().all(is_kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_may_be_added_but_not_renamed() {
        let shape = |facts: &str, labels: &[(u32, &str)]| Shape {
            facts: facts.into(),
            labels: labels.iter().map(|(number, label)| (*number, label.to_string())).collect(),
            ..Shape::default()
        };
        let earlier = shape("x", &[(1, "sad"), (2, "happy")]);
        assert!(shape("x", &[(1, "sad"), (2, "happy"), (3, "glad")]).keeps_texts_of(&earlier));
        assert!(!shape("x", &[(1, "sad"), (2, "glad")]).keeps_texts_of(&earlier));
        assert!(!shape("x", &[(1, "sad")]).keeps_texts_of(&earlier));
        assert!(!shape("y", &[(1, "sad"), (2, "happy")]).keeps_texts_of(&earlier));
        assert!(!earlier.is("x", &[(1, "sad".into())].into()));
    }
}
