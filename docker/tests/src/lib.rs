//! A PostgreSQL and a server with the module, as containers on a network of their own.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use testcontainers::core::{Healthcheck, IntoContainerPort, WaitFor};
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, GenericImage, ImageExt};

const PASSWORD: &str = "p@ss/w:rd%";
const USERS_SQL: &str = include_str!("../../../examples/users.sql");
const STOCK_SQL: &str =
    "create table stock (sku text primary key, qty int not null check (qty >= 0));";
const DOCUMENT: &str = r#"{
  "url": "postgres://app:${PGPASSWORD}@postgres:5432/example",
  "mappings": [
    { "table": "users", "fields": { "username": "username", "email": "email",
        "pwhash": "password_hash", "first": "first_name", "last": "last_name",
        "dob": "date_of_birth", "created_at": "created_at", "updated_at": "updated_at" } },
    { "table": "stock" }
  ]
}"#;

/// Both servers; dropped, they go.
pub struct Stack {
    // Before the database: a server that is being stopped may still talk to it.
    redis: Container<GenericImage>,
    postgres: Container<GenericImage>,
}

impl Stack {
    /// `server` is a tag of the image `writethrough`, such as `redis-8.0`; `database` a tag of
    /// `postgres`.
    pub fn start(server: &str, database: &str) -> Stack {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let id = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let network = format!("writethrough-{id}");
        // By TCP: while the image runs the init SQL, its server listens on the socket only.
        let ready = Healthcheck::cmd_shell("pg_isready -q -h 127.0.0.1 -U app -d example")
            .with_interval(Duration::from_millis(250))
            .with_retries(240);
        let postgres = GenericImage::new("postgres", database)
            .with_exposed_port(5432.tcp())
            .with_wait_for(WaitFor::healthcheck())
            .with_health_check(ready)
            .with_network(&network)
            .with_container_name(format!("postgres-{id}"))
            .with_hostname("postgres")
            .with_env_var("POSTGRES_USER", "app")
            .with_env_var("POSTGRES_DB", "example")
            .with_env_var("POSTGRES_PASSWORD", PASSWORD)
            .with_copy_to(
                "/docker-entrypoint-initdb.d/users.sql",
                format!("{USERS_SQL}{STOCK_SQL}").into_bytes(),
            )
            .with_startup_timeout(Duration::from_secs(120))
            .start()
            .unwrap_or_else(|e| panic!("postgres:{database}: {e}"));

        let document = DOCUMENT.replace("@postgres:", &format!("@postgres-{id}:"));
        let redis = GenericImage::new("writethrough", server)
            .with_exposed_port(6379.tcp())
            .with_wait_for(WaitFor::healthcheck())
            .with_network(&network)
            .with_container_name(format!("redis-{id}"))
            .with_env_var("PGPASSWORD_FILE", "/run/secrets/password")
            .with_copy_to("/run/secrets/password", PASSWORD.as_bytes().to_vec())
            .with_copy_to("/etc/writethrough.json", document.into_bytes())
            .with_cmd([
                "--protected-mode",
                "no",
                "--loadmodule",
                "/usr/local/lib/libwritethrough.so",
                "CONFIG",
                "/etc/writethrough.json",
                "TIMEOUT-MS",
                "2000",
            ])
            .with_startup_timeout(Duration::from_secs(120))
            .start()
            .unwrap_or_else(|e| panic!("writethrough:{server} (docker/test builds it): {e}"));
        Stack { redis, postgres }
    }

    pub fn redis(&self) -> redis::Connection {
        let port = self.redis.get_host_port_ipv4(6379).expect("a published port");
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).expect("a URL");
        client.get_connection().expect("the server answers")
    }

    pub fn postgres(&self) -> postgres::Client {
        // After a restart it is another one.
        let port = self.postgres.get_host_port_ipv4(5432).expect("a published port");
        postgres::Config::new()
            .host("127.0.0.1")
            .port(port)
            .user("app")
            .password(PASSWORD)
            .dbname("example")
            .connect(postgres::NoTls)
            .expect("PostgreSQL answers")
    }

    pub fn stop_postgres(&self) {
        self.postgres.stop().expect("it stops");
    }

    /// Returns when it is ready again.
    pub fn start_postgres(&self) {
        self.postgres.start().expect("it starts");
    }
}

/// A command as one types it, split at white space.
pub fn command(line: &str) -> redis::Cmd {
    let mut words = line.split_whitespace();
    let mut command = redis::cmd(words.next().expect("a command"));
    command.arg(words.collect::<Vec<_>>());
    command
}

/// Sends a command; an error as its text.
pub fn run<T: redis::FromRedisValue>(
    connection: &mut redis::Connection,
    line: &str,
) -> Result<T, String> {
    command(line)
        .query(connection)
        .map_err(|e| format!("{} {}", e.code().unwrap_or_default(), e.detail().unwrap_or_default()))
}

/// Polls until it is true; panics with `what` after a minute.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
