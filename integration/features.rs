//! `features`: the gate for what callers ask of a runtime.

use crate::support::*;

fn features() -> Option<Value> {
    let t = Test::new();
    davit_only().then(|| Cmd::new(&t.dir, [runtime()]).args(["features"]).output().ok().parse().unwrap())
}

macro_rules! features {
    () => {
        match features() {
            Some(features) => features,
            None => return skip("runc 1.1 has fewer"),
        }
    };
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|word| word.as_str().unwrap()).collect()
}

/// [V62] [J1] works for anybody, without environment, stdout alone.
#[test]
fn works_anywhere() {
    only_davit!();
    let t = Test::new();
    std::fs::set_permissions(&t.dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let binary = t.dir.join("runtime");
    std::fs::copy(runtime(), &binary).unwrap();
    let user = ["setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups", "--no-new-privs"];
    let cmd = Cmd::new(&t.dir, [&binary])
        .args(["features"])
        .only_env(&[])
        .cwd(std::path::Path::new("/"))
        .wrap(user);
    let value: Value = cmd.output().ok().parse().unwrap();
    assert!(value.is_object());
}

/// [J2] [J3] the versions and the hooks.
#[test]
fn versions_and_hooks() {
    let f = features!();
    assert_eq!(f["ociVersionMin"], "1.0.0");
    assert!(f["ociVersionMax"].as_str().unwrap().starts_with("1."));
    let mut hooks = words(&f["hooks"]);
    hooks.sort_unstable();
    let all = ["createContainer", "createRuntime", "poststart", "poststop", "prestart", "startContainer"];
    assert!(hooks.iter().all(|hook| all.contains(hook)), "{hooks:?}");
}

/// [J4] the mount options: sorted, with rro, without data.
#[test]
fn mount_options() {
    let f = features!();
    let options = words(&f["mountOptions"]);
    assert!(options.is_sorted(), "{options:?}");
    for option in ["bind", "rbind", "ro", "rro", "nosuid", "rprivate", "rslave", "strictatime", "nosymfollow"]
    {
        assert!(options.contains(&option), "{option}");
    }
    assert!(!options.iter().any(|option| option.contains('=')), "{options:?}");
}

/// [J4] every mount option that is listed is taken by a mount.
#[test]
fn listed_mount_options_are_honoured() {
    let f = features!();
    let special = ["remount", "idmap", "ridmap", "iversion", "mand", "tmpcopyup"];
    let mut t = Test::new();
    std::fs::create_dir(t.dir.join("src")).unwrap();
    let source = t.path("src");
    for option in words(&f["mountOptions"]).into_iter().filter(|option| !special.contains(option)) {
        let bind = if option.contains("bind") && !option.contains("unbind") {
            vec![option]
        } else {
            vec!["bind", option]
        };
        t.config.mount(&format!("/mnt/{option}"), "bind", &source, &bind);
    }
    t.sh("true");
    t.run().ok();
}

/// [J5] [J6] the eight namespaces and the 41 capabilities.
#[test]
fn namespaces_and_capabilities() {
    let f = features!();
    let all = ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"];
    assert_eq!(words(&f["linux"]["namespaces"]), all);
    let caps = words(&f["linux"]["capabilities"]);
    assert_eq!(caps.len(), 41);
    assert!(caps.contains(&"CAP_CHECKPOINT_RESTORE") && caps.contains(&"CAP_CHOWN"));
}

/// [J7] [J9] [J10] the blocks that are booleans.
#[test]
fn switches() {
    let f = features!();
    for key in ["v1", "v2", "systemd", "systemdUser"] {
        assert!(f["linux"]["cgroup"][key].is_boolean(), "{key}");
    }
    assert_eq!(f["linux"]["cgroup"]["v1"], true);
    assert_eq!(f["linux"]["cgroup"]["v2"], true);
    for key in ["apparmor", "selinux"] {
        assert!(f["linux"][key]["enabled"].is_boolean(), "{key}");
    }
    assert_eq!(f["linux"]["intelRdt"], json!({ "enabled": true, "schemata": true, "monitoring": true }));
    assert_eq!(f["linux"]["netDevices"], json!({ "enabled": true }));
}

/// [J8] seccomp: actions, operators and architectures.
#[test]
fn seccomp() {
    let f = features!();
    let seccomp = &f["linux"]["seccomp"];
    assert_eq!(seccomp["enabled"], true);
    for action in ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_LOG"] {
        assert!(words(&seccomp["actions"]).contains(&action), "{action}");
    }
    assert!(words(&seccomp["operators"]).contains(&"SCMP_CMP_MASKED_EQ"));
    assert!(words(&seccomp["archs"]).contains(&"SCMP_ARCH_X86_64"));
}

/// [J14] annotation values hold no line break.
#[test]
fn annotations() {
    let f = features!();
    for (key, value) in f["annotations"].as_object().into_iter().flatten() {
        assert!(value.as_str().is_some_and(|value| !value.contains('\n')), "{key}: {value}");
    }
}
