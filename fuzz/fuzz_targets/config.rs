//! The document: whatever it is, an error with a place, or settings within their bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use writethrough::config::limits::Limits;
use writethrough::config::Config;

fuzz_target!(|document: &str| {
    match Config::parse(document, Vec::new()) {
        Ok(config) => {
            assert!(config.pool_size > 0 && config.batch_max > 0 && config.queue_max > 0);
            assert!(!config.mappings.is_empty() && !config.prefix.is_empty());
            let limits = Limits::new(|limit| config.limit(limit));
            assert!(!limits.timeout().is_zero() && !limits.sync_timeout().is_zero());
            let _ = config.resolve_url(|name| Some(format!("p@:/?#%{name}")));
            for mapping in &config.mappings {
                assert!(!mapping.name().is_empty());
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
