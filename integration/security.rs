//! Attack classes: what a hostile image, a careless caller or a bad value must not get.
//! `[security R9]` is a rule of the security reference, not a row of the feature list.

use crate::support::*;
use std::os::unix::fs::symlink;

/// [Z4] [security R3] /proc or /sys of the image is a symlink: nothing is mounted through it.
#[test]
fn proc_symlink() {
    for name in ["proc", "sys"] {
        let mut t = Test::new();
        std::fs::remove_dir(t.rootfs.join(name)).unwrap();
        std::fs::create_dir(t.rootfs.join("fake")).unwrap();
        symlink("/fake", t.rootfs.join(name)).unwrap();
        t.sh("true");
        let output = t.run().code(1);
        output.says("must be mounted on ordinary directory");
        t.assert_clean();
    }
}

/// [Z3] [security R1] destinations that try to leave the root by `..` and by a symlink of the image.
#[test]
fn dest_dotdot() {
    let mut t = Test::new();
    let outside = t.dir.join("outside");
    std::fs::create_dir(&outside).unwrap();
    let path = outside.to_str().unwrap().to_string();
    symlink(format!("../../../../../../../..{path}"), t.rootfs.join("vol")).unwrap();
    std::fs::write(t.dir.join("src"), "x").unwrap();
    let source = t.path("src");
    t.config.mount("/vol/new", "tmpfs", "tmpfs", &[]);
    t.config.mount(&format!("/../../../../..{path}/new2"), "tmpfs", "tmpfs", &[]);
    t.config.mount("/vol/file", "bind", &source, &["bind"]);
    t.sh("echo up");
    let output = t.run();
    assert_eq!(host::list(&outside), [""; 0], "{output}");
    assert!(output.stdout == "up\n" || !davit_only(), "it stays inside the root: {output}");
}

/// [Z3] the working directory of the image is a symlink to a directory of the host.
#[test]
fn cwd_symlink() {
    Test::control();
    let mut t = Test::new();
    let outside = t.dir.join("outside");
    std::fs::create_dir(&outside).unwrap();
    symlink(&outside, t.rootfs.join("wd")).unwrap();
    t.config.set("process.cwd", "/wd/new");
    t.sh("true");
    let output = t.run();
    assert_eq!(host::list(&outside), [""; 0], "{output}");
}

/// [Z2] [P4] [security R10] a working directory that is a descriptor of the runtime or of its caller.
#[test]
fn cwd_fd() {
    Test::control();
    for fd in 3..=14 {
        for up in ["", "/.."] {
            let mut t = Test::new();
            t.config.set("process.cwd", format!("/proc/self/fd/{fd}{up}"));
            t.sh("cat etc/machine-marker ../etc/machine-marker ../../../../../../etc/machine-marker 2>/dev/null; true");
            let cmd = t.bundle_cmd("run", &[]).shell("exec 7</ 9</sys/fs/cgroup; exec \"$@\"");
            let output = cmd.output();
            // The rootfs has no such file: what is read can come from the host alone.
            assert!(output.code != 0 || output.stdout.is_empty(), "fd {fd}{up}: {output}");
            assert!(output.code != 0 || up == "/..", "fd {fd}{up} was taken: {output}");
        }
    }
}

/// [Z2] [security R9] a program path through a descriptor that the caller leaks.
#[test]
fn args_fd() {
    Test::control();
    let mut t = Test::new();
    for fd in [3, 5, 7, 9] {
        for tail in ["/bin/dash", "/../../../../bin/dash", "/usr/bin/dash"] {
            t.args(&[&format!("/proc/self/fd/{fd}{tail}"), "-c", "echo host"]);
            let output = t.bundle_cmd("run", &[]).shell("exec 7</ 9</usr; exec \"$@\"").output();
            assert!(output.code == 1 && !output.stdout.contains("host"), "{output}");
            t.assert_clean();
        }
    }
}

/// [Z2] [F11] [security R9] descriptors that the caller leaks do not reach the program, whatever their numbers.
#[test]
fn leaked_fds() {
    let mut t = Test::new();
    t.sh("ls /proc/self/fd");
    let script = "exec 3</ 4</etc 9</dev/null; exec \"$@\"";
    // 3 is the directory that ls reads.
    assert_eq!(t.bundle_cmd("run", &[]).shell(script).output().ok(), "0\n1\n2\n3");
}

/// [Z2] the waiting init holds no directory of the host open that the container's processes could reach.
#[test]
fn waiting_init_holds_no_directory() {
    let t = Test::new();
    t.create().ok();
    for fd in host::list(format!("/proc/{}/fd", t.pid())) {
        let link = std::fs::read_link(format!("/proc/{}/fd/{fd}", t.pid())).unwrap_or_default();
        let directory =
            std::fs::metadata(format!("/proc/{}/fd/{fd}", t.pid())).is_ok_and(|meta| meta.is_dir());
        assert!(!directory || !davit_only(), "fd {fd} is {}", link.display());
    }
}

/// [Z9] [P8] [security R13] the caller's groups.
#[test]
fn supp_groups() {
    let mut t = Test::new();
    t.user_namespace();
    t.config.set("process.user", json!({ "uid": 1000, "gid": 1000 }));
    t.sh("id -G; grep Groups /proc/self/status");
    let out = t.bundle_cmd("run", &[]).wrap(["setpriv", "--groups", "4,6,24"]).output().ok();
    assert_eq!(out.lines().next(), Some("1000"), "{out}");
    assert_eq!(host::field(&out, "Groups"), "");
}

/// [security R19] the caller's environment does not leak in.
#[test]
fn env_leak() {
    let mut t = Test::docker();
    t.args(&["/bin/env"]);
    let cmd = t
        .bundle_cmd("run", &[])
        .env("SECRET_TOKEN", "s3cr3t")
        .env("LD_PRELOAD", "")
        .env("GOTRACEBACK", "all");
    let out = cmd.output().ok();
    let names: Vec<&str> = out.lines().filter_map(|line| line.split('=').next()).collect();
    let known = ["PATH", "HOSTNAME", "HOME"];
    assert!(names.contains(&"PATH") && names.iter().all(|name| known.contains(name)), "{out}");
}

/// [Z5] [R10] a /dev/null of the image that is none: never the source of a mask.
#[test]
fn devnull_mask() {
    only_davit!(); // runc before 1.2.8 binds what it finds: CVE-2025-31133
    let core = || std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let before = core();
    Test::control();
    for kind in ["symlink", "file", "fifo", "zero", "missing"] {
        let mut t = Test::new();
        t.config.unmount("/dev").set("linux.maskedPaths", json!(["/secret"]));
        t.file("secret", "secret");
        let null = t.rootfs.join("dev/null");
        let path = null.to_str().unwrap();
        match kind {
            "symlink" => symlink("/proc/sys/kernel/core_pattern", &null).unwrap(),
            "file" => std::fs::write(&null, "not null").unwrap(),
            "fifo" => drop(Cmd::new(&t.dir, ["mkfifo", path]).output().ok()),
            "zero" => drop(Cmd::new(&t.dir, ["mknod", path, "c", "1", "5"]).output().ok()),
            _ => {}
        }
        t.sh("stat -c %t:%T /secret; cat /secret | head -c 20");
        let output = t.run();
        // Refused, or masked by a true null device.
        let masked = output.code == 0 && output.stdout == "1:3\n";
        assert!(masked || output.code == 1, "{kind}: {output}");
        assert!(!output.stdout.contains("secret"), "{kind}: {output}");
        if output.code == 1 {
            t.assert_clean();
        }
        assert_eq!(core(), before);
    }
}

/// [F16] [security R8] a regular /dev/null of the image does not capture the output.
#[test]
fn devnull_stdio() {
    only_davit!(); // runc 1.1 writes to it
    Test::control();
    let mut t = Test::new();
    t.config.unmount("/dev").remove("linux.maskedPaths");
    let null = t.file("dev/null", "");
    t.sh("echo captured");
    let output = t.bundle_cmd("run", &[]).shell("\"$@\" 2>&1 | /bin/cat").output();
    assert!(!std::fs::read_to_string(&null).unwrap().contains("captured"), "{output}");
}

/// [Z14] [security R17] ids are checked before anything is done with them.
#[test]
fn id_validation() {
    let t = Test::new();
    t.write();
    let bundle = t.bundle.to_str().unwrap();
    let long = "x".repeat(2000);
    for id in ["../x", "a/b", "..", ".", "", "a/../../x", &long, "a\nb", "a b", "ü", "-"] {
        let output = t.rt(&["create", "--bundle", bundle, "--", id]);
        if id == "-" {
            t.rt(&["delete", "--force", "--", id]);
            continue; // an allowed character
        }
        assert!(output.code == 1, "{id:?}: {output}");
        t.assert_clean();
    }
}

/// [T11] [security R16] sysctls of the host, by every spelling.
#[test]
fn sysctl_host() {
    Test::control();
    let core = || std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let before = core();
    for key in [
        "kernel.core_pattern",
        "kernel/core_pattern",
        "kernel.shm_rmid_forced/../core_pattern",
        "kernel.shm_rmid_forced/../../kernel/core_pattern",
        "../sys/kernel/core_pattern",
        "net.ipv4/../../kernel/core_pattern",
        "net//..//kernel/core_pattern",
        "fs.mqueue.../../kernel/core_pattern",
        "vm.overcommit_memory",
    ] {
        let mut t = Test::new();
        t.config.set("linux.sysctl", json!({ key: "evil" }));
        t.sh("true");
        t.run().code(1);
        assert_eq!(core(), before, "{key}");
        t.assert_clean();
    }
}

/// [R10] [R11] masks with duplicates, `..` and missing paths; /proc/sys stays read-only.
#[test]
fn ro_masked() {
    let mut t = Test::new();
    t.file("secret", "secret");
    t.config.set(
        "linux.maskedPaths",
        json!(["/secret", "/tmp/../secret", "/secret", "/nothere", "/nothere/deeper"]),
    );
    let out = t.out("cat /secret; (echo 1 > /proc/sys/vm/swappiness) 2>&1; (echo 1 > /proc/sys/kernel/hostname) 2>&1; true");
    assert_eq!(out.matches("Read-only file system").count(), 2, "{out}");
    assert!(!out.contains("secret"), "{out}");
}

/// [R10] a masked path that is a symlink of the image to a file of the host.
#[test]
fn masked_symlink() {
    Test::control();
    let mut t = Test::new();
    let outside = t.dir.join("outside");
    std::fs::write(&outside, "host").unwrap();
    symlink(format!("../../../../../../..{}", outside.display()), t.rootfs.join("link")).unwrap();
    t.config
        .set("linux.maskedPaths", json!(["/link"]))
        .set("linux.readonlyPaths", json!(["/link", "/link/x"]));
    t.sh("true");
    t.run();
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "host");
    assert!(std::fs::write(&outside, "still writable").is_ok());
}

/// [Z1] [P28] /proc/1/exe of a container can't be opened for writing, before or after start.
#[test]
fn self_exe() {
    Test::control();
    let before = std::fs::metadata(runtime()).unwrap().len();
    let mut t = Test::new();
    t.args(&["/proc/self/exe", "-c", "true"]);
    // The runtime as the program: whatever it does, the host's binary must not be writable through it.
    t.run();
    let mut t = Test::new();
    t.sh("sleep 30");
    t.create().ok();
    let exe = format!("/proc/{}/exe", t.pid());
    let opened = std::fs::OpenOptions::new().append(true).open(&exe);
    assert!(opened.is_err(), "the waiting init's binary is writable");
    assert_eq!(std::fs::metadata(runtime()).unwrap().len(), before);
}

/// [Z1] the binary that the waiting init runs is not the host's, or is on a read-only mount.
#[test]
fn waiting_init_runs_a_clone() {
    only_davit!();
    let t = Test::new();
    t.create().ok();
    let pid = t.pid();
    let link = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    // Reopened by its path in the container's own view, as the exploit does once the text is not busy.
    let fd = std::fs::File::open(format!("/proc/{pid}/exe")).unwrap();
    let stat = rustix::fs::fstatvfs(&fd).unwrap();
    let memory = link.to_string_lossy().contains("memfd:");
    assert!(memory || stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY), "{}", link.display());
}

/// [Z11] [security R12] the waiting init can't be traced or looked into by the container's user.
#[test]
fn waiting_init_is_not_dumpable() {
    only_davit!();
    let t = Test::new();
    t.create().ok();
    // Files of a process that is not dumpable belong to root, whatever the process's ids; its own uid is 0 here,
    // so that the sign is that `/proc/PID/auxv` refuses a process with the same ids but no CAP_SYS_PTRACE.
    let path = format!("/proc/{}/environ", t.pid());
    let cmd = Cmd::new(&t.dir, ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "cat", &path]);
    let output = cmd.output();
    assert!(output.code != 0, "{output}");
}

/// [Z12] [security R20] strings of absurd length give an error or work, in time, without a panic.
#[test]
fn long_strings() {
    Test::control();
    let cases: [fn(&mut Config) -> &mut Config; 5] = [
        |c| c.join("network", &format!("/{}", "x".repeat(70_000))),
        |c| c.push("process.env", format!("A={}", "x".repeat(120_000))),
        |c| c.mount(&format!("/{}", "d".repeat(5000)), "tmpfs", "tmpfs", &[]),
        |c| c.set("hostname", "h".repeat(300)),
        |c| c.set("process.cwd", format!("/{}", "w".repeat(300))),
    ];
    for change in cases {
        let mut t = Test::new();
        change(&mut t.config);
        t.sh("true");
        let output = t.run();
        assert!(output.code <= 1, "{}", output.code);
        assert!(!output.stderr.contains("panic"), "{output}");
        if output.code == 1 {
            assert!(output.stderr.len() < 200_000);
            t.assert_clean();
        }
    }
}

/// [security R23] the container has no controlling terminal of the caller's.
#[test]
fn no_controlling_terminal() {
    let mut t = Test::new();
    let out = t.out("cut -d' ' -f7 /proc/self/stat; (: < /dev/tty) 2>&1; true");
    assert!(out.starts_with("0\n") && out.contains("No such device or address"), "{out}");
}

/// [security R12] nothing of a start appears in the host's mount table.
#[test]
fn no_mount_on_the_host() {
    let mut t = Test::docker();
    t.sh("sleep 30");
    t.detach();
    assert_eq!(t.status(), "running");
    assert_eq!(host::mounts(&t.dir), [""; 0]);
}

/// [S24] a container that ends leaves nothing: the control that the harness's own check can fail.
#[test]
fn leftovers_are_seen() {
    let mut t = Test::new();
    t.sh("sleep 30");
    t.detach();
    let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| t.assert_clean()));
    let text = *seen.unwrap_err().downcast::<String>().unwrap();
    for word in ["process", "cgroup", "state directory", "pid file"] {
        assert!(text.contains(word), "no {word} in {text}");
    }
}
