//! A static program that makes one system call: what a seccomp filter says is seen by it alone.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The probe, compiled once a run; none where there is no C compiler or another machine type.
pub fn path() -> Option<PathBuf> {
    static PROBE: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROBE.get_or_init(build).clone()
}

fn build() -> Option<PathBuf> {
    if !cfg!(target_arch = "x86_64") {
        return None;
    }
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/integration/fixtures/probe.c");
    let made = PathBuf::from(format!(
        "{}/probe-{}",
        env!("CARGO_TARGET_TMPDIR"),
        rustix::process::getpid().as_raw_nonzero()
    ));
    let mut command = Command::new("gcc");
    command.args(["-O1", "-static", "-nostdlib", "-fno-stack-protector", "-fno-builtin", "-o"]);
    command.arg(&made).arg(source);
    let mut child = super::host::spawn(&mut command).ok()?;
    super::host::wait(&mut child).success().then_some(())?;
    let probe = PathBuf::from(concat!(env!("CARGO_TARGET_TMPDIR"), "/probe"));
    std::fs::rename(&made, &probe).ok()?;
    Some(probe)
}
