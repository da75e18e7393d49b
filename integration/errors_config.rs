//! What is wrong with a bundle, named by its JSON path, with nothing left behind.

use crate::errors::{refused, refuses};
use crate::support::*;
use std::os::unix::fs::symlink;

/// [E14] config.json is not there.
#[test]
fn config_missing() {
    let t = Test::new();
    std::fs::remove_file(t.bundle.join("config.json")).unwrap_or_default();
    let bundle = t.bundle.to_str().unwrap();
    for verb in ["create", "run"] {
        t.cmd(&[verb, "--bundle", bundle, &t.id]).output().fails(1, "config.json not found");
        t.assert_clean();
    }
}

/// [V2] [E14] the bundle is not there.
#[test]
fn bundle_missing() {
    let t = Test::new();
    let output = t.cmd(&["create", "--bundle", "/nothere", &t.id]).output();
    output.fails(1, "no such file or directory");
    t.assert_clean();
}

fn with_text(text: &str, texts: &[&str]) {
    let t = Test::new();
    std::fs::write(t.bundle.join("config.json"), text).unwrap();
    let output = t.cmd(&["create", "--bundle", t.bundle.to_str().unwrap(), &t.id]).output();
    assert_ne!(output.code, 0, "{output}");
    if davit_only() {
        let output = output.fails(1, texts[0]);
        texts.iter().for_each(|text| output.says(text));
    }
    t.assert_clean();
}

/// [E14] [E12] config.json that is not JSON: file, line and column.
#[test]
fn config_is_not_json() {
    with_text("{ \"ociVersion\": \"1.0.2\",\n  oops }\n", &["config.json", "line 2"]);
    with_text("", &["config.json"]);
    with_text("{ \"process\": {", &["config.json"]);
    with_text("null", &["config cannot be null"]);
    with_text("[]", &["config"]);
    with_text("\u{0}\u{1}\u{2}", &["config.json"]);
}

/// [E14] [E12] config.json that may not be read (a directory here: root may read all files).
#[test]
fn config_unreadable() {
    let t = Test::new();
    std::fs::create_dir(t.bundle.join("config.json")).unwrap();
    let output = t.cmd(&["create", "--bundle", t.bundle.to_str().unwrap(), &t.id]).output();
    output.fails(1, "is a directory");
    t.assert_clean();
}

/// [E12] [E16] a value of the wrong type is named by its JSON path.
#[test]
fn wrong_types_are_named_by_path() {
    only_davit!();
    let cases: [(&str, Value); 10] = [
        ("process.args", json!("sh")),
        ("process.user.uid", json!("root")),
        ("process.user.uid", json!(-1)),
        ("process.user.uid", json!(4_294_967_296u64)),
        ("process.cwd", json!(1)),
        ("process.terminal", json!("yes")),
        ("root.readonly", json!("no")),
        ("linux.resources.memory.limit", json!("1g")),
        ("linux.resources.pids.limit", json!([])),
        ("linux.maskedPaths", json!("x")),
    ];
    for (path, value) in cases {
        refuses(|c| c.set(path, value), &[path]);
    }
    refuses(|c| c.push("mounts", json!({ "destination": 1 })), &["mounts[7].destination"]);
    refuses(|c| c.push("process.args", json!(5)), &["process.args[1]"]);
}

/// [E16] an unknown value of an enumeration is refused and named.
#[test]
fn unknown_enumeration_values() {
    only_davit!();
    refuses(|c| c.namespace("bogus"), &["linux.namespaces", "bogus"]);
    refuses(
        |c| c.push("process.rlimits", json!({ "type": "RLIMIT_BOGUS", "hard": 1, "soft": 1 })),
        &["process.rlimits", "RLIMIT_BOGUS"],
    );
    refuses(|c| c.set("linux.rootfsPropagation", "bogus"), &["rootfsPropagation", "bogus"]);
    let device = json!({ "path": "/dev/x", "type": "z", "major": 1, "minor": 3 });
    refuses(|c| c.push("linux.devices", device), &["linux.devices"]);
    for (field, value) in [("defaultAction", "SCMP_ACT_BOGUS"), ("architectures", "SCMP_ARCH_BOGUS")] {
        let value = if field == "architectures" { json!([value]) } else { json!(value) };
        refuses(
            |c| {
                c.set("linux.seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW" }))
                    .set(&format!("linux.seccomp.{field}"), value)
            },
            &["linux.seccomp", "BOGUS"],
        );
    }
}

/// [N2] an unknown namespace type in runc's words.
#[test]
fn unknown_namespace() {
    let mut t = Test::new();
    t.config.namespace("foo");
    refused(&t, &["foo"]);
}

/// [N3] one namespace type twice.
#[test]
fn duplicate_namespace() {
    let mut t = Test::new();
    t.config.push("linux.namespaces", json!({ "type": "pid" }));
    refused(&t, &["duplicated ns {\"pid\" \"\"}"]);
}

/// [E14] [P4] cwd: absolute and present.
#[test]
fn relative_cwd() {
    refuses(|c| c.set("process.cwd", "tmp"), &["Cwd must be an absolute path"]);
    refuses(|c| c.set("process.cwd", ""), &["Cwd property must not be empty"]);
}

/// [E14] [P6] args must hold one word at least.
#[test]
fn empty_args() {
    refuses(|c| c.set("process.args", json!([])), &["args must not be empty"]);
    refuses(|c| c.remove("process.args"), &["args must not be empty"]);
}

/// [P5] a variable without `=`, without a name or with a NUL.
#[test]
fn bad_environment() {
    only_davit!(); // runc from 1.3 on
    for entry in ["NOEQUALS", "=value", "A=b\u{0}c"] {
        refuses(|c| c.push("process.env", entry), &["process.env[2]"]);
    }
    refuses(|c| c.push("process.env", "NOEQUALS"), &["invalid environment variable"]);
}

/// [P1] the root file system is not there, is a file, is a symlink, is not named.
#[test]
fn bad_rootfs() {
    refuses(|c| c.set("root.path", "nothere"), &["invalid rootfs"]);
    let mut t = Test::new();
    symlink("rootfs", t.bundle.join("link")).unwrap();
    t.config.set("root.path", "link");
    refused(&t, &["invalid rootfs: not an absolute path, or a symlink"]);
    only_davit!();
    refuses(|c| c.set("root.path", "config.json"), &["rootfs"]);
    refuses(|c| c.remove("root"), &["root"]);
}

/// [M8] [E12] a mount option that the file system does not know: destination, type and data are named.
#[test]
fn unsupported_mount_option() {
    refuses(|c| c.mount("/mnt", "tmpfs", "tmpfs", &["size=banana"]), &["/mnt", "invalid argument"]);
    only_davit!();
    refuses(|c| c.mount("/mnt", "tmpfs", "tmpfs", &["size=banana"]), &["mounts[7]", "size=banana", "tmpfs"]);
}

/// [E12] a mount whose source is missing, or whose type is.
#[test]
fn mount_that_cannot_be() {
    refuses(
        |c| c.mount("/mnt", "bind", "/nothere/src", &["bind"]),
        &["/nothere/src", "no such file or directory"],
    );
    refuses(|c| c.mount("/mnt", "bogusfs", "x", &[]), &["no such device"]);
    only_davit!();
    refuses(|c| c.mount("/mnt", "bogusfs", "x", &[]), &["mounts[7]", "bogusfs"]);
}

/// [E16] [P13] an rlimit that does not exist, and one that is there twice.
#[test]
fn bad_rlimits() {
    refuses(
        |c| c.push("process.rlimits", json!({ "type": "RLIMIT_BOGUS", "hard": 1, "soft": 1 })),
        &["wrong rlimit value: RLIMIT_BOGUS"],
    );
    only_davit!(); // runc takes the last of two
    refuses(
        |c| c.push("process.rlimits", json!({ "type": "RLIMIT_NOFILE", "hard": 1, "soft": 1 })),
        &["process.rlimits", "RLIMIT_NOFILE"],
    );
}

/// [N9] mappings without a user namespace.
#[test]
fn mappings_without_user_namespace() {
    only_davit!(); // runc 1.1 takes them
    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
    refuses(
        |c| c.set("linux.uidMappings", map.clone()).set("linux.gidMappings", map),
        &["user namespace mappings specified, but user namespace isn't enabled in the config"],
    );
}

/// [N8] a user namespace without mappings.
#[test]
fn user_namespace_without_mappings() {
    only_davit!(); // runc from 1.2 on
    refuses(|c| c.namespace("user"), &["linux.uidMappings"]);
}

/// [P23] a hostname needs a uts namespace.
#[test]
fn hostname_without_uts() {
    refuses(|c| c.leave("uts"), &["unable to set hostname without a private UTS namespace"]);
}

/// [R12] masked and read-only paths need a mount namespace.
#[test]
fn masks_without_mount_namespace() {
    refuses(
        |c| c.leave("mount").set("mounts", json!([])),
        &["unable to restrict sys entries without a private MNT namespace"],
    );
}
