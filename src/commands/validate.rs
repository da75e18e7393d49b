//! `validate`: every fault of a config at once, with its place; nothing is made, and no right is needed.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use serde::Serialize;

use super::create::{bundle, check_joined, check_rootfs, host, request};
use crate::cgroups::{Host, Layout};
use crate::cli::{CreateArgs, Global, PlanArgs, PlanFormat};
use crate::error::{Error, Kind, Result};
use crate::plan::rootless::Caller;
use crate::plan::{self, Request};
use crate::spec::examine::{Examination, Severity};
use crate::spec::{read, validate};

/// One line of the answer.
#[derive(Debug, Serialize)]
struct Entry {
    path: String,
    line: usize,
    column: usize,
    severity: &'static str,
    message: String,
}

/// Prints what is wrong with a bundle's config; gives 1 if something is.
///
/// # Errors
/// The file can't be read; what is in it makes no error of this kind.
pub fn run(global: &Global, args: &PlanArgs) -> Result<i32> {
    let bundle = bundle(args.bundle.as_deref())?;
    let name = args.config.clone().unwrap_or_else(|| PathBuf::from("config.json"));
    let raw = read(&bundle, &name)?;
    let entries = entries(&raw, global, &bundle);
    let shown = args.bundle.as_deref().unwrap_or(Path::new("")).join(&name);
    let text = match args.format {
        PlanFormat::Text => to_text(&entries, &shown.display().to_string()),
        PlanFormat::Json => {
            serde_json::to_string_pretty(&entries)
                .map_err(|error| Error::new(Kind::System, error.to_string()))?
                + "\n"
        }
    };
    super::output::print(text.as_bytes())?;
    Ok(i32::from(entries.iter().any(|entry| entry.severity == "error")))
}

fn entries(raw: &[u8], global: &Global, bundle: &Path) -> Vec<Entry> {
    let mut examination = Examination::new(raw);
    if let Some(spec) = examination.spec() {
        rules(&spec, &mut examination);
        if let Some(last) = plans(spec, &mut examination, global, bundle) {
            place(&last, &mut examination, bundle);
        }
    }
    let entry = |finding| {
        let (line, column) = Examination::place(raw, &finding);
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        Entry { path: finding.path, line, column, severity, message: finding.message }
    };
    examination.findings().into_iter().map(entry).collect()
}

fn rules(spec: &Spec, examination: &mut Examination<'_>) {
    for fault in validate::faults(spec) {
        examination.add(Severity::Error, &fault.path, fault.message);
    }
    for warning in validate::warnings(spec) {
        examination.add(Severity::Warning, &warning.path, warning.message);
    }
}

/// What only planning finds. A part of the plan tells its first fault, so that what is at fault is taken out and
/// planned again. Gives the spec that can be planned.
fn plans(mut spec: Spec, examination: &mut Examination<'_>, global: &Global, bundle: &Path) -> Option<Spec> {
    let create = CreateArgs { id: "ID".into(), ..CreateArgs::default() };
    let mut request = match request(global, &create, bundle) {
        Ok(request) => request,
        Err(error) => {
            examination.add(Severity::Note, "", format!("what the host allows is not looked at: {error}"));
            return Some(spec);
        }
    };
    // Whoever asks: what root can do with it.
    request.caller = Caller::ROOT;
    request.cgroup.rootless = false;
    let host = host(global).unwrap_or_else(|error| {
        examination.add(Severity::Note, "linux", format!("cgroups are not looked at: {error}"));
        request.no_cgroup = true;
        Host { layout: Layout::V1 { hierarchies: Vec::new(), unified: None }, own_v2: PathBuf::from("/") }
    });
    loop {
        let (faults, warnings) = plan::faults(&spec, &request, &host);
        let mut removed = false;
        for fault in &faults {
            let text = fault.to_string();
            let (path, message) = split(&text);
            if !examination.errors().any(|known| known.path == path) {
                examination.add(Severity::Error, path, message);
            }
            removed |= examination.remove(path);
        }
        if !removed {
            for text in &warnings {
                let (path, message) = split(text);
                examination.add(Severity::Warning, path, message);
            }
            joined(&spec, &request, &host, examination);
            return Some(spec);
        }
        spec = examination.spec()?;
    }
}

fn joined(spec: &Spec, request: &Request<'_>, host: &Host, examination: &mut Examination<'_>) {
    let Ok(plan) = plan::plan(spec, request, host) else { return };
    if let Err(error) = check_joined(&plan) {
        let text = error.to_string();
        let (path, message) = split(&text);
        examination.add(Severity::Error, path, message);
    }
}

/// config.md: "A directory MUST exist at the path declared by the field."
fn place(spec: &Spec, examination: &mut Examination<'_>, bundle: &Path) {
    let Some(root) = spec.root().as_ref().filter(|root| !root.path().as_os_str().is_empty()) else { return };
    let path = bundle.join(root.path());
    let checked = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::config("root.path", "holds a NUL byte"))
        .and_then(|path| check_rootfs(&path));
    if let Err(error) = checked {
        let text = error.to_string();
        examination.add(Severity::Error, "root.path", split(&text).1);
    }
}

/// `linux.cgroupsPath: no such thing`, `linux.cgroupsPath is ignored` → the path and the rest; without a path all is the
/// message.
fn split(text: &str) -> (&str, &str) {
    const TOP: &[&str] =
        &["root", "mounts", "process", "hostname", "domainname", "hooks", "annotations", "linux"];
    let known = |path: &str| TOP.contains(&path.split(['.', '[']).next().unwrap_or_default());
    match text.split_once(' ') {
        Some((path, message)) if known(path.trim_end_matches(':')) => (path.trim_end_matches(':'), message),
        _ => ("", text),
    }
}

/// A line for each, as compilers write them, and a summary.
fn to_text(entries: &[Entry], file: &str) -> String {
    let mut text = String::new();
    for entry in entries {
        let Entry { path, line, column, severity, message } = entry;
        let kind = if *severity == "error" { String::new() } else { format!("{severity}: ") };
        let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
        let mut said = format!("{kind}{path}{message}");
        // Names and values of the config: no terminal shall obey them.
        said.retain(|character| !character.is_control());
        text.push_str(&format!("{file}:{line}:{column}: {said}\n"));
    }
    let count = |severity: &str| entries.iter().filter(|entry| entry.severity == severity).count();
    let number = |count: usize, word: &str| match count {
        0 => format!("no {word}s"),
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    };
    let rest: Vec<String> = ["warning", "note"]
        .iter()
        .filter(|severity| count(severity) > 0)
        .map(|severity| format!(", {}", number(count(severity), severity)))
        .collect();
    text.push_str(&format!("{file}: {}{}\n", number(count("error"), "fault"), rest.concat()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// `line:column: path: message` of each entry for a config, on a host without cgroups.
    fn checked(config: &Value, bundle: &Path) -> Vec<String> {
        let text = serde_json::to_string_pretty(config).unwrap();
        let global = Global { cgroup_manager: crate::cli::CgroupManager::Disabled, ..Global::default() };
        let entries = entries(text.as_bytes(), &global, bundle);
        to_text(&entries, "c").lines().map(str::to_owned).collect()
    }

    fn config() -> Value {
        json!({"ociVersion": "1.3.0", "root": {"path": "."},
            "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh"]},
            "linux": {"namespaces": [{"type": "mount"}]}})
    }

    /// [E12] Every phase's faults in one list, in the file's order.
    #[test]
    fn all_at_once() {
        let bundle = std::env::temp_dir();
        assert_eq!(checked(&config(), &bundle), ["c: no faults"]);
        let mut wrong = config();
        wrong["root"]["path"] = json!("/nothere/rootfs");
        wrong["process"]["args"] = json!("sh");
        wrong["process"]["cwd"] = json!("x");
        wrong["proces"] = json!({});
        let no_name = json!({"names": [], "action": "SCMP_ACT_ERRNO"});
        let no_index = json!({"names": ["read"], "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 9, "value": 0, "op": "SCMP_CMP_EQ"}]});
        wrong["linux"]["seccomp"] =
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [no_name, no_index]});
        let lines = checked(&wrong, &bundle);
        let has = |text: &str| assert!(lines.iter().any(|line| line.contains(text)), "{text}: {lines:#?}");
        has("linux.seccomp.syscalls[0].names: at least one name");
        has("linux.seccomp.syscalls[1].args[0].index: 9 is not");
        has("note: proces: unknown property, ignored (did you mean \"process\"?)");
        has("process.args: invalid type: string \"sh\"");
        has("process.cwd: Cwd must be an absolute path");
        has("root.path: invalid rootfs: stat /nothere/rootfs: no such file or directory");
        assert_eq!(lines.last().unwrap(), "c: 5 faults, 1 note", "{lines:#?}");
        let numbers = |line: &String| line.split(':').nth(1).and_then(|line| line.parse::<usize>().ok());
        assert!(lines.iter().map(numbers).take(6).is_sorted(), "{lines:#?}");
    }

    #[test]
    fn texts_have_a_path() {
        assert_eq!(split("linux.seccomp: x: y"), ("linux.seccomp", "x: y"));
        assert_eq!(
            split("linux.resources.memory.kernel is ignored: z"),
            ("linux.resources.memory.kernel", "is ignored: z")
        );
        assert_eq!(split("can't raise ambient"), ("", "can't raise ambient"));
    }
}
