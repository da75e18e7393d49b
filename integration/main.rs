//! Real containers, driven through the built binary only; one file a topic.
//!
//! `DAVIT_TEST_RUNTIME=/usr/sbin/runc cargo test --test integration` runs the same tests against another
//! runtime, which shows whether a test asks for what callers get today. Each test names the rows of the
//! feature list that it shows: `/// [S1] …`. The tests need root. Skips are printed and appended to
//! `$CARGO_TARGET_TMPDIR/skips`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod adversity;
mod annotations;
mod apparmor;
mod attacks_more;
mod caller_commands;
mod capabilities;
mod cgroup_tree;
mod cgroups;
mod cli;
mod completion;
mod concurrency;
mod contrib;
mod copyup;
mod crun;
mod delete_kill;
mod devices;
mod docs;
mod errors;
mod errors_config;
mod errors_log;
mod exec_cgroup;
mod exec_confinement;
mod exec_fds;
mod exec_flags;
mod exec_many;
mod exec_process;
mod exec_security;
mod exec_states;
mod exec_terminals;
mod fds;
mod features;
mod hooks;
mod hooks_inside;
mod hotplug;
mod identity;
mod idmap;
mod interruption;
mod killpoints;
mod landlock;
mod lifecycle;
mod limit_values;
mod limits;
mod mounts;
mod mounts_binds;
mod mounts_destinations;
mod mounts_file_systems;
mod mounts_running;
mod mounts_user_namespace;
mod namespaces;
mod net_devices;
mod notify;
mod packages;
mod people;
mod process;
mod races;
mod resctrl;
mod rootfs;
mod rootfs_more;
mod rootless;
mod scheduling;
mod schema;
mod seccomp;
mod seccomp_explain;
mod seccomp_notify;
mod seccomp_record;
mod seccomp_start;
mod security;
mod selinux;
mod state;
mod stats;
mod support;
mod systemd;
mod systemd_update;
mod terminals;
mod terminals_foreground;
mod update;
mod update_devices;
mod user_namespaces;
mod validate;
