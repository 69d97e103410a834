//! A turn: pages are asked for and come, and some rows of them become hashes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::keys::{final_key, key_of};
use super::{finish, turn_after, End, Load, LOADS};
use crate::engine::Image;
use crate::host::cache::in_sync;
use crate::host::ffi::{self, Closed, Ctx, Level, Str, Writable, ASK_AGAIN};
use crate::host::module::negative::{self, Known};
use crate::host::module::{module, Module};
use crate::host::write::behind;
use crate::host::write::field_names;
use crate::host::write::importing_slots::is_moving;
use crate::host::write::pending::pending;
use crate::host::write::touched::{self, Since};
use crate::model::failure::Failure;
use crate::model::mapping::Mapping;
use crate::pg::statement::pages::{NoPage, Page, Request};

/// How long the main thread makes hashes in one turn: so much later is another client served.
const TURN: Duration = Duration::from_micros(100);

/// The next page is asked for when this part of one is left, a quarter: where PostgreSQL has processors of its own the
/// page is there in time, and where it has not, others find one free for most of the time.
const AHEAD: usize = 4;

/// The pause before a page is asked for once more.
const PAUSE: Duration = Duration::from_millis(100);

/// What follows a turn.
enum Then {
    /// The next one.
    Turn,
    /// The next one, after a pause.
    After(Duration),
    /// Somebody else wakes the main thread.
    Nothing,
}

/// A timer: each load comes on a little.
pub(super) fn run(ctx: &Ctx) {
    let Some(module) = module() else { return };
    let names: Vec<String> = {
        let mut loads = LOADS.get();
        loads.is_due = false;
        loads.running.keys().cloned().collect()
    };
    if names.is_empty() || !ctx.select(module.config.db) {
        return;
    }
    let share = TURN / u32::try_from(names.len()).unwrap_or(u32::MAX);
    let (mut is_next, mut pause) = (false, None);
    for name in names {
        // Nothing of the main thread's state is held while the server is called.
        let Some(mut load) = LOADS.get().running.remove(&name) else { continue };
        match module.apply(|| load.step(ctx, module, Instant::now() + share)) {
            Err(end) => {
                finish(load, &end);
                continue;
            }
            Ok(Then::Turn) => is_next = true,
            Ok(Then::After(after)) => pause = Some(pause.map_or(after, |p: Duration| p.min(after))),
            Ok(Then::Nothing) => {}
        }
        LOADS.get().running.insert(name, load);
    }
    match pause {
        // A timer made in a timer waits for a millisecond; a one-shot doesn't.
        _ if is_next => ffi::wake(|| turn_after(Duration::ZERO)),
        Some(pause) => turn_after(pause),
        None => {}
    }
}

impl Load {
    fn step(&mut self, ctx: &Ctx, module: &Module, until: Instant) -> Result<Then, End> {
        if let Some(end) = self.end.take() {
            return Err(end);
        }
        let gate = ctx.writable();
        let is_following = gate.as_ref().is_err_and(|closed| *closed == Closed::Following);
        if is_following || self.term != module.shared.terms.now() {
            return Err(End::Failed(Failure::Down("this server is no master any more".into())));
        }
        if self.began.is_none() {
            // What an earlier session may still commit is not in a page, and no key is read again for it.
            if !in_sync::is_in_sync(module) {
                self.waits =
                    Some(format!("the cache is not in sync: {}", in_sync::progress(module)));
                return Ok(Then::After(PAUSE));
            }
            self.began = Some(Instant::now());
            self.waits = None;
        }
        let Ok(mappings) = module.catalog.mappings() else { return Ok(Then::After(PAUSE)) };
        let mapping = mappings.get(self.mapping.name.as_bytes()).ok_or(End::Removed)?;
        self.follow(module, mapping);
        self.take()?;
        self.ask(module);
        let ctx = match gate {
            Ok(ctx) => ctx,
            Err(_) => return Ok(Then::After(ASK_AGAIN)),
        };
        self.fill(&ctx, module, until)?;
        // It may have come while another one was filled in.
        self.take()?;
        self.ask(module);
        Ok(match () {
            () if self.filling.is_some() => Then::Turn,
            () if self.is_all && !self.is_asked => return Err(End::AllRows),
            () if self.is_asked => Then::Nothing,
            () => Then::After(PAUSE),
        })
    }

    /// What was read by an earlier definition of the table, or of an earlier history of the database, is
    /// read again.
    fn follow(&mut self, module: &Module, mapping: &Arc<Mapping>) {
        let timelines = module.manager.timeline.changes();
        if mapping.version == self.mapping.version && timelines == self.timelines {
            return;
        }
        let key = |mapping: &Mapping| -> Vec<(String, String)> {
            let columns = mapping.columns[..mapping.key_len].iter();
            columns.map(|c| (c.info.name.clone(), c.info.type_name.clone())).collect()
        };
        let is_other =
            key(mapping) != key(&self.mapping) || mapping.preload != self.mapping.preload;
        if is_other {
            self.done.clear();
        }
        self.mapping = mapping.clone();
        self.timelines = timelines;
        self.read_again();
    }

    /// The pages that are not done yet are asked for once more.
    fn read_again(&mut self) {
        self.filling = None;
        self.is_asked = false;
        self.is_all = false;
        self.came.clone_from(&self.done);
        touched::done(&self.mapping.name, self.asked);
    }

    /// Takes the next page, where it has come and none is being filled in.
    fn take(&mut self) -> Result<(), End> {
        if self.filling.is_some() {
            return Ok(());
        }
        let Some((number, answer)) = self.pages.take() else { return Ok(()) };
        // An earlier one, which is not wanted any more.
        if number != self.asked || !self.is_asked {
            return Ok(());
        }
        self.is_asked = false;
        let page = match answer {
            Ok(page) => page,
            Err(NoPage::Never(failure)) => return Err(End::Failed(failure)),
            // The catalog has been read again by now: the next turn follows it.
            Err(NoPage::Changed) => {
                self.again = Some(Instant::now() + PAUSE);
                return Ok(());
            }
            Err(NoPage::Later(why)) => {
                if self.waits.is_none() {
                    let name = &self.mapping.name;
                    let text = format!("the load of {name:?} waits: {why}; it goes on by itself");
                    ffi::log(Level::Warning, &text);
                }
                self.waits = Some(why);
                self.again = Some(Instant::now() + PAUSE);
                return Ok(());
            }
        };
        self.waits = None;
        self.is_all = page.is_last;
        if let Some(last) = page.rows.last() {
            self.came = key_of(&page.mapping, last);
        }
        if let Some(about) = page.about {
            self.about = Some(about);
            let name = &self.mapping.name;
            ffi::log(Level::Notice, &format!("loading {name:?}: about {about} rows"));
        }
        self.filling = Some((page, number, 0));
        Ok(())
    }

    fn ask(&mut self, module: &Module) {
        let is_early = self.again.is_some_and(|again| again > Instant::now());
        if self.is_asked || self.is_all || self.has_enough() || is_early {
            return;
        }
        self.again = None;
        if let Some(reason) = module.shared.health.refusal() {
            self.waits = Some(reason);
            self.again = Some(Instant::now() + PAUSE);
            return;
        }
        self.asked += 1;
        self.is_asked = true;
        // Before the snapshot of the page begins.
        touched::asked(&self.mapping.name, self.asked);
        self.pages.ask(Request {
            number: self.asked,
            mapping: self.mapping.clone(),
            after: self.came.clone(),
            timelines: self.timelines,
        });
    }

    /// There is much left of the page that is being filled in.
    fn has_enough(&self) -> bool {
        let left = |(page, _, next): &(Page, u64, usize)| (page.rows.len() - next, page.rows.len());
        self.filling.as_ref().map(left).is_some_and(|(left, all)| left * AHEAD > all)
    }

    /// Makes hashes of rows, until the time is over.
    fn fill(&mut self, ctx: &Writable, module: &Module, until: Instant) -> Result<(), End> {
        while let Some((page, number, next)) = self.filling.take() {
            let Some(row) = page.rows.get(next) else {
                if let Some(last) = page.rows.last() {
                    self.done = key_of(&page.mapping, last);
                }
                touched::done(&self.mapping.name, number);
                break;
            };
            if self.row(ctx, module, &page.mapping, row, number)? == Since::TooMuch {
                self.read_again();
                return Ok(());
            }
            self.filling = Some((page, number, next + 1));
            if self.loaded >= self.limit {
                return Err(End::Limit);
            }
            if Instant::now() >= until {
                break;
            }
        }
        Ok(())
    }

    /// The row becomes its hash, where its key is missing and nothing has happened to it.
    fn row(
        &mut self,
        ctx: &Writable,
        module: &Module,
        mapping: &Mapping,
        row: &Image,
        page: u64,
    ) -> Result<Since, End> {
        let pairs = field_names::pairs(mapping, row);
        let key = match final_key(mapping, row) {
            Some(key) if !pairs.is_empty() => key,
            _ => {
                self.unusable += 1;
                return Ok(Since::Nothing);
            }
        };
        let since = touched::since(&mapping.name, &key, page);
        if since == Since::TooMuch {
            return Ok(since);
        }
        let is_newer = pending().has(&key) || behind::is_waiting(&key);
        if since == Since::Touched || is_newer || is_moving(ctx, module, &key) {
            self.left_alone += 1;
            return Ok(since);
        }
        if ctx.is_out_of_memory() {
            return Err(End::OutOfMemory);
        }
        let name = Str::new(&key);
        if !ctx.fill(&name, &pairs, mapping.ttl.map(Duration::from_secs)) {
            self.left_alone += 1;
            return Ok(since);
        }
        // Somebody may have been told that there is no such key: that is a change.
        let was_told = negative::take(&key) != Known::Nothing;
        if was_told || !mapping.read_through {
            ctx.tell_of_change(&name);
        }
        negative::end(&key);
        self.loaded += 1;
        Ok(since)
    }
}
