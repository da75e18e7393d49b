//! One file a verb, each thin.

pub mod features;
pub mod help;
pub mod spec;
