//! Clients that read and write a few rows at random, in every way there is, and note what they saw.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::eventually::{eventually, DEADLINE};
use super::random::Lcg;
use super::read_history::{Act, State, What};
use super::read_replies::{self, READS};
use super::resp::{Conn, Reply};

/// Tables with a key of each kind. `v` and `w` are always written together.
pub const READ_SQL: &str = "
create table items (id bigint primary key, v text, w text);
create table pairs (a int, b text, v text, w text, primary key (a, b));
create table names (id text primary key, v text, w text);
create table sums (id numeric(6,2) primary key, v text, w text);
create table ids (id uuid primary key, v text, w text)";

pub const READ_TABLES: [&str; 5] = ["items", "pairs", "names", "sums", "ids"];

/// Each row: its table, the id in its key, and the condition for it.
pub const ROWS: [(&str, &str, &str); 11] = [
    ("items", "1", "id = 1"),
    ("items", "2", "id = 2"),
    ("items", "-3", "id = -3"),
    ("items", "9223372036854775807", "id = 9223372036854775807"),
    ("pairs", "1:x", "a = 1 and b = 'x'"),
    ("pairs", "1:y:z", "a = 1 and b = 'y:z'"),
    ("names", "ä b", "id = 'ä b'"),
    ("names", "null", "id = 'null'"),
    ("sums", "1.50", "id = 1.50"),
    ("sums", "-0.05", "id = -0.05"),
    ("ids", "00000000-0000-0000-0000-00000000000a", "id = '00000000-0000-0000-0000-00000000000a'"),
];

/// The key of a row.
pub fn key_of(row: usize) -> String {
    format!("{}:{}", ROWS[row].0, ROWS[row].1)
}

/// What the clients may do.
#[derive(Clone, Copy)]
pub struct Ways {
    /// Another program changes rows and evicts their keys.
    pub psql: bool,
    /// Reads in MULTI (Redis 7.0 can't tell the filter of them).
    pub multi: bool,
    /// An answer counts only from a server that was a master before and after it.
    pub ask_role: bool,
}

pub struct ReadLoad {
    stop: Arc<AtomicBool>,
    clients: Vec<(Arc<AtomicUsize>, JoinHandle<Vec<Act>>)>,
}

impl ReadLoad {
    /// `steps`: how many each client takes, or until it is stopped.
    pub fn start(
        ports: &[u16],
        url: &str,
        ways: Ways,
        clients: usize,
        seed: u64,
        steps: usize,
    ) -> ReadLoad {
        let (stop, began) = (Arc::<AtomicBool>::default(), Instant::now());
        let client = |number: usize| {
            let answered = Arc::<AtomicUsize>::default();
            let mut client = Client {
                number,
                random: Lcg::new(seed * 1000 + number as u64),
                began,
                ways,
                answered: answered.clone(),
                stop: stop.clone(),
                ports: ports.to_vec(),
                at: 0,
                conn: None,
                psql: ways
                    .psql
                    .then(|| postgres::Client::connect(url, postgres::NoTls).expect("psql")),
                acts: Vec::new(),
            };
            let run = move || {
                for n in 0..steps {
                    if client.stop.load(Ordering::Relaxed) {
                        break;
                    }
                    client.step(n);
                }
                client.acts
            };
            (answered, std::thread::spawn(run))
        };
        ReadLoad { clients: (0..clients).map(client).collect(), stop }
    }

    /// Some client is at work.
    pub fn is_on(&self) -> bool {
        self.clients.iter().any(|(_, thread)| !thread.is_finished())
    }

    /// Waits until each client has so many more answers that are no errors.
    #[track_caller]
    pub fn wait_for_answers(&self, more: usize) {
        let now = || self.clients.iter().map(|(answered, _)| answered.load(Ordering::Relaxed));
        let goal: Vec<usize> = now().map(|count| count + more).collect();
        eventually("each client is answered", || {
            let dead = self.clients.iter().any(|(_, thread)| thread.is_finished());
            assert!(!dead, "a client failed");
            now().zip(&goal).all(|(count, goal)| count >= *goal)
        });
    }

    /// What the clients saw, after the rows as they were at the beginning: missing.
    pub fn finish(mut self, stop: bool) -> Vec<Act> {
        self.stop.store(stop, Ordering::Relaxed);
        let at = Duration::ZERO;
        let missing = |key| Act {
            key,
            what: What::Made(State::Missing),
            start: at,
            end: at,
            text: "at first".into(),
        };
        let mut acts: Vec<Act> = (0..ROWS.len()).map(missing).collect();
        for (_, thread) in self.clients.drain(..) {
            acts.extend(thread.join().expect("a client failed"));
        }
        acts
    }
}

impl Drop for ReadLoad {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Client {
    number: usize,
    random: Lcg,
    began: Instant,
    ways: Ways,
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    ports: Vec<u16>,
    at: usize,
    conn: Option<Conn>,
    psql: Option<postgres::Client>,
    acts: Vec<Act>,
}

type Words = Vec<String>;

fn words(line: &str) -> Words {
    line.split(' ').map(str::to_string).collect()
}

impl Client {
    fn step(&mut self, n: usize) {
        let row = match self.random.below(2) {
            0 => self.random.below(3),
            _ => self.random.below(ROWS.len()),
        };
        let key = key_of(row);
        match self.random.below(20) {
            0..11 => self.read(row),
            11..15 => self.write(row, n),
            15 if self.ways.psql => self.psql(row, n),
            15..17 => {
                let command = self.random.pick(&["DEL", "UNLINK"]);
                self.plain(&[command.to_string(), key]);
            }
            17 => {
                let ms = self.random.below(20).to_string();
                self.plain(&["PEXPIRE".to_string(), key, ms]);
            }
            18 => self.plain(&["EXPIRE".to_string(), key, "0".to_string()]),
            _ => self.conn = None,
        }
    }

    /// A change of what is cached only.
    fn plain(&mut self, words: &[String]) {
        if let Some(replies) = self.ask(&[words.to_vec()]) {
            self.check_error(&replies[0].2, words);
        }
    }

    fn write(&mut self, row: usize, n: usize) {
        let (key, value) = (format!("__{{{}}}", key_of(row)), self.value(n));
        let set =
            |key| vec!["HSET".into(), key, "v".into(), value.clone(), "w".into(), value.clone()];
        let (state, write) = match self.random.below(8) {
            0 => (State::Missing, vec!["DEL".into(), key]),
            1 => (State::Missing, vec!["UNLINK".into(), key]),
            2 => (State::Null, vec!["HDEL".into(), key, "v".into(), "w".into()]),
            _ => (State::Is(value.clone()), set(key)),
        };
        let sent = match self.random.below(6) {
            0 => vec![eval("EVAL", &write)],
            1 => vec![words("MULTI"), write.clone(), words("EXEC")],
            _ => vec![write.clone()],
        };
        let text = write.join(" ");
        let start = self.began.elapsed();
        let Some(replies) = self.ask(&sent) else {
            // An answer didn't come.
            let end = self.began.elapsed();
            return self.acts.push(Act { key: row, what: What::Perhaps(state), start, end, text });
        };
        let (start, end, reply) = replies.last().expect("a reply").clone();
        let reply = match &reply {
            Reply::Array(items) => items.first().cloned().unwrap_or(Reply::Nil),
            _ => reply,
        };
        let what = match &reply {
            // There was no value, or the cache didn't know of it: it is what it counts.
            Reply::Int(0) if state == State::Null => What::Maybe(state),
            Reply::Int(_) => What::Made(state),
            _ if self.check_error(&reply, &write) => What::Perhaps(state),
            _ => return,
        };
        self.acts.push(Act { key: row, what, start, end, text });
    }

    /// As another program does.
    fn psql(&mut self, row: usize, n: usize) {
        let (table, id, condition) = ROWS[row];
        let start = self.began.elapsed();
        let value = self.value(n);
        let (a, b) = id.split_once(':').unwrap_or((id, ""));
        let (columns, key) = match table {
            "pairs" => ("a, b", format!("'{a}', '{b}'")),
            _ => ("id", format!("'{id}'")),
        };
        let (state, sql) = match self.random.below(3) {
            0 => (State::Missing, format!("delete from {table} where {condition}")),
            _ => (
                State::Is(value.clone()),
                format!(
                    "insert into {table} ({columns}, v, w) values ({key}, '{value}', '{value}')
                     on conflict ({columns}) do update set v = excluded.v, w = excluded.w"
                ),
            ),
        };
        self.psql.as_mut().expect("psql").batch_execute(&sql).expect("the change");
        // The key has to be evicted, however often that takes.
        let del = vec!["DEL".to_string(), key_of(row)];
        let end = loop {
            match self.ask(std::slice::from_ref(&del)) {
                Some(replies) if replies[0].2.is_int() => break replies[0].1,
                Some(replies) => drop(self.check_error(&replies[0].2, &del)),
                None => {}
            }
        };
        let text = format!("psql {condition}, DEL");
        self.acts.push(Act { key: row, what: What::Made(state), start, end, text });
    }

    fn value(&self, n: usize) -> String {
        format!("V{}n{n}{}", self.number, "x".repeat(n % 7))
    }

    fn read(&mut self, row: usize) {
        let other = self.random.below(ROWS.len());
        let one = |client: &mut Client| {
            let at = client.random.below(READS.len());
            let names = |word: &str| word.replace('@', &key_of(row)).replace('%', &key_of(other));
            (at, READS[at].split(' ').map(names).collect::<Words>())
        };
        let mut reads: Vec<(usize, Words)> = Vec::new();
        let way = self.random.below(8);
        let count = if way < 3 { 1 + self.random.below(4) } else { 1 };
        for _ in 0..count {
            reads.push(one(self));
        }
        let lines = || reads.iter().map(|(_, words)| words.clone());
        let is_multi = way == 0 && self.ways.multi;
        let sent: Vec<Words> = match way {
            0 if is_multi => {
                std::iter::once(words("MULTI")).chain(lines()).chain([words("EXEC")]).collect()
            }
            3 => lines().map(|words| eval("EVAL", &words)).collect(),
            4 => lines().map(|words| eval("EVAL_RO", &words)).collect(),
            _ => lines().collect(),
        };
        let Some(mut replies) = self.ask(&sent) else { return };
        if is_multi {
            let (start, end, exec) = replies.pop().expect("EXEC");
            if exec.is_error() {
                self.check_error(&exec, &sent[1]);
                return;
            }
            replies = exec.array().iter().map(|reply| (start, end, reply.clone())).collect();
        }
        for ((at, words), (start, end, reply)) in reads.iter().zip(replies) {
            let text = format!("{} (way {way})", words.join(" "));
            if reply.is_error() {
                self.check_error(&reply, words);
                continue;
            }
            let keys = [row, other];
            for (which, seen) in read_replies::seen(READS[*at], &reply, &text) {
                let what = What::Read(seen);
                self.acts.push(Act { key: keys[which], what, start, end, text: text.clone() });
            }
        }
    }

    /// Sends all at once. When each was sent and answered, and the reply; `None`: there may be none.
    fn ask(&mut self, lines: &[Words]) -> Option<Vec<(Duration, Duration, Reply)>> {
        let answer = self.try_ask(lines);
        if answer.is_none() {
            self.conn = None;
            self.at += 1;
            std::thread::sleep(Duration::from_millis(2));
        }
        answer
    }

    fn try_ask(&mut self, lines: &[Words]) -> Option<Vec<(Duration, Duration, Reply)>> {
        if self.conn.is_none() {
            let mut conn = Conn::open(self.ports[self.at % self.ports.len()]).ok()?;
            if self.random.below(2) == 0 {
                conn.try_send(&["HELLO", "3"]).ok()?;
                conn.receive_within(DEADLINE).ok()??;
            }
            self.conn = Some(conn);
        }
        let conn = self.conn.as_mut()?;
        let start = self.began.elapsed();
        let role = [words("ROLE")];
        let role = if self.ways.ask_role { &role[..] } else { &[] };
        let sent: Vec<&Words> = role.iter().chain(lines).chain(role).collect();
        let mut wire = Vec::new();
        for words in &sent {
            wire.extend(format!("*{}\r\n", words.len()).bytes());
            for word in *words {
                wire.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
            }
        }
        conn.send_raw(&wire).ok()?;
        let mut replies = Vec::new();
        for _ in &sent {
            match conn.receive_within(DEADLINE).ok()? {
                Some(reply) => replies.push((start, self.began.elapsed(), reply)),
                None => panic!("client {} was left without an answer: {lines:?}", self.number),
            }
        }
        if self.ways.ask_role {
            let is_master =
                |reply: &Reply| matches!(reply, Reply::Array(role) if role[0].text() == "master");
            let last = replies.pop()?;
            if !is_master(&last.2) || !is_master(&replies.remove(0).2) {
                return None;
            }
        }
        if !replies.iter().any(|(_, _, reply)| reply.is_error()) {
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        Some(replies)
    }

    /// Only what docs/errors.md lets a client read then. True when a write may have been made.
    fn check_error(&mut self, reply: &Reply, words: &[String]) -> bool {
        if !reply.is_error() {
            return false;
        }
        let text = reply.error();
        let nothing = text.contains("nothing was written");
        let code = text.split(' ').next().expect("a code");
        match code {
            "WTTIMEOUT" => !nothing,
            "UNBLOCKED" => true,
            // The server is about to be one that answers, or follows.
            "LOADING" | "READONLY" | "MASTERDOWN" | "MISCONF" => {
                (self.conn, self.at) = (None, self.at + 1);
                std::thread::sleep(Duration::from_millis(2));
                false
            }
            "WTDOWN" | "WTBUSY" | "OOM" => false,
            "EXECABORT" => false,
            _ => panic!("{words:?} is answered with {text}"),
        }
    }
}

/// The command in a script.
fn eval(command: &str, words: &[String]) -> Words {
    let script = "return redis.call(unpack(ARGV))";
    let keys: Vec<&String> = words[1..].iter().filter(|word| word.contains(':')).collect();
    let mut all = vec![command.to_string(), script.to_string(), keys.len().to_string()];
    all.extend(keys.into_iter().cloned());
    all.extend(words.iter().cloned());
    all
}
