//! Davit, an OCI low-level container runtime for Linux.
//!
//! ```text
//! config.json ──load──▶ Spec ──decide──▶ Plan ──launch──▶ one clone3 ──▶ a straight list of steps ──▶ execve
//!              (spec/)         (plan/)         (process/launch)          (process/init)
//! ```
//!
//! Read `main.rs → commands/run.rs → plan/mod.rs → process/launch.rs → process/init/ → sys/`.
//! A module uses only modules below it: commands → process → plan → spec, container → rootfs, cgroups, seccomp,
//! namespaces, identity → sys, error, fault. `docs/architecture.md` has the whole table.

pub mod cgroups;
pub mod cli;
pub mod commands;
pub mod container;
pub mod error;
pub mod fault;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod identity;
pub mod log;
pub mod namespaces;
pub mod plan;
pub mod process;
pub mod resctrl;
pub mod rootfs;
pub mod seccomp;
pub mod similar;
pub mod spec;
pub mod sys;
