use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::engine::job::{Completions, Settled};
use crate::engine::Terms;
use crate::model::action::Action;
use crate::model::change::Change;
use crate::model::mapping::tests::{resolve, users};

struct Nobody;

impl Completions for Nobody {
    fn push(&self, _: Vec<Settled>) {}
}

fn job(id: u64, user: u32) -> Job {
    let mapping = Arc::new(resolve(r#"{"table":"users"}"#, &users()).unwrap());
    let change = Change::new(&mapping, format!("users:{user}").as_bytes(), Action::Read);
    let term = Terms::new(true).now();
    Job::new(id, change, Instant::now() + Duration::from_secs(60), term, Arc::new(Nobody))
}

/// A queue with so many workers, and slots for more.
fn queue(workers: usize) -> Queue {
    let queue = Queue::new(5);
    assert_eq!(queue.resize(workers), (0..workers).collect::<Vec<_>>());
    queue
}

/// Takes a batch in a slot; the numbers of its writes.
fn take(queue: &Queue, slot: usize, round_trip: Duration) -> Vec<u64> {
    let mut batch = Vec::new();
    queue.take(slot, round_trip, 10, &mut batch);
    batch.iter().map(Job::id).collect()
}

#[test]
fn a_batch_is_what_waits_in_order_up_to_its_bound() {
    let queue = queue(1);
    (1..=12).for_each(|id| queue.push([job(id, id as u32)]));
    assert_eq!(take(&queue, 0, Duration::ZERO), (1..=10).collect::<Vec<_>>());
    assert_eq!(take(&queue, 0, Duration::ZERO), [11, 12]);
}

#[test]
fn writes_of_one_key_are_never_parted() {
    let queue = queue(1);
    (1..=9).for_each(|id| queue.push([job(id, id as u32)]));
    queue.push((10..=15).map(|id| job(id, 10)));
    queue.push([job(16, 11)]);
    assert_eq!(take(&queue, 0, Duration::ZERO), (1..=15).collect::<Vec<_>>());
    assert_eq!(take(&queue, 0, Duration::ZERO), [16]);
}

/// What an idle worker takes when something comes while another one is at work and stays there.
fn taken_beside_a_busy_worker(round_trip: Duration, jobs: u64) -> usize {
    let queue = queue(2);
    queue.push([job(1, 1)]);
    assert_eq!(take(&queue, 0, round_trip), [1]);
    std::thread::scope(|scope| {
        let idle = scope.spawn(|| take(&queue, 1, round_trip));
        queue.push((2..2 + jobs).map(|id| job(id, id as u32)));
        queue.wake();
        idle.join().unwrap().len()
    })
}

#[test]
fn a_worker_that_is_stuck_holds_up_no_other_key() {
    assert_eq!(taken_beside_a_busy_worker(Duration::ZERO, 1), 1);
    assert_eq!(taken_beside_a_busy_worker(Duration::ZERO, 128), 10);
    assert_eq!(taken_beside_a_busy_worker(Duration::from_millis(5), 1), 1);
}

/// The server may be long at reading what has come.
#[test]
fn many_writes_announce_themselves() {
    let queue = queue(1);
    std::thread::scope(|scope| {
        let idle = scope.spawn(|| take(&queue, 0, Duration::ZERO));
        while queue.lock().idle.is_empty() {
            std::thread::yield_now();
        }
        (1..=32).for_each(|id| queue.push([job(id, id as u32)]));
        assert_eq!(idle.join().unwrap().len(), 10);
    });
}

/// What one batch leaves behind waits for no further write to be noticed.
#[test]
fn what_is_too_much_for_one_worker_goes_to_the_next() {
    let queue = queue(2);
    let (sender, receiver) = std::sync::mpsc::channel();
    let taken = std::thread::scope(|scope| {
        scope.spawn(|| sender.send(take(&queue, 1, Duration::ZERO)));
        while queue.lock().idle.is_empty() {
            std::thread::yield_now();
        }
        queue.push((1..=12).map(|id| job(id, id as u32)));
        assert_eq!(take(&queue, 0, Duration::ZERO).len(), 10);
        let taken = receiver.recv_timeout(Duration::from_secs(20));
        queue.close();
        taken
    });
    assert_eq!(taken.unwrap(), [11, 12]);
}

#[test]
fn a_row_set_aside_comes_back_by_itself() {
    let queue = queue(2);
    queue.push([job(1, 1), job(2, 1)]);
    let mut batch = Vec::new();
    assert!(queue.take(0, Duration::ZERO, 10, &mut batch));
    std::thread::scope(|scope| {
        // An idle worker takes it, though the one that set it aside never comes back.
        let idle = scope.spawn(|| take(&queue, 1, Duration::ZERO));
        queue.set_aside(batch);
        assert_eq!(idle.join().unwrap(), [1, 2]);
    });
}

#[test]
fn a_closed_queue_takes_nothing_and_gives_what_it_has() {
    let queue = queue(1);
    queue.push([job(1, 1)]);
    queue.close();
    queue.push([job(2, 2)]);
    assert_eq!(take(&queue, 0, Duration::ZERO), [1]);
    assert!(take(&queue, 0, Duration::ZERO).is_empty());
}

#[test]
fn who_is_too_many_leaves_after_the_batch() {
    let queue = queue(3);
    queue.push([job(1, 1)]);
    assert_eq!(take(&queue, 2, Duration::ZERO), [1]);
    queue.push([job(2, 2)]);
    assert!(queue.resize(2).is_empty());
    assert!(!queue.take(2, Duration::ZERO, 10, &mut Vec::new()), "the last slot goes");
    assert_eq!(take(&queue, 1, Duration::ZERO), [2], "its work is done by others");
    assert_eq!(queue.resize(4), [2, 3], "slots that are free");
    // Who was to leave and has not noticed yet stays.
    queue.resize(1);
    assert!(queue.resize(2).is_empty());
    queue.push([job(3, 3)]);
    assert_eq!(take(&queue, 1, Duration::ZERO), [3]);
}

#[test]
fn an_idle_worker_leaves_at_once() {
    let queue = queue(2);
    std::thread::scope(|scope| {
        let idle = scope.spawn(|| queue.take(1, Duration::ZERO, 10, &mut Vec::new()));
        while queue.lock().idle.is_empty() {
            std::thread::yield_now();
        }
        queue.resize(1);
        assert!(!idle.join().unwrap());
    });
    queue.vacate(0);
    assert_eq!(queue.resize(2), [0, 1]);
}
