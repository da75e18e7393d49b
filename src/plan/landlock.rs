//! Landlock: which files and ports the program may use, by the annotation `org.davit.landlock` (row W1; the specification
//! has no place for it yet). docs/landlock.md tells what its members mean.

use std::ffi::CString;
use std::fmt::Display;

use oci_spec::runtime::Spec;
use serde_json::{Map, Value};

use super::annotations;
use crate::error::{Error, Result};
use crate::sys::landlock::Handled;

/// The annotation.
pub const ANNOTATION: &str = "org.davit.landlock";

/// What init makes a ruleset of.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Landlock {
    /// What is forbidden where no rule allows it.
    pub handled: Handled,
    /// Rights beneath paths of the container.
    pub paths: Vec<PathRule>,
    /// TCP ports with their `LANDLOCK_ACCESS_NET_*`.
    pub ports: Vec<(u16, u64)>,
    /// Paths that are not there are passed over.
    pub best_effort: bool,
}

/// One path with what is allowed there.
#[derive(Debug, PartialEq, Eq)]
pub struct PathRule {
    /// Absolute, in the container.
    pub path: CString,
    /// `LANDLOCK_ACCESS_FS_*` that are handled; those that only directories have are left out for a file.
    pub access: u64,
    /// The member that it is in, and its place there.
    pub origin: (&'static str, usize),
}

// include/uapi/linux/landlock.h
const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
/// Removing and making of every kind.
const CHANGE_DIR: u64 = 0x1FF0;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;

/// What a file that is no directory can have.
pub const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;

const BIND_TCP: u64 = 1;
const CONNECT_TCP: u64 = 1 << 1;
const SCOPE_ABSTRACT_UNIX_SOCKET: u64 = 1;
const SCOPE_SIGNAL: u64 = 1 << 1;

/// The kernel that an ABI came with, for messages.
const KERNELS: [&str; 7] = ["5.13", "5.13", "5.19", "6.2", "6.7", "6.10", "6.12"];

/// The rights for files that a kernel knows.
fn files_of(abi: u32) -> u64 {
    let mut all = EXECUTE | WRITE_FILE | READ_FILE | READ_DIR | CHANGE_DIR;
    for (since, right) in [(2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)] {
        if abi >= since {
            all |= right;
        }
    }
    all
}

/// Reads the annotation for a kernel of this ABI (0: none), which is asked for only if there is one.
///
/// # Errors
/// Not of its form, by the JSON path; something required that the kernel has not.
pub fn plan(spec: &Spec, abi: fn() -> u32, warnings: &mut Vec<String>) -> Result<Option<Landlock>> {
    let Some(text) = annotations::get(spec, ANNOTATION) else { return Ok(None) };
    let value: Value = serde_json::from_slice(text.as_bytes()).map_err(|error| wrong("", error))?;
    let Value::Object(members) = value else { return Err(wrong("", "must be a JSON object")) };
    let mut reader = Reader { abi: abi(), best_effort: false, warnings };
    reader.best_effort = mode(&members)?;
    let landlock = reader.read(&members)?;
    Ok(landlock.filter(|landlock| landlock.handled != Handled::default()))
}

/// An error at a place inside the annotation.
fn wrong(place: &str, why: impl Display) -> Error {
    Error::config(&format!("annotations[{ANNOTATION:?}]{place}"), why)
}

const MEMBERS: [&str; 7] = ["bind", "connect", "execute", "mode", "read", "scope", "write"];

/// Whether it is "best-effort".
fn mode(members: &Map<String, Value>) -> Result<bool> {
    for name in members.keys() {
        if !MEMBERS.contains(&name.as_str()) {
            let error = wrong("", format!("unknown member {name:?}"));
            return Err(match crate::similar::closest(name, MEMBERS.into_iter()) {
                Some(close) => error.hint(format!("did you mean {close:?}?")),
                None => error.hint(format!("one of {}", MEMBERS.join(", "))),
            });
        }
    }
    match members.get("mode").map(|mode| mode.as_str()) {
        None | Some(Some("required")) => Ok(false),
        Some(Some("best-effort")) => Ok(true),
        Some(_) => Err(wrong(".mode", "must be \"required\" or \"best-effort\"")),
    }
}

struct Reader<'a> {
    abi: u32,
    best_effort: bool,
    warnings: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn read(&mut self, members: &Map<String, Value>) -> Result<Option<Landlock>> {
        let mut landlock = Landlock { best_effort: self.best_effort, ..Landlock::default() };
        let mut files = None;
        for (name, access) in [
            ("read", READ_FILE | READ_DIR),
            // The kernel reads what it executes.
            ("execute", EXECUTE | READ_FILE),
            ("write", WRITE_FILE | CHANGE_DIR | REFER | TRUNCATE | IOCTL_DEV),
        ] {
            let Some(list) = list(members, name)? else { continue };
            files = files.or(Some(name));
            for (at, value) in list.iter().enumerate() {
                let path = path(value).map_err(|why| wrong(&format!(".{name}[{at}]"), why))?;
                landlock.paths.push(PathRule { path, access, origin: (name, at) });
            }
        }
        let files = files.map(|first| self.has(1, &format!(".{first}"), "files")).transpose()?;
        if files == Some(true) {
            landlock.handled.files = files_of(self.abi);
            // Older kernels can't tell these apart: what they don't restrict, no rule has to allow.
            for rule in &mut landlock.paths {
                rule.access &= landlock.handled.files;
            }
        } else {
            landlock.paths.clear();
        }
        for (name, access) in [("bind", BIND_TCP), ("connect", CONNECT_TCP)] {
            let Some(list) = list(members, name)? else { continue };
            let mut ports = Vec::with_capacity(list.len());
            for (at, value) in list.iter().enumerate() {
                let port = value.as_u64().and_then(|port| u16::try_from(port).ok());
                let port = port.ok_or_else(|| {
                    wrong(&format!(".{name}[{at}]"), format!("{value} is no TCP port, 0 to 65535"))
                })?;
                ports.push((port, access));
            }
            if self.has(4, &format!(".{name}"), "TCP ports")? {
                landlock.handled.ports |= access;
                landlock.ports.extend(ports);
            }
        }
        for (at, value) in list(members, "scope")?.unwrap_or_default().iter().enumerate() {
            let place = format!(".scope[{at}]");
            let bit = match value.as_str() {
                Some("abstract-unix-socket") => SCOPE_ABSTRACT_UNIX_SOCKET,
                Some("signal") => SCOPE_SIGNAL,
                _ => {
                    return Err(wrong(
                        &place,
                        format!("{value} is not \"abstract-unix-socket\" or \"signal\""),
                    ));
                }
            };
            if self.has(6, &place, "this")? {
                landlock.handled.scoped |= bit;
            }
        }
        Ok(Some(landlock))
    }

    /// Whether the kernel can restrict it; else a warning, or an error where it is required.
    fn has(&mut self, abi: u32, place: &str, what: &str) -> Result<bool> {
        if self.abi >= abi {
            return Ok(true);
        }
        let since = usize::try_from(abi).ok().and_then(|abi| KERNELS.get(abi)).copied().unwrap_or("newer");
        let why = match self.abi {
            0 => "this kernel has no Landlock, or not among its active modules (lsm=)".to_owned(),
            _ => format!("this kernel's Landlock cannot restrict {what} (Linux {since})"),
        };
        if self.best_effort {
            self.warnings.push(wrong(place, format!("{why}; left out")).to_string());
            return Ok(false);
        }
        Err(wrong(place, why).hint("\"mode\": \"best-effort\" does without"))
    }
}

fn list<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a [Value]>> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list)),
        Some(_) => Err(wrong(&format!(".{name}"), "must be an array")),
    }
}

/// A path of the container.
fn path(value: &Value) -> Result<CString, String> {
    let text = value.as_str().ok_or_else(|| format!("{value} must be a string"))?;
    if !text.starts_with('/') {
        return Err(format!("{text:?} must be an absolute path"));
    }
    CString::new(text).map_err(|_| "must not hold a NUL byte".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn planned(annotation: &Value, abi: fn() -> u32) -> (Result<Option<Landlock>>, Vec<String>) {
        let text = annotation.as_str().map_or_else(|| annotation.to_string(), str::to_owned);
        let spec = json!({"ociVersion": "1.0.0", "annotations": {ANNOTATION: text}});
        let mut warnings = Vec::new();
        (plan(&serde_json::from_value(spec).unwrap(), abi, &mut warnings), warnings)
    }

    fn fault(annotation: &Value, abi: fn() -> u32) -> String {
        planned(annotation, abi).0.unwrap_err().to_string()
    }

    /// [W1] What a new kernel is asked for.
    #[test]
    fn everything() {
        let all = json!({"mode": "required", "read": ["/usr"], "write": ["/tmp", "/dev/tty"], "execute": ["/bin"],
            "bind": [80], "connect": [443, 0], "scope": ["signal", "abstract-unix-socket"]});
        let (landlock, warnings) = planned(&all, || 7);
        let landlock = landlock.unwrap().unwrap();
        assert_eq!(landlock.handled, Handled { files: 0xFFFF, ports: 3, scoped: 3 });
        let rights: Vec<_> =
            landlock.paths.iter().map(|rule| (rule.path.to_str().unwrap(), rule.access)).collect();
        assert_eq!(rights, [("/usr", 0xC), ("/bin", 0x5), ("/tmp", 0xFFF2), ("/dev/tty", 0xFFF2)]);
        assert_eq!(landlock.paths[3].origin, ("write", 1));
        assert_eq!(landlock.ports, [(80, 1), (443, 2), (0, 2)]);
        assert!(!landlock.best_effort && warnings.is_empty());
    }

    /// An absent list restricts nothing; an empty one allows nothing.
    #[test]
    fn absent_and_empty_lists() {
        let of = |annotation: Value| planned(&annotation, || 7).0.unwrap();
        assert_eq!(of(json!({})), None);
        assert_eq!(of(json!({"read": []})).unwrap().handled.files, 0xFFFF);
        let bind = of(json!({"bind": []})).unwrap();
        assert_eq!((bind.handled, bind.ports.len()), (Handled { ports: 1, ..Handled::default() }, 0));
        let spec = serde_json::from_value(json!({"ociVersion": "1.0.0"})).unwrap();
        let asked = || panic!("the kernel is not asked");
        assert_eq!(plan(&spec, asked, &mut Vec::new()).unwrap(), None);
    }

    /// [W1] Kernels that have less: less is restricted, with a warning, or it is an error.
    #[test]
    fn older_kernels() {
        let some = json!({"mode": "best-effort", "write": ["/tmp"], "bind": [80], "scope": ["signal"]});
        let (landlock, warnings) = planned(&some, || 2);
        let landlock = landlock.unwrap().unwrap();
        assert_eq!(landlock.handled, Handled { files: 0x3FFF, ..Handled::default() });
        assert_eq!((landlock.paths[0].access, landlock.ports.len()), (0x3FF2, 0));
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].starts_with("annotations[\"org.davit.landlock\"].bind: this kernel's Landlock cannot restrict TCP ports (Linux 6.7)"), "{warnings:?}");
        let (none, warnings) = planned(&some, || 0);
        assert_eq!((none.unwrap(), warnings.len()), (None, 3));
        let required = json!({"bind": [80]});
        assert!(
            fault(&required, || 3)
                .contains("].bind: this kernel's Landlock cannot restrict TCP ports (Linux 6.7)")
        );
        assert!(fault(&required, || 0).contains("].bind: this kernel has no Landlock"));
        assert!(fault(&json!({"scope": ["signal"]}), || 5).contains("].scope[0]: this kernel's"));
    }

    #[test]
    fn faults_have_a_path() {
        for (annotation, text) in [
            (json!("x"), ": expected value at line 1 column 1"),
            (json!([]), ": must be a JSON object"),
            (json!({"reed": []}), ": unknown member \"reed\" (hint: did you mean \"read\"?)"),
            (json!({"mode": 1}), ".mode: must be \"required\" or \"best-effort\""),
            (json!({"read": "/"}), ".read: must be an array"),
            (json!({"read": ["/", 5]}), ".read[1]: 5 must be a string"),
            (json!({"write": ["tmp"]}), ".write[0]: \"tmp\" must be an absolute path"),
            (json!({"execute": ["/a\u{0}"]}), ".execute[0]: must not hold a NUL byte"),
            (json!({"bind": [65536]}), ".bind[0]: 65536 is no TCP port, 0 to 65535"),
            (json!({"connect": ["80"]}), ".connect[0]: \"80\" is no TCP port, 0 to 65535"),
            (json!({"scope": ["pid"]}), ".scope[0]: \"pid\" is not \"abstract-unix-socket\" or \"signal\""),
        ] {
            assert_eq!(fault(&annotation, || 7), format!("annotations[\"org.davit.landlock\"]{text}"));
            // The same words where the kernel has none.
            let mut best = annotation.clone();
            if let Some(members) = best.as_object_mut().filter(|members| !members.contains_key("mode")) {
                members.insert("mode".into(), "best-effort".into());
                assert_eq!(fault(&best, || 0), format!("annotations[\"org.davit.landlock\"]{text}"));
            }
        }
    }
}
