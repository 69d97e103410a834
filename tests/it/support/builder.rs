//! What a test asks to start.

use std::sync::{Arc, Mutex};

use serde_json::{json, Map, Value};

use super::database::Database;
use super::find;
use super::keys::mapped;
use super::postgres_server::PostgresServer;
use super::redis_server::{quoted, RedisServer};
use super::stack::Stack;

/// `timeout_ms` and `sync_timeout_ms`: longer than [`DEADLINE`](super::DEADLINE).
pub(super) const PATIENCE_MS: u64 = 600_000;

/// `connect_timeout_ms`. An outage that is no shorter is told to the clients.
const CONNECT_PATIENCE_MS: u64 = 20_000;

/// What to start. [`Stack::new`] begins with nothing, [`Stack::users`] with the table of users.
///
/// Unless a test says otherwise, the document has [times](PATIENCE_MS) that no machine is too slow for: a
/// write is late only where a test wants it so.
///
/// In options, arguments and environment, `@URL@` stands for the test database's URL and
/// `@DB@` for its part after the user: `127.0.0.1:<port>/<name>`.
pub struct Builder {
    postgres: Option<Arc<PostgresServer>>,
    sql: Vec<String>,
    mappings: Vec<Value>,
    options: Map<String, Value>,
    module_args: Option<Vec<String>>,
    extra_args: Vec<String>,
    redis_conf: Vec<String>,
    env: Vec<(String, String)>,
    load: bool,
}

impl Builder {
    pub(super) fn new() -> Builder {
        Builder {
            postgres: None,
            sql: Vec::new(),
            mappings: Vec::new(),
            options: [
                ("timeout_ms", PATIENCE_MS),
                ("sync_timeout_ms", PATIENCE_MS),
                ("connect_timeout_ms", CONNECT_PATIENCE_MS),
            ]
            .map(|(name, ms)| (name.to_owned(), ms.into()))
            .into_iter()
            .collect(),
            module_args: None,
            extra_args: Vec::new(),
            redis_conf: Vec::new(),
            env: Vec::new(),
            load: true,
        }
    }

    /// Runs in the new database before the module is loaded.
    pub fn sql(mut self, sql: &str) -> Self {
        self.sql.push(sql.into());
        self
    }

    /// Adds an entry to the document's `mappings`.
    pub fn mapping(mut self, mapping: Value) -> Self {
        self.mappings.push(mapping);
        self
    }

    /// Changes the mapping that was added last: `.with("unmapped", "keep")`.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.mappings.last_mut().expect("a mapping")[name] = value.into();
        self
    }

    /// A top-level entry of the document: `.option("timeout_ms", 200)`. It may replace `url`;
    /// null leaves the entry out.
    pub fn option(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.options.insert(name.into(), value.into());
        self
    }

    /// A write is kept in flight for as long as the test wants, which the times of all tests allow.
    pub fn patient(self) -> Self {
        self
    }

    /// No more options than the test gives: those of the module itself.
    pub fn defaults(mut self) -> Self {
        self.options.clear();
        self
    }

    /// Clients are told soon of an outage: `sync_timeout_ms` bounds how long it is waited for, and
    /// other writes have all the time that they need.
    pub fn told_soon_of_outages(self) -> Self {
        self.option("sync_timeout_ms", 600)
    }

    /// Load arguments after `CONFIG <path>`: `.arg("POOL-SIZE").arg("1")`.
    pub fn arg(mut self, arg: &str) -> Self {
        self.extra_args.push(arg.into());
        self
    }

    /// Load arguments in place of `CONFIG <path>`; `@DOCUMENT@` stands for the document itself.
    pub fn module_args(mut self, args: &[&str]) -> Self {
        self.module_args = Some(args.iter().map(|arg| arg.to_string()).collect());
        self
    }

    /// A line of redis.conf: `.redis_conf("appendonly yes")`.
    pub fn redis_conf(mut self, line: &str) -> Self {
        self.redis_conf.push(line.into());
        self
    }

    /// A variable in redis-server's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// A PostgreSQL of the test's own, which it may stop.
    pub fn postgres(mut self, server: &Arc<PostgresServer>) -> Self {
        self.postgres = Some(server.clone());
        self
    }

    /// Don't load the module at the start; see [`Stack::load`].
    pub fn without_module(mut self) -> Self {
        self.load = false;
        self
    }

    /// Starts it all; panics with the server's log when the module refuses to load.
    #[track_caller]
    pub fn start(self) -> Stack {
        self.try_start().unwrap_or_else(|log| panic!("redis-server didn't start:\n{log}"))
    }

    /// The same; when redis-server ends (the module refused), an error with its log.
    pub fn try_start(self) -> Result<Stack, String> {
        let database =
            Database::create(self.postgres.clone().unwrap_or_else(PostgresServer::shared));
        self.sql.iter().for_each(|sql| database.execute(sql));
        self.try_start_on(database)
    }

    /// With a database that is there already, and may be out of reach.
    pub fn try_start_on(self, database: Database) -> Result<Stack, String> {
        let files = tempfile::tempdir().expect("no temporary folder");
        let config = files.path().join("writethrough.json");
        let fill = |text: &str| {
            let url = database.url();
            let db = url.split_once('@').expect("a URL with a user").1;
            text.replace("@URL@", &url).replace("@DB@", db)
        };
        let mappings: Vec<Value> = self.mappings.into_iter().map(mapped).collect();
        let mut document = json!({ "url": database.url(), "mappings": mappings });
        for (name, value) in self.options {
            document[&name] = value.as_str().map(|text| fill(text).into()).unwrap_or(value);
        }
        document.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
        std::fs::write(&config, document.to_string()).expect("the document");

        let by_path = vec!["CONFIG".into(), config.display().to_string()];
        let mut args = self.module_args.unwrap_or(by_path);
        args.extend(self.extra_args);
        let with_document = |arg: &String| arg.replace("@DOCUMENT@", &document.to_string());
        let args: Vec<String> = args.iter().map(|arg| fill(&with_document(arg))).collect();
        let env: Vec<_> =
            self.env.iter().map(|(name, value)| (name.clone(), fill(value))).collect();
        let load_line = std::iter::once("loadmodule".into())
            .chain(std::iter::once(quoted(&find::module().display().to_string())))
            .chain(args.iter().map(|arg| quoted(arg)))
            .collect::<Vec<_>>()
            .join(" ");

        let mut conf = self.redis_conf.clone();
        conf.extend(self.load.then(|| load_line.clone()));
        let redis = RedisServer::start(&conf, &env)?;
        let conn = Mutex::new(redis.connect());
        let redis_conf = self.redis_conf;
        Ok(Stack { conn, redis, database, files, config, document, args, load_line, redis_conf })
    }
}
