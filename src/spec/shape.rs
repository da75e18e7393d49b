//! Which properties the specification has, and which of them are objects: arrays in their place are refused, unknown
//! ones pointed out.

use super::locate::{Content, Node, join};

/// What stands under a name, as far as there is anything to look for in it.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// A scalar, an array of scalars, or a map with free names and scalars.
    Value,
    /// An object of that shape.
    Object(Shape),
    /// An array of such objects.
    Objects(Shape),
    /// An object with free names and such objects.
    Map(Shape),
    /// Any data.
    Free,
    /// Of another platform.
    Elsewhere,
}

/// The properties of an object.
type Shape = &'static [Property];

#[derive(Clone, Copy, Debug)]
struct Property {
    name: &'static str,
    required: bool,
    part: Part,
}

const fn value(name: &'static str) -> Property {
    Property { name, required: false, part: Part::Value }
}

/// "REQUIRED" in the specification.
const fn must(name: &'static str) -> Property {
    Property { name, required: true, part: Part::Value }
}

const fn object(name: &'static str, shape: Shape) -> Property {
    Property { name, required: false, part: Part::Object(shape) }
}

const fn objects(name: &'static str, shape: Shape) -> Property {
    Property { name, required: false, part: Part::Objects(shape) }
}

const fn map(name: &'static str, shape: Shape) -> Property {
    Property { name, required: false, part: Part::Map(shape) }
}

const fn elsewhere(name: &'static str) -> Property {
    Property { name, required: false, part: Part::Elsewhere }
}

const CONFIG: Shape = &[
    must("ociVersion"),
    object("root", &[must("path"), value("readonly")]),
    objects("mounts", MOUNT),
    object("process", PROCESS),
    value("hostname"),
    value("domainname"),
    object("hooks", HOOKS),
    Property { name: "annotations", required: false, part: Part::Free },
    object("linux", LINUX),
    elsewhere("solaris"),
    elsewhere("windows"),
    elsewhere("vm"),
    elsewhere("zos"),
    elsewhere("freebsd"),
];

const ID_MAPPING: Shape = &[must("containerID"), must("hostID"), must("size")];

const MOUNT: Shape = &[
    must("destination"),
    value("type"),
    value("source"),
    value("options"),
    objects("uidMappings", ID_MAPPING),
    objects("gidMappings", ID_MAPPING),
];

const PROCESS: Shape = &[
    value("terminal"),
    object("consoleSize", &[must("height"), must("width")]),
    must("cwd"),
    value("env"),
    value("args"),
    elsewhere("commandLine"),
    objects("rlimits", &[must("type"), must("soft"), must("hard")]),
    value("apparmorProfile"),
    object(
        "capabilities",
        &[value("effective"), value("bounding"), value("inheritable"), value("permitted"), value("ambient")],
    ),
    value("noNewPrivileges"),
    value("oomScoreAdj"),
    object(
        "scheduler",
        &[
            must("policy"),
            value("nice"),
            value("priority"),
            value("flags"),
            value("runtime"),
            value("deadline"),
            value("period"),
        ],
    ),
    value("selinuxLabel"),
    object("ioPriority", &[must("class"), must("priority")]),
    object("execCPUAffinity", &[value("initial"), value("final")]),
    object(
        "user",
        &[must("uid"), must("gid"), value("umask"), value("additionalGids"), elsewhere("username")],
    ),
];

const HOOK: Shape = &[must("path"), value("args"), value("env"), value("timeout")];

const HOOKS: Shape = &[
    objects("prestart", HOOK),
    objects("createRuntime", HOOK),
    objects("createContainer", HOOK),
    objects("startContainer", HOOK),
    objects("poststart", HOOK),
    objects("poststop", HOOK),
];

const LINUX: Shape = &[
    objects("namespaces", &[must("type"), value("path")]),
    objects("uidMappings", ID_MAPPING),
    objects("gidMappings", ID_MAPPING),
    map("timeOffsets", &[value("secs"), value("nanosecs")]),
    objects(
        "devices",
        &[
            must("type"),
            must("path"),
            value("major"),
            value("minor"),
            value("fileMode"),
            value("uid"),
            value("gid"),
        ],
    ),
    map("netDevices", &[value("name")]),
    value("cgroupsPath"),
    object("resources", RESOURCES),
    object(
        "intelRdt",
        &[
            value("closID"),
            value("schemata"),
            value("l3CacheSchema"),
            value("memBwSchema"),
            value("enableMonitoring"),
        ],
    ),
    object("memoryPolicy", &[must("mode"), value("nodes"), value("flags")]),
    value("sysctl"),
    object("seccomp", SECCOMP),
    value("rootfsPropagation"),
    value("maskedPaths"),
    value("readonlyPaths"),
    value("mountLabel"),
    object("personality", &[must("domain"), value("flags")]),
];

const THROTTLE: Shape = &[must("major"), must("minor"), must("rate")];

const RESOURCES: Shape = &[
    objects("devices", &[must("allow"), value("type"), value("major"), value("minor"), value("access")]),
    object(
        "memory",
        &[
            value("limit"),
            value("reservation"),
            value("swap"),
            value("kernel"),
            value("kernelTCP"),
            value("swappiness"),
            value("disableOOMKiller"),
            value("useHierarchy"),
            value("checkBeforeUpdate"),
        ],
    ),
    object(
        "cpu",
        &[
            value("shares"),
            value("quota"),
            value("burst"),
            value("period"),
            value("realtimeRuntime"),
            value("realtimePeriod"),
            value("cpus"),
            value("mems"),
            value("idle"),
        ],
    ),
    object("pids", &[value("limit")]),
    object(
        "blockIO",
        &[
            value("weight"),
            value("leafWeight"),
            objects("weightDevice", &[must("major"), must("minor"), value("weight"), value("leafWeight")]),
            objects("throttleReadBpsDevice", THROTTLE),
            objects("throttleWriteBpsDevice", THROTTLE),
            objects("throttleReadIOPSDevice", THROTTLE),
            objects("throttleWriteIOPSDevice", THROTTLE),
        ],
    ),
    objects("hugepageLimits", &[must("pageSize"), must("limit")]),
    object("network", &[value("classID"), objects("priorities", &[must("name"), must("priority")])]),
    map("rdma", &[value("hcaHandles"), value("hcaObjects")]),
    value("unified"),
];

const SECCOMP: Shape = &[
    must("defaultAction"),
    value("defaultErrnoRet"),
    value("architectures"),
    value("flags"),
    value("listenerPath"),
    value("listenerMetadata"),
    objects(
        "syscalls",
        &[
            must("names"),
            must("action"),
            value("errnoRet"),
            objects("args", &[must("index"), must("value"), value("valueTwo"), must("op")]),
        ],
    ),
];

/// The names under which arrays stand, each in the place of no object; sorted.
const ARRAYS: &[&str] = &[
    "additionalGids",
    "ambient",
    "architectures",
    "args",
    "bounding",
    "createContainer",
    "createRuntime",
    "devices",
    "effective",
    "env",
    "flags",
    "gidMappings",
    "hugepageLimits",
    "inheritable",
    "maskedPaths",
    "mounts",
    "names",
    "namespaces",
    "options",
    "permitted",
    "poststart",
    "poststop",
    "prestart",
    "priorities",
    "readonlyPaths",
    "rlimits",
    "schemata",
    "startContainer",
    "syscalls",
    "throttleReadBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteBpsDevice",
    "throttleWriteIOPSDevice",
    "uidMappings",
    "weightDevice",
];

/// Whether a text may hold an array where an object belongs, which serde takes for one, or a NUL in a string, which no
/// system call takes. A cheap look at brackets and backslashes: `false` is certain, `true` needs [`look`].
pub fn suspicious(text: &[u8]) -> bool {
    let blank = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let mut from = 0;
    while let Some(found) = telling(text, from) {
        let (before, after) = text.split_at(found);
        from = found + 1;
        if after.starts_with(b"\\") {
            if after.starts_with(b"\\u0000") {
                return true;
            }
            continue;
        }
        match before.iter().rposition(blank).map(|at| (before[at], &before[..at])) {
            None | Some((b',' | b'[', _)) => return true,
            Some((b':', name)) if !named_array(name) => return true,
            // Everything else is within a string.
            Some(_) => {}
        }
    }
    false
}

/// The next bracket or backslash from an index on; eight bytes at a time, as most words have neither.
fn telling(text: &[u8], from: usize) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const BRACKETS: u64 = ONES * b'[' as u64;
    const BACKSLASHES: u64 = ONES * b'\\' as u64;
    // Not 0 if one of the bytes is ("Hacker's Delight", 6-1).
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    let mut at = from;
    while let Some(Ok(word)) = text.get(at..at + 8).map(<[u8; 8]>::try_from) {
        let word = u64::from_ne_bytes(word);
        if has_zero(word ^ BRACKETS) | has_zero(word ^ BACKSLASHES) != 0 {
            break;
        }
        at += 8;
    }
    let found = text.get(at..)?.iter().position(|byte| matches!(byte, b'[' | b'\\'))?;
    Some(at + found)
}

/// Whether a text that ends in a member's name ends in one that has arrays.
fn named_array(text: &[u8]) -> bool {
    let Some(name) = text.trim_ascii_end().strip_suffix(b"\"") else { return true };
    let start = name.iter().rposition(|byte| *byte == b'"').map_or(0, |at| at + 1);
    let name = std::str::from_utf8(&name[start..]).unwrap_or_default();
    ARRAYS.binary_search(&name).is_ok()
}

/// What [`look`] came upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// A value that is not an object, where there must be one.
    ArrayForObject,
    /// A string, or a member's name, with a NUL in it.
    Nul,
    /// A property that the specification doesn't have; perhaps this one was meant.
    Unknown(Option<&'static str>),
    /// A property of another platform.
    OtherPlatform,
    /// A property that the specification calls REQUIRED is not there.
    Missing,
}

/// Looks through a config; tells each oddity with its path and place.
pub fn look(text: &[u8], config: &Node, tell: &mut impl FnMut(Oddity, String, &Node)) {
    Look { text, tell }.part(config, Part::Object(CONFIG), "");
}

struct Look<'a, F> {
    text: &'a [u8],
    tell: &'a mut F,
}

impl<F: FnMut(Oddity, String, &Node)> Look<'_, F> {
    fn part(&mut self, node: &Node, kind: Part, path: &str) {
        match (kind, &node.content) {
            (Part::Free, _) => {}
            (Part::Elsewhere, _) => (self.tell)(Oddity::OtherPlatform, path.to_owned(), node),
            (Part::Object(_), Content::Array(_)) => {
                (self.tell)(Oddity::ArrayForObject, path.to_owned(), node);
            }
            (Part::Object(shape), Content::Object(members)) => self.properties(node, members, shape, path),
            (Part::Objects(shape), Content::Array(list)) => {
                for (index, node) in list.iter().enumerate() {
                    self.part(node, Part::Object(shape), &format!("{path}[{index}]"));
                }
            }
            (Part::Value, Content::Array(list)) => {
                for (index, node) in list.iter().enumerate() {
                    self.part(node, Part::Value, &format!("{path}[{index}]"));
                }
            }
            (Part::Map(_) | Part::Value, Content::Object(members)) => {
                for (name, node) in members {
                    let path = join(path, name);
                    if name.contains('\0') {
                        (self.tell)(Oddity::Nul, path, node);
                    } else if let Part::Map(shape) = kind {
                        self.part(node, Part::Object(shape), &path);
                    } else {
                        self.part(node, Part::Value, &path);
                    }
                }
            }
            (_, Content::Scalar) => self.scalar(node, path),
            // A wrong one, that serde refuses.
            _ => {}
        }
    }

    fn scalar(&mut self, node: &Node, path: &str) {
        let text = self.text.get(node.start..node.end).unwrap_or_default();
        if text.windows(6).any(|part| part == b"\\u0000")
            && serde_json::from_slice::<String>(text).is_ok_and(|text| text.contains('\0'))
        {
            (self.tell)(Oddity::Nul, path.to_owned(), node);
        }
    }

    fn properties(&mut self, node: &Node, members: &[(String, Node)], shape: Shape, path: &str) {
        for (name, member) in members {
            let path = join(path, name);
            if let Some(property) = shape.iter().find(|property| property.name == name) {
                self.part(member, property.part, &path);
            } else {
                let names = shape.iter().map(|property| property.name);
                (self.tell)(Oddity::Unknown(crate::similar::closest(name, names)), path, member);
            }
        }
        for property in shape.iter().filter(|property| property.required) {
            if !members.iter().any(|(name, _)| name == property.name) {
                (self.tell)(Oddity::Missing, join(path, property.name), node);
            }
        }
    }
}

#[cfg(test)]
mod tests;
