//! A PgBouncer of our own, between the module and PostgreSQL.

use super::eventually::eventually_some;
use super::find;
use super::ports::free_port;
use super::postgres_server::PostgresServer;
use super::supervisor::{own_file, server_dir, Supervisor};

pub struct Pooler {
    port: u16,
    supervisor: Supervisor,
}

impl Pooler {
    /// In a pool mode (`session`, `transaction`, `statement`), with more lines of its file. `None`, and
    /// a word on it, where PgBouncer isn't installed.
    pub fn start(server: &PostgresServer, mode: &str, lines: &str) -> Option<Pooler> {
        let Some(program) = find::pgbouncer() else {
            eprintln!("skipped: no pgbouncer found (apt-get install pgbouncer)");
            return None;
        };
        for _ in 0..5 {
            let user = find::postgres_user();
            let dir = server_dir("wt-pooler-", user);
            let port = free_port();
            own_file(&dir, "users.txt", "\"postgres\" \"\"\n\"app\" \"\"\n");
            let text = format!(
                "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\n\
                 pool_mode = {mode}\nadmin_users = postgres\n{lines}\n",
                server.port(),
                dir.join("users.txt").display(),
            );
            own_file(&dir, "pgbouncer.ini", &text);
            let argv =
                [program.display().to_string(), dir.join("pgbouncer.ini").display().to_string()];
            let pooler = Pooler { port, supervisor: Supervisor::new(dir, "TERM", user, &argv) };
            pooler.supervisor.start();
            let is_ready = eventually_some("PgBouncer accepts connections", || {
                if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    Some(true)
                } else {
                    (!pooler.supervisor.is_alive()).then_some(false)
                }
            });
            if is_ready {
                return Some(pooler);
            }
            eprintln!("PgBouncer didn't start on port {port}:\n{}", pooler.supervisor.output());
        }
        panic!("PgBouncer didn't start in five attempts");
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Another program's connection through it.
    pub fn connect(&self, database: &str) -> postgres::Client {
        let mut config = postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user("postgres").dbname(database);
        config.connect(postgres::NoTls).expect("PgBouncer takes it")
    }

    /// Another pool mode from now on.
    pub fn set_mode(&self, mode: &str) {
        let mut admin = self.connect("pgbouncer");
        let path = self.supervisor.dir().join("pgbouncer.ini");
        let text = std::fs::read_to_string(&path).expect("its file");
        let (before, after) = text.split_once("pool_mode = ").expect("a mode");
        let (_, after) = after.split_once('\n').expect("a line");
        std::fs::write(&path, format!("{before}pool_mode = {mode}\n{after}")).expect("its file");
        admin.simple_query("RELOAD").expect("reloaded");
    }
}
