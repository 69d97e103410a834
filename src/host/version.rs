//! The module's version, as the server shows it.

/// The version in MODULE LIST: major × 10000 + minor × 100 + patch.
pub const VERSION: i32 = {
    const fn number(text: &str) -> i32 {
        let (bytes, mut at, mut number) = (text.as_bytes(), 0, 0);
        while at < bytes.len() {
            number = number * 10 + (bytes[at] - b'0') as i32;
            at += 1;
        }
        number
    }
    number(env!("CARGO_PKG_VERSION_MAJOR")) * 10_000
        + number(env!("CARGO_PKG_VERSION_MINOR")) * 100
        + number(env!("CARGO_PKG_VERSION_PATCH"))
};
