//! What a host does to a program: full and read-only disks, few descriptors, little memory, readers that go away,
//! broken files. Each is one line, and leaves nothing.

use crate::support::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A file system of `size` at `DIR/disk`, filled by the script, in a mount namespace of its own; the runtime's root is
/// on it. `"$@"` is the command.
fn on_disk(t: &Test, options: &str, fill: &str, verb: &str) -> Output {
    let disk = t.dir.join("disk");
    std::fs::create_dir_all(&disk).unwrap();
    let disk = disk.display();
    let script =
        format!("mount --make-rprivate / && mount -t tmpfs -o {options} t {disk} && {fill} && exec \"$@\"");
    let fill = |args: Cmd| args.shell(&script.replace("DISK", &disk.to_string())).wrap(["unshare", "-m"]);
    let root = format!("{disk}/state");
    let cmd = Cmd::new(&t.dir, [runtime()]).args(["--root", &root, verb, "--bundle"]);
    fill(cmd.args([t.bundle.to_str().unwrap(), &t.id])).output()
}

/// [E12] [E18] a full disk under the state, at each block and each inode of the way.
#[test]
fn full_disk() {
    only_davit!();
    let mut t = Test::new();
    t.sh("echo up");
    t.write();
    let mut outcomes = vec![];
    for free in 0..6 {
        let fill = format!("dd if=/dev/zero of=DISK/fill bs=4k count={} 2>/dev/null", 16 - free);
        outcomes.push(on_disk(&t, "size=64k", &fill, "run"));
    }
    for inodes in 1..8 {
        outcomes.push(on_disk(&t, &format!("size=64k,nr_inodes={inodes}"), "true", "run"));
    }
    let mut failures = 0;
    for output in outcomes {
        if output.code == 0 {
            assert_eq!(output.ok(), "up");
        } else {
            output.fails(1, "no space left on device");
            failures += 1;
        }
        t.assert_clean();
    }
    assert!((3..10).contains(&failures), "{failures}");
    on_disk(&t, "ro", "true", "run").fails(1, "read-only file system");
    on_disk(&t, "ro", "true", "create").fails(1, "read-only file system");
    t.assert_clean();
}

/// [E18] [S36] a state root that has become read-only since create: start does all it has to and warns of the socket that stays;
/// a program that can't be executed is told as ever. Once it can be written again, delete clears all.
#[test]
fn start_on_a_read_only_root() {
    only_davit!();
    let mut t = Test::new();
    let start = |t: &Test| {
        let root = t.root.display();
        let script = format!(
            "mount --make-rprivate / && mount --bind {root} {root} && mount -o remount,bind,ro {root} && exec \"$@\""
        );
        t.cmd(&["start", &t.id]).shell(&script).wrap(["unshare", "-m"]).output()
    };
    let started = t.path("poststart");
    t.config.set("hooks.poststart", json!([{ "path": "/bin/touch", "args": ["touch", started] }]));
    t.sh("exec sleep 30").create().ok();
    start(&t).code(0).says("remove the start socket: read-only file system");
    assert!(Path::new(&started).exists());
    assert_eq!(t.status(), "running");
    start(&t).fails(1, "cannot start an already running container");
    t.verb(&["delete", "--force"]).ok();
    t.assert_clean_but_pid_file();

    t.file("bin/odd", "no program");
    std::fs::set_permissions(t.rootfs.join("bin/odd"), std::fs::Permissions::from_mode(0o755)).unwrap();
    t.args(&["/bin/odd"]).create().ok();
    start(&t).code(1).says("exec format error");
    assert_eq!(t.status(), "stopped");
    t.verb(&["delete"]).ok();
    t.assert_clean_but_pid_file();
}

/// [E18] with any number of descriptors: it runs, or says what it could not open.
#[test]
fn few_descriptors() {
    only_davit!();
    let mut t = Test::new();
    t.config.remove("process.rlimits");
    t.sh("echo up");
    let mut works = 0;
    for limit in 3..32 {
        let output = t.bundle_cmd("run", &[]).shell(&format!("ulimit -n {limit}; exec \"$@\"")).output();
        if output.code == 0 {
            assert_eq!(output.ok(), "up");
            works += 1;
        } else {
            output.fails(1, "too many open files");
        }
        t.assert_clean();
    }
    assert!(works > 3, "{works}");
    t.sh("sleep 60");
    t.detach();
    for limit in 3..10 {
        let exec = t.cmd(&["exec", &t.id, "echo", "up"]);
        exec.shell(&format!("ulimit -n {limit}; exec \"$@\"")).output().fails(255, "too many open files");
    }
    assert_eq!(t.rt(&["exec", &t.id, "echo", "up"]).ok(), "up");
}

/// [E18] with any amount of address space (KiB).
#[test]
fn little_memory() {
    only_davit!();
    let mut t = Test::new();
    t.sh("echo up");
    t.write();
    // A debug build is larger than what is left for it; the limit counts the program's own pages, too.
    let own = std::fs::metadata(runtime()).unwrap().len() / 1024;
    let mut works = 0;
    for limit in [1000, 1500, 2000, 4000, 9000, 70_000, 1_200_000] {
        let output =
            t.bundle_cmd("run", &[]).shell(&format!("ulimit -v {}; exec \"$@\"", own + limit)).output();
        if output.code == 0 {
            assert_eq!(output.ok(), "up");
            works += 1;
        } else {
            assert!(output.stderr.lines().count() == 1 && output.stderr.contains("memory"), "{output}");
        }
        t.assert_clean();
    }
    assert!(works > 1, "{works}");
}

/// [E2] a reader that has seen enough is no fault; a full disk under stdout is one.
#[test]
fn answers_that_nobody_takes() {
    only_davit!();
    let mut t = Test::new();
    t.sh("sleep 60");
    t.create().ok();
    for args in [&["help"][..], &["--version"], &["features"], &["list"], &["state", &t.id], &["man", "run"]]
    {
        let gone = t.cmd(args).shell("exec \"$@\" > /dev/full").output();
        gone.fails(1, "write to stdout: no space left on device");
        // The reader is gone before it is written.
        let script = "{ sleep 0.2; \"$@\"; echo $? >&2; } | true";
        let output = t.cmd(args).shell(script).output();
        assert_eq!((output.stderr.as_str(), output.stdout.as_str()), ("0\n", ""), "{args:?}");
        assert_eq!(t.cmd(args).shell("exec \"$@\" >&-").output().ok(), "");
    }
    t.verb(&["start"]).ok();
    for args in [["events", "--interval", "100ms", &t.id], ["stats", "--interval", "100ms", &t.id]] {
        let output = t.cmd(&args).shell("{ \"$@\"; echo $? >&2; } | head -n 1 >/dev/null").output();
        assert_eq!(output.stderr, "0\n", "{args:?}");
    }
    let closed = t.cmd(&["state", "nope"]).shell("exec \"$@\" 2>&-").output().code(1);
    assert_eq!((closed.stdout, closed.stderr), (String::new(), String::new()));
}

/// [E14] [E18] files that are no JSON, in one line each, with what it most likely is.
#[test]
fn broken_configs() {
    only_davit!();
    let t = Test::new();
    t.write();
    let path = t.bundle.join("config.json");
    let good = std::fs::read_to_string(&path).unwrap();
    let with_bom = format!("\u{feff}{good}");
    let utf16: Vec<u8> = [0xfeff].into_iter().chain(good.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let comma = good.trim_end().strip_suffix('}').unwrap().trim_end().to_string() + ",\n}";
    let twice = format!("{good}{good}");
    for (bytes, text) in [
        (
            with_bom.as_bytes(),
            "config.json: line 1 column 1: expected value: it begins with a byte order mark",
        ),
        (&utf16, "it is UTF-16"),
        (b"", "config.json: line 1 column 1: EOF while parsing a value: the file is empty"),
        (&good.as_bytes()[..good.len() / 2], "is not closed, or the file was cut off"),
        (comma.as_bytes(), "no comma may stand before a closing bracket"),
        (twice.as_bytes(), "the configuration has ended before it"),
        (b"\0\0\0\0", "line 1 column 1"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        for verb in ["run", "create"] {
            t.cmd(&[verb, "--bundle", t.bundle.to_str().unwrap(), &t.id]).output().fails(1, text);
        }
        t.assert_clean();
    }
    std::fs::write(&path, good.replace('\n', "\r\n")).unwrap();
    t.cmd(&["run", "--bundle", t.bundle.to_str().unwrap(), &t.id]).output().ok();
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    t.cmd(&["run", "--bundle", t.bundle.to_str().unwrap(), &t.id]).output().fails(1, "is a directory");
    std::fs::remove_dir(&path).unwrap();
    // It never ends.
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    let endless = t.cmd(&["run", "--bundle", t.bundle.to_str().unwrap(), &t.id]);
    endless.shell("ulimit -v 300000; exec \"$@\"").output().fails(1, "config.json: out of memory");
    t.assert_clean();
}

/// [E15] large and deep configurations are taken, or refused by the kernel's own limits.
#[test]
fn huge_configs() {
    only_davit!();
    let mut t = Test::new();
    t.sh("echo up");
    let value = "v".repeat(1000);
    for number in 0..10_000 {
        t.config.set(&format!("annotations.k{number}"), value.as_str());
    }
    assert_eq!(t.run().ok(), "up");
    assert!(std::fs::metadata(t.bundle.join("config.json")).unwrap().len() > 10_000_000);

    let mut t = Test::new();
    t.sh("echo up");
    t.write();
    let path = t.bundle.join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let deep = format!("{{\"x\": {}{},", "[".repeat(100_000), "]".repeat(100_000));
    std::fs::write(&path, text.replacen('{', &deep, 1)).unwrap();
    let run = |t: &Test| t.cmd(&["run", "--bundle", t.bundle.to_str().unwrap(), &t.id]).output();
    assert_eq!(run(&t).ok(), "up");

    let mut t = Test::new();
    t.config.set("process.args", json!(["/bin/echo", "x".repeat(200_000)]));
    t.run().fails(1, "argument list too long");
    t.assert_clean();
}

/// A bundle that can't be written, one on overlayfs, the state on overlayfs.
#[test]
fn other_file_systems() {
    only_davit!();
    let mut t = Test::new();
    t.sh("echo up");
    t.write();
    let bundle = t.bundle.display().to_string();
    let dir = t.dir.display().to_string();
    let overlay = format!(
        "mkdir {dir}/o && mount -t tmpfs t {dir}/o && mkdir {dir}/o/u {dir}/o/w {dir}/o/m &&
         mount -t overlay o -o lowerdir={dir}/bundle,upperdir={dir}/o/u,workdir={dir}/o/w {dir}/o/m"
    );
    need!(
        Cmd::new(&t.dir, ["true"])
            .shell(&overlay.replace("/o", "/try"))
            .wrap(["unshare", "-m"])
            .output()
            .code
            == 0,
        "overlayfs"
    );
    for (prepare, root, bundle) in [
        (
            format!("mount --bind {bundle} {bundle} && mount -o remount,bind,ro {bundle}"),
            "state",
            bundle.clone(),
        ),
        (overlay.clone(), "state", format!("{dir}/o/m")),
        (format!("rm -r {dir}/o; {overlay}"), "o/m/state", bundle.clone()),
    ] {
        let root = format!("{dir}/{root}");
        let cmd = Cmd::new(&t.dir, [runtime()]).args(["--root", &root, "run", "--bundle", &bundle, &t.id]);
        let script = format!("mount --make-rprivate / && {prepare} && exec \"$@\"");
        assert_eq!(cmd.shell(&script).wrap(["unshare", "-m"]).output().ok(), "up", "{prepare}");
    }
    assert!(Path::new(&bundle).exists());
}
