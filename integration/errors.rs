//! What goes wrong, in the words that callers match, with nothing left behind.

use crate::support::*;
use std::os::unix::fs::{PermissionsExt, symlink};

/// create and run fail with these texts; nothing is left.
#[track_caller]
fn refused(t: &Test, texts: &[&str]) {
    for verb in ["create", "run"] {
        let output = match verb {
            "create" => t.create(),
            _ => t.run(),
        };
        let output = output.fails(1, texts[0]);
        for text in &texts[1..] {
            output.says(text);
        }
        t.assert_clean();
    }
}

/// As [`refused`], of a plain configuration after this change.
#[track_caller]
pub fn refuses(change: impl FnOnce(&mut Config) -> &mut Config, texts: &[&str]) {
    let mut t = Test::new();
    change(&mut t.config);
    refused(&t, texts);
}

/// [E4] [S10] [E11] a missing program fails create, in the words for exit code 127.
#[test]
fn missing_program() {
    refuses(
        |c| c.set("process.args", json!(["nothere"])),
        &["exec: \"nothere\": executable file not found in $PATH"],
    );
    refuses(
        |c| c.set("process.args", json!(["/nothere"])),
        &["exec: \"/nothere\": stat /nothere: no such file or directory"],
    );
}

/// [P6] without PATH in env nothing is found by a bare name.
#[test]
fn no_path_in_env() {
    refuses(
        |c| c.set("process.env", json!([])).set("process.args", json!(["sh"])),
        &["executable file not found in $PATH"],
    );
}

/// [E5] a program that may not be executed: exit code 126 for callers.
#[test]
fn program_without_x() {
    let mut t = Test::new();
    t.file("plain", "#!/bin/sh\n");
    t.args(&["/plain"]);
    refused(&t, &["exec: \"/plain\"", "permission denied"]);
}

/// [E6] a directory as the program.
#[test]
fn program_is_a_directory() {
    only_davit!(); // runc 1.1 says `permission denied`
    refuses(|c| c.set("process.args", json!(["/etc"])), &["exec: \"/etc\": is a directory"]);
}

/// [E7] a path through a file.
#[test]
fn program_below_a_file() {
    refuses(|c| c.set("process.args", json!(["/bin/sh/x"])), &["not a directory"]);
}

/// [E4] an interpreter that is missing: the text says more than ENOENT.
#[test]
fn missing_interpreter() {
    let mut t = Test::new();
    let script = t.file("script", "#!/bin/nothere\n");
    std::fs::set_permissions(script, PermissionsExt::from_mode(0o755)).unwrap();
    t.args(&["/script"]);
    t.run().fails(1, "no such file or directory");
    t.assert_clean();
}

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

/// [S1] [S37] [E18] a duplicate id is refused and the first container not touched.
#[test]
fn duplicate_id() {
    let mut t = Test::new();
    t.sh("sleep 30");
    t.detach();
    let before = t.state();
    let rival = t.rival();
    rival.create().fails(1, "container with given ID already exists");
    rival.run().fails(1, "container with given ID already exists");
    rival.assert_clean();
    t.rt(&["create", "--bundle", t.bundle.to_str().unwrap(), &t.id]).fails(1, "already exists");
    assert_eq!(t.state(), before);
    assert!(host::alive(t.pid()));
    assert_eq!(cgroup::pids(&t.cgroup), [t.pid()]);
    let text = std::fs::read_to_string(&t.pid_file).unwrap();
    assert_eq!(text, t.pid().to_string(), "the failed create kept its hands off the pid file");
}

/// [S1] [Z14] ids that are not ids.
#[test]
fn bad_ids() {
    let t = Test::new();
    t.write();
    let bundle = t.bundle.to_str().unwrap();
    for id in ["../x", "a/b", "..", ".", "a b", "a\nb", "é", "/", "a/../../x", "*"] {
        t.rt(&["create", "--bundle", bundle, id]).fails(1, "invalid container ID format");
        t.assert_clean();
    }
    t.rt(&["create", "--bundle", bundle, ""]).fails(1, "container id cannot be empty");
    let long = "x".repeat(if davit_only() { 1000 } else { 300 });
    t.rt(&["create", "--bundle", bundle, &long]).code(1);
    assert!(host::list(&t.root).is_empty(), "{:?}", host::list(&t.root));
    assert!(!t.dir.join("x").exists());
}

/// [Z14] the verbs on a bad id look at nothing outside the root.
#[test]
fn bad_ids_of_other_verbs() {
    let t = Test::new();
    std::fs::create_dir(t.dir.join("precious")).unwrap();
    for verb in [vec!["state"], vec!["start"], vec!["kill"], vec!["delete"], vec!["pause"], vec!["ps"]] {
        t.cmd(&verb).args(["../precious"]).output().code(1);
    }
    t.rt(&["delete", "--force", "../precious"]);
    assert!(t.dir.join("precious").exists());
}

/// [E9] [S22] every verb on a missing id.
#[test]
fn missing_container() {
    let t = Test::new();
    for verb in ["state", "start", "kill", "delete", "pause", "resume", "ps"] {
        t.rt(&[verb, "nope"]).fails(1, "container does not exist");
    }
    t.create().ok();
    for verb in ["state", "start", "kill", "delete", "pause", "resume", "ps"] {
        t.rt(&[verb, "nope"]).fails(1, "container does not exist");
    }
}

/// [S23] delete --force of a missing container is silent success.
#[test]
fn delete_force_of_a_missing_one() {
    let t = Test::new();
    for _ in 0..2 {
        assert_eq!(t.rt(&["delete", "--force", "nope"]).ok(), "");
    }
    t.rt(&["delete", "nope"]).code(1);
}

/// [E11] the prefixes of create and run.
#[test]
fn prefixes() {
    let mut t = Test::new();
    t.args(&["nothere"]);
    let name = if davit_only() { "davit" } else { "runc" };
    for (verb, output) in [("create", t.create()), ("run", t.run())] {
        assert!(output.stderr.contains(&format!("{name} {verb} failed: ")), "{output}");
    }
}

/// [E2] [E3] [G14] [G15] one record in the log, the same text plain on stderr, nothing on stdout.
#[test]
fn one_json_record() {
    let mut t = Test::new();
    t.args(&["nothere"]);
    t.write();
    let log = t.path("log.json");
    let bundle = t.bundle.to_str().unwrap();
    let output = t.rt(&["--log", &log, "--log-format", "json", "create", "--bundle", bundle, &t.id]).code(1);
    let text = std::fs::read_to_string(&log).unwrap();
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 1, "{text}");
    let record = records[0].as_object().unwrap();
    assert_eq!(record["level"], "error");
    let message = record["msg"].as_str().unwrap();
    assert!(message.contains("executable file not found in $PATH"), "{message}");
    assert_eq!(output.stdout, "");
    assert_eq!(output.stderr.trim_end(), message);
    let time = record["time"].as_str().unwrap();
    assert!(
        time.len() >= 20 && time.as_bytes()[10] == b'T' && (time.ends_with('Z') || time.contains('+')),
        "{time}"
    );
    if davit_only() {
        assert_eq!(record["code"], "program");
        assert_eq!(record.len(), 4, "level, msg, time, and our code: {text}");
        assert!(humantime::parse_rfc3339(time).is_ok(), "{time}");
    }
    t.assert_clean();
}

/// [E2] [G15] the text format: `time="…" level=error msg="…"`, on stderr when there is no log file.
#[test]
fn text_record() {
    let t = Test::new();
    let log = t.path("log");
    t.rt(&["--log", &log, "state", "nope"]).fails(1, "container does not exist");
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.starts_with("time=\""), "{text}");
    assert!(text.contains(" level=error msg=\"container does not exist\""), "{text}");
    assert_eq!(text.lines().count(), 1);
    let output = t.rt(&["state", "nope"]).fails(1, "level=error msg=");
    assert!(output.stderr.starts_with("time=\""), "{output}");
}

/// [G14] the log is appended to, and made with mode 0644.
#[test]
fn log_is_appended() {
    let t = Test::new();
    let log = t.path("log");
    for _ in 0..3 {
        t.rt(&["--log", &log, "--log-format=json", "state", "nope"]).code(1);
    }
    assert_eq!(std::fs::read_to_string(&log).unwrap().lines().count(), 3);
    assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o644);
}

/// [E3] success writes no record at the default level.
#[test]
fn success_is_silent() {
    let mut t = Test::docker();
    let log = t.path("log");
    t.sh("echo up");
    t.write();
    let bundle = t.bundle.to_str().unwrap();
    let output = t.rt(&["--log", &log, "--log-format", "json", "run", "--bundle", bundle, &t.id]);
    assert_eq!(output.ok(), "up");
    assert_eq!(std::fs::read_to_string(&log).unwrap_or_default(), "");
}

/// [E13] [P11] an unknown capability is a warning in the log, and the container runs.
#[test]
fn unknown_capability_is_a_warning() {
    let mut t = Test::new();
    t.config.caps(&["CAP_KILL", "CAP_BOGUS"]);
    t.sh("grep CapEff /proc/self/status");
    t.write();
    let log = t.path("log");
    let bundle = t.bundle.to_str().unwrap();
    let out = t.rt(&["--log", &log, "--log-format", "json", "run", "--bundle", bundle, &t.id]).ok();
    assert_eq!(host::field(&out, "CapEff"), "0000000000000020");
    let text = std::fs::read_to_string(&log).unwrap();
    let record: Value = serde_json::from_str(text.lines().next().expect("a warning")).unwrap();
    assert_eq!(record["level"], "warning");
    assert!(record["msg"].as_str().unwrap().contains("CAP_BOGUS"), "{text}");
}

/// [E18] [S36] the state root can't be made.
#[test]
fn state_root_not_writable() {
    let mut t = Test::new();
    std::fs::write(t.dir.join("file"), "").unwrap();
    t.root = t.dir.join("file/state");
    t.create().fails(1, "not a directory");
    t.assert_clean();
    t.root = t.dir.join("state");
}

/// [E18] no permission: an ordinary user is told what failed, and nothing is left.
#[test]
fn without_privileges() {
    let mut t = Test::new();
    t.root = t.dir.join("open/state");
    std::fs::create_dir(t.dir.join("open")).unwrap();
    std::fs::set_permissions(t.dir.join("open"), PermissionsExt::from_mode(0o777)).unwrap();
    t.write();
    let cmd = t.cmd(&["create", "--bundle", t.bundle.to_str().unwrap(), &t.id]);
    let output =
        cmd.wrap(["setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups"]).output().code(1);
    assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{output}");
    if davit_only() {
        output.fails(1, "");
    }
    t.assert_clean();
}

/// [E18] [Q26] a cgroup that can't be made: the path is named.
#[test]
fn cgroup_not_writable() {
    let t = Test::new();
    t.write();
    let cmd = t.bundle_cmd("create", &[]);
    let script = "mount --make-rprivate / && for m in $(cut -d' ' -f5 /proc/self/mountinfo | grep ^/sys/fs/cgroup); do \
                  mount -o remount,bind,ro $m; done; exec \"$@\"";
    let output = cmd.shell(script).wrap(["unshare", "-m"]).output();
    output.fails(1, "read-only file system");
    t.assert_clean();
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

/// [F4] [F5] a terminal needs a socket where the runtime leaves, and a socket needs both.
#[test]
fn terminal_and_socket_must_agree() {
    let mut t = Test::new();
    let socket = t.path("sock");
    let socket = ["--console-socket", socket.as_str()];
    let refused = |t: &Test, verb: &str, options: &[&str], text: &str| {
        t.bundle_cmd(verb, options).output().fails(1, text);
        t.assert_clean();
    };
    let needless = "cannot use console socket if runc will not detach or allocate tty";
    refused(&t, "create", &socket, needless);
    refused(&t, "run", &socket, needless);
    refused(&t, "run", &["--detach", socket[0], socket[1]], needless);
    t.config.set("process.terminal", true);
    refused(&t, "run", &socket, needless);
    let missing = "cannot allocate tty if runc will detach without setting console socket";
    refused(&t, "create", &[], missing);
    refused(&t, "run", &["--detach"], missing);
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

/// [E10] [E8] kill of a stopped one.
#[test]
fn container_not_running() {
    let mut t = Test::new();
    t.sh("exit 0");
    t.detach();
    t.wait_status("stopped");
    for verb in ["kill", "pause"] {
        t.verb(&[verb]).fails(1, "container not running");
    }
    t.verb(&["resume"]).fails(1, "container not paused");
}
