//! Rules of the `process` object (config.md, "Process").

use oci_spec::runtime::{LinuxNamespaceType, Process, Spec};

use super::{Faults, has_namespace};

pub(super) fn check(spec: &Spec, faults: &mut Faults) {
    let Some(process) = spec.process() else {
        faults.add("process", "process property must not be empty");
        return;
    };
    alone(process, faults);
    names(spec, faults);
}

/// The rules that need nothing else of the configuration.
pub(super) fn alone(process: &Process, faults: &mut Faults) {
    program(process, faults);
    environment(process, faults);
    rlimits(process, faults);
    user(process, faults);
    console_size(process, faults);
}

fn program(process: &Process, faults: &mut Faults) {
    let cwd = process.cwd();
    if cwd.as_os_str().is_empty() {
        faults.add("process.cwd", "Cwd property must not be empty");
    } else if !cwd.is_absolute() {
        faults.add("process.cwd", format!("Cwd must be an absolute path, not {}", cwd.display()));
    }
    let args = process.args().as_deref().unwrap_or_default();
    if args.is_empty() {
        faults.add("process.args", "args must not be empty");
    } else if args[0].is_empty() {
        faults.add("process.args[0]", "the program's name must not be empty");
    }
    for (index, arg) in args.iter().enumerate() {
        no_nul(arg, || format!("process.args[{index}]"), faults);
    }
    no_nul(&cwd.to_string_lossy(), || "process.cwd".into(), faults);
}

fn environment(process: &Process, faults: &mut Faults) {
    for (index, entry) in process.env().as_deref().unwrap_or_default().iter().enumerate() {
        let path = || format!("process.env[{index}]");
        match entry.find('=') {
            None => faults.add(path(), format!("invalid environment variable: missing '=' in {entry:?}")),
            Some(0) => faults.add(path(), format!("invalid environment variable: no name in {entry:?}")),
            Some(_) => no_nul(entry, path, faults),
        }
    }
}

pub(super) fn no_nul(text: &str, path: impl FnOnce() -> String, faults: &mut Faults) {
    if text.contains('\0') {
        faults.add(path(), "must not hold a NUL byte");
    }
}

fn rlimits(process: &Process, faults: &mut Faults) {
    let list = process.rlimits().as_deref().unwrap_or_default();
    for (index, rlimit) in list.iter().enumerate() {
        if list[..index].iter().any(|earlier| earlier.typ() == rlimit.typ()) {
            faults.add(format!("process.rlimits[{index}].type"), format!("{} is there twice", rlimit.typ()));
        }
        if rlimit.soft() > rlimit.hard() {
            let text = format!("soft limit {} is above the hard limit {}", rlimit.soft(), rlimit.hard());
            faults.add(format!("process.rlimits[{index}].soft"), text);
        }
    }
}

/// 4294967295 is "leave it" to setresuid(2): the process would stay root.
fn user(process: &Process, faults: &mut Faults) {
    let user = process.user();
    for (name, id) in [("uid", user.uid()), ("gid", user.gid())] {
        if id == u32::MAX {
            faults.add(format!("process.user.{name}"), "4294967295 is not a valid id");
        }
    }
    for (index, gid) in user.additional_gids().as_deref().unwrap_or_default().iter().enumerate() {
        if *gid == u32::MAX {
            faults.add(format!("process.user.additionalGids[{index}]"), "4294967295 is not a valid id");
        }
    }
    if let Some(umask) = user.umask()
        && umask > 0o777
    {
        faults.add("process.user.umask", format!("{umask} is not 0 to 511 (octal 0777)"));
    }
    if let Some(score) = process.oom_score_adj()
        && !(-1000..=1000).contains(&score)
    {
        faults.add("process.oomScoreAdj", format!("{score} is not -1000 to 1000"));
    }
}

/// What a terminal can have; without one the size means nothing.
fn console_size(process: &Process, faults: &mut Faults) {
    let Some(size) = process.console_size().filter(|_| process.terminal() == Some(true)) else { return };
    for (name, value) in [("height", size.height()), ("width", size.width())] {
        if value > u64::from(u16::MAX) {
            faults.add(format!("process.consoleSize.{name}"), format!("{value} is not 0 to 65535"));
        }
    }
}

fn names(spec: &Spec, faults: &mut Faults) {
    let uts = has_namespace(spec, LinuxNamespaceType::Uts);
    for (path, name) in [("hostname", spec.hostname()), ("domainname", spec.domainname())] {
        let Some(name) = name.as_deref().filter(|name| !name.is_empty()) else { continue };
        if !uts {
            faults.add(path, format!("unable to set {path} without a private UTS namespace"));
        }
        if name.len() > 64 {
            faults.add(path, format!("is {} bytes long, the kernel takes 64", name.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::one_fault;
    use serde_json::json;

    /// [E14] [P4] [P6] [S14]
    #[test]
    fn the_program_must_be_named() {
        one_fault(json!({"process": null}), "process property must not be empty");
        one_fault(json!({"process": {"cwd": ""}}), "Cwd property must not be empty");
        one_fault(json!({"process": {"cwd": "tmp"}}), "Cwd must be an absolute path");
        one_fault(json!({"process": {"args": []}}), "args must not be empty");
        one_fault(json!({"process": {"args": [""]}}), "process.args[0]");
        one_fault(json!({"process": {"args": ["sh", "a\u{0}b"]}}), "process.args[1]: must not hold a NUL");
    }

    /// [P5]
    #[test]
    fn the_environment_is_checked() {
        one_fault(
            json!({"process": {"env": ["A=1", "B"]}}),
            "process.env[1]: invalid environment variable: missing '='",
        );
        one_fault(json!({"process": {"env": ["=x"]}}), "no name");
        one_fault(json!({"process": {"env": ["A=\u{0}"]}}), "NUL");
    }

    /// [P13]
    #[test]
    fn rlimits_are_unique_and_ordered() {
        let limit = |soft: u64| json!({"type": "RLIMIT_NOFILE", "soft": soft, "hard": 10});
        one_fault(json!({"process": {"rlimits": [limit(1), limit(2)]}}), "RLIMIT_NOFILE is there twice");
        one_fault(json!({"process": {"rlimits": [limit(11)]}}), "above the hard limit");
    }

    /// [P7] [P9] [P18]
    #[test]
    fn ids_that_mean_unchanged_are_refused() {
        one_fault(json!({"process": {"user": {"uid": 4294967295u32}}}), "process.user.uid");
        one_fault(json!({"process": {"user": {"additionalGids": [4294967295u32]}}}), "additionalGids[0]");
        one_fault(json!({"process": {"user": {"umask": 512}}}), "process.user.umask");
        one_fault(json!({"process": {"oomScoreAdj": 1001}}), "process.oomScoreAdj");
    }

    /// [P23] [P24]
    #[test]
    fn names_need_a_uts_namespace() {
        let namespaces = json!({"namespaces": [{"type": "mount"}, {"type": "pid"}]});
        one_fault(
            json!({"hostname": "x", "linux": namespaces}),
            "unable to set hostname without a private UTS namespace",
        );
        one_fault(json!({"domainname": "x".repeat(65)}), "the kernel takes 64");
    }

    /// [P3] [F8]
    #[test]
    fn a_terminal_has_its_bounds() {
        let of = |terminal| json!({"process": {"terminal": terminal, "consoleSize": {"height": 65536, "width": 80}}});
        one_fault(of(true), "process.consoleSize.height: 65536 is not 0 to 65535");
    }
}
