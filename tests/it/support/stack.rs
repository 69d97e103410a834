//! A database, a redis-server with the module, and a mapping: what a test asks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use serde_json::Value;

use super::builder::Builder;
use super::database::{Database, OpenTransaction};
use super::eventually::eventually;
use super::find;
use super::redis_server::RedisServer;
use super::resp::{Conn, Reply};
use super::users::{users_mapping, USERS_SQL};

/// A hash, or a row: names and texts.
pub type Hash = BTreeMap<String, String>;

/// `hash(&[("username", "john")])`
pub fn hash(pairs: &[(&str, &str)]) -> Hash {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// A redis-server with the module, on a database of its own. Dropped, all of it goes; when the
/// test has failed, the server's log is printed.
pub struct Stack {
    pub(super) conn: Mutex<Conn>,
    pub redis: RedisServer,
    pub database: Database,
    /// A folder for the test's files.
    pub(super) files: tempfile::TempDir,
    /// The document's path, and what is in it.
    pub config: PathBuf,
    pub document: Value,
    pub(super) args: Vec<String>,
    pub(super) load_line: String,
    pub(super) redis_conf: Vec<String>,
}

impl Stack {
    /// Nothing: no table and no mapping.
    #[allow(clippy::new_ret_no_self)]
    pub fn new() -> Builder {
        Builder::new()
    }

    /// With the table of users and its mapping.
    pub fn users() -> Builder {
        Stack::new().sql(USERS_SQL).mapping(users_mapping())
    }

    // --- the document ----------------------------------------------------------------------

    /// The document with something changed: it has time enough for a slow machine.
    pub fn document_with(&self, change: impl FnOnce(&mut Value)) -> Value {
        let mut document = self.document.clone();
        change(&mut document);
        document
    }

    /// Writes it to the file, for WT.RELOAD.
    pub fn edit_document(&self, change: impl FnOnce(&mut Value)) {
        let document = self.document_with(change).to_string();
        std::fs::write(&self.config, document).expect("the document");
    }

    // --- Redis -----------------------------------------------------------------------------

    /// A new connection.
    pub fn conn(&self) -> Conn {
        self.redis.connect()
    }

    /// A connection of a user with these rules, made here.
    #[track_caller]
    pub fn user(&self, name: &str, rules: &str) -> Conn {
        assert_eq!(self.run(&format!("ACL SETUSER {name} on nopass {rules}")), super::resp::ok());
        let mut conn = self.conn();
        assert_eq!(conn.run(&format!("AUTH {name} x")), super::resp::ok());
        conn
    }

    /// A command on the stack's own connection, as words. It waits for the reply: a test that
    /// wants a write in flight sends it on a connection of its own.
    #[track_caller]
    pub fn cmd(&self, args: &[impl AsRef<[u8]>]) -> Reply {
        self.own_conn().cmd(args)
    }

    /// A command as one types it, split at white space.
    #[track_caller]
    pub fn run(&self, line: &str) -> Reply {
        self.own_conn().run(line)
    }

    /// A new connection on which this command was sent and its reply not yet read.
    #[track_caller]
    pub fn send(&self, line: &str) -> Conn {
        let mut conn = self.conn();
        conn.send_line(line);
        conn
    }

    #[track_caller]
    pub fn hgetall(&self, key: &str) -> Hash {
        let reply = self.cmd(&["HGETALL", key]);
        let text = |bytes: &Reply| String::from_utf8_lossy(bytes.bytes()).into_owned();
        reply.array().chunks(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
    }

    /// All keys, sorted.
    #[track_caller]
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.run("KEYS *").array().iter().map(Reply::text).collect();
        keys.sort();
        keys
    }

    /// The fields of one section of INFO, or several.
    #[track_caller]
    pub fn info_of(&self, section: &str) -> Hash {
        let text = self.cmd(&["INFO", section]).text();
        let fields = text.lines().filter_map(|line| line.trim_end().split_once(':'));
        fields.map(|(name, value)| (name.into(), value.into())).collect()
    }

    /// `INFO writethrough`.
    #[track_caller]
    pub fn info(&self) -> Hash {
        self.info_of("writethrough")
    }

    /// A number in `INFO writethrough`: `info_int("rows")` is `writethrough_rows`.
    #[track_caller]
    pub fn info_int(&self, field: &str) -> i64 {
        let info = self.info();
        let value = info.get(&format!("writethrough_{field}"));
        value.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no {field} in {info:?}"))
    }

    /// `set("timeout-ms", 300)`: `CONFIG SET writethrough.timeout-ms 300`.
    #[track_caller]
    pub fn set(&self, option: &str, value: impl std::fmt::Display) {
        let line = format!("CONFIG SET writethrough.{option} {value}");
        assert_eq!(self.run(&line), super::resp::ok(), "{line}");
    }

    /// A write whose client's time ends soon, while something keeps it from being done.
    #[track_caller]
    pub fn run_late(&self, line: &str) -> Reply {
        self.set("timeout-ms", 300);
        let reply = self.run(line);
        self.set("timeout-ms", super::builder::PATIENCE_MS);
        reply
    }

    /// Waits until so many clients are blocked: their writes are in flight.
    pub fn wait_for_blocked(&self, clients: usize) {
        eventually("clients are blocked", || {
            self.info_of("clients")["blocked_clients"] == clients.to_string()
        });
    }

    pub fn log(&self) -> String {
        self.redis.log()
    }

    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        eventually(&format!("the log says {text:?}"), || self.log().contains(text));
    }

    /// MODULE LOAD at run time, with these arguments.
    pub fn load_with(&self, args: &[&str]) -> Reply {
        let module = find::module().display().to_string();
        let mut words = vec!["MODULE", "LOAD", &module];
        words.extend(args);
        self.cmd(&words)
    }

    /// MODULE LOAD at run time, with the arguments of the builder.
    pub fn load(&self) -> Reply {
        self.load_with(&self.args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Ends redis-server (`TERM` in order, `KILL` as a crash) and starts it again, with the
    /// module.
    pub fn restart_redis(&self, signal: &str) {
        self.redis.stop(signal);
        let mut conf = self.redis_conf.clone();
        conf.push(self.load_line.clone());
        self.redis.write_conf(&conf);
        self.start_again();
    }

    /// Starts redis-server again, with the redis.conf that is there.
    pub fn start_again(&self) {
        self.redis.start_again();
        self.connect_again();
    }

    /// The stack's own connection anew: Sentinel closes those of a server whose role it changes.
    pub fn connect_again(&self) {
        *self.own_conn() = self.redis.connect();
    }

    fn own_conn(&self) -> MutexGuard<'_, Conn> {
        self.conn.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    // --- PostgreSQL ------------------------------------------------------------------------

    /// A new connection to the test's database.
    pub fn pg(&self) -> postgres::Client {
        self.database.connect()
    }

    /// Runs statements in the database, as another program would.
    #[track_caller]
    pub fn execute(&self, sql: &str) {
        self.database.execute(sql);
    }

    /// The first row as a map from column to the database's text; a NULL is absent.
    #[track_caller]
    pub fn row(&self, sql: &str) -> Hash {
        self.database.row(sql)
    }

    /// One value, as text.
    #[track_caller]
    pub fn one(&self, sql: &str) -> String {
        self.database.one(sql)
    }

    #[track_caller]
    pub fn count(&self, table: &str) -> i64 {
        self.database.count(table)
    }

    /// Another program's transaction that locks a user's row until it is dropped.
    pub fn lock_user(&self, id: i64) -> OpenTransaction {
        self.database.hold(&format!("select from users where id = {id} for update"))
    }

    // --- Files -----------------------------------------------------------------------------

    /// Writes a file in the test's folder and returns its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.files.path().join(name);
        std::fs::write(&path, text).expect("a file of the test");
        path.display().to_string()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the log of redis-server ---\n{}", self.log());
        }
    }
}
