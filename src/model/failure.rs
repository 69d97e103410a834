//! Why a write failed, in the words that its client reads.

use std::fmt;

/// Why a write failed. Its `Display` is the whole error reply, without the `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// PostgreSQL refused this write.
    Refused(Refusal),
    /// No connection could be had in time; nothing was written.
    Down(String),
    /// The client's time is up. What is known of what became of the write is in the text.
    TimedOut(String),
    /// This many writes are waiting already.
    Busy(usize),
    /// This many entries of its mapping wait to be written behind.
    Behind(usize),
    /// Found before the database: what the client asked for can't be.
    Input(String),
    /// The row is not what its transaction expects.
    Unmet(String),
    /// Another write of its transaction was refused.
    Aborted,
}

/// The database's own error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// Five characters.
    pub sqlstate: String,
    /// The primary message.
    pub message: String,
    /// The constraint that refused.
    pub constraint: Option<String>,
    /// The column that refused.
    pub column: Option<String>,
    /// More, such as the key that exists already.
    pub detail: Option<Detail>,
}

/// The detail of the database's error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// What it says.
    pub text: Box<str>,
    /// The server says it of the text that it reads as a value, or of that value's type.
    pub is_about_value: bool,
}

impl Refusal {
    /// The class of the SQLSTATE.
    pub fn class(&self) -> Class {
        let class = self.sqlstate.get(..2).unwrap_or_default();
        Class::ALL.into_iter().find(|known| known.code() == class).unwrap_or(Class::Other)
    }

    /// What an operator makes of it, and whether it is for him to mend.
    pub fn advice(&self) -> (&'static str, bool) {
        match (self.class(), &*self.sqlstate) {
            (_, "42501") => ("the role lacks a right; GRANT it", true),
            (_, "42P01" | "42703" | "42704" | "42883") => (
                "a table, a column, a type or a function is missing; compare WT.MAPPINGS with the \
                 table, and look into its triggers",
                true,
            ),
            (_, "428C9") => (
                "values are given for columns that the database fills itself; their clients are \
                 told which",
                false,
            ),
            (Class::NoData, _) => {
                ("a trigger, a rule or a policy of the table leaves rows out", false)
            }
            (Class::Data, _) => {
                ("values don't fit their columns' types; their clients are told which", false)
            }
            (Class::Constraint, _) => {
                ("constraints refuse rows; their clients are told which", false)
            }
            (Class::ReadOnly, _) => {
                ("a trigger or a foreign table writes where nothing may be written", true)
            }
            (Class::Statement, _) => (
                "a statement, or one in a trigger, doesn't fit the table; look into its triggers",
                true,
            ),
            (Class::Resources, _) => {
                ("the database has run out of disk, memory or connections", true)
            }
            (Class::Raised, _) => ("a trigger raises errors; their clients are told which", false),
            (Class::Other, _) => ("look into PostgreSQL's log", true),
        }
    }
}

/// The classes of SQLSTATE that a refusal is likely to be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// 02: a trigger, a rule or a policy swallowed the row.
    NoData,
    /// 22: a value is not one of its column's type.
    Data,
    /// 23: a constraint.
    Constraint,
    /// 25: what a trigger or a foreign table writes to is read-only.
    ReadOnly,
    /// 42: a right is missing, or a name, or the statement doesn't fit the table.
    Statement,
    /// 53: disk, memory or connections have run out.
    Resources,
    /// P0: a trigger raised an error.
    Raised,
    /// Any other.
    Other,
}

impl Class {
    /// All of them, in order.
    pub const ALL: [Class; 8] = [
        Class::NoData,
        Class::Data,
        Class::Constraint,
        Class::ReadOnly,
        Class::Statement,
        Class::Resources,
        Class::Raised,
        Class::Other,
    ];

    /// The first two characters of the SQLSTATE.
    pub const fn code(self) -> &'static str {
        match self {
            Class::NoData => "02",
            Class::Data => "22",
            Class::Constraint => "23",
            Class::ReadOnly => "25",
            Class::Statement => "42",
            Class::Resources => "53",
            Class::Raised => "P0",
            Class::Other => "other",
        }
    }
}

/// What keeps writes from the database, as its reason says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// It can't be reached.
    Away,
    /// It answers, and takes no writes.
    ReadOnly,
    /// It is reached through a pooler that shares its sessions.
    Pooled,
}

impl Outage {
    /// For this reason.
    pub fn of(reason: &str) -> Outage {
        match reason {
            _ if reason.starts_with(READ_ONLY) => Outage::ReadOnly,
            _ if reason.starts_with(POOLED) => Outage::Pooled,
            _ => Outage::Away,
        }
    }
}

/// Why a session is not used that other programs get, too.
pub const POOLED: &str =
    "a pooler shares this session: pool_mode=session is needed (PgBouncer), or a \
                          URL that names PostgreSQL itself";

/// The SQLSTATE of a write to a server, or in a session, that takes none.
pub const READ_ONLY: &str = "25006";

impl Failure {
    /// The client's time was up, and nothing of its write was on its way to the database. `within`
    /// says which time.
    pub fn unsent(is_locked: bool, within: &impl fmt::Display) -> Failure {
        Failure::TimedOut(match is_locked {
            true => format!(
                "55P03 the row is locked by another session, and was not free {within}; nothing was \
                 written"
            ),
            false => format!("the write could not be sent {within}; nothing was written"),
        })
    }

    /// The client's time was up, and it only wanted to see a row.
    pub fn unread(within: &impl fmt::Display) -> Failure {
        Failure::TimedOut(format!("the row could not be read {within}"))
    }

    /// The same failure, told to a client that only wanted to see the row: of it nothing can have
    /// been committed.
    pub fn of_read(self) -> Failure {
        match self {
            Failure::TimedOut(text) if !text.starts_with("55P03") => Failure::unread(&"in time"),
            other => other,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Failure::Refused(refusal) => write!(f, "WTERR {refusal}"),
            Failure::Down(reason) if Outage::of(reason) != Outage::Away => {
                write!(f, "WTDOWN {reason}; nothing was written")
            }
            Failure::Down(reason) => write!(f, "WTDOWN {reason}"),
            Failure::TimedOut(what) => write!(f, "WTTIMEOUT {what}"),
            Failure::Busy(waiting) => {
                write!(
                    f,
                    "WTBUSY {waiting} writes are waiting; try again later, or raise queue_max"
                )
            }
            Failure::Behind(entries) => {
                write!(
                    f,
                    "WTBUSY {entries} entries wait to be written; try again later, or raise behind_max"
                )
            }
            Failure::Input(problem) => write!(f, "ERR writethrough: {problem}"),
            Failure::Unmet(problem) => write!(f, "WTABORT {problem}; nothing was written"),
            Failure::Aborted => f.write_str(
                "WTABORT another command of the transaction was refused; nothing was written",
            ),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}", self.sqlstate, self.message)?;
        let detail = self.detail.as_ref().map(|detail| &*detail.text);
        let (constraint, column) = (self.constraint.as_deref(), self.column.as_deref());
        let parts = [("constraint", constraint), ("column", column), ("detail", detail)];
        for (name, value) in parts {
            if let Some(value) = value {
                write!(f, " {name}={value}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_is_a_code() {
        let refusal = Refusal {
            sqlstate: "23505".into(),
            message: "duplicate key".into(),
            constraint: Some("users_email_key".into()),
            detail: Some(Detail {
                text: "Key (email)=(a@x) already exists.".into(),
                is_about_value: false,
            }),
            ..Refusal::default()
        };
        assert_eq!(
            Failure::Refused(refusal).to_string(),
            "WTERR 23505 duplicate key constraint=users_email_key \
             detail=Key (email)=(a@x) already exists."
        );
        assert_eq!(Refusal { sqlstate: "23505".into(), ..Refusal::default() }.class().code(), "23");
        assert_eq!(
            Refusal { sqlstate: "XX000".into(), ..Refusal::default() }.class(),
            Class::Other
        );
        assert_eq!(Refusal::default().class(), Class::Other);
        let lost = Failure::TimedOut("lost; the write may or may not be committed".into());
        assert_eq!(lost.of_read().to_string(), "WTTIMEOUT the row could not be read in time");
        let locked = Failure::unsent(true, &"in time");
        assert_eq!(locked.clone().of_read(), locked);
        assert!(Failure::Busy(7).to_string().starts_with("WTBUSY 7 writes"));
        let down = Failure::Down("25006 db:5432 takes no writes".into()).to_string();
        assert_eq!(down, "WTDOWN 25006 db:5432 takes no writes; nothing was written");
        assert_eq!(Failure::Input("no id".into()).to_string(), "ERR writethrough: no id");
    }
}
