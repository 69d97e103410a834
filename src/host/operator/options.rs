//! `writethrough.*` of CONFIG GET, SET and REWRITE, of redis.conf and of MODULE LOADEX.
//!
//! What the document and the load arguments say is the default; redis.conf and MODULE LOADEX win
//! over it, and CONFIG SET over all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::limits::{Limit, Limits};
use crate::config::{check_prefix, Config, ConfigError};
use crate::host::ffi::{self, OnLoad, Str};
use crate::host::module::{module, Module};

/// The options of the module that is loaded, or that is being loaded.
static OPTIONS: Mutex<Option<Options>> = Mutex::new(None);

struct Options {
    limits: Arc<Limits>,
    db: i32,
    prefix: String,
    /// What the server is given to show.
    texts: [(&'static str, Arc<Str>); 6],
}

fn options() -> MutexGuard<'static, Option<Options>> {
    OPTIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `pool_size` → `pool-size`, the server's way to write it.
pub fn name(key: &str) -> String {
    key.replace('_', "-")
}

fn limit(option: &str) -> Option<Limit> {
    Limit::ALL.into_iter().find(|limit| name(limit.key()) == option)
}

/// Registers the options, and takes over what redis.conf and MODULE LOADEX say of them. `url` is
/// shown, and holds no password. In OnLoad, before anything looks at `config` or `limits`.
pub fn register(
    ctx: &OnLoad,
    config: &mut Config,
    limits: &Arc<Limits>,
    url: &str,
) -> Result<(), ConfigError> {
    let url_file = config.url_file.as_ref().map(|file| file.display().to_string());
    let switch = |is_on| if is_on { "true" } else { "false" };
    let texts = [
        ("prefix", config.prefix.as_str()),
        ("url", url),
        ("url-file", url_file.as_deref().unwrap_or_default()),
        ("journal", switch(config.journal)),
        ("follow", switch(config.follow)),
        ("atomic-multi", switch(config.atomic_multi)),
    ];
    *options() = Some(Options {
        limits: limits.clone(),
        db: config.db,
        prefix: config.prefix.clone(),
        texts: texts.map(|(name, text)| (name, Arc::new(Str::new(text.as_bytes())))),
    });
    let numbers = Limit::ALL.into_iter().all(|limit| {
        let (least, most) = limit.range();
        let range = (least as i64, most as i64);
        ctx.register_number::<Server>(&name(limit.key()), limits.get(limit) as i64, range, true)
    });
    let range = (0, i32::MAX.into());
    let registered = numbers
        && ctx.register_number::<Server>("db", config.db.into(), range, false)
        && texts.iter().all(|(name, text)| ctx.register_text::<Server>(name, text));
    if !registered {
        return Err(ConfigError::at(
            "server",
            "it refused an option; Redis 7.0 or later is needed",
        ));
    }
    if !ctx.load_options() {
        let problem = "redis.conf or MODULE LOADEX gives one a wrong value; see the line above";
        return Err(ConfigError::at("options", problem));
    }
    if let Some(options) = &*options() {
        config.db = options.db;
        config.prefix.clone_from(&options.prefix);
    }
    Ok(())
}

/// Changes a limit, now.
pub fn set(module: &Module, limit: Limit, value: u64) -> Result<(), String> {
    let limits = &module.shared.limits;
    let before = limits.get(limit);
    limits.set(limit, value);
    if limit == Limit::PoolSize && value != before {
        module.connections.renew();
        module
            .engine
            .resize(value as usize)
            .map_err(|error| format!("a worker's thread could not be started: {error}"))?;
    }
    Ok(())
}

struct Server;

impl ffi::Options for Server {
    fn number(name: &str) -> i64 {
        let options = options();
        let Some(options) = &*options else { return 0 };
        limit(name).map_or(options.db.into(), |limit| options.limits.get(limit) as i64)
    }

    fn set_number(name: &str, value: i64) -> Result<(), String> {
        // The server has compared the value with the range.
        match (limit(name), module()) {
            (Some(limit), Some(module)) => set(module, limit, value as u64),
            (Some(limit), None) => {
                if let Some(options) = &*options() {
                    options.limits.set(limit, value as u64);
                }
                Ok(())
            }
            (None, _) => {
                if let Some(options) = &mut *options() {
                    options.db = value as i32;
                }
                Ok(())
            }
        }
    }

    fn text(name: &str) -> Option<Arc<Str>> {
        let options = options();
        let (_, text) = options.as_ref()?.texts.iter().find(|(known, _)| *known == name)?;
        Some(text.clone())
    }

    fn set_text(name: &str, value: &[u8]) -> Result<(), String> {
        let mut options = options();
        let Some(options) = &mut *options else { return Ok(()) };
        let Some((_, text)) = options.texts.iter_mut().find(|(known, _)| *known == name) else {
            return Ok(());
        };
        if text.as_bytes() == value {
            return Ok(());
        }
        if name != "prefix" {
            let argument = name.to_uppercase();
            return Err(format!(
                "give it in the document, or as the module's argument {argument}: \
                 CONFIG GET shows what is set here"
            ));
        }
        let prefix = std::str::from_utf8(value).map_err(|_| "is no UTF-8")?;
        check_prefix(prefix).map_err(|error| error.problem)?;
        options.prefix = prefix.to_string();
        *text = Arc::new(Str::new(value));
        Ok(())
    }
}
