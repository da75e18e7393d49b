//! Real containers, driven through the built binary only; one file a topic.
//!
//! `DAVIT_TEST_RUNTIME=/usr/sbin/runc cargo test --test integration` runs the same tests against another
//! runtime, which shows whether a test asks for what callers get today. Each test names the rows of the
//! feature list that it shows: `/// [S1] …`. The tests need root. Skips are printed and appended to
//! `$CARGO_TARGET_TMPDIR/skips`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod attacks_more;
mod cgroups;
mod cli;
mod concurrency;
mod delete_kill;
mod devices;
mod errors;
mod features;
mod hooks;
mod killpoints;
mod lifecycle;
mod mounts;
mod namespaces;
mod process;
mod rootfs;
mod seccomp;
mod security;
mod state;
mod stats;
mod support;
