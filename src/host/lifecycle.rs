//! Loading, and what happens to the server afterwards.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::cache::{in_sync, leftovers, load_all, preload, sessions};
use super::commands;
use super::ffi::{self, log, Event, Level, OnLoad};
use super::module::{module, multi, negative, Inbox, Module, StaleKeys};
use super::operator::options;
use super::write::pending::pending;
use super::write::{atomic_multi, behind, completion, full_rows, replacement};
use crate::config::args;
use crate::config::limits::{Limit, Limits};
use crate::config::ConfigError;
use crate::engine::behind::Drains;
use crate::engine::throttle::Throttle;
use crate::engine::{Completions, Engine, Health, Shared, Stats, Terms};
use crate::model::failure::Outage;
use crate::pg::catalog::Catalog;
use crate::pg::connect::connections::Connections;
use crate::pg::connect::dsn::shows_password;
use crate::pg::connect::pool::Manager;
use crate::pg::connect::timeline::Timeline;
use crate::pg::journal::reader::JournalReader;
use crate::pg::monitor::Monitor;
use crate::pg::statement::store::PgStore;

/// How long a shutdown waits for statements that are running, and a load that is taken back for
/// its threads.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// The server keeps a module's arguments, and writes them back to redis.conf: they can't be hidden.
const PASSWORD_SHOWN: &str = "the load arguments hold the database's password, and MODULE LIST, \
    SLOWLOG and CONFIG REWRITE show them: use CONFIG <path>, url_file or ${NAME} instead";

/// OnLoad: reads the arguments, checks the mappings, starts the workers.
pub fn load(ctx: &OnLoad, args: &[&[u8]]) -> bool {
    ctx.detach();
    let loaded = start(ctx, args);
    if let Err(error) = &loaded {
        log(Level::Warning, &format!("not loaded: {error}"));
    }
    loaded.is_ok()
}

fn start(ctx: &OnLoad, args: &[&[u8]]) -> Result<(), ConfigError> {
    let mut config = args::parse(args)?;
    if args::hold_url(args, &config) && config.url.as_deref().is_some_and(shows_password) {
        log(Level::Warning, PASSWORD_SHOWN);
    }
    let args: Vec<Vec<u8>> = args.iter().map(|arg| arg.to_vec()).collect();
    let document = Mutex::new(config.clone());
    let url = config.resolve_url(|name| std::env::var(name).ok())?;
    let limits = Arc::new(Limits::new(|limit| config.limit(limit)));
    let timeline = Arc::new(Timeline::new(in_sync::timeline_changed));
    let session = config.session.clone();
    let terms = Arc::new(Terms::new(!ffi::server_flags().is_replica()));
    let manager =
        Manager::new(limits.clone(), &url, timeline, session, terms.clone(), config.journal)?;
    options::register(ctx, &mut config, &limits, &manager.shown())?;
    let shared = Arc::new(Shared {
        health: Health::new(limits.clone()),
        stats: Stats::default(),
        terms: terms.clone(),
        limits: limits.clone(),
    });
    let catalog = Arc::new(Catalog::new(config.mappings.clone(), in_sync::reshaped));
    let journal_reader = Arc::new(JournalReader::new(
        config.journal,
        config.follow.then(|| limits.clone()),
        terms,
        in_sync::news_arrived,
        |line| log(Level::Warning, line),
    ));
    let monitor = Monitor {
        manager: manager.clone(),
        catalog: catalog.clone(),
        shared: shared.clone(),
        journal_reader: journal_reader.clone(),
        log: |line| log(Level::Warning, line),
        outages: Throttle::default(),
        triggers_missing: Mutex::default(),
        partitions: Mutex::default(),
    };
    // A mapping that is wrong fails the load; a database that can't be reached doesn't.
    monitor.attempt()?;
    if let Some(reason) = shared.health.refusal() {
        let what = match shared.health.kind() {
            Outage::ReadOnly => "the database takes no writes:",
            Outage::Pooled => "the database can't be used:",
            Outage::Away => "the database can't be reached:",
        };
        log(Level::Warning, &format!("{what} {reason}; trying again"));
    }
    if config.atomic_multi && !ffi::tells_whose_command() {
        let problem =
            "it needs Redis 7.2 or later, or Valkey: this server doesn't tell whose command it is";
        return Err(ConfigError::at("atomic_multi", problem));
    }
    register(ctx)?;
    ctx.be_quiet(config.db);
    if catalog.any_reads_through() {
        ffi::look_from_now_on();
    }
    let inbox = Arc::new(Inbox::new(|| ffi::wake(completion::schedule)));
    let connections = Connections::new(manager.clone(), limits.clone());
    let completions: Arc<dyn Completions> = inbox.clone();
    let new_store = {
        let (connections, limits, catalog) = (connections.clone(), limits.clone(), catalog.clone());
        move || Box::new(PgStore::new(connections.clone(), limits.clone(), catalog.clone()))
    };
    let for_workers = new_store.clone();
    let engine = Engine::start(&shared, &completions, Box::new(move || for_workers()));
    let engine = engine.map_err(no_thread)?;
    let drains = Drains::new(shared.clone(), Box::new(move || new_store()), || {
        ffi::wake(behind::soon);
        if let Some(module) = module() {
            module.inbox.nudge();
        }
    });
    let probe = std::thread::Builder::new().name("wt-monitor".into());
    let probed = connections.clone();
    let monitor = probe.spawn(|| monitor.run(probed)).map_err(no_thread)?;
    log(
        Level::Notice,
        &format!(
            "{} mapping(s), {} connections, staged keys {}{{<name>:<id>}} in database {}",
            config.mappings.len(),
            limits.get(Limit::PoolSize),
            config.prefix,
            config.db,
        ),
    );
    Module {
        config,
        args,
        document,
        catalog,
        shared,
        inbox,
        engine,
        drains,
        connections,
        manager,
        journal_reader,
        monitor,
        is_loaded: AtomicBool::new(false),
        stale_keys: StaleKeys::new(in_sync::stale_key),
        error_log: Mutex::default(),
        applying: AtomicBool::new(false),
    }
    .install();
    ffi::wake(loaded);
    Ok(())
}

/// A one-shot: no timer may be set in OnLoad.
fn loaded() {
    let Some(module) = module() else { return };
    module.is_loaded.store(true, Ordering::Relaxed);
    // A one-shot runs no commands.
    ffi::timer(Duration::ZERO, ffi::unload_stand_ins);
    behind::start(module);
    in_sync::check_all();
    preload::when_in_sync();
    sessions::watch();
}

fn no_thread(error: std::io::Error) -> ConfigError {
    ConfigError::at("pool_size", format!("a thread could not be started: {error}"))
}

fn register(ctx: &OnLoad) -> Result<(), ConfigError> {
    let registered = commands::register(ctx) && ctx.subscribe::<super::Server>();
    match registered {
        true => Ok(()),
        false => Err(ConfigError::at(
            "server",
            "it refused a command or a callback; Redis 7.0 or later is needed",
        )),
    }
}

/// Tells the operator what to do instead of MODULE UNLOAD.
pub fn warn_of_unload() {
    log(Level::Warning, "writethrough can't be unloaded: restart the server without it");
}

/// The server takes a load back in the turn of the event loop in which it was made, when MODULE
/// LOADEX has named an option that nobody knows: Redis 8 asserts that this succeeds. The module ends
/// its threads; what it holds is not freed, and its code stays where it is (build.rs). False when it
/// can't be unloaded.
pub fn take_back() -> bool {
    let Some(module) = module() else { return false };
    if module.is_loaded.load(Ordering::Relaxed) || !pending().jobs.is_empty() {
        return false;
    }
    if !close(module, || module.engine.is_finished() && module.monitor.is_finished()) {
        log(Level::Warning, "the load can't be taken back: a thread doesn't end");
        return false;
    }
    Module::uninstall();
    log(
        Level::Warning,
        "not loaded: the server took the load back, as it does when MODULE LOADEX names an option \
         that nobody knows; docs/options.md lists those of writethrough",
    );
    ffi::forget_context();
    true
}

/// Something happened to the server.
pub fn event(event: Event) {
    let Some(module) = module() else { return };
    let db = module.config.db;
    if matches!(
        event,
        Event::Flushed(_) | Event::Swapped(..) | Event::Loaded | Event::Promoted | Event::Demoted
    ) {
        full_rows::all_changed();
    }
    match event {
        Event::Flushed(flushed) if flushed.is_none_or(|flushed| flushed == db) => {
            pending().flushed();
            behind::emptied(module);
            negative::end_all();
            load_all::emptied();
            sessions::look();
        }
        Event::Flushed(_) => {}
        Event::Swapped(a, b) => {
            if a != b && (a == db || b == db) {
                pending().all_evicted();
                behind::reset_all(module);
                negative::end_all();
                load_all::emptied();
            }
            leftovers::swapped(module, a, b);
        }
        Event::ClientGone(client) => {
            multi::client_gone(client);
            replacement::client_gone(client);
            atomic_multi::client_gone(client);
        }
        Event::Loaded => {
            pending().came_back();
            behind::reset_all(module);
            in_sync::check_all();
            preload::when_in_sync();
        }
        Event::Promoted => {
            module.shared.terms.promote();
            behind::reset_all(module);
            in_sync::check_all();
            preload::when_in_sync();
        }
        Event::Demoted => {
            module.shared.terms.demote();
            behind::reset_all(module);
            module.journal_reader.stop();
        }
        Event::Replicated => sessions::replicated(),
        Event::Shutdown => {
            // What is not done by then is found again after the restart.
            close(module, || module.engine.is_finished() && module.drains.is_finished());
        }
        Event::Idle => module.engine.wake(),
    }
}

/// Ends the threads, when they have done what they are at, and waits until it `is_done`. False when
/// that takes too long.
fn close(module: &Module, is_done: impl Fn() -> bool) -> bool {
    module.engine.close();
    module.drains.close();
    module.shared.health.close();
    let until = Instant::now() + SHUTDOWN_TIMEOUT;
    while !is_done() {
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}
