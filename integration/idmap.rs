//! Id-mapped mounts: owners as the container sees them, and what it makes as the disk has it.

use crate::support::*;
use rustix::mount::MountFlags;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

/// A container that may look everywhere, and a source directory `src` with files of 0 and of 5, or None where the file
/// system of the temporary directory can't be id-mapped.
fn container() -> Option<Test> {
    let mut t = Test::new();
    if !capable(&t, filesystem(&t)) {
        return None;
    }
    t.open_to_all();
    let source = t.dir.join("src");
    std::fs::create_dir_all(source.join("sub")).unwrap();
    for (name, owner) in [("zero", 0), ("five", 5)] {
        std::fs::write(source.join(name), name).unwrap();
        chown(source.join(name), Some(owner), Some(owner + 1)).unwrap();
    }
    std::fs::set_permissions(&source, PermissionsExt::from_mode(0o777)).unwrap();
    chown(&source, Some(0), Some(1)).unwrap();
    // Root of a container in a user namespace may make mount points in it.
    chown(&t.rootfs, Some(100_000), Some(100_000)).unwrap();
    t.config.caps(&["CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN"]);
    Some(t)
}

const NOT_HERE: &str = "the file system of the temporary directory can't be id-mapped";

macro_rules! container {
    () => {
        match container() {
            Some(t) => t,
            None => return skip(NOT_HERE),
        }
    };
}

/// The type of the file system of the temporary directory, by statfs(2)'s number.
fn filesystem(t: &Test) -> &'static str {
    match rustix::fs::statfs(&t.dir).unwrap().f_type {
        0xef53 => "ext4",
        0x9123_683e => "btrfs",
        0x5846_5342 => "xfs",
        0x0102_1994 => "tmpfs",
        _ => "another",
    }
}

/// What `features` says of a type.
fn capable(t: &Test, fstype: &str) -> bool {
    let features: Value = serde_json::from_str(&t.cmd(&["features"]).output().ok()).unwrap();
    let list = features["annotations"]["org.davit.idmap.filesystems"].as_str().unwrap_or("").to_string();
    list.split(',').any(|name| name == fstype)
}

fn map(container: u32, host: u32, size: u32) -> Value {
    json!([{ "containerID": container, "hostID": host, "size": size }])
}

/// Adds a mount with its own mappings.
fn mount(
    t: &mut Test,
    destination: &str,
    kind: &str,
    source: &str,
    options: &[&str],
    uids: Value,
    gids: Value,
) {
    t.config.push(
        "mounts",
        json!({ "destination": destination, "type": kind, "source": source, "options": options,
            "uidMappings": uids, "gidMappings": gids }),
    );
}

const OWNERS: &str = "stat -c '%n %u %g' zero five";

/// [M33] with mappings of its own and no user namespace: the ids on disk are the left ones, those seen the right ones,
/// and what the container makes goes the way back.
#[test]
fn own_mappings() {
    only_davit!(); // runc from 1.2 on
    let mut t = container!();
    let source = t.path("src");
    mount(&mut t, "/m", "bind", &source, &["bind", "idmap"], map(0, 1000, 10), map(1, 3000, 10));
    t.config.set("process.user", json!({ "uid": 1003, "gid": 3004 })).caps(&[]);
    let out = t.out(&format!(
        "cd /m; {OWNERS}; touch made && stat -c '%u %g' made; grep ' /m ' /proc/self/mountinfo"
    ));
    assert!(out.starts_with("zero 1000 3000\nfive 1005 3005\n1003 3004\n"), "{out}");
    assert!(out.contains("idmapped"), "{out}");
    let made = std::fs::metadata(t.dir.join("src/made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (3, 5), "on disk");
}

/// [M33] the option alone takes the mappings of the container's new user namespace; other options still hold.
#[test]
fn mappings_of_the_new_user_namespace() {
    only_davit!();
    let mut t = container!();
    let source = t.path("src");
    t.config.user_namespace();
    t.config.mount("/m", "bind", &source, &["bind", "idmap"]);
    t.config.mount("/ro", "bind", &source, &["rbind", "idmap", "ro", "nosuid", "rslave"]);
    t.config.mount("/plain", "bind", &source, &["bind"]);
    let out = t.out(&format!(
        "for at in m ro plain; do cd /$at; {OWNERS}; done; cd /; touch /m/made; touch /ro/x 2>&1; \
         grep ' /ro ' /proc/self/mountinfo"
    ));
    let own = "zero 0 1\nfive 5 6\n";
    assert!(out.starts_with(&format!("{own}{own}zero 65534 65534\nfive 65534 65534\n")), "{out}");
    assert!(out.contains("Read-only") && out.contains("ro,nosuid") && out.contains("idmapped"), "{out}");
    let made = std::fs::metadata(t.dir.join("src/made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (0, 0), "on disk");
}

/// [M33] own mappings and a user namespace: both apply, one after the other. A single file can be mapped, too.
#[test]
fn own_mappings_in_a_user_namespace() {
    only_davit!();
    let mut t = container!();
    let (source, file) = (t.path("src"), t.path("src/five"));
    t.config.user_namespace();
    mount(&mut t, "/m", "bind", &source, &["bind", "idmap"], map(0, 100_100, 10), map(0, 100_200, 10));
    mount(&mut t, "/file", "bind", &file, &["bind", "idmap"], map(5, 100_007, 1), map(6, 100_008, 1));
    let out = t.out(&format!("cd /m; {OWNERS}; stat -c '%u %g' /file; cat /file"));
    assert_eq!(out, "zero 100 201\nfive 105 206\n7 8\nfive");
}

/// [M33] the same source by several mappings at once, and as it is.
#[test]
fn several_mappings() {
    only_davit!();
    let mut t = container!();
    let source = t.path("src");
    for (at, host) in [("/a", 1000), ("/b", 1000), ("/c", 7000)] {
        mount(&mut t, at, "bind", &source, &["bind", "idmap"], map(0, host, 10), map(0, host, 10));
    }
    t.config.mount("/d", "bind", &source, &["bind"]);
    let out = t.out("stat -c '%u %g' /a/five /b/five /c/five /d/five");
    assert_eq!(out, "1005 1006\n1005 1006\n7005 7006\n5 6");
    let log = t.path("log");
    let debug =
        t.cmd(&["--debug", "--log", &log, "run", "--bundle", t.bundle.to_str().unwrap(), &t.id]).output();
    assert_eq!(debug.code, 0, "{debug}");
    let log = std::fs::read_to_string(&log).unwrap();
    assert_eq!(log.matches("map ids of the mount").count(), 3, "{log}");
}

/// [X11] [X12] crun's mapping inside the option, as Podman writes it; `@` is relative to the container's user namespace.
#[test]
fn mapping_in_the_option() {
    only_davit!(); // crun alone has this
    let mut t = container!();
    let source = t.path("src");
    t.config.mount("/m", "bind", &source, &["bind", "idmap=uids=0-1000-3#5-2000-1;gids=1-3000-10"]);
    assert_eq!(t.out(&format!("cd /m; {OWNERS}")), "zero 1000 3000\nfive 2000 3005");
    t.config.user_namespace();
    t.config.mount("/n", "bind", &source, &["bind", "idmap=uids=@0-30-10;gids=@0-40-10"]);
    assert_eq!(t.out(&format!("cd /n; {OWNERS}")), "zero 30 41\nfive 35 46");
    t.config.mount("/o", "bind", &source, &["bind", "idmap=uids=0-1"]);
    t.run()
        .fails(1, "mounts[9].options: the mapping in the option idmap=: \"0-1\" is not ON_DISK-SHOWN-SIZE");
}

/// A tmpfs of the host at `src/sub`, with a file of 5; taken away when dropped.
fn below(t: &Test) -> HostMount {
    let mount = HostMount::new(t.dir.join("src/sub"), MountFlags::empty());
    let file = mount.path.join("below");
    std::fs::write(&file, "").unwrap();
    chown(file, Some(5), Some(6)).unwrap();
    mount
}

/// [M34] `ridmap` maps the mounts below, too, `idmap` does not.
#[test]
fn recursive() {
    only_davit!();
    let mut t = container!();
    need!(capable(&t, "tmpfs"), "this kernel can't id-map a tmpfs");
    let source = t.path("src");
    let _below = below(&t);
    for (at, option) in [("/one", "idmap"), ("/all", "ridmap")] {
        mount(&mut t, at, "bind", &source, &["rbind", option], map(0, 1000, 10), map(0, 2000, 10));
    }
    let out = t.out("stat -c '%u %g' /one/five /one/sub/below /all/five /all/sub/below");
    assert_eq!(out, "1005 2006\n5 6\n1005 2006\n1005 2006");
}

/// [M35] mappings without an option: as `idmap`, not recursive.
#[test]
fn mappings_without_the_option() {
    only_davit!();
    let mut t = container!();
    let source = t.path("src");
    let _below = below(&t);
    mount(&mut t, "/m", "bind", &source, &["rbind"], map(0, 1000, 10), map(0, 2000, 10));
    let out = t.out("stat -c '%u %g' /m/five /m/sub/below");
    assert_eq!(out, "1005 2006\n5 6");
}

/// [M36] the option alone with a user namespace that is joined by path: its mappings, whether config.json repeats them
/// or not.
#[test]
fn mappings_of_a_joined_user_namespace() {
    only_davit!();
    let mut t = container!();
    let mut owner = t.sibling();
    owner.user_namespace();
    owner.sh("sleep 30");
    owner.detach();
    let source = t.path("src");
    t.config.user_namespace().join("user", &format!("/proc/{}/ns/user", owner.pid()));
    t.config.mount("/m", "bind", &source, &["bind", "idmap"]);
    let script = format!("cd /m; {OWNERS}; touch made; cut -c1-40 /proc/self/uid_map | tr -s ' '");
    let expected = "zero 0 1\nfive 5 6\n 0 100000 65536";
    assert_eq!(t.out(&script), expected);
    assert_eq!(std::fs::metadata(t.dir.join("src/made")).unwrap().uid(), 0, "on disk");
    t.config.remove("linux.uidMappings").remove("linux.gidMappings");
    assert_eq!(t.out(&script), expected);
}

/// [M33] no mapping to take, half a mapping, a mapping that the kernel refuses: errors by JSON path, nothing left.
#[test]
fn mappings_that_are_none() {
    only_davit!();
    let refused = |change: &dyn Fn(&mut Test, &str), text: &str| {
        let mut t = Test::new();
        let source = t.path("bundle");
        change(&mut t, &source);
        t.sh("true");
        t.run().fails(1, text);
        t.assert_clean();
    };
    for option in ["idmap", "ridmap"] {
        refused(
            &|t, source| {
                t.config.mount("/m", "bind", source, &["rbind", option]);
            },
            "mounts[7].uidMappings: an id-mapped mount needs uidMappings and gidMappings, or a user namespace",
        );
    }
    refused(
        &|t, source| mount(t, "/m", "bind", source, &["bind", "idmap"], map(0, 1000, 10), Value::Null),
        "mounts[7].gidMappings: id-mapped mounts must have both uid and gid mappings specified",
    );
    let overlap =
        json!([{ "containerID": 0, "hostID": 0, "size": 5 }, { "containerID": 4, "hostID": 9, "size": 5 }]);
    refused(
        &|t, source| mount(t, "/m", "bind", source, &["bind"], map(0, 1000, 10), overlap.clone()),
        "mounts[7].gidMappings: write /proc/",
    );
    refused(
        &|t, source| {
            mount(t, "/m", "bind", &format!("{source}/none"), &["bind"], map(0, 9, 1), map(0, 9, 1));
        },
        "mounts[7].source: open",
    );
}

/// [M33] a file system that can't be id-mapped, as a bind, below a recursive one and as a new one: named.
#[test]
fn file_systems_that_cannot() {
    only_davit!();
    for (kind, source, options, name) in [
        ("bind", "/proc", &["bind", "idmap"][..], "\"proc\""),
        ("bind", "/sys", &["rbind", "ridmap"], "\"sysfs\" (or one that is mounted below it)"),
        ("mqueue", "mqueue", &["idmap"], "\"mqueue\""),
    ] {
        let mut t = Test::new();
        mount(&mut t, "/m", kind, source, options, map(0, 1000, 10), map(0, 1000, 10));
        t.sh("true");
        let output = t.run().fails(1, "mounts[7] (/m): id-map the mount: invalid argument");
        output.says(&format!("the file system {name} does not support id-mapped mounts"));
        t.assert_clean();
    }
}

/// [M33] a runtime without privilege says so before it makes anything.
#[test]
fn rootless() {
    only_davit!();
    need!(std::path::Path::new("/usr/bin/setpriv").exists(), "no setpriv");
    let mut t = Test::new();
    t.open_to_all();
    let state = t.path("own");
    std::fs::create_dir(&state).unwrap();
    chown(&state, Some(1000), Some(1000)).unwrap();
    t.config
        .user_namespace()
        .set("linux.uidMappings", map(0, 1000, 1))
        .set("linux.gidMappings", map(0, 1000, 1));
    t.config.remove("linux.cgroupsPath").set("linux.resources", json!({}));
    let source = t.path("bundle");
    t.config.mount("/m", "bind", &source, &["bind", "idmap"]).set("process.args", json!(["true"]));
    t.write();
    let args = ["--root", &state, "run", "--bundle", t.bundle.to_str().unwrap(), &t.id];
    let front = ["/usr/bin/setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups"];
    let binary = t.dir.join("davit");
    host::copy_program(runtime(), &binary);
    let output = Cmd::new(&t.dir, front).args([binary.as_os_str()]).args(args).output();
    output.fails(1, "mounts[7]: id-mapped mounts are not supported for rootless containers");
    assert_eq!(std::fs::read_dir(&state).unwrap().count(), 0, "nothing was made");
}

/// [W7] a new file system: id-mapped with own mappings and no user namespace, with its options, over a directory whose
/// mode it takes, filled by copy-up.
#[test]
fn fresh_file_system() {
    only_davit!(); // crun alone has this
    let mut t = Test::new();
    need!(capable(&t, "tmpfs"), "this kernel can't id-map a tmpfs");
    t.config.caps(&["CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN"]);
    chown(t.file("filled/file", "text"), Some(1003), Some(1004)).unwrap();
    std::fs::set_permissions(t.rootfs.join("filled"), PermissionsExt::from_mode(0o710)).unwrap();
    let options = ["idmap", "size=64k", "noexec", "mode=0751", "noatime"];
    mount(&mut t, "/m", "tmpfs", "fs", &options, map(0, 1000, 10), map(0, 2000, 10));
    let all = map(0, 0, 2000);
    mount(&mut t, "/filled", "tmpfs", "tmpfs", &["ridmap", "tmpcopyup", "ro"], all.clone(), all);
    let out = t.out(
        "stat -c '%u %g %a' /m /filled /filled/file; cat /filled/file; echo; touch /filled/x 2>&1; \
         grep -e ' /m ' -e ' /filled ' /proc/self/mountinfo",
    );
    assert!(out.starts_with("1000 2000 751\n0 0 710\n1003 1004 644\ntext\n"), "{out}");
    assert!(out.contains("Read-only"), "{out}");
    let line = out.lines().find(|line| line.contains(" /m ")).unwrap();
    for part in ["noexec", "noatime", "idmapped", "tmpfs fs ", "size=64k"] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

/// [W7] in a user namespace: the file system belongs to the host, and its ids on disk begin at 0.
#[test]
fn fresh_file_system_in_a_user_namespace() {
    only_davit!();
    let mut t = Test::new();
    need!(capable(&t, "tmpfs"), "this kernel can't id-map a tmpfs");
    t.open_to_all();
    let point = t.rootfs.join("m");
    std::fs::create_dir(&point).unwrap();
    chown(&point, Some(100_000), Some(100_000)).unwrap();
    std::fs::set_permissions(&point, PermissionsExt::from_mode(0o3777)).unwrap();
    t.config.user_namespace().mount("/m", "tmpfs", "tmpfs", &["idmap"]);
    let out = t.out(
        "stat -c '%u %g %a' /m; touch /m/x && stat -c '%u %g' /m/x; grep -c idmapped /proc/self/mountinfo",
    );
    assert_eq!(out, "0 0 3777\n0 0\n1");
}

/// [W7] a type that can't: an error with the reason, as for options that it does not know.
#[test]
fn fresh_file_system_that_cannot() {
    only_davit!();
    for (options, text) in [
        (&["idmap", "lowerdir=/bin", "upperdir=/none"][..], "error mounting overlay from \"overlay\""),
        (
            &["idmap", "frobnicate=1"],
            "invalid argument (hint: does the file system know all of these options?)",
        ),
    ] {
        let mut t = Test::new();
        mount(&mut t, "/m", "overlay", "overlay", options, map(0, 1000, 10), map(0, 1000, 10));
        t.sh("true");
        t.run().fails(1, text);
        t.assert_clean();
    }
}

/// [W8] [J12] `features` says that mappings are carried out, and of which types; the list is true of tmpfs.
#[test]
fn features() {
    only_davit!();
    let mut t = Test::new();
    let features: Value = serde_json::from_str(&t.cmd(&["features"]).output().ok()).unwrap();
    assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
    assert!(capable(&t, "ext4") && !capable(&t, "proc"), "{features}");
    mount(&mut t, "/m", "tmpfs", "tmpfs", &["idmap"], map(0, 1000, 10), map(0, 1000, 10));
    t.sh("true");
    assert_eq!(t.run().code == 0, capable(&t, "tmpfs"));
}
