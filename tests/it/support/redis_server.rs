//! A redis-server of our own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::eventually::eventually_some;
use super::find;
use super::ports::free_port;
use super::resp::{Conn, Reply};
use super::supervisor::{server_dir, Supervisor};

pub struct RedisServer {
    port: u16,
    supervisor: Supervisor,
}

/// A word of redis.conf, or of a command line inside it: quoted, so that any text stays whole.
pub fn quoted(word: &str) -> String {
    let mut out = String::from("\"");
    for byte in word.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', byte as char]),
            b' '..=b'~' => out.push(byte as char),
            other => out.push_str(&format!("\\x{other:02x}")),
        }
    }
    out + "\""
}

impl RedisServer {
    /// Starts a server with these lines in its redis.conf, or says what its log says.
    pub fn start(conf: &[String], env: &[(String, String)]) -> Result<RedisServer, String> {
        RedisServer::start_under(&[], conf, env)
    }

    /// The same, run by another program, which is given redis-server's command line.
    pub fn start_under(
        program: &[String],
        conf: &[String],
        env: &[(String, String)],
    ) -> Result<RedisServer, String> {
        let mut log = String::new();
        // Another process can take the port between our look and the server's bind.
        for _ in 0..5 {
            let dir = server_dir("wt-redis-", None);
            let file = dir.join("redis.conf");
            let own = [find::redis_server(), file].map(|path| path.display().to_string());
            let argv = [program, &own].concat();
            let supervisor = Supervisor::with_env(dir, "KILL", None, &argv, env);
            let server = RedisServer { port: free_port(), supervisor };
            server.write_conf(conf);
            server.supervisor.start();
            if server.wait_until_ready() {
                return Ok(server);
            }
            log = server.log();
            if !log.contains("Address already in use") {
                break;
            }
        }
        Err(log)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn dir(&self) -> &Path {
        self.supervisor.dir()
    }

    pub fn connect(&self) -> Conn {
        Conn::open(self.port).unwrap_or_else(|e| panic!("redis-server: {e}\n{}", self.log()))
    }

    /// The log, and what a crash printed.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned() + &self.supervisor.output()
    }

    pub fn is_alive(&self) -> bool {
        self.supervisor.is_alive()
    }

    /// Sends a signal by its name, such as `STOP`, and waits for nothing.
    pub fn signal(&self, name: &str) {
        self.supervisor.signal(name);
    }

    /// `TERM` is an orderly shutdown, `KILL` a crash.
    pub fn stop(&self, signal: &str) {
        self.supervisor.stop(signal);
    }

    pub fn wait_until_dead(&self) {
        self.supervisor.wait_until_dead();
    }

    /// The same folder, port and settings, after a stop.
    pub fn start_again(&self) {
        assert!(self.starts_again(), "redis-server didn't start again:\n{}", self.log());
    }

    /// The same; false when it has ended.
    pub fn starts_again(&self) -> bool {
        self.supervisor.start();
        self.wait_until_ready()
    }

    /// Other settings for the next start.
    pub fn write_conf(&self, lines: &[String]) {
        let own = [
            format!("port {}", self.port),
            "bind 127.0.0.1".into(),
            format!("dir {}", quoted(&self.dir().display().to_string())),
            format!("logfile {}", quoted(&self.log_file().display().to_string())),
            "save \"\"".into(),
            // A full synchronization starts at once.
            "repl-diskless-sync-delay 0".into(),
            "enable-debug-command yes".into(),
            "enable-module-command yes".into(),
        ];
        let text = own.iter().chain(lines).fold(String::new(), |text, line| text + line + "\n");
        std::fs::write(self.dir().join("redis.conf"), text).expect("redis.conf");
    }

    fn log_file(&self) -> PathBuf {
        self.dir().join("redis.log")
    }

    /// Whether it came up; when not, it has ended.
    fn wait_until_ready(&self) -> bool {
        eventually_some("redis-server answers", || {
            let pong = Conn::open(self.port).ok().and_then(|mut conn| {
                // A server whose load fails listens for a moment.
                conn.try_send(&["PING"]).ok()?;
                conn.receive_within(Duration::from_secs(5)).ok().flatten()
            });
            match pong {
                Some(Reply::Status(text)) if text == "PONG" => Some(true),
                _ if !self.supervisor.is_alive() => Some(false),
                _ => None,
            }
        })
    }
}
