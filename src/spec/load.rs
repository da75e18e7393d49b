//! config.json → Spec; every fault named by its JSON path and line.

use std::path::Path;

use oci_spec::runtime::{Linux, LinuxResources, LinuxSeccomp, Mount, Process, Spec};
use serde::de::DeserializeOwned;

use super::examine::{Examination, Finding, Severity};
use super::locate::line_column;
use super::shape;
use crate::error::{Context, Error, Kind, Result};

/// A configuration as read, and what had to be overlooked in it.
#[derive(Debug)]
pub struct Loaded {
    /// The parsed configuration.
    pub spec: Spec,
    /// The file as it is, for the copy in the state directory.
    pub raw: Vec<u8>,
    /// Values that the specification wants logged and ignored (unknown capabilities).
    pub warnings: Vec<String>,
}

/// Reads and parses the configuration file `name` of a bundle.
///
/// # Errors
/// The file is missing, unreadable, not JSON, or does not fit the specification's types.
pub fn load(bundle: &Path, name: &Path) -> Result<Loaded> {
    let raw = read(bundle, name)?;
    let (spec, warnings) = parse(&raw).context(name.display())?;
    Ok(Loaded { spec, raw, warnings })
}

/// Reads the configuration file `name` of a bundle.
///
/// # Errors
/// The file is missing or unreadable.
pub fn read(bundle: &Path, name: &Path) -> Result<Vec<u8>> {
    let path = bundle.join(name);
    std::fs::read(&path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            let text =
                format!("JSON specification file {} not found in {}", name.display(), bundle.display());
            return Error::new(Kind::Config, text).hint("`davit spec` writes one");
        }
        Error::system(format_args!("read {}", path.display()), error)
    })
}

/// Parses a configuration; gives the warnings beside it.
///
/// # Errors
/// As [`load`], without the file's part.
pub fn parse(raw: &[u8]) -> Result<(Spec, Vec<String>)> {
    if !shape::suspicious(raw)
        && let Ok(spec) = serde_json::from_slice::<Spec>(raw)
        // oci-spec puts in a class where there is none.
        && spec.process().as_ref().is_none_or(|process| process.io_priority().is_none())
    {
        return Ok((spec, Vec::new()));
    }
    if raw.trim_ascii() == b"null" {
        return Err(Error::new(Kind::Config, "config cannot be null"));
    }
    explain(raw)
}

/// Parses a `linux.resources` object that stands alone, as `update` gets it.
///
/// # Errors
/// Not JSON, or not of the specification's types; with the JSON path that it would have in config.json.
pub fn resources(raw: &[u8]) -> Result<LinuxResources> {
    let value: serde_json::Value = serde_json::from_slice(raw)
        .map_err(|error| Error::new(Kind::Config, format!("linux.resources: {error}")))?;
    if !value.is_object() {
        return Err(Error::new(Kind::Config, "linux.resources: must be an object"));
    }
    let mut resources = alone(raw, "resources", |linux| linux.resources().clone())?.unwrap_or_default();
    // oci-spec reads a missing limit as 0, which is a limit.
    if value.pointer("/pids/limit").is_none() {
        resources.set_pids(None);
    }
    Ok(resources)
}

/// Parses a `linux.seccomp` object that stands alone; none if it is empty, which means no filter.
///
/// # Errors
/// As [`resources`].
pub fn seccomp(raw: &[u8]) -> Result<Option<LinuxSeccomp>> {
    alone(raw, "seccomp", |linux| linux.seccomp().clone())
}

/// A process that joins a container, as its file describes it.
#[derive(Debug)]
pub struct LoneProcess {
    /// The object, as far as the specification knows it.
    pub process: Process,
    /// Its `cgroup` (features.md W6): where it is to run, below the container's.
    pub cgroup: Option<String>,
    /// Values that the specification wants logged and ignored.
    pub warnings: Vec<String>,
}

/// Parses a `process` object that stands alone, as `exec --process` gets it.
///
/// # Errors
/// As [`resources`].
pub fn process(raw: &[u8]) -> Result<LoneProcess> {
    let value: serde_json::Value =
        serde_json::from_slice(raw).map_err(|error| Error::new(Kind::Config, format!("process: {error}")))?;
    if !value.is_object() {
        return Err(Error::new(Kind::Config, "process: must be an object"));
    }
    let part = Part { front: r#"{"ociVersion":"1.0.0","process":"#, back: "}" };
    // oci-spec puts in a class where there is none.
    let plain = |process: &Process| process.io_priority().is_none();
    let (process, warnings) = part.parse(raw, plain, |spec| spec.process().clone())?;
    let process = process.ok_or_else(|| Error::new(Kind::Config, "process: must not be empty"))?;
    let cgroup = match value.get("cgroup") {
        None | Some(serde_json::Value::Null) => None,
        Some(serde_json::Value::String(path)) => Some(path.clone()).filter(|path| !path.is_empty()),
        Some(_) => return Err(Error::config("process.cgroup", "must be a string")),
    };
    Ok(LoneProcess { process, cgroup, warnings })
}

/// Parses a `mounts` array that stands alone, as `mounts add` gets it.
///
/// # Errors
/// As [`resources`].
pub fn mounts(raw: &[u8]) -> Result<Vec<Mount>> {
    let part = Part { front: r#"{"ociVersion":"1.0.0","mounts":"#, back: "}" };
    let (mounts, _) = part.parse(raw, |_| true, |spec| spec.mounts().clone())?;
    mounts.ok_or_else(|| Error::new(Kind::Config, "mounts: must be an array"))
}

/// Parses one member of `linux`.
fn alone<T: DeserializeOwned>(raw: &[u8], name: &str, of: impl Fn(&Linux) -> Option<T>) -> Result<Option<T>> {
    let front = format!(r#"{{"ociVersion":"1.0.0","linux":{{"{name}":"#);
    let part = Part { front: &front, back: "}}" };
    Ok(part.parse(raw, |_| true, |spec| of(spec.linux().as_ref()?))?.0)
}

/// A part of config.json that stands alone: the text around it.
struct Part<'a> {
    front: &'a str,
    back: &'a str,
}

impl Part<'_> {
    /// Parses it by its type, and where that fails or is not `plain` as what it would be within config.json. Gives
    /// warnings beside it.
    fn parse<T: DeserializeOwned>(
        &self,
        raw: &[u8],
        plain: impl Fn(&T) -> bool,
        take: impl Fn(&Spec) -> Option<T>,
    ) -> Result<(Option<T>, Vec<String>)> {
        let whole = [self.front.as_bytes(), raw, self.back.as_bytes()].concat();
        if !shape::suspicious(&whole)
            && let Ok(value) = serde_json::from_slice(raw)
            && plain(&value)
        {
            return Ok((Some(value), Vec::new()));
        }
        let mut examination = Examination::new(&whole);
        let spec = examination.spec();
        let findings = examination.findings();
        if let Some(first) = findings.iter().find(|finding| finding.severity == Severity::Error) {
            let offset = first.offset.saturating_sub(self.front.len()).min(raw.len());
            return Err(Error::new(Kind::Config, fault_text(raw, &Finding { offset, ..first.clone() })));
        }
        Ok((spec.as_ref().and_then(take), unknown_capabilities(&findings)))
    }
}

fn unknown_capabilities(findings: &[Finding]) -> Vec<String> {
    let unknown = findings.iter().filter(|finding| finding.message.starts_with("unknown capability"));
    unknown.map(|finding| format!("{}: {}", finding.path, finding.message)).collect()
}

/// The slow second look, taken only when something is wrong: find the path, overlook what may be overlooked.
fn explain(raw: &[u8]) -> Result<(Spec, Vec<String>)> {
    let mut examination = Examination::new(raw);
    let spec = examination.spec();
    let count = examination.errors().count();
    let findings = examination.findings();
    match (spec, findings.iter().find(|finding| finding.severity == Severity::Error)) {
        (_, Some(first)) => {
            let error = Error::new(Kind::Config, fault_text(raw, first));
            Err(super::validate::more(error, count - 1))
        }
        (Some(spec), None) => Ok((spec, unknown_capabilities(&findings))),
        (None, None) => Err(Error::new(Kind::Config, "is not a configuration")),
    }
}

/// `line 3 column 12: process.cwd: invalid type: … in `"cwd": 5``.
fn fault_text(raw: &[u8], fault: &Finding) -> String {
    let (line, column) = line_column(raw, fault.offset);
    let place = if fault.path.is_empty() { String::new() } else { format!("{}: ", fault.path) };
    let text = raw.split(|byte| *byte == b'\n').nth(line - 1).unwrap_or_default();
    let mut excerpt: String = String::from_utf8_lossy(text.trim_ascii()).chars().take(80).collect();
    excerpt.retain(|character| !character.is_control());
    format!("line {line} column {column}: {place}{}, in `{excerpt}`", fault.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err().to_string()
    }

    /// [E14] [E16]
    #[test]
    fn faults_have_a_path_and_a_line() {
        let text = fault(
            "{\n \"ociVersion\": \"1.0.0\",\n \"process\": {\"cwd\": \"/\", \"user\": {\"uid\": 0, \"gid\": 0}, \"args\": 5}\n}",
        );
        assert!(text.starts_with("line 3 column "), "{text}");
        assert!(text.contains("process.args: invalid type: integer `5`"), "{text}");
        let text = fault("{\"ociVersion\": \"1.0.0\", \"linux\": {\"namespaces\": [{\"type\": \"foo\"}]}}");
        assert!(text.contains("linux.namespaces[0].type: unknown variant `foo`"), "{text}");
        assert_eq!(fault(" null\n"), "config cannot be null");
        assert!(fault("{").contains("EOF while parsing"));
    }

    /// [P11] [E13]
    #[test]
    fn unknown_capabilities_are_warnings() {
        let text = r#"{"ociVersion": "1.0.0", "process": {"cwd": "/", "user": {"uid": 0, "gid": 0},
            "capabilities": {"bounding": ["CAP_CHOWN", "CAP_FOO"], "effective": ["CAP_FOO"]}}}"#;
        let (spec, warnings) = parse(text.as_bytes()).unwrap();
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].contains("process.capabilities.bounding") && warnings[0].contains("CAP_FOO"));
        let capabilities = spec.process().as_ref().unwrap().capabilities().clone().unwrap();
        assert_eq!(capabilities.bounding().as_ref().unwrap().len(), 1);
    }

    const PROCESS: &str = r#""cwd": "/", "user": {"uid": 0, "gid": 0}"#;

    fn process(members: &str) -> String {
        format!(r#"{{"ociVersion": "1.0.0", "process": {{{PROCESS}, {members}}}}}"#)
    }

    /// [P19] [P21] What oci-spec does not take but the specification or runc does.
    #[test]
    fn the_specifications_spelling_is_taken() {
        let flags = r#""scheduler": {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RESET_ON_FORK",
            "SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_KEEP_POLICY", "SCHED_FLAG_KEEP_PARAMS",
            "SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MAX"]}"#;
        let (spec, warnings) = parse(process(flags).as_bytes()).unwrap();
        let scheduler = spec.process().as_ref().unwrap().scheduler().clone().unwrap();
        assert_eq!((scheduler.flags().as_ref().unwrap().len(), warnings.len()), (7, 0));
        let affinity = r#""execCPUAffinity": {"initial": "", "final": " 1, 3-4,"}"#;
        let (spec, _) = parse(process(affinity).as_bytes()).unwrap();
        let affinity = spec.process().as_ref().unwrap().exec_cpu_affinity().clone().unwrap();
        assert_eq!((affinity.initial(), affinity.cpu_affinity_final()), (&None, &Some("1,3-4".to_string())));
    }

    /// [P13] [P19] [P20] [L1] [T9] [B2] [B4] [B5] [E16]
    #[test]
    fn unknown_names_are_told_in_runcs_words() {
        for (members, text) in [
            (r#""rlimits": [{"type": "RLIMIT_X"}]"#, "process.rlimits[0].type: wrong rlimit value: RLIMIT_X"),
            (r#""scheduler": {}"#, "process.scheduler.policy: scheduler policy is required"),
            (r#""scheduler": {"policy": ""}"#, "process.scheduler.policy: scheduler policy is required"),
            (r#""scheduler": {"policy": "X"}"#, "invalid scheduler policy: X"),
            (
                r#""scheduler": {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_DL_OVERRUN", "X"]}"#,
                "process.scheduler.flags[1]: invalid scheduler flag: X",
            ),
            (r#""ioPriority": {"class": "X"}"#, "process.ioPriority.class: invalid ioPriority.Class: \"X\""),
            (r#""ioPriority": {"priority": 1}"#, "process.ioPriority.class: invalid ioPriority.Class: \"\""),
            (r#""execCPUAffinity": {"final": "a"}"#, "process.execCPUAffinity.final: Invalid"),
        ] {
            let found = fault(&process(members));
            assert!(found.contains(text), "{members}: {found}");
        }
        for (linux, text) in [
            (r#"{"personality": {}}"#, "linux.personality.domain: invalid personality domain"),
            (r#"{"personality": {"domain": "X"}}"#, "linux.personality.domain: invalid personality domain X"),
            (r#"{"memoryPolicy": {}}"#, "linux.memoryPolicy.mode: invalid memory policy mode"),
            (r#"{"memoryPolicy": {"mode": "BIND"}}"#, "invalid memory policy mode \"BIND\""),
            (
                r#"{"memoryPolicy": {"mode": "MPOL_BIND", "flags": ["X"]}}"#,
                "linux.memoryPolicy.flags[0]: invalid memory policy flag \"X\"",
            ),
            (
                r#"{"seccomp": {"defaultAction": "X"}}"#,
                "linux.seccomp.defaultAction: string X is not a valid action for seccomp",
            ),
            (
                r#"{"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["X"], "flags": ["Y"]}}"#,
                "linux.seccomp.architectures[0]: string X is not a valid arch for seccomp",
            ),
        ] {
            let found = fault(&format!(r#"{{"ociVersion": "1.0.0", "linux": {linux}}}"#));
            assert!(found.contains(text), "{linux}: {found}");
        }
    }

    /// [V47] Resources that stand alone: the paths of config.json, the places of the text.
    #[test]
    fn resources_alone() {
        let good = resources(br#"{"memory": {"limit": 5}, "pids": {}, "devices": null}"#).unwrap();
        assert_eq!(good.memory().as_ref().unwrap().limit(), Some(5));
        assert!(good.pids().is_none() && good.devices().is_none());
        assert_eq!(resources(br#"{"pids": {"limit": 0}}"#).unwrap().pids().unwrap().limit(), 0);
        for (text, fault) in [
            ("", "linux.resources: EOF while parsing"),
            ("[]", "linux.resources: must be an object"),
            ("{\n \"cpu\": {\"shares\": \"x\"}}", "line 2 column 10: linux.resources.cpu.shares: "),
            (r#"{"memory": []}"#, "linux.resources.memory: must be an object"),
            (r#"{"devices": [{"allow": true, "type": "x"}]}"#, "linux.resources.devices[0].type: "),
        ] {
            let found = resources(text.as_bytes()).unwrap_err().to_string();
            assert!(found.contains(fault), "{text}: {found}");
        }
    }

    /// A fault beside something that is overlooked is told with its own path and place.
    #[test]
    fn overlooking_hides_no_fault() {
        let found = fault(&process(
            r#""capabilities": {"bounding": ["CAP_FOO"]}, "rlimits": [{"type": "RLIMIT_X"}]"#,
        ));
        let text = "line 1 column 135: process.rlimits[0].type: wrong rlimit value: RLIMIT_X, in ";
        assert!(found.starts_with(text), "{found}");
    }

    /// As runc: no default action and no rules is no filter; rules without a default action are an error.
    #[test]
    fn an_empty_seccomp_object_is_none() {
        for empty in
            ["{}", r#"{"architectures": ["SCMP_ARCH_X86_64"], "syscalls": []}"#, r#"{"defaultAction": ""}"#]
        {
            let text = format!(r#"{{"ociVersion": "1.0.0", "linux": {{"seccomp": {empty}}}}}"#);
            let (spec, warnings) = parse(text.as_bytes()).unwrap();
            assert!(spec.linux().as_ref().unwrap().seccomp().is_none() && warnings.is_empty(), "{empty}");
        }
        let rules = r#"{"ociVersion": "1.0.0", "linux": {"seccomp": {"syscalls": [{"names": ["read"],
            "action": "SCMP_ACT_ALLOW"}]}}}"#;
        assert!(
            fault(rules).contains("linux.seccomp.defaultAction: missing field `defaultAction`"),
            "{}",
            fault(rules)
        );
    }

    /// [E15] [E17]
    #[test]
    fn unknown_properties_and_any_version_are_accepted() {
        let (spec, _) = parse(br#"{"ociVersion": "1.9.0", "frobnicate": {"x": 1}}"#).unwrap();
        assert_eq!(spec.version(), "1.9.0");
        parse(b"{}").unwrap();
    }

    /// [E14] What the specification's own schema tests (schema/test/config) hold for Linux: `good` loads whole,
    /// `bad` is refused, by its path. (The plan refuses its size of huge pages.)
    #[test]
    fn agrees_with_the_specifications_schema_tests() {
        let load = |linux: &str| {
            let text =
                format!(r#"{{"ociVersion": "1.0.0", "root": {{"path": "rootfs"}}, "linux": {linux}}}"#);
            parse(text.as_bytes()).map(|(spec, _)| spec)
        };
        for (good, pointer, value) in [
            (r#"{"netDevices": {"eth0": {"name": "c0"}, "e4": {}}}"#, "/netDevices/eth0/name", r#""c0""#),
            (r#"{"netDevices": {"eth0": {"name": "c0"}, "e4": {}}}"#, "/netDevices/e4/name", "null"),
            (r#"{"resources": {"rdma": {"m": {"hcaHandles": 3}}}}"#, "/resources/rdma/m/hcaHandles", "3"),
        ] {
            let linux = serde_json::to_value(load(good).unwrap().linux()).unwrap();
            assert_eq!(linux.pointer(pointer).unwrap().to_string(), value, "{good}");
        }
        for (bad, path) in [
            (r#"{"netDevices": {"eth0": {"name": 23}}}"#, "linux.netDevices.eth0.name: "),
            (
                r#"{"resources": {"rdma": {"mlx5_1": {"hcaHandles": "not a uint32"}}}}"#,
                "linux.resources.rdma.mlx5_1.hcaHandles: ",
            ),
        ] {
            let text = load(bad).unwrap_err().to_string();
            assert!(text.contains(path), "{bad}: {text}");
        }
        assert!(fault("{]").starts_with("line 1 column 2: "), "{}", fault("{]"));
    }
}
