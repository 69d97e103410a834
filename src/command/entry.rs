//! An entry of a queue that is written behind: a command on one row, as its client gave it.
//!
//! Fields in pairs: `1.hincrby <id>`, then the arguments. The number is the version of this form.

use std::ffi::CStr;

use super::{hdel, hincrby, hset, hsetnx, Write};
use crate::model::mapping::Mapping;

/// What an entry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `HSET`, `HMSET`
    Set,
    /// The same where the row is replaced: columns that are not named get their defaults.
    Replace,
    /// `HSETNX`
    SetNx,
    /// `HINCRBY`
    Add,
    /// `HINCRBYFLOAT`
    AddFloat,
    /// `HDEL`
    Erase,
    /// `DEL`, `UNLINK`
    Delete,
}

/// Each with the first field of its entry, and its command on a hash.
const OPS: [(Op, &[u8], &CStr); 7] = [
    (Op::Set, b"1.hset", c"HSET"),
    (Op::Replace, b"1.replace", c"HSET"),
    (Op::SetNx, b"1.hsetnx", c"HSETNX"),
    (Op::Add, b"1.hincrby", c"HINCRBY"),
    (Op::AddFloat, b"1.hincrbyfloat", c"HINCRBYFLOAT"),
    (Op::Erase, b"1.hdel", c"HDEL"),
    (Op::Delete, b"1.del", c"UNLINK"),
];

impl Op {
    /// Of a command of the server's.
    pub fn of(command: &CStr) -> Option<Op> {
        Some(match command.to_bytes() {
            b"HMSET" => Op::Set,
            b"DEL" => Op::Delete,
            name => OPS.iter().find(|(.., command)| command.to_bytes() == name)?.0,
        })
    }

    fn row(self) -> &'static (Op, &'static [u8], &'static CStr) {
        OPS.iter().find(|(op, ..)| *op == self).expect("all are there")
    }

    /// The first field of its entry.
    pub fn marker(self) -> &'static [u8] {
        self.row().1
    }

    /// Its command on the hash.
    pub fn command(self) -> &'static CStr {
        self.row().2
    }
}

/// What an entry's first pair says: what it does, and the id of its row.
pub fn head<'a>(fields: &[&'a [u8]]) -> Result<(Op, &'a [u8]), String> {
    let [marker, id, ..] = fields else { return Err("the entry is empty".into()) };
    let found = OPS.iter().find(|(_, known, _)| known == marker);
    found.map(|(op, ..)| (*op, *id)).ok_or_else(|| {
        let marker = String::from_utf8_lossy(marker);
        format!("an entry {marker:?} is none that this version of the module knows")
    })
}

/// What an entry does to its row. An error when it doesn't fit the mapping any more.
pub fn parse(mapping: &Mapping, fields: &[&[u8]]) -> Result<Write, String> {
    let (op, id) = head(fields)?;
    super::check_id(mapping, id)?;
    let arguments = &fields[2..];
    let pair = || match arguments {
        [field, value] => Ok((*field, *value)),
        _ => Err("the entry has the wrong number of arguments".to_string()),
    };
    match op {
        Op::Set => hset(mapping, id, arguments.iter().copied()),
        Op::Replace => {
            let mut write = hset(mapping, id, arguments.iter().copied())?;
            write.replaces(mapping);
            Ok(write)
        }
        Op::SetNx => pair().and_then(|(field, value)| hsetnx(mapping, field, value)),
        Op::Add => pair().and_then(|(field, n)| hincrby(mapping, field, n, true)),
        Op::AddFloat => pair().and_then(|(field, n)| hincrby(mapping, field, n, false)),
        Op::Erase => hdel(mapping, arguments.iter().copied().step_by(2)),
        Op::Delete => Ok(Write::delete()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::action::Action;
    use crate::model::mapping::tests::{resolve, users};

    fn parsed(line: &str) -> Result<Action, String> {
        let mapping = resolve(r#"{"table":"users"}"#, &users()).unwrap();
        let fields: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        parse(&mapping, &fields).map(|write| write.action)
    }

    #[test]
    fn an_entry_is_its_command() {
        assert_eq!(
            parsed("1.hset 7 username ann"),
            Ok(Action::Upsert(vec![(1, b"ann"[..].into())]))
        );
        assert_eq!(parsed("1.hsetnx 7 username ann"), Ok(Action::Fill(1, b"ann"[..].into())));
        assert_eq!(parsed("1.hincrby 7 username 2"), Ok(Action::Add(1, b"2"[..].into())));
        assert_eq!(parsed("1.hincrbyfloat 7 username 2"), Ok(Action::Add(1, b"2"[..].into())));
        assert_eq!(parsed("1.hdel 7 username "), Ok(Action::Erase(vec![1])));
        assert_eq!(parsed("1.del 7"), Ok(Action::Delete));
        assert_eq!(
            parsed("1.replace 7 username a"),
            Ok(Action::Replace(vec![(1, b"a"[..].into())]))
        );
    }

    #[test]
    fn what_is_no_entry() {
        let problem = parsed("2.hset 7 username ann").unwrap_err();
        assert_eq!(problem, "an entry \"2.hset\" is none that this version of the module knows");
        assert!(parsed("1.hset 7 nick ann").unwrap_err().contains("no field \"nick\""));
        assert!(parsed("1.hincrby 7 username").is_err());
        assert!(parse(&resolve(r#"{"table":"users"}"#, &users()).unwrap(), &[]).is_err());
    }

    #[test]
    fn commands_have_entries() {
        for (command, op) in [(c"HMSET", Op::Set), (c"DEL", Op::Delete), (c"HINCRBY", Op::Add)] {
            assert_eq!(Op::of(command), Some(op));
        }
        assert_eq!(Op::of(c"RENAME"), None);
    }
}
