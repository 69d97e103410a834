//! Everything that the module does by itself is going on, while the server is paused, fails over, and
//! begins to shut down: it lives, and in the end replica, cache and table are the same.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use crate::replication::follow;
use crate::support::*;

/// Rows that everybody writes.
const IDS: usize = 40;

/// Two servers with the module on one database, of which one is the master at a time.
struct Scene {
    servers: [Stack; 2],
    master: AtomicUsize,
    is_over: AtomicBool,
    /// Lines that the master has answered without an error.
    answered: AtomicUsize,
}

impl Scene {
    fn start() -> Scene {
        let sql = "create table short (id int primary key, n int);
                   create table spoiled (id int primary key, n int default 1)";
        let builder = |stack: Builder| {
            let conf = ["appendonly yes", "shutdown-timeout 60", "databases 3"];
            conf.iter().fold(stack, |stack, line| stack.redis_conf(line))
        };
        let short = json!({ "table": "short", "ttl": 1 });
        let first = Stack::users().sql(sql).mapping(short).mapping(json!({ "table": "spoiled" }));
        let first = first.option("journal", true);
        let first = builder(first.option("timeout_ms", 5000)).start();
        let second = builder(Stack::new()).without_module().start();
        let document = first.document.to_string();
        assert_eq!(second.load_with(&["JSON", &document]), ok());
        let (master, is_over, answered) = Default::default();
        let scene = Scene { servers: [first, second], master, is_over, answered };
        follow(scene.replica(), scene.master());
        scene
    }

    fn master(&self) -> &Stack {
        &self.servers[self.master.load(Ordering::SeqCst)]
    }

    fn replica(&self) -> &Stack {
        &self.servers[1 - self.master.load(Ordering::SeqCst)]
    }

    /// Sends lines to whoever is the master, one after the other, until all is over.
    fn client(&self, seed: u64, line: impl Fn(&mut Lcg) -> String) {
        let mut random = Lcg::new(seed);
        while !self.is_over.load(Ordering::SeqCst) {
            let mut conn = self.master().conn();
            // A demotion closes the connection, or answers READONLY.
            while !self.is_over.load(Ordering::SeqCst) {
                let words = line(&mut random);
                let words: Vec<&str> = words.split(' ').collect();
                if conn.try_send(&words).is_err() {
                    break;
                }
                let Ok(Some(reply)) = conn.receive_within(DEADLINE) else { break };
                if reply.text().starts_with("READONLY ") {
                    break;
                }
                self.answered.fetch_add(usize::from(!reply.is_error()), Ordering::SeqCst);
            }
        }
    }

    /// What other programs write, and note in the journal.
    fn stranger(&self) {
        let (mut client, mut random) = (self.master().database_of_both(), Lcg::new(9));
        while !self.is_over.load(Ordering::SeqCst) {
            let id = random.below(IDS);
            let sql = format!(
                "begin; update users set last_name = 'n{}' where id = {id};
                 insert into writethrough.journal (name, key) values ('users', '{id}'); commit",
                random.below(1000),
            );
            // A deadlock with a batch is nobody's fault.
            if client.batch_execute(&sql).is_err() {
                let _ = client.batch_execute("rollback");
            }
        }
    }

    /// Waits until clients are served again, after so many more answers.
    fn wait_for_answers(&self, more: usize) {
        let before = self.answered.load(Ordering::SeqCst);
        eventually("clients are served", || self.answered.load(Ordering::SeqCst) >= before + more);
    }

    fn fail_over(&self) {
        let (old, new) = (self.master(), self.replica());
        let failover = format!("FAILOVER TO 127.0.0.1 {} TIMEOUT 20000", new.redis.port());
        eventually("it begins", || old.run(&failover) == ok());
        eventually("the roles have changed", || {
            new.info_of("replication")["role"] == "master"
                && old.info_of("replication").get("master_link_status").is_some_and(|s| s == "up")
        });
        self.master.fetch_xor(1, Ordering::SeqCst);
    }

    /// A replica that takes nothing holds it up, until it is given up.
    fn begin_to_shut_down(&self) {
        let (master, replica) = (self.master(), self.replica());
        let waits = || master.log().matches("Waiting for replicas before shutting").count();
        let before = waits();
        replica.redis.signal("STOP");
        self.wait_for_answers(1);
        master.redis.signal("TERM");
        eventually("it waits for the replica", || waits() > before);
        // The journal is read in the meantime, and what is in flight is committed.
        master.database_of_both().batch_execute("select pg_sleep(1.2)").expect("a second");
        assert_eq!(master.run("SHUTDOWN ABORT"), ok());
        replica.redis.signal("CONT");
    }

    fn assert_both_live(&self) {
        for server in &self.servers {
            assert!(server.redis.is_alive(), "{}", server.log());
        }
    }

    fn assert_all_the_same(&self) {
        let (master, replica) = (self.master(), self.replica());
        eventually("all is settled", || {
            master.info_int("in_flight") == 0 && master.is_in_sync() && {
                let cached = master.keys();
                cached.iter().all(|key| !key.starts_with("short:") && !key.starts_with("__"))
            }
        });
        eventually("the cache is the table", || {
            let report = master.run("WT.VERIFY users").text();
            report.contains("differing 0")
        });
        eventually("the replica holds what the master holds", || {
            replica.run("DEBUG DIGEST") == master.run("DEBUG DIGEST")
        });
    }
}

impl Stack {
    /// Both servers write to the first one's database.
    fn database_of_both(&self) -> postgres::Client {
        let url = self.run("CONFIG GET writethrough.url").array()[1].text();
        postgres::Client::connect(&url, postgres::NoTls).expect("the database")
    }
}

#[test]
fn everything_goes_on_through_pauses_failovers_and_a_shutdown() {
    let scene = Scene::start();
    (0..IDS).for_each(|id| scene.master().add_user(id as i64));
    std::thread::scope(|scope| {
        let client = |seed, line: fn(&mut Lcg) -> String| {
            let scene = &scene;
            scope.spawn(move || scene.client(seed, line));
        };
        client(1, |r| format!("HSET __{{users:{}}} first f{}", r.below(IDS), r.below(1000)));
        client(2, |r| format!("HINCRBY __{{short:{}}} n {}", r.below(9), r.below(9)));
        client(3, |r| format!("HSET __{{users:{}}} # =ack{} first a", r.below(IDS), r.below(99)));
        client(4, |r| {
            format!("DEL __{{short:{}}} {{short:0}}ack users:{}", r.below(9), r.below(IDS))
        });
        // What others have spoilt is repaired.
        client(5, |r| format!("HSET spoiled:{} n {}", r.below(IDS), r.below(9)));
        client(6, |_| "WT.VERIFY spoiled REPAIR".into());
        client(7, |r| format!("WT.REFRESH users:{} users:{}", r.below(IDS), IDS + 1));
        client(8, |r| {
            let script = "return redis.pcall(ARGV[1],ARGV[2],ARGV[3],ARGV[4])";
            let script = script.replace(' ', "\t");
            format!("EVAL {script} 0 HSET __{{users:{}}} first s", r.below(IDS))
        });
        scope.spawn(|| scene.stranger());
        // Whatever happens, the threads end.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| disturb(&scene)));
        scene.is_over.store(true, Ordering::SeqCst);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    scene.assert_both_live();
    scene.assert_all_the_same();
}

fn disturb(scene: &Scene) {
    for round in 0..2 {
        scene.wait_for_answers(50);
        let packets: [&[&str]; 8] = [
            &["CLIENT PAUSE 150 WRITE", "PING"],
            &["CLIENT PAUSE 150 ALL"],
            &["SWAPDB 0 1", "CLIENT PAUSE 150 WRITE", "PING"],
            &["SWAPDB 0 1", "SWAPDB 1 2", "SWAPDB 2 0", "CLIENT PAUSE 100 WRITE", "PING"],
            &["DEBUG RELOAD", "CLIENT PAUSE 150 WRITE", "PING"],
            &[
                "MULTI",
                "HSET __{users:1} last m",
                "CLIENT PAUSE 150 WRITE",
                "WT.REFRESH users:1",
                "EXEC",
            ],
            &["FLUSHDB", "CLIENT PAUSE 150 WRITE", "WT.REFRESH users:1 users:2"],
            &["WT.RELOAD", "CLIENT PAUSE 150 WRITE", "PING"],
        ];
        for packet in packets {
            scene.master().conn().packet(packet);
            scene.wait_for_answers(50);
            scene.assert_both_live();
        }
        if round == 0 {
            scene.begin_to_shut_down();
            scene.wait_for_answers(50);
            scene.assert_both_live();
        }
        scene.fail_over();
        scene.wait_for_answers(50);
        scene.assert_both_live();
    }
}
