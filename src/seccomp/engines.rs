//! Profiles as container engines keep them (moby's profiles/seccomp, containers/common's pkg/seccomp): rules that
//! depend on capabilities, architecture and kernel, and architectures by the machine's.

use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSyscall};
use serde_json::{Map, Value};

use super::words;

/// What the rules may depend on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The architecture of the kernel.
    pub arch: Arch,
    /// Major and minor version of the kernel.
    pub kernel: (u32, u32),
    /// The container's capabilities, `CAP_*`; none for all.
    pub caps: Option<Vec<String>>,
}

/// A profile of the OCI specification, and where its rules were.
#[derive(Debug)]
pub struct Resolved {
    /// What an engine would write to config.json.
    pub profile: LinuxSeccomp,
    /// For each rule of `profile` its index in the engine's `syscalls`.
    pub rules: Vec<usize>,
}

/// Whether a text has what only engines' profiles have.
pub fn is_engines(profile: &Map<String, Value>) -> bool {
    let rules = profile.get("syscalls").and_then(Value::as_array);
    let engines = |rule: &Value| {
        ["name", "includes", "excludes", "errno", "comment"].iter().any(|name| rule.get(name).is_some())
    };
    profile.contains_key("archMap")
        || profile.contains_key("defaultErrno")
        || rules.is_some_and(|rules| rules.iter().any(engines))
}

/// Does what an engine does when it makes config.json.
///
/// # Errors
/// What engines refuse, and what does not fit the types; with the JSON path.
pub fn resolve(source: &Map<String, Value>, machine: &Machine) -> Result<Resolved, String> {
    let mut profile = source.clone();
    for name in ["archMap", "syscalls", "defaultErrno"] {
        profile.remove(name);
    }
    if let Some(number) = errno(source, "defaultErrno", "defaultErrno")? {
        profile.insert("defaultErrnoRet".to_owned(), number.into());
    }
    if let Some(list) = architectures(source, machine)? {
        profile.insert("architectures".to_owned(), list.into());
    }
    let mut profile: LinuxSeccomp = decode(profile).map_err(|error| error.to_string())?;
    let (mut kept, mut rules) = (Vec::new(), Vec::new());
    let none = Vec::new();
    let listed = match source.get("syscalls") {
        None | Some(Value::Null) => &none,
        Some(list) => list.as_array().ok_or("syscalls: must be an array")?,
    };
    for (at, rule) in listed.iter().enumerate() {
        let path = format!("syscalls[{at}]");
        let rule = rule.as_object().ok_or_else(|| format!("{path}: must be an object"))?;
        if applies(rule, &path, machine)? {
            kept.push(one(rule, &path)?);
            rules.push(at);
        }
    }
    profile.set_syscalls(Some(kept));
    Ok(Resolved { profile, rules })
}

/// The sub-architectures that belong to the machine's.
fn architectures(source: &Map<String, Value>, machine: &Machine) -> Result<Option<Vec<Value>>, String> {
    let empty = |list: &Value| list.is_null() || list.as_array().is_some_and(Vec::is_empty);
    let Some(map) = source.get("archMap").filter(|map| !empty(map)) else { return Ok(None) };
    if source.get("architectures").is_some_and(|list| !empty(list)) {
        return Err("archMap: 'architectures' and 'archMap' were both given".to_owned());
    }
    let map = map.as_array().ok_or("archMap: must be an array")?;
    let own = Value::from(machine.arch.to_string());
    let Some(entry) = map.iter().find(|entry| entry.get("architecture") == Some(&own)) else {
        return Ok(None);
    };
    let sub = entry.get("subArchitectures").and_then(Value::as_array).cloned().unwrap_or_default();
    Ok(Some([vec![own], sub].concat()))
}

/// A rule without what only engines know.
fn one(rule: &Map<String, Value>, path: &str) -> Result<LinuxSyscall, String> {
    let mut plain = rule.clone();
    for name in ["name", "includes", "excludes", "errno", "comment"] {
        plain.remove(name);
    }
    if let Some(name) = rule.get("name").filter(|name| name.as_str() != Some("") && !name.is_null()) {
        let names = rule.get("names").and_then(Value::as_array);
        if names.is_some_and(|names| !names.is_empty()) {
            return Err(format!("{path}.name: 'name' and 'names' were both given"));
        }
        plain.insert("names".to_owned(), vec![name.clone()].into());
    }
    if let Some(number) = errno(rule, "errno", &format!("{path}.errno"))? {
        plain.insert("errnoRet".to_owned(), number.into());
    }
    decode(plain).map_err(|error| format!("{path}: {error}"))
}

/// An errno by its name; it goes before the number.
fn errno(object: &Map<String, Value>, name: &str, path: &str) -> Result<Option<u32>, String> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(word)) if word.is_empty() => Ok(None),
        Some(Value::String(word)) => match words::errno_named(word) {
            Some(number) => Ok(Some(number)),
            None => Err(format!("{path}: {word:?} is no errno")),
        },
        Some(_) => Err(format!("{path}: must be a string")),
    }
}

/// `excludes` throws a rule out if one thing of it is there, `includes` if one is missing.
fn applies(rule: &Map<String, Value>, path: &str, machine: &Machine) -> Result<bool, String> {
    let excludes = Filter::read(rule, "excludes", path)?;
    let includes = Filter::read(rule, "includes", path)?;
    let has = |cap: &String| machine.caps.as_ref().is_none_or(|caps| caps.contains(cap));
    let here =
        |arches: &[String]| arches.iter().any(|arch| words::architecture_named(arch) == Some(machine.arch));
    let excluded = here(&excludes.arches)
        || excludes.caps.iter().any(has)
        || excludes.kernel.is_some_and(|least| machine.kernel >= least);
    let included = (includes.arches.is_empty() || here(&includes.arches))
        && includes.caps.iter().all(has)
        && includes.kernel.is_none_or(|least| machine.kernel >= least);
    Ok(included && !excluded)
}

#[derive(Debug, Default)]
struct Filter {
    caps: Vec<String>,
    arches: Vec<String>,
    kernel: Option<(u32, u32)>,
}

impl Filter {
    fn read(rule: &Map<String, Value>, name: &str, path: &str) -> Result<Self, String> {
        let mut filter = Self::default();
        let members = match rule.get(name) {
            None | Some(Value::Null) => return Ok(filter),
            Some(Value::Object(members)) => members,
            Some(_) => return Err(format!("{path}.{name}: must be an object")),
        };
        for (member, value) in members {
            let path = format!("{path}.{name}.{member}");
            match member.as_str() {
                _ if value.is_null() => {}
                "caps" => filter.caps = strings(value, &path)?,
                "arches" => filter.arches = strings(value, &path)?,
                "minKernel" => {
                    let text = value.as_str().ok_or_else(|| format!("{path}: must be a string"))?;
                    filter.kernel =
                        Some(kernel(text).ok_or_else(|| format!("{path}: {text:?} is no version, as 4.8"))?);
                }
                // An unknown condition can't be judged, and to ignore it would widen or narrow the profile.
                _ => return Err(format!("{path}: unknown condition")),
            }
        }
        Ok(filter)
    }
}

fn strings(value: &Value, path: &str) -> Result<Vec<String>, String> {
    let strings = value
        .as_array()
        .and_then(|list| list.iter().map(|one| one.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>());
    strings.ok_or_else(|| format!("{path}: must be an array of strings"))
}

/// `4.8`, and what uname(2) gives: `6.1.0-18-amd64`.
pub fn kernel(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.splitn(3, '.');
    let major = parts.next()?.parse().ok()?;
    let minor: &str = parts.next()?;
    let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
    Some((major, minor[..digits].parse().ok()?))
}

/// By way of text: a second decoder for values would make the program larger by some 30 KiB.
fn decode<T: serde::de::DeserializeOwned>(object: serde_json::Map<String, Value>) -> serde_json::Result<T> {
    serde_json::from_slice(&serde_json::to_vec(&Value::Object(object))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn machine(caps: &[&str]) -> Machine {
        let caps = Some(caps.iter().map(|cap| (*cap).to_owned()).collect());
        Machine { arch: Arch::ScmpArchX86_64, kernel: (5, 10), caps }
    }

    fn resolved(source: &Value, caps: &[&str]) -> Result<Resolved, String> {
        resolve(source.as_object().unwrap(), &machine(caps))
    }

    fn source() -> Value {
        json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "defaultErrno": "ENOSYS",
            "archMap": [
                { "architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"] },
                { "architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"] },
            ],
            "syscalls": [
                { "name": "read", "action": "SCMP_ACT_ALLOW", "comment": "c", "args": null, "includes": {}, "excludes": {} },
                { "names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": { "caps": ["CAP_SYS_ADMIN"] } },
                { "names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "errno": "EPERM",
                  "excludes": { "caps": ["CAP_SYS_ADMIN", "CAP_CHOWN"] } },
                { "names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": { "minKernel": "4.8" } },
                { "names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": { "minKernel": "5.11" } },
                { "names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": { "arches": ["amd64", "x32"] } },
                { "names": ["sync_file_range2"], "action": "SCMP_ACT_ALLOW", "includes": { "arches": ["ppc64le"] } },
                { "names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": { "arches": ["s390x", "amd64"] } },
            ],
        })
    }

    /// What Docker and Podman make of their profiles.
    #[test]
    fn rules_are_chosen_by_the_machine() {
        let none = resolved(&source(), &[]).unwrap();
        assert_eq!(none.rules, [0, 2, 3, 5]);
        assert_eq!(none.profile.default_errno_ret(), Some(38));
        assert_eq!(none.profile.architectures().as_ref().unwrap().len(), 3);
        assert_eq!(resolved(&source(), &["CAP_SYS_ADMIN"]).unwrap().rules, [0, 1, 3, 5]);
        assert_eq!(resolved(&source(), &["CAP_CHOWN"]).unwrap().rules, [0, 3, 5]);
        let all = Machine { caps: None, ..machine(&[]) };
        assert_eq!(resolve(source().as_object().unwrap(), &all).unwrap().rules, [0, 1, 3, 5]);
    }

    #[test]
    fn faults_have_a_path() {
        for (pointer, value, text) in [
            ("/defaultErrno", json!("EFOO"), "defaultErrno: \"EFOO\" is no errno"),
            (
                "/architectures",
                json!(["SCMP_ARCH_X86"]),
                "archMap: 'architectures' and 'archMap' were both given",
            ),
            ("/syscalls/0/names", json!(["x"]), "syscalls[0].name: 'name' and 'names' were both given"),
            (
                "/syscalls/1/includes/caps",
                json!("x"),
                "syscalls[1].includes.caps: must be an array of strings",
            ),
            ("/syscalls/1/includes/pid", json!(1), "syscalls[1].includes.pid: unknown condition"),
            (
                "/syscalls/3/includes/minKernel",
                json!("x"),
                "syscalls[3].includes.minKernel: \"x\" is no version, as 4.8",
            ),
        ] {
            let mut source = source();
            let (parent, member) = pointer.rsplit_once('/').unwrap();
            source.pointer_mut(parent).unwrap()[member] = value;
            assert_eq!(resolved(&source, &[]).unwrap_err(), text);
        }
        let mut wrong = source();
        wrong["syscalls"][3]["action"] = json!("X");
        assert!(resolved(&wrong, &[]).unwrap_err().starts_with("syscalls[3]: unknown variant `X`"));
    }

    #[test]
    fn kernel_versions() {
        for (text, version) in
            [("4.8", Some((4, 8))), ("6.1.0-18-amd64", Some((6, 1))), ("5.10-rc1", Some((5, 10)))]
        {
            assert_eq!(kernel(text), version, "{text}");
        }
        assert_eq!((kernel("5"), kernel("x.1"), kernel("5.")), (None, None, None));
    }
}
