//! `exec` under the eyes of a hostile container (security.md R9 to R12).

use crate::support::*;

/// Looks at every process of the container again and again, until /tmp/stop is there, and writes down what it finds of the
/// host: through the root, the working directory, any directory that is open, the environment. Directories are told apart from
/// its own by what is in them: `$1` is the test's directory, `$2` a pid of the host. `SEEN` is a process of the runtime that it could look at.
const WATCHER: &str = r#"
r=root
while [ ! -e /tmp/stop ]; do
    for p in /proc/[0-9]*; do
        [ $p = /proc/1 ] && continue
        [ $p = /proc/$$ ] && continue
        read comm < $p/comm
        case $comm in davit*) [ -e $p/$r/bin/sh ] && echo SEEN ;; esac
        [ -e $p/$r/$1/marker ] && echo "HOST root $comm"
        [ -e $p/cwd/marker ] && echo "HOST cwd $comm"
        for f in $p/fd/*; do
            [ -e $f/marker ] && echo "HOST fd $f"
            [ -e $f/$1/marker ] && echo "HOST fd $f"
            [ -e $f/state.json ] && echo "HOST state $f"
            [ -e $f/$2/ns ] && echo "HOST proc $f"
            [ -e $f/cgroup.procs ] && echo "HOST cgroup $f"
        done
        line=
        read line < $p/environ
        case $line in *CALLERS_SECRET*) echo "HOST environment" ;; esac
    done
done 2>/dev/null
"#;

/// Execs under a watcher with these capabilities; what it wrote.
fn watched(caps: &[&str], rounds: usize) -> String {
    let mut t = Test::new();
    t.config.caps(caps);
    std::fs::write(t.dir.join("marker"), "").unwrap();
    let dir = t.dir.to_str().unwrap().trim_start_matches('/').to_string();
    t.args(&[
        "/bin/sh",
        "-c",
        "sh -c \"$0\" sh $1 $2 >/tmp/found & sh -c \"$0\" sh $1 $2 >/tmp/found2 & exec sleep 1000",
        WATCHER,
        &dir,
        &std::process::id().to_string(),
    ]);
    t.detach();
    let found = || {
        let read = |name: &str| std::fs::read_to_string(t.rootfs.join("tmp").join(name)).unwrap_or_default();
        read("found") + &read("found2")
    };
    for round in 0..rounds {
        let cmd = t.exec_cmd(&[], &["/bin/true"]).cwd(&t.dir);
        cmd.only_env(&[("CALLERS_SECRET", "x"), ("PATH", "/bin")]).output().ok();
        if round >= rounds / 4 && found().matches("SEEN").count() > 20 {
            break;
        }
    }
    std::fs::write(t.rootfs.join("tmp/stop"), "").unwrap();
    host::wait_until("the watchers' end", || cgroup::pids(&t.cgroup).len() == 1);
    found()
}

/// [Z11] [Z2] With CAP_SYS_PTRACE the kernel lets a container look into whoever joins it, dumpable or not: there is nothing of
/// the host to be seen.
#[test]
fn a_tracer_finds_nothing_of_the_host() {
    let found = watched(&["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_DAC_OVERRIDE"], 400);
    assert!(!found.contains("HOST"), "{found}");
    need!(found.contains("SEEN") || !davit_only(), "the watcher never saw a process of the runtime");
}

/// [Z11] Without it nobody can look at all.
#[test]
fn others_cannot_look() {
    only_davit!();
    let found = watched(&["CAP_KILL"], 60);
    // By the time it looks, who was seen may be the program already.
    assert!(!found.contains("HOST"), "{found}");
}

/// [Z1] [P28] The file behind /proc/PID/exe of who joins is not the host's, and can't be written.
#[test]
fn the_runtimes_file_is_out_of_reach() {
    only_davit!();
    let mut t = Test::new();
    let caps = ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_DAC_OVERRIDE"];
    t.config.caps(&caps);
    // Opens before it looks: what it could open it can also write later.
    let watcher = r#"
while [ ! -e /tmp/stop ]; do
    for p in /proc/[0-9]*; do
        read comm < $p/comm
        case $comm in davit*) echo SEEN; (exec 9>>$p/exe) && echo WRITABLE; esac
    done
done 2>/dev/null"#;
    t.args(&["/bin/sh", "-c", "sh -c \"$0\" >/tmp/found & exec sleep 1000", watcher]).detach();
    let evil = t.file("evil", "#!/proc/self/exe\n");
    std::fs::set_permissions(evil, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let before = std::fs::read(runtime()).unwrap();
    for _ in 0..60 {
        t.exec_cmd(&[], &["/bin/true"]).output().ok();
        // The interpreter is whatever runs at that time: a davit without arguments, its help.
        t.exec_cmd(&[], &["/evil"]).output();
    }
    std::fs::write(t.rootfs.join("tmp/stop"), "").unwrap();
    host::wait_until("the watcher's end", || cgroup::pids(&t.cgroup).len() == 1);
    let found = std::fs::read_to_string(t.rootfs.join("tmp/found")).unwrap();
    assert!(!found.contains("WRITABLE"), "{found}");
    assert!(std::fs::read(runtime()).unwrap() == before, "the binary has changed");
}

/// [Z2] [P4] CVE-2024-21626: no descriptor of the runtime leads out, as a working directory or as the program.
#[test]
fn no_descriptor_leads_out() {
    let mut t = Test::new();
    std::fs::write(t.dir.join("marker"), "").unwrap();
    t.sleeper();
    let leak = format!("exec 3<{} 4</ 5</sys/fs/cgroup; exec \"$@\"", t.dir.display());
    for number in 3..24 {
        for end in ["", "/..", "/../../../.."] {
            let path = format!("/proc/self/fd/{number}{end}");
            let cmd =
                t.exec_cmd(&["--cwd", &path], &["sh", "-c", "ls marker; ls etc/hostname; pwd"]).shell(&leak);
            let output = cmd.output();
            assert!(!output.stdout.contains("marker") && !output.stdout.contains("etc/"), "{path}: {output}");
            let program = format!("{path}/bin/sh");
            let output = t.exec_cmd(&[], &[&program, "-c", "echo ran"]).shell(&leak).output();
            assert_eq!((output.code, output.stdout.as_str()), (255, ""), "{program}: {output}");
        }
    }
}

/// [Z7] [L5] What is written for the security modules and the OOM score goes by the host's /proc, whatever the container has put
/// over its own.
#[test]
fn a_fake_proc_catches_nothing() {
    let mut t = Test::new();
    t.config
        .caps(&["CAP_SYS_ADMIN"])
        .set("linux.readonlyPaths", json!([]))
        .set("linux.maskedPaths", json!([]));
    t.config.set("process.oomScoreAdj", 77);
    t.sh("mkdir /tmp/fake; mount -t tmpfs fake /proc; mkdir -p /proc/self/attr/apparmor /proc/self/fd; \
          echo >/proc/self/oom_score_adj; echo >/proc/self/attr/exec; echo >/proc/self/attr/apparmor/exec; \
          touch /tmp/ready; exec sleep 1000");
    t.detach();
    host::wait_until("the fake", || t.rootfs.join("tmp/ready").exists());
    let file = t.path("exec.pid");
    t.exec_cmd(&["-d", "--pid-file", &file], &["sleep", "500"]).output().ok();
    let pid = std::fs::read_to_string(&file).unwrap();
    assert_eq!(std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap(), "77\n");
    assert_eq!(t.exec(&[], "cat /proc/self/oom_score_adj /proc/self/attr/exec").code(0).stdout, "\n\n");
}
