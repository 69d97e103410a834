//! Counters and logged rows that are written behind, while redis-server is killed, PostgreSQL too, and the
//! connections between them end at any moment.

use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;

use serde_json::json;

use crate::restarts::Kept;
use crate::router::{Router, Unknown};
use crate::scene::{fault, TALLY};
use crate::support::*;

pub const CLIENTS: usize = 8;
pub const COUNTERS: usize = 5;

/// A large sum is refused. Of `logged` a trigger keeps the order of the table.
pub const SQL: &str = "
create table counters (id int primary key, n bigint not null default 0 check (n < 1000000000));
create table logged (id int primary key, v bigint);
create table log (seq bigserial primary key, id int, v bigint);
create function log() returns trigger language plpgsql as $$ begin
    insert into log (id, v) values (new.id, new.v);
    return new;
end $$;
create trigger log after insert or update on logged for each row execute function log()";

/// What a client does.
#[derive(Clone, Copy)]
enum Act {
    /// An increment that the table refuses: it counts for nothing.
    Refused,
    /// The hash goes, and the row stays.
    Evict,
    /// An increment.
    Add,
    /// A value of the client's own row, greater than the one before.
    Set,
}

/// What one client was answered.
#[derive(Default, Clone)]
pub struct Told {
    /// Increments of each counter that were answered, and those that may have been done.
    added: [(i64, i64); COUNTERS],
    /// The value of its own row that was answered last, and the one that was sent last.
    set: (i64, i64),
}

/// Writes until it is told to stop.
fn client(
    ports: &[u16],
    number: usize,
    seed: usize,
    stop: &AtomicBool,
    done: &AtomicUsize,
) -> Told {
    let mut told = Told::default();
    let mut random = Lcg::new((seed * 100 + number) as u64);
    let mut router = Router::new(ports);
    while !stop.load(Ordering::Relaxed) {
        let counter = random.below(COUNTERS);
        let act = match random.below(40) {
            0 => Act::Refused,
            1 => Act::Evict,
            2..22 => Act::Add,
            _ => Act::Set,
        };
        let line = match act {
            Act::Refused => format!("HINCRBY __{{counters:{counter}}} n 5000000000"),
            Act::Evict => format!("DEL counters:{counter}"),
            Act::Add => format!("HINCRBY __{{counters:{counter}}} n 1"),
            Act::Set => {
                told.set.1 += 1;
                format!("HSET __{{logged:{number}}} v {}", told.set.1)
            }
        };
        let words: Vec<&str> = line.split(' ').collect();
        let Some(reply) = router.ask(words[1], &words, stop) else { break };
        done.fetch_add(1, Ordering::Relaxed);
        match (reply, act) {
            (Ok(Reply::Int(_)), Act::Add) => told.added[counter].0 += 1,
            (Ok(Reply::Int(_)), Act::Set) => told.set.0 = told.set.1,
            (Err(Unknown), Act::Add) => told.added[counter].1 += 1,
            _ => {}
        }
    }
    told
}

/// The two tables, written behind.
pub fn builder() -> Builder {
    let mapping = |table: &str| json!({"table": table, "write": "behind"});
    let builder = Stack::new().sql(SQL).mapping(mapping("counters")).mapping(mapping("logged"));
    // Clients don't wait for a database that is away, and what they write faster than it is written is refused: or it
    // would take long.
    builder.option("timeout_ms", 500).option("batch_max", 50).option("behind_max", 5000)
}

/// Clients write while `body` breaks things; it is given a function that waits until they have written more.
pub fn under_load(ports: &[u16], seed: usize, body: impl FnOnce(&dyn Fn())) -> Vec<Told> {
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let told = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (stop, done) = (&stop, &done);
                scope.spawn(move || client(ports, number, seed, stop, done))
            })
            .collect();
        let more = || {
            let now = done.load(Ordering::Relaxed);
            eventually("writes go on", || done.load(Ordering::Relaxed) > now + 200);
        };
        let broken = catch_unwind(AssertUnwindSafe(|| {
            body(&more);
            more();
        }));
        // Whatever has failed: the clients end.
        stop.store(true, Ordering::Relaxed);
        broken.unwrap_or_else(|panic| resume_unwind(panic));
        clients.into_iter().map(|client| client.join().expect("a client")).collect()
    });
    TALLY.writes.fetch_add(done.load(Ordering::Relaxed), Ordering::Relaxed);
    told
}

pub fn scene(kept: Kept, seed: usize) {
    let server = Arc::new(PostgresServer::start_new());
    let builder = builder().postgres(&server);
    let s = match kept {
        Kept::Always => builder.redis_conf("appendonly yes").redis_conf("appendfsync always"),
        Kept::EverySecond => builder.redis_conf("appendonly yes"),
        Kept::OldRdb | Kept::Nothing => builder,
    };
    let s = s.start();
    let told = under_load(&[s.redis.port()], seed, |more| {
        for round in 0..12 {
            more();
            match round % 4 {
                0 => s.restart_redis("KILL"),
                1 => {
                    server.stop_immediate();
                    server.start_again();
                }
                2 => (0..5).for_each(|_| {
                    s.database.terminate_sessions();
                    more();
                }),
                _ if kept == Kept::OldRdb => assert_eq!(s.run("SAVE"), ok()),
                _ => s.restart_redis(if round == 3 { "TERM" } else { "KILL" }),
            }
            fault();
        }
    });
    verdict(&[&s], &s.database, matches!(kept, Kept::Always | Kept::EverySecond), &told);
}

/// When all is written: nothing is there twice, what one client wrote is in order, each hash is its row; and where
/// neither server has lost anything, all that was answered is there.
#[track_caller]
pub fn verdict(servers: &[&Stack], database: &Database, keeps_all: bool, told: &[Told]) {
    for server in servers {
        for name in ["counters", "logged"] {
            assert_eq!(server.run(&format!("WT.FLUSH {name}")), ok());
        }
    }
    let number = |sql: String| -> i64 {
        database.row(&sql).into_values().next().map_or(0, |text| text.parse().expect("a number"))
    };
    for counter in 0..COUNTERS {
        let sum = |of: fn(&(i64, i64)) -> i64| told.iter().map(|t| of(&t.added[counter])).sum();
        let (answered, unknown): (i64, i64) = (sum(|added| added.0), sum(|added| added.1));
        let n = number(format!("select n from counters where id = {counter}"));
        assert!(n <= answered + unknown, "counter {counter}: {n} of {answered} + {unknown}: twice");
        assert!(!keeps_all || n >= answered, "counter {counter}: {n} of {answered}: lost");
    }
    for (id, told) in told.iter().enumerate() {
        let v = number(format!("select v from logged where id = {id}"));
        assert!(v <= told.set.1, "row {id}: {v} was never sent");
        assert!(!keeps_all || v >= told.set.0, "row {id} is {v}, and {} was answered", told.set.0);
        let log = database.rows(&format!("select v from log where id = {id} order by seq"));
        let log: Vec<i64> = log.iter().map(|row| row["v"].parse().expect("a number")).collect();
        let is_in_order = log.windows(2).all(|two| two[0] < two[1]);
        assert!(is_in_order, "row {id}: not in order, or twice: {log:?}");
    }
    for (table, field) in [("counters", "n"), ("logged", "v")] {
        for id in 0..CLIENTS {
            let key = format!("{table}:{id}");
            eventually(&format!("{key} is its row"), || {
                let row = database.row(&format!("select id, {field} from {table} where id = {id}"));
                let mut with_it = servers.iter().filter(|server| server.keys().contains(&key));
                with_it.all(|server| server.hgetall(&key) == row)
            });
        }
    }
}
