//! What is counted.

use super::callgrind::ROWS;
use super::lockstep::Request;
use crate::reads;
use crate::shapes::{Commands, Shape};
use crate::transfers;

pub struct Case {
    pub name: &'static str,
    pub clients: usize,
    /// Rows of one operation.
    pub rows: u64,
    /// Operations of each client, each time.
    pub rounds: u64,
    /// The plain HSET that the following cases are compared with.
    pub is_base: bool,
    /// Which of the servers.
    pub server: usize,
    pub request: Request,
    /// The mapping whose queue is written before the counting ends: it costs the main thread, too.
    pub queue: Option<&'static str>,
}

const ROUNDS: u64 = 8;
const ROUNDS_OF_ONE: u64 = 150;
/// Rows of a WT.BATCH.
const BATCH: u64 = 100;

pub fn all() -> Vec<Case> {
    let many = |name, request| Case {
        name,
        clients: 64,
        rows: 1,
        rounds: ROUNDS,
        is_base: false,
        server: 0,
        request,
        queue: None,
    };
    let one = |name, request| Case { clients: 1, rounds: ROUNDS_OF_ONE, ..many(name, request) };
    let more = |case: Case| Case { server: 1, ..case };
    let behind = |case: Case| Case { server: 2, queue: Some("users"), ..case };
    // These cost little.
    let often = |case: Case| Case { rounds: 4 * case.rounds, ..case };
    let base = |case: Case| often(Case { is_base: true, ..case });
    vec![
        base(many("plain HSET, 64", written("users", Shape::Whole, false))),
        many("whole row, 64", written("users", Shape::Whole, true)),
        many("one column, 64", written("users", Shape::One, true)),
        many("counter, 64", written("users", Shape::Counter, true)),
        many("1 in 16 refused, 64", refused(16)),
        more(many("plain key, 64", written("people", Shape::Whole, false))),
        more(many("read miss, 64", read(0, u64::MAX))),
        often(more(many("read hit, 64", read(0, 32 * ROUNDS)))),
        Case { rows: BATCH, clients: 1, ..many("WT.BATCH of 100, 1", batch()) },
        behind(many("behind, 64", written("users", Shape::Whole, true))),
        base(one("plain HSET, 1", written("users", Shape::Whole, false))),
        one("whole row, 1", written("users", Shape::Whole, true)),
        one("refused row, 1", refused(1)),
        one("counter, 1", written("users", Shape::Counter, true)),
        more(one("read miss, 1", read(50_000, u64::MAX))),
        one("transfer, 1", transfer()),
        behind(one("behind, 1", written("users", Shape::Whole, true))),
    ]
}

/// Operations next to each other are of different rows.
fn id(n: u64) -> u64 {
    1 + n * 7919 % ROWS
}

fn written(table: &'static str, shape: Shape, staged: bool) -> Request {
    let mut commands = Commands::new(shape, staged);
    commands.users = table;
    Box::new(move |n, out| commands.write(0, id(n), n, out))
}

/// Whole rows, one in so many of which the database refuses.
fn refused(one_in: u64) -> Request {
    let mut commands = Commands::new(Shape::Whole, true);
    Box::new(move |n, out| {
        commands.shape = if n % one_in == 0 { Shape::Refused } else { Shape::Whole };
        commands.write(0, id(n), n, out);
    })
}

/// HGET of the rows after `first`, of each once, or of `count` of them again and again.
fn read(first: u64, count: u64) -> Request {
    Box::new(move |n, out| {
        let key = reads::key(b"items:", 1 + first + n % count);
        reads::read(out, &key, b"email");
    })
}

fn batch() -> Request {
    let mut commands = Commands::new(Shape::Whole, true);
    Box::new(move |n, out| {
        let rows: Vec<_> = (n * BATCH..(n + 1) * BATCH).map(|row| (id(row), row)).collect();
        commands.batch_of(&rows, out);
    })
}

fn transfer() -> Request {
    Box::new(move |n, out| {
        let words = transfers::transfer(id(2 * n), id(2 * n + 1), 1 + n as i64 % 100);
        transfers::send(&words, out);
    })
}
