//! `validate`: every fault of a config at once, with its place; and bad configs that `create` must not take.

use crate::support::*;

fn validate(t: &Test, options: &[&str]) -> Output {
    t.cmd(&["validate", "--bundle", t.bundle.to_str().unwrap()]).args(options).output()
}

/// Without faults: a summary, and nothing is made. Anybody may ask, without rights and without cgroups.
#[test]
fn good_configs() {
    only_davit!();
    for t in [Test::new(), Test::docker()] {
        t.write();
        let out = validate(&t, &[]).ok();
        assert!(out.ends_with("config.json: no faults"), "{out}");
        assert_eq!(validate(&t, &["--format", "json"]).ok(), "[]");
        assert!(!t.root.exists());
        t.assert_clean();
    }
    let t = Test::new();
    t.write();
    t.open_to_all();
    let binary = t.dir.join("davit");
    // By another process: a descriptor open for writing, passed on by a fork of a test beside, would be "text file busy".
    Cmd::new(&t.dir, ["cp".into(), runtime(), binary.clone()]).output().ok();
    let user = ["setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups", "--no-new-privs"];
    let cmd = || Cmd::new(&t.dir, [&binary]).args(["validate"]).only_env(&[]).cwd(&t.bundle);
    assert_eq!(cmd().wrap(user).output().ok(), "config.json: no faults");
    // Where no cgroups are mounted they are not looked at.
    let hide = "mount --make-rprivate / && mount -t tmpfs none /sys && exec \"$@\"";
    let out = cmd().shell(hide).wrap(["unshare", "-m"]).output().ok();
    assert!(out.contains("note: linux: cgroups are not looked at"), "{out}");
    assert!(out.ends_with("config.json: no faults, 1 note"), "{out}");
}

/// [E12] [E14] [E16] all faults in one list: types, rules, the plan, the rootfs; each with its place in the file.
#[test]
fn all_faults_at_once() {
    only_davit!();
    let mut t = Test::new();
    t.config
        .set("process.args", "sh")
        .set("process.cwd", "tmp")
        .set("process.user.uid", -1)
        .set("root.path", "nothere")
        .set("linux.resources.memory", json!([]))
        .set("linux.resources.cpu", json!({ "shares": 1, "idle": 7 }))
        .set("linux.seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1 }))
        .set("linux.cgroupsPath", "/..")
        .namespace("bogus")
        .mount("/a", "bind", "/", &["bind", "size=1"])
        .mount("/proc/x", "tmpfs", "x", &[]);
    t.write();
    let output = validate(&t, &["--format", "json"]).code(1);
    assert_eq!(output.stderr, "");
    let list: Value = serde_json::from_str(&output.stdout).unwrap();
    let list = list.as_array().unwrap();
    let mut paths: Vec<&str> = list.iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    let expected = [
        "linux.cgroupsPath",
        "linux.namespaces",
        "linux.resources.cpu.idle",
        "linux.resources.cpu.shares",
        "linux.resources.memory",
        "linux.seccomp.defaultErrnoRet",
        "mounts[7].options",
        "mounts[8].destination",
        "process.args",
        "process.cwd",
        "process.user.uid",
        "root.path",
    ];
    let places: Vec<(u64, u64)> =
        list.iter().map(|e| (e["line"].as_u64().unwrap(), e["column"].as_u64().unwrap())).collect();
    assert!(places.is_sorted(), "{list:#?}");
    let file = std::fs::read_to_string(t.bundle.join("config.json")).unwrap();
    for (entry, (line, column)) in list.iter().zip(places) {
        let line = file.lines().nth(usize::try_from(line).unwrap() - 1).unwrap();
        let there = &line[usize::try_from(column).unwrap() - 1..];
        let path = entry["path"].as_str().unwrap();
        let name = path.split('[').next().unwrap().rsplit('.').next().unwrap();
        let name = if path.contains("].") { path.rsplit('.').next().unwrap() } else { name };
        assert!(
            there.starts_with(&format!("\"{name}\"")) || path.ends_with("type"),
            "{entry} is not at {there}"
        );
        assert_eq!(entry["severity"], "error");
    }
    for path in &mut paths {
        if path.starts_with("linux.namespaces") {
            *path = "linux.namespaces";
        }
    }
    paths.sort_unstable();
    assert_eq!(paths, expected, "{list:#?}");
    // The same as text, as compilers write it.
    let output = validate(&t, &[]).code(1);
    let line = output.stdout.lines().find(|line| line.contains("process.cwd")).unwrap().to_owned();
    let number = |part: &str| part.parse::<u32>().is_ok();
    let parts: Vec<&str> = line.split(':').collect();
    assert!(parts[0].ends_with("config.json") && number(parts[1]) && number(parts[2]), "{line}");
    assert!(output.stdout.trim_end().ends_with("config.json: 12 faults"), "{output}");
    t.assert_clean();
}

/// [E13] [E15] [P11] what is no fault: unknown properties and capabilities, relative destinations, odd versions.
#[test]
fn warnings_and_notes() {
    only_davit!();
    let mut t = Test::new();
    t.config
        .set("ociVersion", "1.2")
        .set("process.noNewPrivilege", true)
        .set("vm", json!({}))
        .set("process.capabilities.bounding", json!(["CAP_KILL", "CAP_BOGUS"]))
        .mount("rel", "tmpfs", "x", &[]);
    t.write();
    let out = validate(&t, &[]).ok();
    for text in [
        "note: process.noNewPrivilege: unknown property, ignored (did you mean \"noNewPrivileges\"?)",
        "note: vm: is for another platform than Linux, ignored",
        "warning: process.capabilities.bounding[1]: unknown capability CAP_BOGUS is ignored",
        "warning: mounts[7].destination: rel is relative: taken from /",
        "warning: ociVersion: \"1.2\" is not a version",
        "config.json: no faults, 3 warnings, 2 notes",
    ] {
        assert!(out.contains(text), "{text}: {out}");
    }
}

/// [E14] [E12] a text that is no JSON: the place, and where in the config it is.
#[test]
fn broken_texts() {
    only_davit!();
    let t = Test::new();
    for (text, expected) in [
        ("{\n  \"process\": {\n    \"cwd\" \"/\"\n", "config.json:3:11: process.cwd: expected `:`"),
        ("{\"process\": {\"args\": [\"é\", oops]}}", "config.json:1:28: process.args[1]: expected value"),
        ("", "config.json:1:1: EOF while parsing a value"),
        ("null", "config.json:1:1: config cannot be null"),
        ("[]", "config.json:1:1: config must be a JSON object, not an array"),
    ] {
        std::fs::write(t.bundle.join("config.json"), text).unwrap();
        let output = validate(&t, &[]).code(1);
        assert!(output.stdout.contains(expected), "{expected}: {output}");
        assert!(output.stderr.is_empty(), "{output}");
    }
}

/// [E14] --config, and a file that is not there.
#[test]
fn another_file() {
    only_davit!();
    let t = Test::new();
    t.write();
    std::fs::rename(t.bundle.join("config.json"), t.bundle.join("other.json")).unwrap();
    let out = validate(&t, &["--config", "other.json"]).ok();
    assert!(out.ends_with("other.json: no faults"), "{out}");
    validate(&t, &[]).fails(1, "config.json not found");
    validate(&t, &["--format", "xml"]).fails(1, "invalid format option");
}

/// [E12] `create` says the first fault, how many more there are, and who lists them.
#[test]
fn create_points_to_validate() {
    only_davit!();
    let mut t = Test::new();
    t.config.set("process.cwd", "tmp").set("linux.rootfsPropagation", "bogus");
    let hint = "(and 1 more) (hint: `davit validate --bundle DIR` lists them all)";
    t.create().fails(1, hint).says("process.cwd: Cwd must be an absolute path");
    t.config.set("process.cwd", 1).set("process.args", 5);
    let output = t.create().fails(1, "(and 1 more)");
    output.says("process.args: invalid type");
    output.says("config.json: line ");
    t.assert_clean();
}

/// [E16] an array in the place of an object, and a NUL in any string, are refused by their path.
#[test]
fn arrays_and_nuls() {
    only_davit!();
    for (path, value, text) in [
        ("process.user", json!([0, 0]), "process.user: must be an object, not an array"),
        ("linux.resources.pids", json!([]), "linux.resources.pids: must be an object, not an array"),
        ("linux.namespaces.0", json!(["pid"]), "linux.namespaces[0]: must be an object, not an array"),
        ("linux.readonlyPaths.0", json!("/a\u{0}"), "linux.readonlyPaths[0]: must not hold a NUL byte"),
        ("hostname", json!("\u{0}"), "hostname: must not hold a NUL byte"),
    ] {
        let mut t = Test::new();
        t.config.set(path, value);
        t.create().fails(1, text);
        t.assert_clean();
    }
}
