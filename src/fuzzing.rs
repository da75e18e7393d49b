//! What a fuzzer may throw at Davit, and what must hold then. `integration/fuzz` has a target for each function; the unit
//! tests below call the same with changed good configs.

use std::path::Path;

use oci_spec::runtime::Spec;
use serde_json::Value;

use crate::cgroups::{Hierarchy, Host, Layout};
use crate::plan::{self, Request};
use crate::rootfs::{options, paths};
use crate::spec::examine::{Examination, Severity};
use crate::spec::locate::{Content, Node, join, line_column};
use crate::spec::{load, validate};

/// config.json → Plan, on a host of each kind: the quick way and the thorough one agree, and every fault has a place.
pub fn config(text: &[u8]) {
    let parsed = load::parse(text);
    let mut examination = Examination::new(text);
    let rest = examination.spec();
    let refused = examination.errors().count() > 0;
    for finding in examination.findings() {
        assert!(finding.offset <= text.len(), "{finding:?}");
        let (line, column) = line_column(text, finding.offset);
        assert!(line > 0 && column > 0);
    }
    match parsed {
        Ok((spec, _)) => {
            assert!(!refused);
            // What is for other platforms is out of `rest`.
            let parts = |spec: &Spec| {
                (spec.process().clone(), spec.linux().clone(), spec.mounts().clone(), spec.hooks().clone())
            };
            assert_eq!(Some(parts(&spec)), rest.as_ref().map(parts));
            plans(&spec, text);
        }
        Err(error) => {
            assert!(refused || text.trim_ascii() == b"null", "{error}");
            if let Some(rest) = rest {
                plans(&rest, text);
            }
        }
    }
}

/// The plan is made exactly if nobody has a fault to tell; telling it does not fail.
fn plans(spec: &Spec, text: &[u8]) {
    let faults = validate::faults(spec);
    let mut examination = Examination::new(text);
    let _ = examination.spec();
    for fault in &faults {
        examination.add(Severity::Error, &fault.path, fault.message.as_str());
    }
    for host in hosts() {
        let request = Request {
            id: "fuzz",
            bundle: Path::new("/bundle"),
            no_pivot: false,
            no_new_keyring: false,
            preserve_fds: 0,
            listen: crate::plan::activation::Listen::default(),
            seccomp_receiver: None,
            seccomp_recorder: None,
            notify: None,
            cgroup: plan::cgroup::Options::default(),
            selinux: || false,
            kernel: crate::plan::Kernel::PLAIN,
            caller: crate::plan::rootless::Caller::ROOT,
            no_cgroup: false,
        };
        let (more, _) = plan::faults(spec, &request, &host);
        match plan::plan(spec, &request, &host) {
            Ok(plan) => {
                assert!(faults.is_empty() && more.is_empty(), "{faults:?} {more:?}");
                let _ = plan::show::to_text(&plan::show::steps(&plan));
            }
            Err(error) => assert!(!(faults.is_empty() && more.is_empty()), "{error}"),
        }
    }
}

fn hosts() -> [Host; 2] {
    let names = ["memory", "cpu,cpuacct", "cpuset", "pids", "devices", "blkio", "hugetlb", "freezer"];
    let hierarchies = names.map(|name| Hierarchy {
        controllers: name.into(),
        mount: Path::new("/sys/fs/cgroup").join(name),
        own: "/".into(),
    });
    let v1 = Layout::V1 { hierarchies: hierarchies.to_vec(), unified: None };
    let v2 = Layout::V2 { mount: "/sys/fs/cgroup".into() };
    [v1, v2].map(|layout| Host { layout, own_v2: "/own".into() })
}

/// A seccomp profile: what compiles has a verdict for every call, the one that `seccomp explain` tells, and can be printed.
pub fn seccomp(text: &[u8]) {
    use crate::seccomp::{Explainer, NATIVE, compile, disassemble, name, names, number};
    let Ok(Some(profile)) = load::seccomp(text) else { return };
    let Ok(program) = compile(&profile) else { return };
    assert!(program.instructions.len() <= 4096);
    let printed = disassemble(&program, NATIVE);
    assert!(printed.lines().count() >= program.instructions.len());
    let explainer = Explainer::new(&profile, NATIVE).unwrap_or_else(|error| panic!("{error}"));
    for arch in explainer.architectures() {
        assert_eq!(explainer.every_call(arch).len(), names(arch).len());
        for call in [0, 1, 41, 56, 102, 135, 600, u32::MAX] {
            for args in [[Some(0); 6], [Some(u64::MAX); 6]] {
                assert!(explainer.answer(arch, call, &args).decided().is_some(), "{arch} {call}");
            }
            assert!(name(arch, call).is_none_or(|name| number(arch, name) == Some(call)));
        }
    }
}

/// The option table: what it knows is an effect, what it doesn't is data, in order.
pub fn mount_options(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let list: Vec<&str> = text.split(',').collect();
    let parsed = options::parse(list.iter().copied());
    assert_eq!(parsed.flags & parsed.cleared, 0, "{list:?}");
    let known: Vec<&str> = options::known().collect();
    let maps_ids = |option: &str| option.starts_with("idmap=") || option.starts_with("ridmap=");
    let data = |option: &&str| known.binary_search(option).is_err() && !maps_ids(option);
    let unknown: Vec<&str> = list.iter().copied().filter(data).collect();
    // Empty options at the front leave no comma.
    assert_eq!(parsed.data, unknown.join(",").trim_start_matches(','), "{list:?}");
    let attributes = parsed.attributes();
    const ACCESS_TIME: u64 = 0x70;
    assert_eq!(attributes.set & attributes.clear & !ACCESS_TIME, 0, "{list:?}");
    assert_eq!(parsed.recursive.set & parsed.recursive.clear & !ACCESS_TIME, 0, "{list:?}");
}

/// Path cleaning: below the root, and nothing left to clean.
pub fn path(text: &[u8]) {
    use std::os::unix::ffi::OsStrExt;
    let given = Path::new(std::ffi::OsStr::from_bytes(text));
    let clean = paths::normalize(given);
    assert!(!clean.starts_with('/') && !clean.ends_with('/'), "{given:?} {clean:?}");
    let parts = || clean.split('/');
    assert!(clean.is_empty() || parts().all(|part| !matches!(part, "" | "." | "..")), "{given:?} {clean:?}");
    assert_eq!(paths::normalize(Path::new(&clean)), clean);
    if let Ok(text) = given.strip_prefix("/") {
        assert_eq!(paths::normalize(text), clean);
    }
}

/// The config scanner: any text can be read, and in JSON every value is where its path says.
pub fn locate(text: &[u8]) {
    let tree = Node::parse(text);
    for offset in (0..=text.len()).step_by(text.len() / 50 + 1) {
        let (path, node) = tree.at(offset);
        assert!(node.from <= node.start && node.start <= node.end);
        let _ = tree.find(&path);
    }
    if let Ok(value) = serde_json::from_slice::<Value>(text) {
        every_value(text, &tree, &tree, &value, "");
    }
}

fn every_value(text: &[u8], root: &Node, node: &Node, value: &Value, path: &str) {
    let found = root.find(path);
    assert_eq!(found.rest, "", "{path}");
    let there: Option<Value> =
        text.get(found.node.start..found.node.end).and_then(|text| serde_json::from_slice(text).ok());
    assert_eq!(there.as_ref(), Some(value), "{path}");
    match (&node.content, value) {
        (Content::Array(nodes), Value::Array(values)) => {
            assert_eq!(nodes.len(), values.len());
            for (index, (node, value)) in nodes.iter().zip(values).enumerate() {
                every_value(text, root, node, value, &format!("{path}[{index}]"));
            }
        }
        (Content::Object(_), Value::Object(values)) => {
            for (name, value) in values {
                let member = node.member(name);
                assert!(member.is_some(), "{path} {name}");
                if let Some(member) = member {
                    every_value(text, root, member, value, &join(path, name));
                }
            }
        }
        (Content::Scalar, Value::Array(_) | Value::Object(_)) => assert!(value.is_null(), "{path}: {value}"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DOCKER: &str = include_str!("../integration/fixtures/docker.json");
    const EXAMPLE: &str = include_str!("../config.json.example");
    const SPECIFICATION: &str = include_str!("../integration/schema/config/good/spec-example.json");

    /// One change of a config: which value, how, and by what.
    type Change = (prop::sample::Index, u8, Value);

    fn change() -> impl Strategy<Value = Change> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            prop_oneof![Just(0i64), Just(-1), Just(4_294_967_295), Just(4_294_967_296), Just(1001)]
                .prop_map(Value::from),
            prop::sample::select(vec![
                "",
                "/",
                "..",
                "/..",
                "a",
                "/a/../b",
                "a\u{0}b",
                "=",
                "a=b",
                "0-3",
                "1,2",
                "rwm",
                "c",
                "bind",
                "rbind",
                "proc",
                "/proc/self",
                "kernel.hostname",
                "net.core.x",
                "SCMP_ACT_TRAP",
                "\u{e9}",
                "\n",
            ])
            .prop_map(Value::from),
            Just(serde_json::json!([])),
            Just(serde_json::json!({})),
            Just(serde_json::json!([[]])),
            Just(serde_json::json!(["x"])),
            Just(serde_json::json!({"x": "y"})),
        ];
        (any::<prop::sample::Index>(), 0u8..5, leaf)
    }

    fn pointers(value: &Value, here: &str, list: &mut Vec<String>) {
        let escape = |name: &str| name.replace('~', "~0").replace('/', "~1");
        match value {
            Value::Array(values) => {
                for (index, value) in values.iter().enumerate() {
                    list.push(format!("{here}/{index}"));
                    pointers(value, &format!("{here}/{index}"), list);
                }
            }
            Value::Object(values) => {
                for (name, value) in values {
                    list.push(format!("{here}/{}", escape(name)));
                    pointers(value, &format!("{here}/{}", escape(name)), list);
                }
            }
            _ => {}
        }
    }

    fn apply(config: &mut Value, (which, how, leaf): Change) {
        let mut list = Vec::new();
        pointers(config, "", &mut list);
        if list.is_empty() {
            return;
        }
        let pointer = which.get(&list).clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = config.pointer_mut(parent).unwrap();
        match (how, parent) {
            (0, Value::Array(values)) => drop(values.remove(name.parse().unwrap())),
            (0, Value::Object(values)) => drop(values.remove(name)),
            (1, Value::Array(values)) => values.push(values[name.parse::<usize>().unwrap()].clone()),
            (1, Value::Object(values)) => drop(values.insert(format!("{name}x"), leaf)),
            (2, Value::Array(values)) => values.insert(0, leaf),
            _ => *config.pointer_mut(&pointer).unwrap() = leaf,
        }
    }

    fn bases() -> impl Strategy<Value = &'static str> {
        // The large one costs most time and shows little that the others don't.
        prop_oneof![1 => Just(DOCKER), 4 => Just(EXAMPLE), 4 => Just(SPECIFICATION)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(160))]

        #[test]
        fn changed_configs(base in bases(), changes in proptest::collection::vec(change(), 0..6), pretty in any::<bool>()) {
            let mut value: Value = serde_json::from_str(base).unwrap();
            changes.into_iter().for_each(|change| apply(&mut value, change));
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.unwrap().into_bytes();
            config(&text);
            locate(&text);
        }

        #[test]
        fn broken_configs(at in any::<prop::sample::Index>(), junk in "[\\[\\]{},:\"\\\\a0 ]{0,3}", cut in any::<bool>()) {
            let mut text = EXAMPLE.as_bytes().to_vec();
            let at = at.index(text.len());
            text.splice(at..(at + 1), junk.into_bytes());
            if cut {
                text.truncate(at + 3);
            }
            config(&text);
            locate(&text);
        }

        /// [B1 B6 B16] Docker's seccomp profile, changed.
        #[test]
        fn changed_profiles(changes in proptest::collection::vec(change(), 0..6)) {
            let mut profile: Value = serde_json::from_str(include_str!("seccomp/testdata/docker.json")).unwrap();
            for change in changes {
                apply(&mut profile, change);
            }
            seccomp(profile.to_string().as_bytes());
        }

        #[test]
        fn any_options(list in proptest::collection::vec(
            prop_oneof![
                prop::sample::select(options::known().collect::<Vec<_>>()).prop_map(str::to_owned),
                "[a-z=,]{0,5}",
            ], 0..8)) {
            mount_options(list.join(",").as_bytes());
        }

        #[test]
        fn any_path(text in "(/|\\.|\\.\\.|a|é|\u{0}| ){0,12}") {
            path(text.as_bytes());
        }
    }

    /// [S14] A NUL in any string of a config is refused by its path.
    #[test]
    fn no_nul_goes_through() {
        for base in [EXAMPLE, SPECIFICATION] {
            let value: Value = serde_json::from_str(base).unwrap();
            let mut list = Vec::new();
            pointers(&value, "", &mut list);
            for pointer in list.iter().filter(|pointer| !pointer.starts_with("/annotations")) {
                let mut value = value.clone();
                let place = value.pointer_mut(pointer).unwrap();
                let Value::String(text) = place else { continue };
                text.push('\u{0}');
                let error = load::parse(value.to_string().as_bytes()).unwrap_err().to_string();
                assert!(error.contains("NUL") || error.contains("unknown variant"), "{pointer}: {error}");
            }
        }
    }
}
