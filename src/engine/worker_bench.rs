//! A worker at a bench: a store that follows a script, and what its clients are answered.

use super::super::*;
use crate::config::limits::Limits;
use crate::config::Config;
use crate::engine::StoreError;
use crate::engine::{
    At, Backend, Health, Image, Lost, Once, Outcome, Permit, Resolution, Settled, Stats, Terms,
    Transacted, Undone, Way,
};
use crate::model::action::Action;
use crate::model::change::Change;
use crate::model::failure::{Failure, Refusal};
use crate::model::mapping::tests::{resolve, users};
use crate::model::mapping::{Mapping, Mappings};
use std::sync::Mutex;

/// What a statement is answered with, by a script.
pub type Answers = Arc<Mutex<VecDeque<Result<(), StoreError>>>>;

/// What became of lost statements, by a script; they have ended when it is empty.
pub type Resolutions = Arc<Mutex<VecDeque<Result<Resolution, StoreError>>>>;

/// Says what the script says; a row whose username is "bad" is refused, "named…" by an error that
/// says so, "panic" panics, and "demote" demotes the server while the statement runs.
pub struct Scripted {
    pub answers: Answers,
    pub resolutions: Resolutions,
    pub statements: Arc<Mutex<Vec<Vec<String>>>>,
    pub shared: Arc<Shared>,
}

impl Store for Scripted {
    fn apply(
        &mut self,
        permit: &Permit,
        mapping: &Mapping,
        _: &Form,
        rows: &[Row],
    ) -> Result<Vec<Outcome>, StoreError> {
        permit.to_write()?;
        let ids = rows.iter().map(|r| String::from_utf8_lossy(&r.change().target).into_owned());
        self.statements.lock().unwrap().push(ids.collect());
        let names: Vec<&[u8]> =
            rows.iter().flat_map(|row| row.action().values()).map(|(_, value)| value).collect();
        if names.contains(&&b"demote"[..]) {
            self.shared.terms.demote();
        }
        if let Some(answer) = self.answers.lock().unwrap().pop_front() {
            answer?;
        }
        assert!(!names.contains(&&b"panic"[..]), "as asked");
        let is_bad = |name: &&&[u8]| **name == b"bad" || name.starts_with(b"named");
        if let Some(name) = names.iter().find(is_bad) {
            let message = match *name == b"bad" {
                true => String::new(),
                false => format!("invalid: \"{}\"", String::from_utf8_lossy(name)),
            };
            let sqlstate = "23514".to_string();
            return Err(StoreError::Refused(Refusal { sqlstate, message, ..Refusal::default() }));
        }
        let mut image = Image::default();
        mapping.columns.iter().for_each(|_| image.push(None));
        Ok(rows.iter().map(|_| Ok(Some(image.clone()))).collect())
    }

    fn transact(
        &mut self,
        permit: &Permit,
        groups: &[Group<Job>],
        _: Way,
        _: Option<&Once>,
    ) -> Result<Transacted, Undone> {
        let mut all = Vec::new();
        for (at, group) in groups.iter().enumerate() {
            let outcomes = self.apply(permit, &group.mapping, &group.form, &group.rows);
            all.push(
                outcomes.map_err(|error| Undone { at: At::Statement(at), error: error.into() })?,
            );
        }
        Ok(Transacted::Now(all, None))
    }

    fn resolve(&mut self, _: &Lost, groups: &[Group<Job>]) -> Result<Resolution, StoreError> {
        let resolution =
            self.resolutions.lock().unwrap().pop_front().unwrap_or(Ok(Resolution::Ended))?;
        // While it runs, short times go by and long ones don't.
        let left = groups.first().map(|group| group.rows[0].members[0].deadline - Instant::now());
        if let (Resolution::Running, Some(left)) =
            (&resolution, left.filter(|left| *left < LONG / 2))
        {
            std::thread::sleep(left);
        }
        Ok(resolution)
    }

    fn release(&mut self) {}
}

/// A write's number, its answer, and whether the row is unknown.
pub type Answered = (u64, Result<i64, Failure>, bool);

#[derive(Default)]
pub struct Collected(Mutex<Vec<Answered>>);

impl Completions for Collected {
    fn push(&self, settled: Vec<Settled>) {
        for settled in settled {
            let unknown = matches!(settled.state, RowState::Unknown);
            let answers = settled.answers.into_iter().map(|(id, answer)| (id, answer, unknown));
            self.0.lock().unwrap().extend(answers);
        }
    }
}

pub struct Bench {
    pub mapping: Arc<Mapping>,
    pub shared: Arc<Shared>,
    pub answers: Answers,
    pub resolutions: Resolutions,
    pub statements: Arc<Mutex<Vec<Vec<String>>>>,
    pub collected: Arc<Collected>,
    pub jobs: Vec<Job>,
}

impl Bench {
    pub fn new() -> Bench {
        let document = r#"{"mappings":[{"table":"users"}],"connect_timeout_ms":1}"#;
        let config = Config::parse(document, vec![]).unwrap();
        let limits = Arc::new(Limits::new(|limit| config.limit(limit)));
        let health = Health::new(limits.clone());
        health.report_up();
        let mapping = resolve(r#"{"table":"users"}"#, &users()).unwrap();
        Bench {
            mapping: Mappings::new(vec![mapping.into()]).get(b"users").unwrap().clone(),
            shared: Arc::new(Shared {
                health,
                stats: Stats::default(),
                terms: Arc::new(Terms::new(true)),
                limits,
            }),
            answers: Answers::default(),
            resolutions: Resolutions::default(),
            statements: Arc::default(),
            collected: Arc::default(),
            jobs: Vec::new(),
        }
    }

    pub fn write(&mut self, user: u32, name: &str, timeout: Duration) {
        let action = Action::Upsert(vec![(1, name.as_bytes().into())]);
        let change = Change::new(&self.mapping, format!("users:{user}").as_bytes(), action);
        let id = self.jobs.len() as u64 + 1;
        let deadline = Instant::now() + timeout;
        let term = self.shared.terms.now();
        self.jobs.push(Job::new(id, change, deadline, term, self.collected.clone()));
    }

    pub fn will(&self, error: StoreError) {
        self.answers.lock().unwrap().push_back(Err(error));
    }

    /// The connection of the next statement is lost, and this comes out, one look after the other.
    pub fn will_lose(&self, resolutions: impl IntoIterator<Item = Resolution>) {
        let (reason, backend) = ("reset".to_string(), Arc::new(Backend::default()));
        self.will(StoreError::Lost(Lost { reason, backend, commit: None }));
        self.resolutions.lock().unwrap().extend(resolutions.into_iter().map(Ok));
    }

    /// Runs the worker until every write has its answer; sorted by number.
    pub fn run(&mut self) -> Vec<Answered> {
        let queue = Arc::new(Queue::new(1));
        queue.resize(1);
        let count = self.jobs.len();
        self.shared.stats.waiting.add(count);
        queue.push(self.jobs.drain(..));
        queue.wake();
        let (answers, resolutions) = (self.answers.clone(), self.resolutions.clone());
        let (statements, shared) = (self.statements.clone(), self.shared.clone());
        let store = Scripted { answers, resolutions, statements, shared };
        let worker = Worker::new(
            0,
            queue.clone(),
            self.shared.clone(),
            self.collected.clone(),
            Box::new(store),
        );
        let thread = std::thread::spawn(|| worker.run());
        while self.collected.0.lock().unwrap().len() < count {
            std::thread::yield_now();
        }
        queue.close();
        thread.join().unwrap();
        let mut answers = std::mem::take(&mut *self.collected.0.lock().unwrap());
        answers.sort_by_key(|(id, ..)| *id);
        answers
    }
}

pub const LONG: Duration = Duration::from_secs(3600);
