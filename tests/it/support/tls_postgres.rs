//! A PostgreSQL that speaks TLS, and what its clients need for that.

use std::sync::Arc;

use super::certificates::{Authority, Pair};
use super::database::Database;
use super::postgres_server::{PostgresServer, PASSWORD};
use super::supervisor::own_file;
use super::users::USERS_SQL;

/// A server of the test's own. Roles: `by_password` (SCRAM) and `by_certificate`, with TLS only;
/// `in_the_clear`, without TLS only; `postgres`, both ways.
pub struct TlsPostgres {
    pub server: Arc<PostgresServer>,
    /// Signed the server's certificate, and is the one that the server trusts.
    pub authority: Authority,
    /// One that it doesn't know.
    pub stranger: Authority,
    files: tempfile::TempDir,
}

const HBA: &str = "
hostssl all by_password 127.0.0.1/32 scram-sha-256
hostssl all by_certificate 127.0.0.1/32 cert
hostnossl all in_the_clear 127.0.0.1/32 trust
host all by_password,by_certificate,in_the_clear 127.0.0.1/32 reject
host all postgres 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
";

impl TlsPostgres {
    /// With a certificate for `localhost` and 127.0.0.1.
    pub fn start() -> TlsPostgres {
        let server = Arc::new(PostgresServer::start_new());
        let roles = format!(
            "create role by_password login superuser password '{PASSWORD}';
             create role by_certificate login superuser;
             create role in_the_clear login superuser;"
        );
        server.connect("postgres").batch_execute(&roles).expect("create role");
        let (authority, stranger) = (Authority::new("ours"), Authority::new("a stranger"));
        let pair = authority.server(&["localhost", "127.0.0.1"]);
        let files = tempfile::tempdir().expect("no temporary folder");
        let postgres = TlsPostgres { server, authority, stranger, files };
        postgres.data_file("pg_hba.conf", HBA);
        postgres.data_file("ca.pem", &postgres.authority.cert);
        postgres.present(&pair);
        postgres
    }

    /// The server shows this certificate from now on.
    pub fn present(&self, pair: &Pair) {
        self.data_file("server.pem", &pair.cert);
        self.data_file("server.key", &pair.key);
        self.restart_with(
            "ssl=on\nssl_cert_file='server.pem'\nssl_key_file='server.key'\nssl_ca_file='ca.pem'",
        );
    }

    /// Whose client certificates the server takes, from its next start on.
    pub fn trust(&self, authority: &Authority) {
        self.data_file("ca.pem", &authority.cert);
    }

    /// The server speaks no TLS from now on.
    pub fn without_tls(&self) {
        self.restart_with("ssl=off");
    }

    /// A database with the table of users.
    pub fn users_database(&self) -> Database {
        let database = Database::create(self.server.clone());
        database.execute(USERS_SQL);
        database
    }

    /// `postgres://<user>@localhost:<port>/<database>?<parameters>`
    pub fn url(&self, user: &str, database: &Database, parameters: &str) -> String {
        let (port, name) = (self.server.port(), database.name());
        format!("postgres://{user}@localhost:{port}/{name}?{parameters}")
    }

    /// A file that the module reads; written again, it is another file, as tools for certificates
    /// do it.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.files.path().join(name);
        let new = path.with_extension("new");
        std::fs::write(&new, text).expect("a file of the test");
        std::fs::rename(&new, &path).expect("a file of the test");
        path.display().to_string()
    }

    /// `sslrootcert=…` with the authority of the server's certificate.
    pub fn roots(&self) -> String {
        format!("sslrootcert={}", self.file("roots.pem", &self.authority.cert))
    }

    /// `sslcert=…&sslkey=…`
    pub fn identity(&self, name: &str, pair: &Pair) -> String {
        let cert = self.file(&format!("{name}.pem"), &pair.cert);
        let key = self.file(&format!("{name}.key"), &pair.key);
        format!("sslcert={cert}&sslkey={key}")
    }

    fn restart_with(&self, settings: &str) {
        self.data_file("postgresql.auto.conf", settings);
        self.server.stop_fast();
        self.server.start_again();
    }

    fn data_file(&self, name: &str, text: &str) {
        own_file(&self.server.data_dir(), name, text);
    }
}
