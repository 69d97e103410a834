//! The module's options in the server's configuration.

use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::ptr::null_mut;

use redis_module::raw;

use super::guard;
use super::string::bytes;
use super::OnLoad;
use super::Str;

/// The module's options in the server's configuration, by their names without `writethrough.`. One
/// implementation: the host.
pub trait Options {
    /// An option's value.
    fn number(name: &str) -> i64;
    /// Sets it; an error is what CONFIG SET answers.
    fn set_number(name: &str, value: i64) -> Result<(), String>;
    /// An option's value. It stays where it is as long as nobody sets it.
    fn text(name: &str) -> Option<std::sync::Arc<Str>>;
    /// Sets it.
    fn set_text(name: &str, value: &[u8]) -> Result<(), String>;
}

/// An option's name as the server passes it.
///
/// # Safety
/// `name` is a C string.
unsafe fn option_name<'a>(name: *const c_char) -> &'a str {
    let name = CStr::from_ptr(name).to_str().unwrap_or_default();
    name.strip_prefix("writethrough.").unwrap_or(name)
}

/// Answers a set function.
///
/// # Safety
/// `error` is where the server looks for one.
unsafe fn set(
    name: *const c_char,
    error: *mut *mut raw::RedisModuleString,
    set: impl FnOnce(&str) -> Result<(), String>,
) -> c_int {
    let name = option_name(name);
    let result = guard("an option", || set(name));
    match result.unwrap_or_else(|| Err("internal error, see the server's log".into())) {
        Ok(()) => raw::REDISMODULE_OK as c_int,
        Err(why) => {
            let why = Str::new(why.as_bytes());
            // The server takes over our reference.
            *error = why.0.as_ptr();
            std::mem::forget(why);
            raw::REDISMODULE_ERR as c_int
        }
    }
}

impl OnLoad {
    /// Registers an option that is a number. False when the server will not have it.
    pub fn register_number<O: Options>(
        &self,
        name: &str,
        default: i64,
        (least, most): (i64, i64),
        can_change: bool,
    ) -> bool {
        unsafe extern "C" fn get_number<O: Options>(name: *const c_char, _: *mut c_void) -> i64 {
            let name = option_name(name);
            guard("an option", || O::number(name)).unwrap_or_default()
        }
        unsafe extern "C" fn set_number<O: Options>(
            name: *const c_char,
            value: i64,
            _: *mut c_void,
            error: *mut *mut raw::RedisModuleString,
        ) -> c_int {
            set(name, error, |name| O::set_number(name, value))
        }
        let name = CString::new(name).unwrap_or_default();
        let flags = if can_change { 0 } else { raw::REDISMODULE_CONFIG_IMMUTABLE };
        // SAFETY: `self.raw` is the context of OnLoad; the server copies the name.
        unsafe {
            raw::RedisModule_RegisterNumericConfig.is_some_and(|register| {
                register(
                    self.raw,
                    name.as_ptr(),
                    default,
                    flags,
                    least,
                    most,
                    Some(get_number::<O>),
                    Some(set_number::<O>),
                    None,
                    null_mut(),
                ) == raw::REDISMODULE_OK as c_int
            })
        }
    }

    /// Registers an option that is a text and can't change while the server runs.
    pub fn register_text<O: Options>(&self, name: &str, default: &str) -> bool {
        unsafe extern "C" fn get_text<O: Options>(
            name: *const c_char,
            _: *mut c_void,
        ) -> *mut raw::RedisModuleString {
            // The server copies it at once, and the host keeps it until it is set.
            let name = option_name(name);
            let text = guard("an option", || O::text(name)).flatten();
            text.map_or(null_mut(), |text| text.0.as_ptr())
        }
        unsafe extern "C" fn set_text<O: Options>(
            name: *const c_char,
            value: *mut raw::RedisModuleString,
            _: *mut c_void,
            error: *mut *mut raw::RedisModuleString,
        ) -> c_int {
            let value = bytes(value);
            set(name, error, |name| O::set_text(name, value))
        }
        let name = CString::new(name).unwrap_or_default();
        let default = CString::new(default).unwrap_or_default();
        // SAFETY: as above; the server copies name and default.
        unsafe {
            raw::RedisModule_RegisterStringConfig.is_some_and(|register| {
                register(
                    self.raw,
                    name.as_ptr(),
                    default.as_ptr(),
                    raw::REDISMODULE_CONFIG_IMMUTABLE,
                    Some(get_text::<O>),
                    Some(set_text::<O>),
                    None,
                    null_mut(),
                ) == raw::REDISMODULE_OK as c_int
            })
        }
    }

    /// Sets every registered option: to what redis.conf or MODULE LOADEX says, or to its default.
    /// False when one can't be set; the server has logged which.
    pub fn load_options(&self) -> bool {
        // SAFETY: `self.raw` is the context of OnLoad.
        unsafe {
            raw::RedisModule_LoadConfigs
                .is_some_and(|load| load(self.raw) == raw::REDISMODULE_OK as c_int)
        }
    }
}
