//! "The cache holds the row", for any table whose key is `id`.

use super::eventually::eventually;
use super::stack::{Hash, Stack};

impl Stack {
    /// The row with this id, by the database's own text. A boolean is `t` here and `true` in the
    /// cache: compare no table that has one.
    #[track_caller]
    pub fn row_of(&self, table: &str, id: i64) -> Hash {
        self.row(&format!("select * from {table} where id = {id}"))
    }

    /// `<table>:<id>` holds the row (or is missing, as the row is), and nothing is left staged.
    #[track_caller]
    pub fn assert_row_cached(&self, table: &str, id: i64) {
        let key = format!("{table}:{id}");
        assert_eq!(self.hgetall(&key), self.row_of(table, id), "{key}");
        assert_eq!(self.run(&format!("EXISTS __{{{key}}}")), super::int(0), "{key} still staged");
    }

    /// No write is on its way, and none has left a staged key.
    #[track_caller]
    pub fn wait_until_settled(&self) {
        eventually("nothing is in flight or staged", || {
            self.info_int("in_flight") == 0 && self.run("KEYS __*") == super::Reply::Array(vec![])
        });
    }

    /// The Redis whose commands the server has: 7.2 and newer put a module's command into ACL
    /// categories, for instance. Valkey says 7.2 of itself.
    pub fn redis_version(&self) -> (u32, u32) {
        let info = self.info_of("server");
        let mut numbers = info["redis_version"].split('.').map(|n| n.parse().expect("a number"));
        (numbers.next().expect("a major version"), numbers.next().expect("a minor version"))
    }

    /// Whether the server has this command.
    pub fn knows(&self, command: &str) -> bool {
        self.cmd(&["COMMAND", "INFO", command]).array()[0] != super::Reply::Nil
    }
}
