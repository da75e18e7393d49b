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
    // By another process: a descriptor open for writing, passed on by a fork of a test beside, would be "text file busy".
    Cmd::new(&t.dir, ["cp".into(), runtime(), binary.clone()]).output().ok();
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

/// [J8] seccomp: actions, operators, architectures and flags.
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
    if davit_only() {
        assert!(words(&seccomp["actions"]).contains(&"SCMP_ACT_NOTIFY"));
        assert!(words(&seccomp["supportedFlags"]).contains(&"SECCOMP_FILTER_FLAG_SPEC_ALLOW"));
    }
}

/// [J14] annotation values hold no line break.
#[test]
fn annotations() {
    let f = features!();
    for (key, value) in f["annotations"].as_object().into_iter().flatten() {
        assert!(value.as_str().is_some_and(|value| !value.contains('\n')), "{key}: {value}");
    }
}

/// [J10] [J11] [J12] [J13] what Kubernetes and DRA look for is said either way, and lists are those of the specification.
#[test]
fn linux_extensions() {
    let f = features!();
    let linux = &f["linux"];
    for key in ["enabled", "schemata", "monitoring"] {
        assert!(linux["intelRdt"][key].is_boolean(), "intelRdt.{key}");
    }
    assert!(linux["mountExtensions"]["idmap"]["enabled"].is_boolean());
    assert!(linux["netDevices"]["enabled"].is_boolean());
    let modes = [
        "MPOL_BIND",
        "MPOL_DEFAULT",
        "MPOL_INTERLEAVE",
        "MPOL_LOCAL",
        "MPOL_PREFERRED",
        "MPOL_PREFERRED_MANY",
        "MPOL_WEIGHTED_INTERLEAVE",
    ];
    let flags = ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];
    assert!(words(&linux["memoryPolicy"]["modes"]).iter().all(|mode| modes.contains(mode)), "{linux}");
    assert!(words(&linux["memoryPolicy"]["flags"]).iter().all(|flag| flags.contains(flag)), "{linux}");
}

/// [J10] [J11] [J12] [J13] [J3] a feature that is not there is refused by `create`, one that is there is not unknown.
#[test]
fn what_is_listed_is_not_refused_as_unbuilt() {
    only_davit!();
    let f = features!();
    let linux = &f["linux"];
    let listed = |word: &str| words(&f["hooks"]).contains(&word);
    let map = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    let id_mapped = json!({ "destination": "/mnt", "source": "/", "options": ["bind", "idmap"],
        "uidMappings": map, "gidMappings": map });
    let hook = json!([{ "path": "/bin/true" }]);
    let cases = [
        (listed("createContainer"), "hooks.createContainer", hook.clone()),
        (listed("startContainer"), "hooks.startContainer", hook),
        (linux["intelRdt"]["enabled"] == true, "linux.intelRdt", json!({ "closID": "x" })),
        (linux["mountExtensions"]["idmap"]["enabled"] == true, "mounts", json!([id_mapped])),
        (linux["netDevices"]["enabled"] == true, "linux.netDevices", json!({ "nothere0": {} })),
        (
            !words(&linux["memoryPolicy"]["modes"]).is_empty(),
            "linux.memoryPolicy",
            json!({ "mode": "MPOL_BIND", "nodes": "0" }),
        ),
    ];
    for (built, path, value) in cases {
        let mut t = Test::new();
        t.config.set(path, value);
        t.write();
        let output = t.cmd(&["validate", "--bundle", t.bundle.to_str().unwrap()]).output();
        let refused = output.stdout.lines().any(|line| {
            line.contains(&format!(": {path}")) && line.contains("not carried out by this version")
        });
        assert_eq!(refused, !built, "{path}: {output}");
    }
}

/// [J14] [J15] annotations: the version, the checkpoint probe; and no config annotation that changes what is done goes
/// unlisted (each listed one is a name or, with a dot at its end, a prefix).
#[test]
fn config_annotations() {
    only_davit!();
    let f = features!();
    let annotations = &f["annotations"];
    for key in ["org.davit.version", "org.davit.commit"] {
        assert!(annotations[key].as_str().is_some_and(|value| !value.is_empty()), "{key}");
    }
    let checkpoint = annotations["org.opencontainers.runc.checkpoint.enabled"].as_str().unwrap();
    let help = Cmd::new(&Test::new().dir, [runtime()]).args(["help"]).output().ok();
    assert_eq!(checkpoint == "true", help.contains("checkpoint "), "{checkpoint}");
    let unsafe_ones = words(&f["potentiallyUnsafeConfigAnnotations"]);
    let systemd = f["linux"]["cgroup"]["systemd"] == true;
    assert_eq!(unsafe_ones.contains(&"org.systemd.property."), systemd, "{unsafe_ones:?}");
    // What other runtimes obey has no effect here unless it is listed.
    let mut t = Test::new();
    for key in [
        "run.oci.keep_original_groups",
        "run.oci.seccomp.receiver",
        "run.oci.hooks.stdout",
        "run.oci.systemd.subgroup",
        "bundle",
    ] {
        let listed = |one: &&str| *one == key || one.ends_with('.') && key.starts_with(one);
        if !unsafe_ones.iter().any(listed) {
            let annotations = std::mem::take(&mut t.config.0["annotations"]);
            let mut annotations = if annotations.is_null() { json!({}) } else { annotations };
            annotations[key] = json!("/nothere");
            t.config.set("annotations", annotations);
        }
    }
    assert_eq!(t.out("echo up"), "up");
}

/// [J2] [J7] [J8] [J9] the types of the specification's features schema (features-schema.json, features-linux.json).
#[test]
fn follows_the_schema() {
    let f = features!();
    let linux = &f["linux"];
    assert!(f["ociVersionMin"].is_string() && f["ociVersionMax"].is_string());
    for list in [
        &f["hooks"],
        &f["mountOptions"],
        &f["potentiallyUnsafeConfigAnnotations"],
        &linux["namespaces"],
        &linux["capabilities"],
    ] {
        words(list);
    }
    assert!(f["annotations"].as_object().unwrap().values().all(Value::is_string));
    assert!(words(&linux["capabilities"]).iter().all(|name| name.starts_with("CAP_")));
    for (key, value) in linux["cgroup"].as_object().unwrap() {
        assert!(["v1", "v2", "systemd", "systemdUser", "rdma"].contains(&key.as_str()) && value.is_boolean());
    }
    for (key, prefix) in [
        ("actions", "SCMP_ACT_"),
        ("operators", "SCMP_CMP_"),
        ("archs", "SCMP_ARCH_"),
        ("knownFlags", "SECCOMP_FILTER_FLAG_"),
        ("supportedFlags", "SECCOMP_FILTER_FLAG_"),
    ] {
        let list = words(&linux["seccomp"][key]);
        assert!(!list.is_empty() && list.iter().all(|word| word.starts_with(prefix)), "{key}: {list:?}");
        assert!(list.is_sorted(), "{key}: {list:?}");
    }
    let known = words(&linux["seccomp"]["knownFlags"]);
    assert!(words(&linux["seccomp"]["supportedFlags"]).iter().all(|flag| known.contains(flag)));
    for key in ["apparmor", "selinux", "intelRdt", "netDevices"] {
        assert!(linux[key]["enabled"].is_boolean(), "{key}");
    }
}
