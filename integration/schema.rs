//! The specification's own schema tests (integration/schema): the good configs load, the bad ones are refused.

use crate::support::*;
use std::path::{Path, PathBuf};

/// `validate`, with the file as the bundle's config.
fn validate(t: &Test, text: &str, options: &[&str]) -> Output {
    std::fs::write(t.bundle.join("config.json"), text).unwrap();
    t.cmd(&["validate", "--bundle", t.bundle.to_str().unwrap()]).args(options).output()
}

fn faults(t: &Test, text: &str) -> Vec<(String, String)> {
    let output = validate(t, text, &["--format", "json"]);
    let list: Value = serde_json::from_str(&output.stdout).unwrap();
    let errors = list.as_array().unwrap().iter().filter(|entry| entry["severity"] == "error");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let faults: Vec<_> = errors.map(|entry| (text(&entry["path"]), text(&entry["message"]))).collect();
    assert_eq!(output.code, i32::from(!faults.is_empty()), "{output}");
    faults
}

fn files(kind: &str) -> Vec<(String, String)> {
    let dir: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/schema/config").join(kind);
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

/// What Davit refuses of configs that are good by the schema: what `create` needs and the schema doesn't, what other
/// platforms do without, and what the host lacks (`cgroup controller … is not available on this host`).
fn expected(name: &str) -> &'static [&'static str] {
    match name {
        "minimal-for-start" | "spec-example" => &[],
        // "This property is REQUIRED when start is called."
        "minimal" | "linux-rdma" | "freebsd-minimal" | "zos-minimal" => &["process"],
        // A network device needs a namespace to go to.
        "linux-netdevice" => &["linux.netDevices", "process"],
        // A user is REQUIRED on POSIX platforms; mounts need a namespace on Linux.
        "freebsd-example" => &["mounts", "process.user"],
        "zos-example" => &["hostname", "mounts"],
        _ => panic!("a new file of the specification: {name}"),
    }
}

/// What a later version of Davit takes back.
fn not_built(message: &str) -> bool {
    message.contains("is not carried out by this version of davit")
}

/// [E14] [E15] the good ones.
#[test]
fn good_configs() {
    only_davit!();
    let t = Test::new();
    let files = files("good");
    assert_eq!(files.len(), 9);
    for (name, text) in files {
        let found = faults(&t, &text);
        let host = |message: &str| {
            message.contains("not available on this host") || message == "cgroup v2 has nothing like it"
        };
        let mut paths: Vec<&str> = found
            .iter()
            .filter(|(_, message)| !host(message) && !not_built(message))
            .map(|(path, _)| path.as_str())
            .collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths, expected(&name), "{name}: {found:?}");
    }
}

/// [E14] [E16] the bad ones, for the reason that makes them bad.
#[test]
fn bad_configs() {
    only_davit!();
    let t = Test::new();
    let files = files("bad");
    assert_eq!(files.len(), 5);
    for (name, text) in files {
        let found = faults(&t, &text);
        let path = match name.as_str() {
            "invalid-json" => "",
            "linux-hugepage" => "linux.resources.hugepageLimits[0].pageSize",
            "linux-netdevice" => "linux.netDevices.eth0.name",
            "linux-rdma" => "linux.resources.rdma.mlx5_1.hcaHandles",
            // Another platform's property is no concern of a runtime for Linux.
            "freebsd-vnet-disable" => "process",
            _ => panic!("a new file of the specification: {name}"),
        };
        assert!(found.iter().any(|(found, _)| found == path), "{name}: {found:?}");
        // And create refuses them, too.
        let output = t.cmd(&["create", "--bundle", t.bundle.to_str().unwrap(), &t.id]).output();
        output.fails(1, "");
        t.assert_clean();
    }
}
