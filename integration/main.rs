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
mod fds;
mod features;
mod hooks;
mod hooks_inside;
mod killpoints;
mod lifecycle;
mod mounts;
mod namespaces;
mod net_devices;
mod notify;
mod process;
mod resctrl;
mod rootfs;
mod schema;
mod seccomp;
mod security;
mod state;
mod support;
mod validate;
