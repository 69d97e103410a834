//! A database of one test.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use postgres::{Client, SimpleQueryMessage};

use super::eventually::eventually;
use super::postgres_server::PostgresServer;
use super::stack::Hash;

/// Created empty; dropped with the value.
pub struct Database {
    server: Arc<PostgresServer>,
    name: String,
}

impl Database {
    pub fn create(server: Arc<PostgresServer>) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("wt_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let sql = format!("create database {name}");
        server.connect("postgres").batch_execute(&sql).expect("create database");
        Database { server, name }
    }

    /// The same of another server, a standby of the one that it was created on.
    pub fn of(server: Arc<PostgresServer>, name: &str) -> Database {
        Database { server, name: name.into() }
    }

    pub fn server(&self) -> &PostgresServer {
        &self.server
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    pub fn connect(&self) -> Client {
        self.server.connect(&self.name)
    }

    /// Runs statements.
    #[track_caller]
    pub fn execute(&self, sql: &str) {
        self.connect().batch_execute(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    /// All rows, each a map from column to the database's own text; a NULL is absent.
    #[track_caller]
    pub fn rows(&self, sql: &str) -> Vec<Hash> {
        let answer = self.connect().simple_query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let rows = answer.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        rows.map(|row| {
            let named = row.columns().iter().enumerate();
            named.filter_map(|(i, c)| Some((c.name().to_owned(), row.get(i)?.to_owned()))).collect()
        })
        .collect()
    }

    /// The first row; empty when there is none.
    #[track_caller]
    pub fn row(&self, sql: &str) -> Hash {
        self.rows(sql).into_iter().next().unwrap_or_default()
    }

    /// One value: the first column of the first row, as text.
    #[track_caller]
    pub fn one(&self, sql: &str) -> String {
        let row = self.row(sql);
        row.into_values().next().unwrap_or_else(|| panic!("no value: {sql}"))
    }

    #[track_caller]
    pub fn count(&self, table: &str) -> i64 {
        self.one(&format!("select count(*) from {table}")).parse().expect("a count")
    }

    /// A transaction that stays open, with the locks that `sql` took in it.
    #[track_caller]
    pub fn hold(&self, sql: &str) -> OpenTransaction {
        let mut client = self.connect();
        client.batch_execute(&format!("begin; {sql}")).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        OpenTransaction(client)
    }

    /// How many sessions of this database wait for a lock now.
    pub fn lock_waiters(&self) -> i64 {
        self.one(
            "select count(*) from pg_stat_activity \
             where datname = current_database() and wait_event_type = 'Lock'",
        )
        .parse()
        .expect("a count")
    }

    pub fn wait_for_lock_waiters(&self, n: i64) {
        eventually("sessions wait for a lock", || self.lock_waiters() >= n);
    }

    /// How many sessions other programs have in this database.
    pub fn sessions(&self) -> i64 {
        self.one(
            "select count(*) from pg_stat_activity \
             where datname = current_database() and pid <> pg_backend_pid()",
        )
        .parse()
        .expect("a count")
    }

    /// Ends all other sessions, as an administrator can; returns how many there were.
    pub fn terminate_sessions(&self) -> i64 {
        self.one(
            "select count(pg_terminate_backend(pid, 10000)) from pg_stat_activity \
             where datname = current_database() and pid <> pg_backend_pid()",
        )
        .parse()
        .expect("a count")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The folder of a test's own server goes as a whole, and the server may be stopped, or
        // silent.
        if !Arc::ptr_eq(&self.server, &PostgresServer::shared()) {
            return;
        }
        if let Ok(mut client) = self.server.try_connect("postgres") {
            let _ = client.batch_execute(&format!("drop database {} with (force)", self.name));
        }
    }
}

/// Rolled back when it is dropped.
pub struct OpenTransaction(Client);

impl OpenTransaction {
    #[track_caller]
    pub fn execute(&mut self, sql: &str) {
        self.0.batch_execute(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    #[track_caller]
    pub fn commit(mut self) {
        self.0.batch_execute("commit").expect("commit");
    }

    pub fn rollback(mut self) {
        self.0.batch_execute("rollback").expect("rollback");
    }
}
