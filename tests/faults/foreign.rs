//! Another program writes the same rows, whatever breaks: when it is quiet, each cached hash is its row.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;

use crate::scene::fault;
use crate::support::*;

const ROWS: usize = 40;

/// `w` is the foreign program's, `v` ours; `whole` is preloaded, and only the foreign program writes it.
const SQL: &str = "
create table shared (id int primary key, v text, w text) partition by hash (id);
create table shared_0 partition of shared for values with (modulus 2, remainder 0);
create table shared_1 partition of shared for values with (modulus 2, remainder 1);
create table whole (id int primary key, w text)";

fn builder() -> Builder {
    Stack::new()
        .option("follow", true)
        .option("timeout_ms", 1000)
        .option("sync_timeout_ms", 400)
        .option("connect_timeout_ms", 400)
        .mapping(json!({ "table": "shared", "read_through": true }))
        .mapping(json!({ "table": "whole", "preload": true }))
        .redis_conf("appendonly yes")
        .redis_conf("appendfsync always")
}

/// A program that goes on until it is finished.
pub struct Program {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Program {
    pub fn start(mut run: impl FnMut(&AtomicUsize) + Send + 'static) -> Program {
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (stopped, counted) = (stop.clone(), done.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                run(&counted);
            }
        });
        Program { stop, done, thread: Some(thread) }
    }

    #[track_caller]
    pub fn wait_for(&self, more: usize) {
        let goal = self.done.load(Ordering::Relaxed) + more;
        eventually("the program goes on", || self.done.load(Ordering::Relaxed) >= goal);
    }

    pub fn finish(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it runs").join().expect("a program failed");
    }
}

/// SQL by a connection of its own, which it makes again when it is lost.
pub fn psql(
    url: String,
    seed: usize,
    mut next: impl FnMut(&mut Lcg, usize) -> String + Send + 'static,
) -> Program {
    let mut random = Lcg::new(seed as u64);
    let (mut client, mut n) = (None, 0);
    Program::start(move |done| {
        let connect = || postgres::Client::connect(&url, postgres::NoTls).ok();
        let Some(conn) = client.take().or_else(connect) else {
            return std::thread::sleep(Duration::from_millis(5));
        };
        let mut conn: postgres::Client = conn;
        n += 1;
        if conn.batch_execute(&next(&mut random, n)).is_ok() {
            done.fetch_add(1, Ordering::Relaxed);
        } else if conn.batch_execute("rollback").is_err() {
            return;
        }
        client = Some(conn);
    })
}

/// Changes of every kind.
fn foreign(url: String, seed: usize) -> Program {
    psql(url, seed, |random, n| {
        let (a, b) = (random.below(ROWS), random.below(ROWS));
        match random.below(12) {
            0 => format!("delete from shared where id = {a}; delete from whole where id = {b}"),
            1 => format!("update shared set id = id + 100 where id = {a}; delete from shared where id >= 100"),
            2 => format!("begin; update shared set w = 'no'; update whole set w = 'no{n}'; rollback"),
            3 if random.below(10) == 0 => "truncate whole".into(),
            3 => format!("update whole set w = 'all{n}'"),
            4..=5 => format!(
                "begin; update shared set w = 'late{n}' where id = {a}; update shared set w = 'late{n}' where id = {b}; \
                 select pg_sleep(0.02); commit"
            ),
            6..=8 => format!(
                "insert into whole values ({a}, 'w{n}') on conflict (id) do update set w = excluded.w"
            ),
            _ => format!(
                "insert into shared (id, w) values ({a}, 'w{n}') on conflict (id) do update set w = excluded.w"
            ),
        }
    })
}

/// Writes, deletes, evictions and reads of the same rows through Redis.
fn ours(port: u16, seed: usize) -> Program {
    let mut random = Lcg::new(seed as u64);
    let (mut conn, mut n) = (None, 0);
    Program::start(move |done| {
        let Some(mut open) = conn.take().or_else(|| Conn::open(port).ok()) else {
            return std::thread::sleep(Duration::from_millis(5));
        };
        n += 1;
        let id = random.below(ROWS);
        let line = match random.below(10) {
            0 => format!("DEL __{{shared:{id}}}"),
            1 => format!("DEL shared:{id}"),
            2..=4 => format!("HGET shared:{id} w"),
            5 => format!("WT.REFRESH shared:{id}"),
            _ => format!("HSET __{{shared:{id}}} v v{n}"),
        };
        let words: Vec<&str> = line.split(' ').collect();
        let reply = open.try_send(&words).and_then(|()| open.receive_within(DEADLINE));
        match reply {
            Ok(Some(reply)) => {
                done.fetch_add(usize::from(!reply.is_error()), Ordering::Relaxed);
                conn = Some(open);
            }
            Ok(None) => panic!("left without an answer: {line}"),
            Err(_) => {}
        }
    })
}

/// What is cached and isn't its row; of the preloaded table also what isn't cached.
fn differing(s: &Stack) -> Vec<String> {
    let mut wrong = Vec::new();
    for table in ["shared", "whole"] {
        let rows = s.database.rows(&format!("select * from {table}"));
        for id in 0..ROWS + 100 {
            let key = format!("{table}:{id}");
            let row = rows.iter().find(|row| row["id"] == id.to_string());
            let is_cached = s.run(&format!("OBJECT ENCODING {key}")) != Reply::Nil;
            if !is_cached && (table == "shared" || row.is_none()) {
                continue;
            }
            let cached = if is_cached { s.hgetall(&key) } else { Hash::default() };
            if row.cloned().unwrap_or_default() != cached {
                wrong.push(format!("{key}: {cached:?} is cached of {row:?}"));
            }
        }
    }
    wrong
}

pub fn scene(seed: usize) {
    let server = Arc::new(PostgresServer::start_new());
    let s = builder().sql(SQL).postgres(&server).start();
    let mut random = Lcg::new(seed as u64);
    for round in 0..12 {
        let programs = [
            foreign(s.database.url(), seed * 100 + round),
            foreign(s.database.url(), seed * 100 + round + 50),
            ours(s.redis.port(), seed * 100 + round + 70),
            ours(s.redis.port(), seed * 100 + round + 90),
        ];
        programs.iter().for_each(|program| program.wait_for(20));
        match random.below(7) {
            0 => s.restart_redis("KILL"),
            1 => drop(s.database.terminate_sessions()),
            2 => {
                server.stop_immediate();
                server.start_again();
            }
            3 => {
                let drop = "drop trigger if exists writethrough_update_shared on shared_0";
                // Another program may have it locked.
                let _ = s.database.connect().batch_execute(drop);
            }
            4 => drop(s.run("FLUSHALL")),
            5 => drop(s.run("CLIENT PAUSE 100 WRITE")),
            _ => drop(s.run("WT.RELOAD")),
        }
        fault();
        programs.iter().for_each(|program| program.wait_for(20));
        programs.into_iter().for_each(Program::finish);
        // What was written while a trigger was missing is read when it is there again.
        eventually("the triggers are there", || {
            s.one("select count(*) from pg_trigger where tgname like 'writethrough%'") == "19"
        });
        let mut wrong = Vec::new();
        eventually("it is quiet", || {
            wrong = match s.info_int("in_sync") == 1 {
                true => differing(&s),
                false => vec!["it is not in sync".into()],
            };
            wrong.is_empty()
        });
    }
}
