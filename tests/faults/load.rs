//! Many clients that write on, whatever breaks, and note what they were answered.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::history::{Act, Op, Outcome};
use crate::router::Router;
use crate::support::{eventually, Lcg, Reply};

pub const CLIENTS: usize = 12;
const ROWS: usize = 24;

pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<(Arc<Progress>, JoinHandle<Vec<Op>>)>,
}

#[derive(Default)]
struct Progress {
    answered: AtomicUsize,
    acknowledged: AtomicUsize,
}

impl Load {
    /// Writes to the first of `ports` that takes writes. `reads`: looks into the cache too, which
    /// must never be older than what was acknowledged before.
    pub fn start(ports: &[u16], reads: bool, seed: usize) -> Load {
        let (stop, began) = (Arc::<AtomicBool>::default(), Instant::now());
        let clients = (0..CLIENTS).map(|number| {
            let progress = Arc::<Progress>::default();
            let client = Client {
                number,
                random: Lcg::new((seed * CLIENTS + number) as u64),
                began,
                reads,
                stop: stop.clone(),
                progress: progress.clone(),
                router: Router::new(ports),
            };
            (progress, std::thread::spawn(|| client.run()))
        });
        Load { clients: clients.collect(), stop }
    }

    /// Waits until each client has so many more answers, of any kind.
    #[track_caller]
    pub fn wait_for_answers(&self, more: usize) {
        self.wait("each client is answered", more, |progress| &progress.answered);
    }

    /// Waits until each client has so many more writes acknowledged.
    #[track_caller]
    pub fn wait_for_writes(&self, more: usize) {
        self.wait("each client's writes are acknowledged", more, |progress| &progress.acknowledged);
    }

    #[track_caller]
    fn wait(&self, what: &str, more: usize, of: impl Fn(&Progress) -> &AtomicUsize) {
        let now = || self.clients.iter().map(|(progress, _)| of(progress).load(Ordering::Relaxed));
        let goal: Vec<usize> = now().map(|count| count + more).collect();
        eventually(what, || {
            if let Some((_, dead)) = self.clients.iter().find(|(_, thread)| thread.is_finished()) {
                panic!("client {:?} failed", dead.thread().id());
            }
            now().zip(&goal).all(|(count, goal)| count >= *goal)
        });
    }

    /// Ends the clients; what they saw.
    pub fn finish(mut self) -> Vec<Op> {
        self.stop.store(true, Ordering::Relaxed);
        let ops = self.clients.drain(..).map(|(_, thread)| thread.join().expect("a client failed"));
        ops.flatten().collect()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Client {
    number: usize,
    random: Lcg,
    began: Instant,
    reads: bool,
    stop: Arc<AtomicBool>,
    progress: Arc<Progress>,
    router: Router,
}

impl Client {
    fn run(mut self) -> Vec<Op> {
        let mut ops = Vec::new();
        for n in 0.. {
            let (table, id, mut act, words) = self.next(n);
            let key = format!("__{{{table}:{id}}}");
            let start = self.began.elapsed();
            let mut outcome = self.ask(&key, &words, &mut act);
            // A token is sent until it is answered.
            while act == Act::Once && matches!(outcome, Some(Outcome::Unknown | Outcome::Refused)) {
                self.progress.answered.fetch_add(1, Ordering::Relaxed);
                outcome = self.ask(&key, &words, &mut act);
            }
            let Some(outcome) = outcome else {
                if act == Act::Once {
                    let (start, end, outcome) = (start, Duration::MAX, Outcome::Unknown);
                    ops.push(Op { table, id, act, start, end, outcome });
                }
                return ops;
            };
            self.progress.answered.fetch_add(1, Ordering::Relaxed);
            if matches!(outcome, Outcome::Acknowledged(_)) {
                self.progress.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            if act != Act::Saw(String::new()) {
                ops.push(Op { table, id, act, start, end: self.began.elapsed(), outcome });
            }
        }
        unreachable!("it is stopped before")
    }

    fn next(&mut self, n: usize) -> (&'static str, usize, Act, Vec<String>) {
        let id = self.random.below(ROWS);
        let value = format!("c{}n{n}", self.number);
        let other = self.random.below(ROWS);
        let (table, act, line) = match self.random.below(26) {
            20..=23 if other != id => {
                let by = 1 + self.random.below(300) as i64;
                let line =
                    format!("HINCRBY accounts:{id} n -{by} HINCRBY __{{accounts:{other}}} n {by}");
                ("accounts", Act::Transfer(other, by), line)
            }
            24..=25 => {
                let line = format!("WT.ONCE {value} 4 HINCRBY @ n 1");
                ("counted", Act::Once, line)
            }
            0..=5 => ("items", Act::Set(value.clone()), format!("HSET @ v {value}")),
            6..=7 => {
                let line = format!("HSET @ v {value} w {n}");
                ("items", Act::Set(value.clone()), line)
            }
            8 => ("items", Act::Delete, "DEL @".into()),
            9 => {
                let bad = format!("bad{value}");
                let line = format!("HSET @ v {bad}");
                ("items", Act::Set(bad), line)
            }
            10..=13 => {
                let by = 1 + self.random.below(9) as i64;
                ("counters", Act::Add(by), format!("HINCRBY @ n {by}"))
            }
            14 => ("counters", Act::Add(1 << 50), format!("HINCRBY @ n {}", 1i64 << 50)),
            15..=17 => ("logged", Act::Set(value.clone()), format!("HSET @ v {value}")),
            18 => {
                let script = "return(redis.call('HSET',KEYS[1],'v',ARGV[1]))";
                let line = format!("EVAL {script} 1 @ {value}");
                ("items", Act::Set(value), line)
            }
            _ if self.reads => ("items", Act::Saw(String::new()), format!("HGET items:{id} v")),
            _ => ("logged", Act::Set(value.clone()), format!("HSET @ v {value} w x")),
        };
        // Few rows are hot, so that writes meet.
        let is_fixed = matches!(act, Act::Saw(_) | Act::Transfer(..));
        let id = if self.random.below(2) == 0 || is_fixed { id } else { id % 3 };
        // By either of a row's keys.
        let key = match self.random.below(2) {
            0 => format!("__{{{table}:{id}}}"),
            _ => format!("{table}:{id}"),
        };
        let words = line.split(' ').map(|word| word.replace('@', &key));
        let mut words: Vec<String> = words.collect();
        // Some by WT.BATCH, which takes neither scripts nor reads.
        if let Act::Transfer(..) = act {
            words.insert(4, "4".into());
            words.splice(..0, ["WT.TRANSACTION", "2", "4"].map(String::from));
        }
        let is_write = words[0].starts_with('H') && words[0] != "HGET" || words[0] == "DEL";
        if is_write && self.random.below(5) == 0 {
            let batch = ["WT.BATCH".to_string(), "1".into(), words.len().to_string()];
            words.splice(..0, batch);
        }
        (table, id, act, words)
    }

    /// Until somebody answers; `None` when the load is to end.
    fn ask(&mut self, key: &str, words: &[String], act: &mut Act) -> Option<Outcome> {
        let Ok(reply) = self.router.ask(key, words, &self.stop)? else {
            return Some(Outcome::Unknown);
        };
        // A WT.BATCH of one write.
        let reply = match reply {
            Reply::Array(mut replies) if replies.len() == 1 => replies.remove(0),
            reply => reply,
        };
        Some(outcome(&reply, act))
    }
}

fn outcome(reply: &Reply, act: &mut Act) -> Outcome {
    let text = match reply {
        Reply::Int(number) => return Outcome::Acknowledged(*number),
        Reply::Array(both) if both.len() == 2 => return Outcome::Acknowledged(both[0].int()),
        // Two rows are seldom in one slot.
        Reply::Error(text) if text.starts_with("CROSSSLOT") => return Outcome::Refused,
        Reply::Nil if matches!(act, Act::Saw(_)) => return Outcome::Refused,
        Reply::Bulk(_) if matches!(act, Act::Saw(_)) => {
            *act = Act::Saw(reply.text());
            return Outcome::Acknowledged(0);
        }
        other => other.error(),
    };
    let nothing = text.contains("nothing was written");
    match text.split(' ').next().expect("a code") {
        "WTTIMEOUT" if !nothing => Outcome::Unknown,
        // The server, when it becomes a replica or hands over a slot.
        "UNBLOCKED" => Outcome::Unknown,
        "WTERR" | "WTTIMEOUT" | "WTDOWN" | "WTBUSY" | "OOM" | "MISCONF" => Outcome::Refused,
        _ => panic!("{act:?} is answered with {text}"),
    }
}
