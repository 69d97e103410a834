//! A PostgreSQL cluster of our own with the benchmark's tables, filled.

use std::os::unix::process::CommandExt;
use std::process::Command;

use postgres::{Client, NoTls};

use crate::shapes::{self, DOCS, IDS, NEW_IDS, WIDE_IDS};
use crate::support::eventually::eventually_some;
use crate::support::supervisor::{own_file, server_dir, Supervisor};
use crate::support::{certificates, find, ports::free_port};

pub struct Cluster {
    pub port: u16,
    pub pid: u32,
    supervisor: Supervisor,
}

impl Cluster {
    /// A new cluster. `durable`: `fsync` as PostgreSQL has it by default.
    pub fn start(durable: bool) -> Cluster {
        let user = find::postgres_user();
        let dir = server_dir("wt-bench-pg-", user);
        let data = dir.join("data").display().to_string();
        let mut initdb = Command::new(find::postgres_program("initdb"));
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8"]);
        initdb.args(["--locale=C", "--no-sync", "--no-instructions", "-D", &data]);
        initdb.current_dir("/");
        if let Some((uid, gid)) = user {
            initdb.uid(uid).gid(gid);
        }
        let output = initdb.output().expect("initdb can't be run");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        let pair = certificates::self_signed(&["localhost"]);
        for (name, text) in [("server.crt", pair.cert), ("server.key", pair.key)] {
            own_file(&dir.join("data"), name, &text);
        }
        let port = free_port();
        let fsync = if durable { "on" } else { "off" };
        let settings = [
            format!("port={port}"),
            format!("fsync={fsync}"),
            "listen_addresses=127.0.0.1".into(),
            "unix_socket_directories=".into(),
            "max_connections=400".into(),
            "ssl=on".into(),
            "shared_buffers=256MB".into(),
            // No checkpoint falls into one contestant's time and not into another's.
            "max_wal_size=16GB".into(),
            "checkpoint_timeout=1h".into(),
        ];
        let mut argv =
            vec![find::postgres_program("postgres").display().to_string(), "-D".into(), data];
        argv.extend(settings.into_iter().flat_map(|s| ["-c".into(), s]));
        let supervisor = Supervisor::new(dir, "QUIT", user, &argv);
        let pid = supervisor.start();
        let cluster = Cluster { port, pid, supervisor };
        eventually_some("PostgreSQL accepts connections", || {
            assert!(
                cluster.supervisor.is_alive(),
                "PostgreSQL ended:\n{}",
                cluster.supervisor.output()
            );
            cluster.try_connect().ok()
        });
        cluster.fill();
        cluster
    }

    /// The URL for the module, through `port`: the server's own, or a proxy's.
    pub fn url(port: u16, sslmode: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode={sslmode}")
    }

    pub fn version(&self) -> String {
        let row = self.connect().query_one("show server_version", &[]);
        let version: String = row.expect("a version").get(0);
        // Without its packager's name.
        version.split(' ').next().unwrap_or_default().into()
    }

    /// Between rounds: the same table for all who come next.
    pub fn tidy(&self) {
        let delete = format!("delete from users where id >= {NEW_IDS}");
        let mut client = self.connect();
        for sql in [&delete, "vacuum users", "vacuum wide", "vacuum docs"] {
            client.batch_execute(sql).expect(sql);
        }
    }

    /// No row of `users` can be written until the transaction is dropped.
    pub fn lock_users(&self) -> Client {
        let mut client = self.connect();
        let lock = "begin; lock table users in exclusive mode";
        client.batch_execute(lock).expect(lock);
        client
    }

    fn try_connect(&self) -> Result<Client, postgres::Error> {
        Client::connect(&Cluster::url(self.port, "disable"), NoTls)
    }

    fn connect(&self) -> Client {
        self.try_connect()
            .unwrap_or_else(|e| panic!("PostgreSQL: {e:?}\n{}", self.supervisor.output()))
    }

    /// So many accounts with enough in each.
    pub fn fill_accounts(&self, accounts: u64) {
        let mut client = self.connect();
        for sql in [
            "create table if not exists accounts (id int primary key, \
             balance bigint not null check (balance >= 0))",
            &format!(
                "insert into accounts select n, 1000000000 from generate_series(1, {accounts}) n \
                 on conflict do nothing"
            ),
            "vacuum analyze accounts",
        ] {
            client.batch_execute(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        }
    }

    /// A table of so many rows, like `users`.
    pub fn fill_items(&self, rows: u64) {
        self.fill_like_users("items", rows);
    }

    /// The same under another name.
    pub fn fill_like_users(&self, table: &str, rows: u64) {
        let sql = format!(
            "create table if not exists {table} (like users including all); \
             insert into {table} select n, 'user' || n, 'user' || n || '@example.com', \
             repeat('x', 60), 'John', 'Smith', '1990-05-17', n, 1.5 \
             from generate_series(1, {rows}) n on conflict do nothing"
        );
        let mut client = self.connect();
        for sql in [&sql, &format!("vacuum analyze {table}")] {
            client.batch_execute(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        }
    }

    fn fill(&self) {
        let columns: Vec<String> = (1..=shapes::WIDE).map(|c| format!("c{c} text")).collect();
        let sql = [
            "create table users (id bigint primary key, username text not null, \
             email text not null, password_hash text not null, first_name text, \
             last_name text, date_of_birth date, logins bigint, balance numeric(12,2))"
                .into(),
            format!(
                "insert into users select n, 'user' || n, 'user' || n || '@example.com', \
                 repeat('x', 60), 'John', 'Smith', '1990-05-17', n, 1.5 \
                 from generate_series(1, {IDS}) n"
            ),
            format!("create table wide (id bigint primary key, {})", columns.join(", ")),
            format!("insert into wide select n from generate_series(1, {WIDE_IDS}) n"),
            "create table docs (id bigint primary key, body text)".into(),
            format!("insert into docs select n from generate_series(1, {DOCS}) n"),
            "vacuum analyze".into(),
            "checkpoint".into(),
        ];
        let mut client = self.connect();
        for sql in sql {
            client.batch_execute(&sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        }
    }
}
