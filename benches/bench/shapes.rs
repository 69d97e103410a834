//! What is written: the rows, and the commands and parameters that carry them.

use crate::random::Random;

/// Rows of `users` that exist before, ids 1 to this.
pub const IDS: u64 = 100_000;
/// Ids of inserted rows start here; they are deleted between rounds.
pub const NEW_IDS: u64 = 1_000_000_000;
pub const WIDE: usize = 64;
pub const WIDE_IDS: u64 = 10_000;
pub const DOCS: u64 = 2_000;

/// The columns of `users` after the id.
pub const COLUMNS: [&str; 8] = [
    "username",
    "email",
    "password_hash",
    "first_name",
    "last_name",
    "date_of_birth",
    "logins",
    "balance",
];

/// The single-row upsert that an application would prepare.
pub const UPSERT: &str = "insert into users values ($1,$2,$3,$4,$5,$6,$7,$8,$9) \
    on conflict (id) do update set username = excluded.username, email = excluded.email, \
    password_hash = excluded.password_hash, first_name = excluded.first_name, \
    last_name = excluded.last_name, date_of_birth = excluded.date_of_birth, \
    logins = excluded.logins, balance = excluded.balance";

/// The multi-row upsert: one array a column.
pub const UNNEST: &str = "insert into users select * from unnest($1::bigint[], $2::text[], \
    $3::text[], $4::text[], $5::text[], $6::text[], $7::date[], $8::bigint[], $9::numeric[]) \
    on conflict (id) do update set username = excluded.username, email = excluded.email, \
    password_hash = excluded.password_hash, first_name = excluded.first_name, \
    last_name = excluded.last_name, date_of_birth = excluded.date_of_birth, \
    logins = excluded.logins, balance = excluded.balance";

/// A value of `users`' column `column` (of [`COLUMNS`]). `n` is random.
pub fn value(column: usize, id: u64, n: u64, out: &mut Vec<u8>) {
    match column {
        0 => {
            out.extend_from_slice(b"user");
            number(id, out);
        }
        1 => {
            value(0, id, n, out);
            out.extend_from_slice(b"@example.com");
        }
        2 => out.extend_from_slice(&[b'x'; 60]),
        3 => out.extend_from_slice(b"John"),
        4 => out.extend_from_slice(b"Smith"),
        5 => out.extend_from_slice(b"1990-05-17"),
        6 => number(n % 1_000_000_000, out),
        _ => {
            number(n % 1_000_000, out);
            out.extend_from_slice(b".25");
        }
    }
}

/// `n` in decimal.
pub fn number(mut n: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// What a client writes.
#[derive(Clone, Copy, PartialEq)]
pub enum Shape {
    /// All columns of a random row.
    Whole,
    /// One nullable column.
    One,
    /// A subset of the columns, each client its own.
    Mixed,
    /// New rows.
    Insert,
    /// All columns, and all clients the same row.
    Hot,
    /// HINCRBY of one of a hundred rows.
    Counter,
    /// [`Shape::Whole`], but one in a hundred is refused by the database.
    Bad,
    /// [`Shape::Whole`], and each is refused by the database.
    Refused,
    /// 64 columns.
    Wide,
    /// One value of 10 KB.
    Doc,
}

/// Makes commands. Kept by the load, so that buffers are used again.
pub struct Commands {
    pub shape: Shape,
    /// Staged keys; plain ones otherwise.
    pub staged: bool,
    /// The table, or another one of the same columns.
    pub users: &'static str,
    /// The server's script that runs HSET, for the path on which the server waits.
    pub script: Option<String>,
    words: Words,
    scratch: Vec<u8>,
    inserted: u64,
    sets: Vec<u8>,
    document: Vec<u8>,
}

#[derive(Default)]
struct Words {
    count: u64,
    body: Vec<u8>,
}

impl Words {
    fn add(&mut self, word: &[u8]) {
        self.count += 1;
        self.body.push(b'$');
        number(word.len() as u64, &mut self.body);
        self.body.extend_from_slice(b"\r\n");
        self.body.extend_from_slice(word);
        self.body.extend_from_slice(b"\r\n");
    }

    fn send(&mut self, out: &mut Vec<u8>) {
        out.push(b'*');
        number(self.count, out);
        out.extend_from_slice(b"\r\n");
        out.append(&mut self.body);
        self.count = 0;
    }
}

impl Commands {
    /// The same rows of another table, or under another name.
    pub fn of(users: &'static str, shape: Shape, staged: bool) -> Commands {
        Commands { users, ..Commands::new(shape, staged) }
    }

    pub fn new(shape: Shape, staged: bool) -> Commands {
        let mut random = Random::new(7);
        // Neither no column nor every column.
        let sets = (0..2048).map(|_| 1 + (random.next() % 254) as u8).collect();
        let document = (0..20_480).map(|_| b'!' + (random.next() % 90) as u8);
        Commands {
            shape,
            staged,
            users: "users",
            script: None,
            words: Words::default(),
            scratch: Vec::new(),
            // Later loads insert other rows.
            inserted: NEW_IDS + random_start(),
            sets,
            document: document.collect(),
        }
    }

    /// Appends the next command of a client.
    pub fn write(&mut self, client: usize, id: u64, n: u64, out: &mut Vec<u8>) {
        if self.shape == Shape::Counter {
            self.words.add(b"HINCRBY");
            self.key(self.users.as_bytes(), 1 + id % 100);
            self.words.add(b"logins");
            self.words.add(b"1");
            return self.words.send(out);
        }
        match &self.script {
            Some(sha) => {
                self.words.add(b"EVALSHA");
                self.words.add(sha.as_bytes());
                self.words.add(b"1");
            }
            None => self.words.add(b"HSET"),
        }
        match self.shape {
            Shape::Wide => {
                self.key(b"wide", 1 + id % WIDE_IDS);
                for c in 1..=WIDE {
                    self.scratch.clear();
                    self.scratch.push(b'c');
                    number(c as u64, &mut self.scratch);
                    self.words.add(&self.scratch);
                    self.field(6, id, n + c as u64);
                }
            }
            Shape::Doc => {
                self.key(b"docs", 1 + id % DOCS);
                self.words.add(b"body");
                let start = (n % 10_000) as usize;
                self.words.add(&self.document[start..start + 10_240]);
            }
            Shape::Insert => {
                self.inserted += 1;
                self.columns(self.inserted, n, 255);
            }
            Shape::One => self.columns(id, n, 1 << 6),
            Shape::Mixed => self.columns(id, n, self.sets[client]),
            Shape::Hot => self.columns(1, n, 255),
            Shape::Bad if n.is_multiple_of(100) => self.refused(id, n),
            Shape::Refused => self.refused(id, n),
            _ => self.columns(id, n, 255),
        }
        self.words.send(out);
    }

    /// Appends so many random whole rows as one WT.BATCH.
    pub fn batch(&mut self, rows: u64, n: u64, out: &mut Vec<u8>) {
        let mut random = Random::new(n);
        let rows: Vec<_> = (0..rows).map(|_| (1 + random.next() % IDS, random.next())).collect();
        self.batch_of(&rows, out);
    }

    /// Appends whole rows, ids and random numbers, as one WT.BATCH.
    pub fn batch_of(&mut self, rows: &[(u64, u64)], out: &mut Vec<u8>) {
        let (mut all, mut digits) = (Words::default(), Vec::new());
        all.add(b"WT.BATCH");
        number(rows.len() as u64, &mut digits);
        all.add(&digits);
        for (id, n) in rows {
            self.words.add(b"HSET");
            self.columns(*id, *n, 255);
            let one = std::mem::take(&mut self.words);
            digits.clear();
            number(one.count, &mut digits);
            all.add(&digits);
            all.count += one.count;
            all.body.extend_from_slice(&one.body);
        }
        all.send(out);
    }

    /// A number that is too long for its column.
    fn refused(&mut self, id: u64, n: u64) {
        self.columns(id, n, 127);
        self.words.add(COLUMNS[7].as_bytes());
        self.words.add(b"12345678901234567890");
    }

    fn columns(&mut self, id: u64, n: u64, set: u8) {
        self.key(self.users.as_bytes(), id);
        for (c, name) in COLUMNS.iter().enumerate() {
            if set & (1 << c) != 0 {
                self.words.add(name.as_bytes());
                self.field(c, id, n);
            }
        }
    }

    fn field(&mut self, column: usize, id: u64, n: u64) {
        self.scratch.clear();
        value(column, id, n, &mut self.scratch);
        self.words.add(&self.scratch);
    }

    fn key(&mut self, table: &[u8], id: u64) {
        self.scratch.clear();
        if self.staged {
            self.scratch.extend_from_slice(b"__{");
        }
        self.scratch.extend_from_slice(table);
        self.scratch.push(b':');
        number(id, &mut self.scratch);
        if self.staged {
            self.scratch.push(b'}');
        }
        self.words.add(&self.scratch);
    }
}

fn random_start() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static LOADS: AtomicU64 = AtomicU64::new(0);
    LOADS.fetch_add(1, Ordering::Relaxed) * 1_000_000
}
