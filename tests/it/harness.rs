//! The harness itself, without the module: what a failing test may blame on it is tested here.

use std::process::Command;
use std::sync::Arc;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::support::*;

#[test]
fn redis_and_postgres_answer_without_the_module() {
    let stack = Stack::users().without_module().start();
    assert_eq!(stack.run("HSET h a 1 b 2"), int(2));
    assert_eq!(stack.hgetall("h"), hash(&[("a", "1"), ("b", "2")]));
    assert_eq!(
        stack.run("NOSUCH"),
        error("ERR unknown command 'NOSUCH', with args beginning with: ")
    );
    assert_eq!(stack.cmd(&[b"SET".as_slice(), b"\xff\0", b"\r\n"]), ok());
    assert_eq!(stack.cmd(&[b"GET".as_slice(), b"\xff\0"]), bulk("\r\n"));
    stack.execute("insert into users values (1, 'john', 'j@example.com', 'h')");
    assert_eq!(user_row(&stack, 1)["username"], "john");
    assert!(!user_row(&stack, 1).contains_key("first"), "a NULL is absent");
}

#[test]
fn a_held_row_is_seen_to_block_another_session() {
    let stack = Stack::users().without_module().start();
    stack.execute("insert into users values (1, 'john', 'j@example.com', 'h')");
    let lock = stack.lock_user(1);
    let mut other = stack.pg();
    let update = std::thread::spawn(move || {
        other.batch_execute("update users set username = 'bar'").expect("update")
    });
    stack.database.wait_for_lock_waiters(1);
    assert_eq!(stack.one("select username from users"), "john");
    lock.rollback();
    update.join().unwrap();
    assert_eq!(stack.one("select username from users"), "bar");
}

#[test]
fn redis_starts_again_with_its_data() {
    let stack = Stack::new().without_module().redis_conf("appendonly yes").start();
    assert_eq!(stack.run("SET a 1"), ok());
    stack.redis.stop("TERM");
    stack.redis.start_again();
    assert_eq!(stack.conn().run("GET a"), bulk("1"));
}

#[test]
fn postgres_starts_again_with_its_data() {
    let server = Arc::new(PostgresServer::start_new());
    let database = Database::create(server.clone());
    database.execute("create table t (n int); insert into t values (1)");
    for stop in [PostgresServer::stop_fast, PostgresServer::stop_immediate] {
        stop(&server);
        assert!(server.try_connect("postgres").is_err());
        server.start_again();
        assert_eq!(database.count("t"), 1);
    }
}

/// The supervisor's promise, with a process that starts a server and is killed.
#[test]
fn servers_die_with_a_killed_test_process() {
    if let Ok(file) = std::env::var("WT_HARNESS_CHILD") {
        // We are the child: start both, say where they are, and wait to be killed.
        let stack = Stack::new().without_module().start();
        let redis = format!("{} {}", stack.redis.dir().display(), stack.redis.port());
        let lines = format!("{redis}\n{}\n", stack.database.server().port());
        std::fs::write(format!("{file}.part"), lines).expect("the child's file");
        std::fs::rename(format!("{file}.part"), &file).expect("the child's file");
        loop {
            std::thread::park();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("servers");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "harness::servers_die_with_a_killed_test_process"])
        .env("WT_HARNESS_CHILD", &file)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the test binary runs");
    let lines =
        eventually_some("the child starts its servers", || std::fs::read_to_string(&file).ok());
    let (dir, redis) = lines.lines().next().unwrap().split_once(' ').unwrap();
    let ports = [redis, lines.lines().nth(1).unwrap()].map(|port| port.parse::<u16>().unwrap());
    let listens = |port| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    assert!(ports.iter().all(|port| listens(*port)));

    child.kill().expect("SIGKILL");
    child.wait().unwrap();
    eventually("both servers are gone", || !ports.iter().any(|port| listens(*port)));
    eventually("the folder is gone", || !std::path::Path::new(dir).exists());
}

/// What a client sees, by which error its read ends: a reset, not an end.
#[test]
fn a_connection_that_the_proxy_resets_is_reset() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let proxy = Proxy::to(listener.local_addr().expect("an address").port());
    for cut in
        [Some(Cut::BeforeStatement), Some(Cut::AfterStatement), Some(Cut::BeforeAnswer), None]
    {
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).expect("the proxy");
        let (mut server, _) = listener.accept().expect("a connection");
        // Both directions are there.
        let mut byte = [0];
        client.write_all(b"x").expect("it is taken");
        server.read_exact(&mut byte).expect("it comes through");
        let tripped = proxy.tripped();
        match cut {
            Some(cut) => {
                proxy.arm(cut);
                client.write_all(b"Q").expect("it is taken");
                if cut == Cut::BeforeAnswer {
                    server.read_exact(&mut byte).expect("it comes through");
                    server.write_all(b"2").expect("it is taken");
                }
            }
            None => proxy.reset_all(),
        }
        let read = client.read(&mut byte);
        let error = read.expect_err("an error").kind();
        assert_eq!(error, std::io::ErrorKind::ConnectionReset, "{cut:?}");
        assert_eq!(proxy.tripped() - tripped, usize::from(cut.is_some()), "{cut:?}");
    }
}
