//! The table of users: the example that the README and the issues use.

use serde_json::{json, Value};

use super::stack::{Hash, Stack};

pub const USERS_SQL: &str = "
create table users (
    id            serial primary key,
    username      varchar(255) unique not null,
    email         varchar(255) unique not null,
    password_hash varchar(255) not null,
    first_name    varchar(255),
    last_name     varchar(255),
    date_of_birth date,
    created_at    timestamp default current_timestamp,
    updated_at    timestamp default current_timestamp
)";

pub fn users_mapping() -> Value {
    json!({
        "table": "users",
        "key": "id",
        "fields": {
            "username": "username", "email": "email", "pwhash": "password_hash",
            "first": "first_name", "last": "last_name", "dob": "date_of_birth",
            "created_at": "created_at", "updated_at": "updated_at"
        }
    })
}

/// What `users:<id>` has to hold: the row, by the database's own text.
#[track_caller]
pub fn user_row(stack: &Stack, id: i64) -> Hash {
    stack.row(&format!(
        "select username::text as username, email::text as email, password_hash::text as pwhash,
                first_name::text as first, last_name::text as last, date_of_birth::text as dob,
                created_at::text as created_at, updated_at::text as updated_at
         from users where id = {id}"
    ))
}

impl Stack {
    /// Writes a whole user: `u<id>`, with an address of that name.
    #[track_caller]
    pub fn add_user(&self, id: i64) {
        let line = format!("HSET __{{users:{id}}} username u{id} email u{id}@example.com pwhash h");
        assert_eq!(self.run(&line), super::int(3), "{line}");
    }

    /// The cache holds the row, and nothing is left staged.
    #[track_caller]
    pub fn assert_user_cached(&self, id: i64) {
        assert_eq!(self.hgetall(&format!("users:{id}")), user_row(self, id), "users:{id}");
        assert_eq!(self.run(&format!("EXISTS __{{users:{id}}}")), super::int(0), "still staged");
    }
}
