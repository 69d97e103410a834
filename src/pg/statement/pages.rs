//! The thread that reads a table from its first row to its last, for a load of all of it.
//!
//! It reads a page when it is asked for one. Each page is a statement of its own, with a snapshot of its
//! own: no transaction stays open, and how old a row may be is bounded by its page.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{mpsc, Arc, Mutex, PoisonError};
use std::time::Duration;

use postgres::types::ToSql;

use crate::engine::{Image, StoreError};
use crate::model::failure::Failure;
use crate::model::mapping::Mapping;
use crate::pg::catalog::Catalog;
use crate::pg::connect::connect_error::ConnectError;
use crate::pg::connect::pool::Manager;
use crate::pg::connect::session::Session;
use crate::pg::connect::wire::{Cell, Value};
use crate::pg::error::{classify, explain};
use crate::sql;

/// Rows of a page, at most.
const ROWS: usize = 2000;

/// Bytes of values of a page: one that has so many ends there.
const BYTES: usize = 4 << 20;

/// Rows that are fetched at once, at first: later ones by how large rows are.
const FIRST_FETCH: usize = 16;

/// How long the database may take for one page. A condition that few rows meet may need an index.
const PAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// The page that is asked for.
pub struct Request {
    /// Its number.
    pub number: u64,
    /// The table.
    pub mapping: Arc<Mapping>,
    /// The key of the last row before it; empty: there is none.
    pub after: Vec<Vec<u8>>,
    /// How often the database has told another timeline: an older connection may be to another server.
    pub timelines: u64,
}

/// Rows, in the order of their keys.
pub struct Page {
    /// By which the rows' columns are numbered.
    pub mapping: Arc<Mapping>,
    /// The rows.
    pub rows: Vec<Image>,
    /// There are no rows behind these.
    pub is_last: bool,
    /// How many rows there are in all, as the planner guesses. With the first page.
    pub about: Option<u64>,
}

/// Why there is no page.
pub enum NoPage {
    /// There may be one a little later.
    Later(String),
    /// The table's definition has changed: the mappings are others.
    Changed,
    /// There will be none.
    Never(Failure),
}

/// To the request of this number.
pub type Answer = (u64, Result<Page, NoPage>);

/// The reader, as the main thread sees it. Dropped, its thread ends after the page that it is at.
pub struct Pages {
    requests: mpsc::Sender<Request>,
    answer: Arc<Mutex<Option<Answer>>>,
    is_wanted: Arc<AtomicBool>,
}

struct Reader {
    manager: Manager,
    catalog: Arc<Catalog>,
    /// The connection, and how many timelines were known when it was made.
    session: Option<(Session, u64)>,
    /// The planner has been asked.
    has_asked: bool,
}

impl Pages {
    /// Starts the thread. It calls `notify` when it has an answer.
    pub fn start(
        manager: Manager,
        catalog: Arc<Catalog>,
        notify: fn(),
    ) -> Result<Pages, std::io::Error> {
        let (requests, asked) = mpsc::channel::<Request>();
        let (answer, is_wanted) = (Arc::new(Mutex::new(None)), Arc::new(AtomicBool::new(true)));
        let (place, wanted) = (answer.clone(), is_wanted.clone());
        std::thread::Builder::new().name("wt-load".into()).spawn(move || {
            let mut reader = Reader { manager, catalog, session: None, has_asked: false };
            for request in asked {
                let answer = catch_unwind(AssertUnwindSafe(|| reader.answer(&request)));
                let answer = answer.unwrap_or_else(|_| {
                    let problem = "internal error, the reader of pages has panicked";
                    Err(NoPage::Never(Failure::Down(problem.into())))
                });
                if !wanted.load(Ordering::Acquire) {
                    return;
                }
                *place.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((request.number, answer));
                notify();
            }
        })?;
        Ok(Pages { requests, answer, is_wanted })
    }

    /// Asks for a page. One at a time.
    pub fn ask(&self, request: Request) {
        // The thread lives as long as this does.
        let _ = self.requests.send(request);
    }

    /// The page that was asked for, when it is there.
    pub fn take(&self) -> Option<Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.is_wanted.store(false, Ordering::Release);
    }
}

impl Reader {
    fn answer(&mut self, request: &Request) -> Result<Page, NoPage> {
        let fits = |(session, timelines): &(Session, u64)| {
            *timelines == request.timelines && self.manager.is_of_now(session)
        };
        let (mut session, _) = match self.session.take().filter(fits) {
            Some(session) => session,
            None => {
                // Before the connection is made: it may itself be the first to tell of another one.
                let timelines = self.manager.timeline.changes();
                (self.open()?, timelines)
            }
        };
        match self.read(&mut session, request) {
            Ok(page) => {
                self.session = Some((session, request.timelines));
                Ok(page)
            }
            Err(error) => Err(self.explain(&mut session, &request.mapping, &error)),
        }
    }

    fn open(&self) -> Result<Session, NoPage> {
        match self.manager.open() {
            Ok(session) => {
                session.set_read_timeout(PAGE_TIMEOUT);
                Ok(session)
            }
            Err(ConnectError::Document(error)) => {
                Err(NoPage::Never(Failure::Down(error.to_string())))
            }
            Err(error) => Err(NoPage::Later(error.to_string())),
        }
    }

    fn read(&mut self, session: &mut Session, request: &Request) -> Result<Page, postgres::Error> {
        let mapping = &request.mapping;
        let mut transaction = session.client.build_transaction().read_only(true).start()?;
        let limit = format!("SET LOCAL statement_timeout = {}", PAGE_TIMEOUT.as_millis());
        transaction.batch_execute(&limit)?;
        let about = match std::mem::replace(&mut self.has_asked, true) {
            true => None,
            false => {
                let plan = transaction.query(&sql::explain(mapping), &[])?;
                plan.first().and_then(|line| rows_of(line.get(0)))
            }
        };
        let statement =
            transaction.prepare(&sql::page(mapping, !request.after.is_empty(), ROWS))?;
        let last: Vec<Value> = request.after.iter().map(|part| Value(part)).collect();
        let params: Vec<&(dyn ToSql + Sync)> = last.iter().map(|part| part as _).collect();
        let portal = transaction.bind(&statement, &params)?;
        let (mut rows, mut bytes, mut fetch) = (Vec::new(), 0, FIRST_FETCH);
        let is_last = loop {
            let fetched = transaction.query_portal(&portal, fetch as i32)?;
            for row in &fetched {
                let mut image = Image::default();
                (0..row.len()).for_each(|c| image.push(row.get::<_, Cell>(c).0));
                bytes += row.raw_size_bytes();
                rows.push(image);
            }
            if fetched.len() < fetch {
                break true;
            }
            if rows.len() >= ROWS || bytes >= BYTES {
                break false;
            }
            // As many as fill the page, where they are of the size of those before.
            let room = (BYTES - bytes) * rows.len() / bytes.max(1);
            fetch = room.clamp(1, ROWS - rows.len()).min(fetch * 4);
        };
        transaction.commit()?;
        Ok(Page { mapping: mapping.clone(), rows, is_last, about })
    }

    fn explain(&self, session: &mut Session, mapping: &Mapping, error: &postgres::Error) -> NoPage {
        match classify(error, &session.backend) {
            StoreError::Refused(refusal) => match self.catalog.newer(session, mapping) {
                Ok(Some(_)) => NoPage::Changed,
                Ok(None) => NoPage::Never(Failure::Refused(refusal)),
                Err(_) => NoPage::Later(refusal.to_string()),
            },
            // Its time is up, or an operator has canceled it.
            StoreError::Canceled => NoPage::Never(Failure::TimedOut(format!(
                "a page could not be read, for which there are {} s: {}; an index on what the \
                 condition names, and the key, makes it quicker",
                PAGE_TIMEOUT.as_secs(),
                explain(error)
            ))),
            _ => NoPage::Later(explain(error)),
        }
    }
}

/// `Seq Scan on users t  (cost=0.00..18.10 rows=810 width=4)`
fn rows_of(line: &str) -> Option<u64> {
    let (_, rows) = line.rsplit_once(" rows=")?;
    rows.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_how_many_rows_there_are() {
        let line = "Seq Scan on \"a rows=b\" t  (cost=0.00..18.10 rows=810 width=4)";
        assert_eq!(rows_of(line), Some(810));
        assert_eq!(rows_of("Result"), None);
    }
}
