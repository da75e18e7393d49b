//! Tests of the compiler as a whole.

mod disasm;
mod docker;
mod errors;
mod evaluator;
#[cfg(feature = "libseccomp-oracle")]
mod oracle;
mod profiles;

use oci_spec::runtime::{Arch, LinuxSeccomp};
use serde_json::{Value, json};

use super::interpreter::{Call, run};
use super::{CompileError, Explainer, Program, Reason, compile_for, disassemble, name};

const AMD64: u32 = Arch::ScmpArchX86_64 as u32;
const I386: u32 = Arch::ScmpArchX86 as u32;
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | 1;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | 38;

/// Docker's default profile for x86-64, as in its config.json.
fn docker() -> LinuxSeccomp {
    serde_json::from_str(include_str!("../testdata/docker.json")).unwrap()
}

fn profile(json: Value) -> LinuxSeccomp {
    serde_json::from_value(json).unwrap()
}

/// Compiles for x86-64, wherever the test runs.
fn compile(profile: &LinuxSeccomp) -> Result<Program, CompileError> {
    compile_for(profile, Arch::ScmpArchX86_64)
}

fn verdict(program: &Program, arch: u32, nr: u32, args: &[u64]) -> u32 {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    run(&program.instructions, &Call { arch, nr, args: all }, false).0
}

/// A profile with one rule.
fn rule(default: &str, rule: &Value) -> LinuxSeccomp {
    profile(json!({ "defaultAction": default, "syscalls": [rule] }))
}
