//! The only `unsafe` of the crate: one function a system call that no crate has, each with its invariant.
#![allow(unsafe_code)]

pub mod alloc;
pub mod bpf;
pub mod clone;
pub mod credentials;
pub mod exec;
pub mod fd;
pub mod kill;
pub mod landlock;
pub mod mount;
pub mod netlink;
pub mod page;
pub mod process;
pub mod procfs;
pub mod scheduling;
pub mod seccomp;
pub mod signal;
pub mod thread;
pub mod waiting;
