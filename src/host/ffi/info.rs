//! INFO.

use std::ffi::CString;

use redis_module::raw;

/// Where INFO's sections and fields go.
pub struct Info {
    pub(super) raw: *mut raw::RedisModuleInfoCtx,
}

impl Info {
    /// Begins a section. False when nobody asked for it.
    pub fn section(&mut self, name: &str) -> bool {
        let name = CString::new(name).unwrap_or_default();
        // SAFETY: the context is valid during the callback; the server copies all texts.
        unsafe { raw::RedisModule_InfoAddSection.unwrap()(self.raw, name.as_ptr()) == 0 }
    }

    /// A number.
    pub fn number(&mut self, field: &str, value: u64) {
        let field = CString::new(field).unwrap_or_default();
        // SAFETY: as above.
        unsafe {
            raw::RedisModule_InfoAddFieldULongLong.unwrap()(self.raw, field.as_ptr(), value as _);
        }
    }

    /// A text in one line.
    pub fn text(&mut self, field: &str, value: &str) {
        let field = CString::new(field).unwrap_or_default();
        let value = CString::new(value.replace(['\0', '\r', '\n'], " ")).unwrap_or_default();
        // SAFETY: as above.
        unsafe {
            raw::RedisModule_InfoAddFieldCString.unwrap()(self.raw, field.as_ptr(), value.as_ptr());
        }
    }
}
