//! One file a verb, each thin.

pub mod create;
pub mod delete;
pub mod events;
pub mod exec;
pub mod features;
pub mod help;
pub mod info;
pub mod kill;
pub mod list;
pub mod matching;
pub mod mounts;
pub mod output;
pub mod pause;
mod pid_file;
pub mod plan;
pub mod ps;
pub mod resume;
pub mod run;
pub mod seccomp;
pub mod spec;
pub mod start;
pub mod state;
pub mod stats;
pub mod update;
pub mod validate;
pub mod wait;
