//! The only `unsafe` of the crate: one function a system call that no crate has, each with its invariant.
#![allow(unsafe_code)]
pub mod bpf;
pub mod kill;
