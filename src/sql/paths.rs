//! Values inside `jsonb` columns: one expression a document, whatever a statement changes in it.
//!
//! `jsonb_set` makes no missing parents, leaves a document unchanged in silence where a parent is a
//! number or a text, and returns NULL for a NULL. So each level is set by itself: what is missing or null
//! becomes an object, and of what is no object or array PostgreSQL says so.

use super::names::{join, Names};
use crate::config::JsonType;

/// A key of a document, with what is set there.
#[derive(Default)]
struct Node<'a> {
    value: Option<String>,
    keys: Vec<(&'a str, Node<'a>)>,
}

impl<'a> Node<'a> {
    fn at(&mut self, path: &'a [String]) -> &mut Node<'a> {
        let Some((key, rest)) = path.split_first() else { return self };
        let at = self.keys.iter().position(|(name, _)| name == key).unwrap_or_else(|| {
            self.keys.push((key, Node::default()));
            self.keys.len() - 1
        });
        self.keys[at].1.at(rest)
    }

    /// The document below `path` of `before`.
    fn document(&self, before: &str, path: &mut Vec<&'a str>) -> String {
        let own = match (&self.value, path.is_empty()) {
            (Some(value), _) => value.clone(),
            (None, true) => before.to_string(),
            (None, false) => format!("{before} #> {}", array(path)),
        };
        if self.keys.is_empty() {
            return own;
        }
        let object = format!("coalesce(nullif({own}, 'null'), '{{}}')");
        self.keys.iter().fold(object, |object, (key, node)| {
            path.push(key);
            let below = node.document(before, path);
            path.pop();
            format!("jsonb_set({object}, {}, {below})", array(&[key]))
        })
    }
}

/// A text array.
fn array(keys: &[&str]) -> String {
    let keys = join(keys.iter(), ", ", |key| format!("'{}'", key.replace('\'', "''")));
    format!("ARRAY[{keys}]::text[]")
}

impl Names<'_> {
    /// What a mapped column holds, before it is made a text: a value of the column's type, or one inside
    /// its document.
    pub fn cell(&self, from: &str, column: usize) -> String {
        let name = format!("{from}.{}", self.column(column));
        match &self.mapping.columns[column].path {
            None => name,
            Some(path) => match path.json_type {
                JsonType::Text => format!("({name} #>> {})", self.path(column)),
                JsonType::Json => format!("({name} #> {})", self.path(column)),
            },
        }
    }

    /// The path of a column that has one.
    pub fn path(&self, column: usize) -> String {
        let keys = self.mapping.columns[column].path.as_ref().map(|path| &path.keys[..]);
        array(&keys.unwrap_or_default().iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// What an input becomes: the column's value, or one in its document.
    pub fn given(&self, column: usize) -> String {
        match self.mapping.columns[column].path {
            Some(_) => format!("to_jsonb(i.c{column})"),
            None => format!("i.c{column}"),
        }
    }

    /// What the row that was proposed has there.
    pub fn proposed(&self, column: usize) -> String {
        let name = format!("excluded.{}", self.column(column));
        match &self.mapping.columns[column].path {
            // A trigger may have removed it, and a NULL would wipe the document.
            Some(_) => format!("coalesce({name} #> {}, 'null')", self.path(column)),
            None => name,
        }
    }

    /// The table's own columns that these are in, each with what it becomes. `before` is what the table's
    /// column holds, `value` what is set.
    pub fn assigned(
        &self,
        columns: &[usize],
        before: impl Fn(&str) -> String,
        value: impl Fn(usize) -> String,
    ) -> Vec<(String, String)> {
        let mut assigned: Vec<(String, Node)> = Vec::new();
        for &c in columns {
            let name = self.column(c);
            let at = assigned.iter().position(|(other, _)| *other == name).unwrap_or_else(|| {
                assigned.push((name, Node::default()));
                assigned.len() - 1
            });
            let path = self.mapping.columns[c].path.as_ref();
            let node = assigned[at].1.at(path.map_or(&[], |path| &path.keys));
            node.value = Some(value(c));
        }
        let document = |(name, node): (String, Node)| {
            let document = node.document(&before(&name), &mut Vec::new());
            (name, document)
        };
        assigned.into_iter().map(document).collect()
    }

    /// The same where the values go.
    pub fn erased(&self, columns: &[usize]) -> Vec<(String, String)> {
        let mut erased: Vec<(String, String)> = Vec::new();
        for &c in columns {
            let name = self.column(c);
            let before = erased.iter().position(|(other, _)| *other == name);
            let document = before.map_or(format!("t.{name}"), |at| erased[at].1.clone());
            let after = match self.mapping.columns[c].path {
                None => "NULL".to_string(),
                // `#-` refuses a document that is no object, and `#>` doesn't.
                Some(_) if document != "NULL" => format!(
                    "CASE WHEN t.{name} #> {path} IS NULL THEN {document} ELSE {document} #- {path} END",
                    path = self.path(c),
                ),
                Some(_) => document,
            };
            match before {
                Some(at) => erased[at].1 = after,
                None => erased.push((name, after)),
            }
        }
        erased
    }

    /// The sum of what a column of `from` holds and `n`: as a number, or as a string where there was one.
    pub fn sum(&self, from: &str, column: usize, n: &str) -> String {
        let name = self.column(column);
        let Some(_) = self.mapping.columns[column].path else {
            return format!("coalesce({from}.{name}, '0') + {n}");
        };
        let path = self.path(column);
        let sum = format!("coalesce(({from}.{name} #>> {path})::numeric, 0) + {n}");
        format!(
            "CASE jsonb_typeof({from}.{name} #> {path}) WHEN 'string' THEN to_jsonb(({sum})::text) \
             ELSE to_jsonb({sum}) END"
        )
    }
}
