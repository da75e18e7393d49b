//! What goes wrong, in the words that callers match, with nothing left behind.

use crate::support::*;
use std::os::unix::fs::PermissionsExt;

/// create and run fail with these texts; nothing is left.
#[track_caller]
pub fn refused(t: &Test, texts: &[&str]) {
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
