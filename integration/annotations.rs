//! crun's annotations and mount options: carried out, without effect as with runc, or refused by name (docs/crun.md).

use crate::errors::refuses;
use crate::support::socket::receive;
use crate::support::*;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// [X10] `copy-symlink`: a source that is a link is made anew, once; another kind of source is mounted.
#[test]
fn copied_links() {
    only_davit!();
    let mut t = Test::new();
    symlink("some/where", t.dir.join("link")).unwrap();
    std::fs::create_dir(t.dir.join("plain")).unwrap();
    std::fs::write(t.dir.join("plain/file"), "here").unwrap();
    t.config.mount("/new/dir/link", "bind", &t.path("link"), &["rbind", "copy-symlink"]);
    t.config.mount("/plain", "bind", &t.path("plain"), &["rbind", "copy-symlink"]);
    let script = "readlink /new/dir/link; cat /plain/file; grep -c ' /new' /proc/self/mountinfo; true";
    assert_eq!(t.out(script), "some/where\nhere0");
    assert_eq!(t.out(script), "some/where\nhere0", "the same link is there already");
    std::fs::remove_file(t.rootfs.join("new/dir/link")).unwrap();
    symlink("elsewhere", t.rootfs.join("new/dir/link")).unwrap();
    t.run().fails(1, "mounts[7] (/new/dir/link): something else is there already");
    t.config.set("mounts.7.destination", "/bin/sh/x");
    t.run().fails(1, "mounts[7] (/bin/sh/x): make the mount point: not a directory");
    t.assert_clean();
}

/// [X10] in a user namespace, where sources are opened early.
#[test]
fn copied_links_in_a_user_namespace() {
    only_davit!();
    let mut t = Test::new();
    symlink("some/where", t.dir.join("link")).unwrap();
    std::fs::create_dir(t.rootfs.join("made")).unwrap();
    std::fs::set_permissions(t.rootfs.join("made"), PermissionsExt::from_mode(0o777)).unwrap();
    let link = t.path("link");
    t.config.user_namespace().mount("/made/link", "bind", &link, &["bind", "copy-symlink"]);
    assert_eq!(t.out("readlink /made/link"), "some/where");
}

/// [X10] `src-nofollow`: the link itself is bound, and leads elsewhere inside; `dest-nofollow`: it is covered itself.
#[test]
fn links_are_not_followed() {
    only_davit!();
    let mut t = Test::new();
    std::fs::write(t.dir.join("file"), "of the host\n").unwrap();
    symlink("/etc/inside", t.dir.join("link")).unwrap();
    t.file("etc/inside", "of the image\n");
    t.file("mnt/x", "");
    symlink("/etc/inside", t.rootfs.join("mnt/link")).unwrap();
    t.config.mount("/mnt/x", "bind", &t.path("link"), &["bind", "src-nofollow"]);
    assert_eq!(t.out("readlink /mnt/x; cat /mnt/x"), "/etc/inside\nof the image");
    t.config.set("mounts.7", config::mount("/mnt/link", "bind", &t.path("file"), &["bind", "dest-nofollow"]));
    assert_eq!(t.out("cat /mnt/link /etc/inside"), "of the host\nof the image");
    t.config.set("mounts.7", config::mount("/mnt/link", "bind", &t.path("file"), &["bind"]));
    assert_eq!(t.out("cat /mnt/link /etc/inside"), "of the host\nof the host", "followed without it");
    // Also where the way to it leads through a link, which never leaves the image.
    symlink("../../../../mnt", t.rootfs.join("way")).unwrap();
    t.config.set("mounts.7", config::mount("/way/link", "bind", &t.path("file"), &["bind", "dest-nofollow"]));
    assert_eq!(t.out("cat /mnt/link /etc/inside"), "of the host\nof the image");
    t.config.set("mounts.7", config::mount("/mnt/x", "tmpfs", "x", &["dest-nofollow"]));
    t.run().fails(1, "mounts[7].options: copy-symlink, src-nofollow and dest-nofollow are for bind mounts");
    t.assert_clean();
}

/// [X13] recursive names of flags that a whole file system has: taken, and no data for it.
#[test]
fn recursive_names_without_effect() {
    only_davit!();
    let mut t = Test::new();
    let names = ["rsync", "rasync", "rdirsync", "rmand", "rnomand"];
    let source = t.path("src");
    std::fs::create_dir(&source).unwrap();
    let mut bind = vec!["rbind"];
    bind.extend(names);
    t.config.mount("/a", "bind", &source, &bind).mount("/b", "tmpfs", "tmpfs", &names);
    assert_eq!(t.out("grep -cE ' /(a|b) ' /proc/self/mountinfo"), "2");
}

fn annotate(t: &mut Test, list: &[(&str, &str)]) {
    let list = list.iter().map(|(key, value)| ((*key).to_string(), json!(value)));
    t.config.set("annotations", Value::Object(list.collect()));
}

/// [X19] What hooks say goes to the files that the annotations name, appended, whoever runs them on the host's side.
#[test]
fn output_of_hooks() {
    only_davit!();
    let mut t = Test::new();
    for kind in ["createRuntime", "createContainer", "poststart", "poststop"] {
        let script = format!("echo {kind}; echo {kind}! >&2");
        t.config.set(&format!("hooks.{kind}"), json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]));
    }
    let out = t.path("out");
    annotate(&mut t, &[("run.oci.hooks.stdout", &out), ("run.oci.hooks.stderr", "err")]);
    assert_eq!(t.out("echo the program"), "the program");
    let wanted = "createRuntime\ncreateContainer\npoststart\npoststop\n";
    assert_eq!(std::fs::read_to_string(&out).unwrap(), wanted);
    let err = t.bundle.join("err");
    assert_eq!(std::fs::read_to_string(&err).unwrap(), wanted.replace('\n', "!\n"), "relative to the bundle");
    assert_eq!(std::fs::metadata(&err).unwrap().permissions().mode() & 0o777, 0o600);
    // A failure tells where to look.
    let failing = json!([{ "path": "/bin/sh", "args": ["sh", "-c", "echo why; exit 3"] }]);
    t.config.set("hooks.createRuntime", failing);
    t.run().fails(1, "error running createRuntime hook #0: exit status 3, stdout: , stderr:").says(&out);
    assert!(std::fs::read_to_string(&out).unwrap().contains("why\n"));
    t.assert_clean();
    annotate(&mut t, &[("run.oci.hooks.stdout", "/nowhere/out")]);
    t.run().fails(1, "annotations[\"run.oci.hooks.stdout\"]: open /nowhere/out: no such file or directory");
    t.assert_clean();
}

/// [X25] The annotation is as `--pidfd-socket`, which wins; nobody there is an error that names it.
#[test]
fn receiver_of_a_pidfd() {
    only_davit!();
    let mut t = Test::new();
    let path = t.path("s");
    annotate(&mut t, &[("run.oci.pidfd_receiver", &path)]);
    t.run().fails(1, &format!("annotations[\"run.oci.pidfd_receiver\"]: connect to {path}: no such file"));
    t.assert_clean();
    let listener = UnixListener::bind(&path).unwrap();
    t.create().ok();
    let (stream, _) = listener.accept().unwrap();
    let (_, fds) = receive(&stream);
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fds[0].as_raw_fd())).unwrap();
    assert_eq!(host::field(&info, "Pid"), t.pid().to_string());
    t.verb(&["delete", "--force"]).ok();
    std::fs::remove_file(&t.pid_file).unwrap();
    t.bundle_cmd("create", &["--pidfd-socket", "/nowhere"])
        .output()
        .fails(1, "--pidfd-socket: connect to /nowhere");
}

/// [X20] [Y5] a handler is another kind of container; [X17] so is one with cgroup v1 on a host with v2. Passed over they would
/// mislead, so that they are refused by name, by `validate` as well. An empty handler is none.
#[test]
fn other_kinds_of_containers() {
    only_davit!();
    for handler in ["krun", "wasm"] {
        refuses(
            |c| c.set("annotations", json!({ "run.oci.handler": handler })),
            &[&format!("annotations[\"run.oci.handler\"]: davit has no handler \"{handler}\"")],
        );
    }
    refuses(
        |c| c.set("annotations", json!({ "run.oci.systemd.force_cgroup_v1": "/sys/fs/cgroup/systemd" })),
        &["annotations[\"run.oci.systemd.force_cgroup_v1\"]: "],
    );
    let mut t = Test::new();
    annotate(&mut t, &[("run.oci.handler", "krun")]);
    t.write();
    let validated = t.rt(&["validate", "--bundle", t.bundle.to_str().unwrap()]).code(1);
    assert!(validated.stdout.contains("davit has no handler \"krun\""), "{validated}");
    annotate(&mut t, &[("run.oci.handler", ""), ("module.wasm.image/variant", "compat")]);
    assert_eq!(t.out("echo up"), "up");
}

/// [G21] called by a name that asks crun for a handler; any other name is as good as its own.
#[test]
fn names_of_the_program() {
    only_davit!();
    let t = Test::new();
    let call = |name: &str, args: &[&str]| {
        let link = t.dir.join(name);
        if !link.exists() {
            symlink(runtime(), &link).unwrap();
        }
        Cmd::new(&t.dir, [link]).args(["--root", t.root.to_str().unwrap()]).args(args).output()
    };
    for name in ["krun", "crun-wasm"] {
        call(name, &["list"]).fails(1, &format!("called as \"{name}\": davit has no handler"));
        assert!(call(name, &["--version"]).ok().starts_with("davit version "));
    }
    for name in ["crun", "runc"] {
        call(name, &["state", "none"]).fails(1, "container does not exist");
    }
}

/// [X16] [X18] [Z14] names that could lead elsewhere; delegation needs cgroup v2.
#[test]
fn bad_names_of_cgroups() {
    only_davit!();
    let key = "run.oci.delegate-cgroup";
    for bad in ["../x", "/x", "a/../../b"] {
        refuses(
            |c| c.set("annotations", json!({ key: bad })),
            &[&format!("annotations[\"{key}\"]: \"{bad}\" must be a relative path without `..`")],
        );
    }
    if !cgroup::unified() {
        refuses(
            |c| c.set("annotations", json!({ "run.oci.delegate-cgroup": "x" })),
            &["annotations[\"run.oci.delegate-cgroup\"]: delegate-cgroup not supported on cgroup v1"],
        );
    }
    // CRI-O's way of saying that there is to be none.
    let mut t = Test::new();
    annotate(&mut t, &[("run.oci.systemd.subgroup", ""), ("run.oci.delegate-cgroup", "")]);
    assert_eq!(t.out("echo up"), "up");
}

/// The cgroup2 path of a process.
fn unified_path(pid: i32) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_string()
}

/// [X18] The container is in the delegated cgroup, has the controllers there, and the limits hold from above.
#[test]
fn a_delegated_cgroup() {
    need!(cgroup::unified(), "cgroup v1");
    only_davit!();
    let mut t = Test::new();
    t.config.set("linux.resources.pids", json!({ "limit": 20 }));
    annotate(&mut t, &[("run.oci.delegate-cgroup", "own/leaf")]);
    t.sh("cat /proc/self/cgroup; sleep 30");
    t.detach();
    assert_eq!(unified_path(t.pid()), format!("{}/own/leaf", t.cgroup));
    let base = cgroup::dir(&t.cgroup, "pids");
    let read = |name: &str| std::fs::read_to_string(base.join(name)).unwrap().trim().to_string();
    assert_eq!(read("pids.max"), "20");
    assert_eq!(read("own/leaf/pids.max"), "max");
    assert_eq!(read("cgroup.procs"), "");
    assert!(read("own/leaf/cgroup.controllers").contains("memory"));
    // A further process, and all that is done to the whole.
    let seen = t.cmd(&["exec", &t.id, "cat", "/proc/self/cgroup"]).output().ok();
    assert_eq!(seen, "0::/own/leaf");
    assert!(t.rt(&["ps", "--format", "json", &t.id]).ok().contains(&t.pid().to_string()));
    t.verb(&["pause"]).ok();
    assert_eq!(t.status(), "paused");
    t.verb(&["resume"]).ok();
    t.verb(&["delete", "--force"]).ok();
    t.assert_clean_but_pid_file();
}

/// [X16] With systemd the container's cgroup is a level below the unit's, with the limits; empty: the unit's own.
#[test]
fn a_level_below_the_scope() {
    need!(Path::new("/run/systemd/system").is_dir(), "systemd is not the init process here: shown in the VM");
    only_davit!();
    for (name, below) in [("leaf", "/leaf"), ("", "")] {
        let mut t = Test::new();
        let unit = format!("davit-{}.scope", t.id);
        t.cgroup = format!("/system.slice/{unit}");
        t.config.set("linux.cgroupsPath", format!(":davit:{}", t.id));
        t.config.set("linux.resources.pids", json!({ "limit": 20 }));
        annotate(
            &mut t,
            &[("run.oci.systemd.subgroup", name), ("org.systemd.property.CollectMode", "'inactive'")],
        );
        t.sh("sleep 30");
        t.write();
        let bundle = t.bundle.to_str().unwrap();
        let run = ["--systemd-cgroup", "run", "-d", "--bundle", bundle, &t.id];
        if cgroup::unified() {
            t.rt(&run).ok();
            assert_eq!(unified_path(t.pid()), format!("{}{below}", t.cgroup));
            let max = cgroup::dir(&t.cgroup, "pids").join(name).join("pids.max");
            assert_eq!(std::fs::read_to_string(max).unwrap().trim(), "20");
        } else {
            let output = t.rt(&run).code(0);
            assert_eq!(output.stderr.contains("no effect on cgroup v1"), !name.is_empty(), "{output}");
        }
        t.verb(&["delete", "--force"]).ok();
        t.assert_clean();
    }
}

/// [X26] every controller that the host has is there for `unified`, without a list of known ones.
#[test]
fn every_controller_is_enabled() {
    need!(cgroup::unified(), "cgroup v1");
    let mut t = Test::new();
    t.sh("sleep 30");
    t.detach();
    let words = |path: &Path| {
        let text = std::fs::read_to_string(path.join("cgroup.controllers")).unwrap();
        text.split_whitespace().map(str::to_string).collect::<std::collections::BTreeSet<_>>()
    };
    let (all, own) = (words(Path::new("/sys/fs/cgroup")), words(&cgroup::dir(&t.cgroup, "pids")));
    assert!(all.len() > 3 && all.is_subset(&own), "{all:?} {own:?}");
    need!(all.contains("misc"), "no misc controller");
    assert!(cgroup::dir(&t.cgroup, "pids").join("misc.max").exists());
}
