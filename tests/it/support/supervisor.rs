//! A server that dies with the test process, however that one ends.
//!
//! Each server runs under a small `sh` that reads orders from a pipe. The test process holds
//! the other end: when it is gone (a panic, a SIGKILL, a static that is never dropped), `sh`
//! reads the end of file, kills the server and removes its folder.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{chown, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use super::eventually::eventually;

// `jobs` makes the shell notice a child that has ended, so that `kill -0` tells the truth.
const SCRIPT: &str = r#"
dir=$1 last_signal=$2 server=
shift 2
while read -r verb arg; do
  case $verb in
    start)  "$@" </dev/null >>"$dir/output.log" 2>&1 & server=$!; echo $server ;;
    alive)  jobs >/dev/null; if kill -0 "$server" 2>/dev/null; then echo yes; else echo no; fi ;;
    signal) if kill -"$arg" "$server" 2>/dev/null; then echo sent; else echo gone; fi ;;
  esac
done
if [ -n "$server" ]; then kill -CONT "$server"; kill -"$last_signal" "$server"; wait; fi 2>/dev/null
rm -rf "$dir"
"#;

/// One server program: started, stopped and started again in one folder, which it owns.
pub struct Supervisor {
    dir: PathBuf,
    shell: Mutex<Shell>,
}

struct Shell {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// Who runs the server: `None` is ourselves.
pub type User = Option<(u32, u32)>;

impl Supervisor {
    /// Prepares `argv`; [`Supervisor::start`] runs it. `last_signal` is what ends the server
    /// when the test process is gone.
    pub fn new(dir: PathBuf, last_signal: &str, user: User, argv: &[String]) -> Supervisor {
        Supervisor::with_env(dir, last_signal, user, argv, &[])
    }

    pub fn with_env(
        dir: PathBuf,
        last_signal: &str,
        user: User,
        argv: &[String],
        env: &[(String, String)],
    ) -> Supervisor {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "sh"]).arg(&dir).arg(last_signal).args(argv);
        command.envs(env.iter().map(|(name, value)| (name, value)));
        command.current_dir(&dir).stdin(Stdio::piped()).stdout(Stdio::piped());
        // Ctrl-C in a terminal must reach the tests, not the shell that cleans up after them.
        command.process_group(0);
        if let Some((uid, gid)) = user {
            command.uid(uid).gid(gid);
        }
        let mut child = command.spawn().expect("/bin/sh can't be run");
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        Supervisor { dir, shell: Mutex::new(Shell { child, orders, answers }) }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts the server and returns its process id.
    pub fn start(&self) -> u32 {
        self.order("start").parse().expect("sh answers with the process id")
    }

    pub fn is_alive(&self) -> bool {
        self.order("alive") == "yes"
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        self.order(&format!("signal {name}"));
    }

    /// Sends a signal and waits until the server has ended.
    pub fn stop(&self, signal: &str) {
        self.signal(signal);
        self.wait_until_dead();
    }

    pub fn wait_until_dead(&self) {
        eventually("the server ends", || !self.is_alive());
    }

    /// What the server wrote to its standard output and error.
    pub fn output(&self) -> String {
        let bytes = std::fs::read(self.dir.join("output.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn order(&self, line: &str) -> String {
        // A test that panicked with the lock held mustn't hide its own message.
        let mut shell = self.shell.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let orders = shell.orders.as_mut().expect("open until the drop");
        writeln!(orders, "{line}").expect("the supervisor is gone");
        let mut answer = String::new();
        shell.answers.read_line(&mut answer).expect("the supervisor answers");
        answer.trim().to_owned()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let shell = self.shell.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        drop(shell.orders.take());
        let _ = shell.child.wait();
    }
}

/// A new folder for a server that `user` will run. The supervisor removes it.
pub fn server_dir(prefix: &str, user: User) -> PathBuf {
    let dir = tempfile::Builder::new().prefix(prefix).tempdir().expect("no temporary folder");
    let dir = dir.keep();
    if let Some((uid, gid)) = user {
        chown(&dir, Some(uid), Some(gid)).expect("root may chown");
    }
    dir
}

/// A file in a server's folder. PostgreSQL wants its key to be its own, and closed to others.
pub fn own_file(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("a file of the server");
    let (dir, meta) = (dir.metadata().expect("a folder"), path.metadata().expect("a file"));
    if meta.uid() != dir.uid() {
        chown(&path, Some(dir.uid()), Some(dir.gid())).expect("root may chown");
    }
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("permissions");
}
