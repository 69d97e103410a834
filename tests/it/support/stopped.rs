//! A process of PostgreSQL's that is stopped, with a message that it has not read.

use std::process::Command;

use super::eventually::eventually_some;
use super::resp::Conn;
use super::stack::Stack;

/// Goes on when it is dropped.
pub struct Stopped {
    pid: i32,
}

impl Stack {
    /// Sends a write of user 1, whose statement lies unread before the process that serves the only
    /// worker. That process is idle, for whoever asks. The second value: the write's connection.
    pub fn write_unread(&self, username: &str) -> (Stopped, Conn) {
        let long = "x".repeat(200);
        eventually_some("a statement lies unread", || {
            self.run(&format!("HSET __{{users:1}} username before first {long}")).int();
            let serving = "select pid::text, client_port::text as port from pg_stat_activity
                where datname = current_database() and application_name = 'writethrough' and query like '%username%' limit 1";
            // Its last statement may have been another one.
            let serving = self.database.rows(serving).into_iter().next()?;
            // A connection that was idle for a while is probed first, with a few bytes.
            self.run(&format!("HSET __{{users:1}} username before first {long}")).int();
            let stopped = Stopped::stop(serving["pid"].parse().expect("a number"));
            let conn = self.send(&format!("HSET __{{users:1}} username {username} first {long}"));
            let port = serving["port"].parse().expect("a port");
            let unread = eventually_some("something lies unread", || {
                Some(unread(self.database.server().port(), port)).filter(|bytes| *bytes > 0)
            });
            (unread > 100).then_some((stopped, conn))
        })
    }
}

impl Stopped {
    /// Stops this process.
    pub fn stop(pid: i32) -> Stopped {
        let status = Command::new("kill").args(["-STOP", &pid.to_string()]).status();
        assert!(status.expect("kill").success());
        Stopped { pid }
    }

    /// Somebody has told it to end. It will, when it goes on.
    pub fn is_told_to_end(&self) -> bool {
        const SIGTERM: u64 = 15;
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid));
        let status = status.expect("it is there");
        let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
        let pending = u64::from_str_radix(pending.expect("a mask").trim(), 16).expect("a mask");
        pending & (1 << (SIGTERM - 1)) != 0
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-CONT", &self.pid.to_string()]).status();
    }
}

/// The bytes that the server at port `local` has not read from the client at port `remote`.
fn unread(local: u16, remote: u16) -> u64 {
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("the table of sockets");
    let (local, remote) = (format!(":{local:04X}"), format!(":{remote:04X}"));
    let socket = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut sizes = socket.filter(|words| words.len() > 4).filter_map(|words| {
        let is_it = words[1].ends_with(&local) && words[2].ends_with(&remote);
        let (_, size) = words[4].split_once(':').filter(|_| is_it)?;
        u64::from_str_radix(size, 16).ok()
    });
    sizes.next().unwrap_or(0)
}
