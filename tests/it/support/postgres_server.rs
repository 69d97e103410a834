//! A PostgreSQL server of our own.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use postgres::error::SqlState;
use postgres::{Client, NoTls};

use super::eventually::{eventually, eventually_some};
use super::find;
use super::ports::free_port;
use super::supervisor::{server_dir, Supervisor, User};

/// A user that must show a password; all others are trusted. The password is one that no
/// other text contains.
pub const PASSWORD_USER: &str = "with_password";
pub const PASSWORD: &str = "Xq7-s3cr3t-Zw9";

pub struct PostgresServer {
    port: u16,
    supervisor: Supervisor,
}

impl PostgresServer {
    /// The server that all tests share. A test that stops its server starts its own.
    pub fn shared() -> Arc<PostgresServer> {
        static SHARED: OnceLock<Arc<PostgresServer>> = OnceLock::new();
        SHARED.get_or_init(|| Arc::new(PostgresServer::start_new())).clone()
    }

    /// A new cluster in a folder of its own, running.
    pub fn start_new() -> PostgresServer {
        // Another process can take the port between our look and the server's bind.
        for _ in 0..5 {
            let user = find::postgres_user();
            let dir = server_dir("wt-pg-", user);
            initdb(&dir.join("data"), user);
            let port = free_port();
            let argv = server_argv(&dir.join("data"), port);
            let server =
                PostgresServer { port, supervisor: Supervisor::new(dir, "QUIT", user, &argv) };
            server.supervisor.start();
            if server.wait_until_ready() {
                server.create_password_user();
                return server;
            }
            eprintln!("PostgreSQL didn't start on port {port}:\n{}", server.supervisor.output());
        }
        panic!("PostgreSQL didn't start in five attempts");
    }

    /// A standby that streams from `primary`, asynchronously.
    pub fn start_standby(primary: &PostgresServer) -> PostgresServer {
        let user = find::postgres_user();
        let dir = server_dir("wt-pg-", user);
        let data = dir.join("data");
        primary.base_backup(&data, &["-R"]);
        let port = free_port();
        let argv = server_argv(&data, port);
        let server = PostgresServer { port, supervisor: Supervisor::new(dir, "QUIT", user, &argv) };
        server.supervisor.start();
        assert!(server.wait_until_ready(), "no standby:\n{}", server.supervisor.output());
        server
    }

    fn base_backup(&self, to: &Path, more: &[&str]) {
        let mut command = Command::new(find::postgres_program("pg_basebackup"));
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-X", "stream", "-c", "fast", "-N"]);
        command.args(more).args(["-p", &self.port.to_string(), "-D"]).arg(to).current_dir("/");
        if let Some((uid, gid)) = find::postgres_user() {
            command.uid(uid).gid(gid);
        }
        let output = command.output().expect("pg_basebackup can't be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Keeps what the cluster is now.
    pub fn back_up(&self) {
        self.base_backup(&self.supervisor.dir().join("backup"), &[]);
    }

    /// The cluster becomes what was kept, and is started on the same port.
    pub fn restore(&self) {
        self.stop_immediate();
        let dir = self.supervisor.dir();
        let _ = std::fs::remove_dir_all(dir.join("lost"));
        std::fs::rename(dir.join("data"), dir.join("lost")).expect("the old cluster");
        std::fs::rename(dir.join("backup"), dir.join("data")).expect("the backup");
        self.start_again();
    }

    /// Ends a server's process with the signal of a crash, and waits until the others are ended,
    /// too, and the server has recovered.
    pub fn crash_backend(&self, pid: &str) {
        let recovered =
            || self.log().matches("all server processes terminated; reinitializing").count();
        let before = recovered();
        signal_process(pid, "KILL");
        eventually("the server notices", || recovered() > before);
        drop(self.connect("postgres"));
    }

    /// Waits until this standby has all that `primary` has now.
    pub fn wait_until_replayed(&self, primary: &PostgresServer) {
        let ask = |server: &PostgresServer, sql: &str| -> String {
            server.connect("postgres").query_one(sql, &[]).expect("an answer").get(0)
        };
        let end = ask(primary, "select pg_current_wal_lsn()::text");
        let sql = format!("select (pg_last_wal_replay_lsn() >= '{end}')::text");
        eventually("the standby has it", || ask(self, &sql) == "true");
    }

    /// Cuts this standby off from its primary.
    pub fn cut_off(&self) {
        for sql in ["alter system set primary_conninfo = ''", "select pg_reload_conf()"] {
            self.connect("postgres").batch_execute(sql).expect(sql);
        }
        eventually("it receives no more", || {
            let sql = "select count(*) from pg_stat_wal_receiver";
            let count: i64 =
                self.connect("postgres").query_one(sql, &[]).expect("an answer").get(0);
            count == 0
        });
    }

    /// Makes this standby the primary.
    pub fn promote(&self) {
        let sql = "select pg_promote(true, 60)";
        let promoted: bool =
            self.connect("postgres").query_one(sql, &[]).expect("an answer").get(0);
        assert!(promoted);
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database, as the module's document has it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// A server that starts, recovers from a crash or ends its sessions (57P03) is waited for.
    #[track_caller]
    pub fn connect(&self, database: &str) -> Client {
        eventually_some("PostgreSQL accepts connections", || match self.try_connect(database) {
            Ok(client) => Some(client),
            Err(e) if e.code() == Some(&SqlState::CANNOT_CONNECT_NOW) => None,
            Err(e) => panic!("PostgreSQL: {e:?}\n{}", self.supervisor.output()),
        })
    }

    pub fn try_connect(&self, database: &str) -> Result<Client, postgres::Error> {
        let mut config = postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user("postgres").dbname(database);
        config.connect_timeout(Duration::from_secs(10)).connect(NoTls)
    }

    /// From now on this role must show its password.
    pub fn require_password(&self, role: &str) {
        let path = self.data_dir().join("pg_hba.conf");
        let hba = std::fs::read_to_string(&path).expect("pg_hba.conf");
        let line = format!("host all {role} 127.0.0.1/32 scram-sha-256\n");
        std::fs::write(&path, line + &hba).expect("pg_hba.conf");
        self.stop_fast();
        self.start_again();
    }

    /// What the server wrote to its log.
    pub fn log(&self) -> String {
        self.supervisor.output()
    }

    /// Where the cluster is.
    pub fn data_dir(&self) -> PathBuf {
        self.supervisor.dir().join("data")
    }

    /// `pg_ctl stop -m fast`: sessions are ended, their transactions rolled back.
    pub fn stop_fast(&self) {
        self.supervisor.stop("INT");
    }

    /// `pg_ctl stop -m immediate`: a crash.
    pub fn stop_immediate(&self) {
        self.supervisor.stop("QUIT");
    }

    /// The same cluster on the same port, after a stop.
    pub fn start_again(&self) {
        self.supervisor.start();
        assert!(self.wait_until_ready(), "no restart:\n{}", self.supervisor.output());
    }

    /// Stops the postmaster in its tracks, until the guard is dropped: a new connection is
    /// accepted by the kernel, then silent.
    pub fn freeze(&self) -> Frozen<'_> {
        self.supervisor.signal("STOP");
        Frozen(self)
    }

    fn wait_until_ready(&self) -> bool {
        eventually_some("PostgreSQL accepts connections", || {
            if self.try_connect("postgres").is_ok() {
                Some(true)
            } else if !self.supervisor.is_alive() {
                Some(false)
            } else {
                None
            }
        })
    }

    fn create_password_user(&self) {
        let sql = format!("create role {PASSWORD_USER} login superuser password '{PASSWORD}'");
        self.connect("postgres").batch_execute(&sql).expect("create role");
    }
}

pub struct Frozen<'a>(&'a PostgresServer);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.supervisor.signal("CONT");
    }
}

/// `kill -SIGNAL pid`.
#[track_caller]
pub fn signal_process(pid: &str, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), pid]).status().expect("kill");
    assert!(status.success(), "kill -{name} {pid}");
}

fn initdb(data: &Path, user: User) {
    let mut command = Command::new(find::postgres_program("initdb"));
    command.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
    command.args(["--no-sync", "--no-instructions", "-D"]).arg(data);
    // The folder that cargo runs us in may be closed to the user.
    command.current_dir("/");
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    let output = command.output().expect("initdb can't be run");
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    let hba = format!(
        "host replication all 127.0.0.1/32 trust\n\
         host all {PASSWORD_USER} 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
    );
    // Truncating the file keeps its owner.
    std::fs::write(data.join("pg_hba.conf"), hba).expect("pg_hba.conf");
}

fn server_argv(data: &Path, port: u16) -> Vec<String> {
    let settings = [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".into(),
        "unix_socket_directories=".into(),
        "max_connections=300".into(),
        // A test's data needn't outlive the machine; commits still reach the kernel.
        "fsync=off".into(),
        "full_page_writes=off".into(),
        "autovacuum=off".into(),
        "shared_buffers=64MB".into(),
        "wal_level=logical".into(),
        "max_prepared_transactions=20".into(),
    ];
    let mut argv = vec![find::postgres_program("postgres").display().to_string()];
    argv.extend(["-D".into(), data.display().to_string()]);
    for setting in settings {
        argv.extend(["-c".into(), setting]);
    }
    argv
}
