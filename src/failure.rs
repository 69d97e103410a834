//! Why a write failed, in the words that its client reads.

use std::fmt;

/// Why a write failed. Its `Display` is the whole error reply, without the `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// PostgreSQL refused this write.
    Refused(Refusal),
    /// No connection could be had in time; nothing was written.
    Down(String),
    /// The client's time is up. What is known of the write's fate is in the text.
    TimedOut(String),
    /// This many writes are waiting already.
    Busy(usize),
    /// Found before the database: what the client asked for can't be.
    Input(String),
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
    pub detail: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Failure::Refused(refusal) => write!(f, "WTERR {refusal}"),
            Failure::Down(reason) => write!(f, "WTDOWN {reason}"),
            Failure::TimedOut(what) => write!(f, "WTTIMEOUT {what}"),
            Failure::Busy(waiting) => {
                write!(
                    f,
                    "WTBUSY {waiting} writes are waiting; try again later, or raise queue_max"
                )
            }
            Failure::Input(problem) => write!(f, "ERR writethrough: {problem}"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}", self.sqlstate, self.message)?;
        let parts =
            [("constraint", &self.constraint), ("column", &self.column), ("detail", &self.detail)];
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
            detail: Some("Key (email)=(a@x) already exists.".into()),
            ..Refusal::default()
        };
        assert_eq!(
            Failure::Refused(refusal).to_string(),
            "WTERR 23505 duplicate key constraint=users_email_key \
             detail=Key (email)=(a@x) already exists."
        );
        assert!(Failure::Busy(7).to_string().starts_with("WTBUSY 7 writes"));
        assert_eq!(Failure::Input("no id".into()).to_string(), "ERR writethrough: no id");
    }
}
