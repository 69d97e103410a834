//! What is done once, however often it is sent: its token, and the reply that is stored with it.

use std::collections::HashMap;

use super::job::{Image, Job};
use super::Outcome;
use crate::model::form::Form;
use crate::plan::group::Group;

/// A command that is done once.
#[derive(Debug)]
pub struct Once {
    /// What its client calls it.
    pub token: Vec<u8>,
    /// All of the command, to tell it from another one with the same token.
    pub command: Vec<u8>,
    /// The reply is an array: one element a command.
    pub is_list: bool,
    /// How each of its writes is answered, in order.
    pub replies: Vec<Said>,
    /// How many of them each command's reply is the sum of.
    pub spans: Vec<usize>,
    /// How long the token is kept, in seconds.
    pub ttl: u64,
}

/// How a write is answered, by what the database knows of its row before and after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// How many of these columns were NULL.
    Empty(Vec<usize>),
    /// How many of these columns were not.
    Full(Vec<usize>),
    /// What the column holds, as a number where it is a whole one.
    Number(usize),
    /// What the column holds.
    Text(usize),
    /// 1 when the column was filled.
    Filled,
    /// 1 when there is such a row now, or it was deleted now.
    Row,
    /// This number.
    Fixed(i64),
    /// `OK`
    Done,
}

impl Once {
    /// The reply in RESP, when each write has this outcome. `before`: each one's row before the first, where
    /// that matters.
    pub fn reply<'a>(
        &self,
        groups: &'a [Group<Job>],
        before: &'a [Option<Image>],
        outcomes: &'a [Vec<Outcome>],
    ) -> Vec<u8> {
        let target = |group: &'a Group<Job>| &group.rows[0].change().target[..];
        let before = before.iter().map(Option::as_ref);
        let mut rows: HashMap<&[u8], Option<&Image>> =
            groups.iter().map(target).zip(before).collect();
        let mut reply = Vec::new();
        if self.is_list {
            reply.extend(format!("*{}\r\n", self.spans.len()).bytes());
        }
        let mut at = 0;
        for span in &self.spans {
            let mut sum = None;
            for said in &self.replies[at..at + span] {
                let row = rows.entry(target(&groups[at])).or_default();
                let columns = groups[at].mapping.columns.len();
                let after =
                    outcomes[at].first().and_then(|outcome| outcome.as_ref().ok()?.as_ref());
                let one = said.answer(*row, after, columns);
                *row = match groups[at].form.only_looks() {
                    true => row.or(after),
                    false if groups[at].form == Form::Delete => None,
                    false => after,
                };
                sum = Some(match (sum, one) {
                    (Some(Answered::Number(sum)), Answered::Number(one)) => {
                        Answered::Number(sum + one)
                    }
                    (_, one) => one,
                });
                at += 1;
            }
            sum.unwrap_or(Answered::Number(0)).write(&mut reply);
        }
        reply
    }
}

impl Said {
    /// True when the row before the write matters.
    pub fn counts(&self) -> bool {
        matches!(self, Said::Empty(_) | Said::Full(_))
    }

    fn answer<'a>(
        &self,
        before: Option<&Image>,
        after: Option<&'a Image>,
        columns: usize,
    ) -> Answered<'a> {
        let is_full = |column: &&usize| before.is_some_and(|row| row.get(**column).is_some());
        let cell = |column: usize| after.and_then(|row| row.get(column)).unwrap_or_default();
        Answered::Number(match self {
            Said::Empty(named) => (named.len() - named.iter().filter(is_full).count()) as i64,
            Said::Full(named) => named.iter().filter(is_full).count() as i64,
            Said::Number(column) => match std::str::from_utf8(cell(*column)).map(str::parse) {
                Ok(Ok(number)) => number,
                _ => return Answered::Text(cell(*column)),
            },
            Said::Text(column) => return Answered::Text(cell(*column)),
            Said::Filled => {
                let extra =
                    after.filter(|row| row.width() > columns).and_then(|row| row.get(columns));
                i64::from(extra == Some(b"t"))
            }
            Said::Row => i64::from(after.is_some()),
            Said::Fixed(number) => *number,
            Said::Done => return Answered::Done,
        })
    }
}

/// A reply.
enum Answered<'a> {
    Number(i64),
    Text(&'a [u8]),
    Done,
}

impl Answered<'_> {
    fn write(&self, reply: &mut Vec<u8>) {
        match self {
            Answered::Number(number) => reply.extend(format!(":{number}\r\n").bytes()),
            Answered::Text(text) => {
                reply.extend(format!("${}\r\n", text.len()).bytes());
                reply.extend(*text);
                reply.extend(b"\r\n");
            }
            Answered::Done => reply.extend(b"+OK\r\n"),
        }
    }
}
