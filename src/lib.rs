//! writethrough: see README.md.
