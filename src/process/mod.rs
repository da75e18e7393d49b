//! (in work)

pub mod hooks;
