//! A load while the module is loaded: a second `loadmodule` line, or MODULE LOAD at run time.
//!
//! CONFIG REWRITE writes such a line where the first one is in an included file or on the command
//! line, so two that say the same are as good as one.

use std::sync::atomic::Ordering;
use std::sync::PoisonError;

use crate::config::args;
use crate::host::ffi::{log, Level};
use crate::host::module::{module, Module};

/// What to do about two lines.
const ADVICE: &str = "CONFIG REWRITE writes a second loadmodule line where the first one isn't in \
    redis.conf itself (an included file, the command line): take one of them away";

/// True where the server may go on with what is loaded.
pub fn may_go_on(again: &[&[u8]]) -> bool {
    match why_not(module(), again) {
        None => {
            let line = "loaded twice: two loadmodule lines say the same, and the first one counts";
            log(Level::Warning, &format!("{line}. {ADVICE}"));
            true
        }
        Some(why) => {
            log(Level::Warning, &format!("not loaded: loaded twice: {why}"));
            false
        }
    }
}

fn why_not(module: Option<&Module>, again: &[&[u8]]) -> Option<String> {
    let Some(module) = module else {
        return Some(format!("another file of writethrough is loaded already. {ADVICE}"));
    };
    if module.is_loaded.load(Ordering::Relaxed) {
        let why = "it goes on as it is. WT.RELOAD reads the document again, CONFIG SET changes an \
                   option, and all else needs a restart";
        return Some(why.into());
    }
    let (first, second) = (args::shown(&module.args), args::shown(again));
    let what = match args::parse(again) {
        Ok(config) => {
            let document = module.document.lock().unwrap_or_else(PoisonError::into_inner);
            if *document == config {
                return None;
            }
            "they say different things".to_string()
        }
        Err(error) => error.to_string(),
    };
    Some(format!("the first loadmodule line says `{first}`, this one `{second}`: {what}. {ADVICE}"))
}
