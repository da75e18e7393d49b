//! `seccomp record`: runs a container and writes a profile of what it used.

use std::collections::BTreeSet;
use std::path::Path;

use oci_spec::runtime::Arch;
use serde_json::{Value, json};

use crate::cli::{CreateArgs, Global, RecordArgs, RunArgs};
use crate::error::{Context, Error, Kind, Result};
use crate::log::Log;
use crate::process::own_binary;
use crate::process::recorder::{Call, Recorder};
use crate::seccomp::{self, NATIVE, may_meet, words};

/// What a program needs without calling it where a record looks: to end, and what the kernel has it call after a signal or a stop.
const ALWAYS: [&str; 6] = ["execve", "exit", "exit_group", "restart_syscall", "rt_sigreturn", "sigreturn"];

/// Runs the container to its end under a filter that asks about every call, and writes the least profile.
///
/// # Errors
/// As `run`; the profile can't be written.
pub fn record(global: &Global, args: &RecordArgs, log: &Log) -> Result<i32> {
    // It would start everything anew, also what notes the calls.
    own_binary::run_from_clone()?;
    let output = args.output.as_deref().map(std::path::absolute).transpose().context("--output")?;
    if let Some(path) = &output {
        check_directory(path)?;
    }
    let recorder = Recorder::start()?;
    let run = RunArgs {
        create: CreateArgs {
            id: args.id.clone().unwrap_or_else(|| format!("record-{}", std::process::id())),
            bundle: args.bundle.clone(),
            config: args.config.clone(),
            recorder: Some(recorder.path().to_path_buf()),
            ..CreateArgs::default()
        },
        ..RunArgs::default()
    };
    let code = match crate::commands::run::run(global, &run, log) {
        Ok(code) => code,
        Err(error) => {
            recorder.give_up();
            return Err(error);
        }
    };
    let (profile, nameless) = profile(&recorder.finish()?);
    for (arch, number) in nameless {
        log.warn(format_args!("system call {number} of {arch} has no name: it is not in the profile"));
    }
    let text = serde_json::to_string_pretty(&profile)
        .map_err(|error| Error::new(Kind::System, error.to_string()))?;
    let text = text + "\n";
    match output {
        Some(path) => std::fs::write(&path, text)
            .map_err(|error| Error::new(Kind::System, format!("--output {}: {error}", path.display())))?,
        None => super::super::output::print(text.as_bytes())?,
    }
    Ok(code)
}

/// Before the container runs, which may take hours.
fn check_directory(path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let wrong = match directory.is_dir() {
        true if path.is_dir() => "it is a directory",
        true => return Ok(()),
        false => "its directory does not exist",
    };
    Err(Error::new(Kind::Usage, format!("--output {}: {wrong}", path.display())))
}

/// The profile, sorted; and the calls that no name can be given for.
fn profile(calls: &BTreeSet<Call>) -> (Value, Vec<(String, u32)>) {
    let mut archs = vec![NATIVE];
    let mut names = BTreeSet::new();
    let mut nameless = Vec::new();
    for &(audit, number) in calls {
        let same = |arch: &&Arch| may_meet(NATIVE, **arch) && seccomp::audit(**arch) == audit;
        let candidates = words::ARCHITECTURES.iter().filter(same);
        let found = candidates.filter_map(|arch| Some((*arch, seccomp::name(*arch, number)?))).next();
        match found {
            Some((arch, name)) => {
                names.insert(name);
                if !archs.contains(&arch) {
                    archs.push(arch);
                }
            }
            None => nameless.push((format!("architecture {audit:#x}"), number)),
        }
    }
    let known = |name: &&&str| archs.iter().any(|arch| seccomp::number(*arch, name).is_some());
    names.extend(ALWAYS.iter().filter(known));
    let archs: Vec<String> = archs.iter().map(ToString::to_string).collect();
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": libc::EPERM,
        "architectures": archs,
        "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }],
    });
    (profile, nameless)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sorted, each once, with what always must be there; x32 told from x86-64; the nameless apart.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_profile_has_what_was_called() {
        const X86_64: u32 = 0xc000_003e;
        const X86: u32 = 0x4000_0003;
        let calls = [(X86_64, 1), (X86_64, 59), (X86_64, 0), (X86_64, 9999), (X86, 4), (X86, 7)];
        let (profile, nameless) = profile(&calls.into_iter().collect());
        assert_eq!(profile["architectures"], json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]));
        let wanted = [
            "execve",
            "exit",
            "exit_group",
            "read",
            "restart_syscall",
            "rt_sigreturn",
            "sigreturn",
            "waitpid",
            "write",
        ];
        assert_eq!(profile["syscalls"][0]["names"], json!(wanted));
        assert_eq!(nameless, [("architecture 0xc000003e".to_string(), 9999)]);
        let (profile, _) = super::profile(&BTreeSet::from([(X86_64, 0x4000_0000)]));
        assert_eq!(profile["architectures"], json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"]));
    }
}
