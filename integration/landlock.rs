//! Landlock by the annotation `org.davit.landlock` (row W1), and core scheduling by `org.davit.core-scheduling` (W2).

use crate::support::*;

const LANDLOCK: &str = "org.davit.landlock";

/// A container with this annotation.
fn with(annotation: &Value) -> Test {
    let mut t = Test::new();
    let text = annotation.as_str().map_or_else(|| annotation.to_string(), str::to_owned);
    t.config.set("annotations", json!({ LANDLOCK: text }));
    t
}

/// Landlock's ABI here, as the kernel tells it; 0 for none.
fn abi() -> i64 {
    let script = "import ctypes; print(ctypes.CDLL(None).syscall(444, None, 0, 1))";
    let output = Cmd::new(&std::env::temp_dir(), ["python3", "-c", script]).output();
    output.stdout.trim().parse().unwrap_or(0).max(0)
}

macro_rules! landlock {
    ($abi:literal) => {
        only_davit!();
        need!(abi() >= $abi, "Landlock is not active here, or too old");
    };
}

/// `true` for what succeeds, else the kernel's "no".
fn allowed(t: &mut Test, script: &str) -> bool {
    let out = t.out(&format!("out=$( ({script}) 2>&1 ) && echo yes || echo \"no $out\""));
    assert!(out == "yes" || out.to_lowercase().contains("permission denied"), "{script}: {out}");
    out == "yes"
}

/// [W1] Files: what is not allowed is refused, beneath directories and for single files, to root as well; with and without
/// no_new_privs.
#[test]
fn files() {
    landlock!(1);
    for no_new_privileges in [true, false] {
        let mut t =
            with(&json!({"mode": "best-effort", "read": ["/bin", "/etc/open", "/dev"], "execute": ["/bin"],
            "write": ["/tmp", "/dev"]}));
        t.config.set("process.noNewPrivileges", no_new_privileges);
        std::fs::create_dir_all(t.rootfs.join("etc")).unwrap();
        std::fs::create_dir_all(t.rootfs.join("tmp")).unwrap();
        for (name, content) in [("etc/open", "open\n"), ("etc/shut", "shut\n"), ("tmp/in", "in\n")] {
            std::fs::write(t.rootfs.join(name), content).unwrap();
        }
        host::copy_program("/bin/busybox", t.rootfs.join("tmp/busybox"));
        for (script, expected) in [
            ("cat /etc/open", true),
            ("cat /etc/shut", false),
            ("ls /etc", false),
            ("ls /bin", true),
            ("cat /tmp/in", false),
            ("echo x >/tmp/new", true),
            ("mkdir /tmp/dir && mv /tmp/dir /tmp/dir2 && rmdir /tmp/dir2", true),
            ("echo x >/etc/open", false),
            ("echo x >/etc/new", false),
            ("echo x >/dev/null", true),
            ("/tmp/busybox true", false),
            ("/bin/busybox true", true),
        ] {
            assert_eq!(allowed(&mut t, script), expected, "{script}");
        }
        t.assert_clean();
    }
}

/// [W1] A further process is restricted as init is; HOME and the user's name are found all the same.
#[test]
fn exec_is_restricted() {
    landlock!(1);
    let mut t = with(&json!({"mode": "best-effort", "read": ["/bin"], "execute": ["/bin"]}));
    std::fs::create_dir_all(t.rootfs.join("etc")).unwrap();
    std::fs::write(t.rootfs.join("etc/passwd"), "root:x:0:0:root:/the-home:/bin/sh\n").unwrap();
    t.config.set("process.env", json!(["PATH=/bin"]));
    t.sleeper();
    let home = t.exec(&[], "echo $HOME").ok();
    assert_eq!(home, "/the-home");
    let out = t.exec(&[], "cat /etc/passwd 2>&1; true").ok();
    assert!(out.to_lowercase().contains("permission denied"), "{out}");
    t.rt(&["delete", "--force", &t.id]).ok();
    t.assert_clean_but_pid_file();
}

/// [W1] TCP ports: to listen on, to connect to.
#[test]
fn ports() {
    landlock!(4);
    let mut t = with(&json!({"bind": [8080], "connect": [8081]}));
    t.config.namespace("network");
    let mut said = |script: &str| t.out(&format!("{script} 2>&1; true")).to_lowercase();
    for (port, denied) in [(8080, false), (8090, true)] {
        let out = said(&format!("timeout 1 /bin/busybox nc -l -p {port} </dev/null"));
        assert_eq!(out.contains("permission denied"), denied, "bind {port}: {out}");
    }
    for (port, answer) in [(8081, "refused"), (8080, "permission denied")] {
        let out = said(&format!("/bin/busybox nc -w 1 127.0.0.1 {port} </dev/null"));
        assert!(out.contains(answer), "connect {port}: {out}");
    }
    t.assert_clean();
}

/// [W1] Signals stay among the container's own processes even in the host's pid namespace.
#[test]
fn scope() {
    landlock!(6);
    let mut t = with(&json!({"scope": ["signal"]}));
    t.config.leave("pid");
    let outside = std::process::id();
    let out = t.out(&format!("kill -0 {outside} 2>&1; sleep 9 & kill $! && echo own"));
    assert!(out.contains("not permitted") && out.ends_with("own"), "{out}");
    t.assert_clean();
}

/// [W1] `validate` and `plan` tell it.
#[test]
fn told() {
    landlock!(1);
    let t = with(&json!({"read": ["/bin"]}));
    t.write();
    let plan = t.cmd(&["plan", "--bundle", t.bundle.to_str().unwrap()]).output().ok();
    assert!(plan.contains("restrict by Landlock") && plan.contains("read of /bin"), "{plan}");
    let wrong = with(&json!({"reed": []}));
    wrong.write();
    let output = wrong.cmd(&["validate", "--bundle", wrong.bundle.to_str().unwrap()]).output().code(1);
    assert!(
        output.stdout.contains("annotations[\"org.davit.landlock\"]: unknown member \"reed\""),
        "{output}"
    );
}

/// [W1] Bad input: one line with the place, and nothing is left.
#[test]
fn faults() {
    only_davit!();
    for (annotation, text) in [
        (json!("{"), "annotations[\"org.davit.landlock\"]: EOF while parsing"),
        (json!([]), "annotations[\"org.davit.landlock\"]: must be a JSON object"),
        (
            json!({"read": ["tmp"]}),
            "annotations[\"org.davit.landlock\"].read[0]: \"tmp\" must be an absolute path",
        ),
        (json!({"bind": [70000]}), "annotations[\"org.davit.landlock\"].bind[0]: 70000 is no TCP port"),
        (
            json!({"mode": "maybe"}),
            "annotations[\"org.davit.landlock\"].mode: must be \"required\" or \"best-effort\"",
        ),
    ] {
        let mut t = with(&annotation);
        t.sh("true");
        t.run().fails(1, text);
        t.assert_clean();
    }
    need!(abi() >= 1, "Landlock is not active here");
    let mut t = with(&json!({"read": ["/bin", "/nothere"], "execute": ["/bin"]}));
    t.sh("true");
    t.run()
        .fails(1, "annotations[\"org.davit.landlock\"].read[1]: /nothere: open: no such file or directory");
    t.assert_clean();
    let absent = json!(["/bin", "/nothere", "/bin/busybox/nothere"]);
    let mut t = with(&json!({"mode": "best-effort", "read": absent, "execute": ["/bin"]}));
    assert_eq!(t.out("echo in"), "in");
    let mut t = with(&json!({"read": ["/"], "execute": []}));
    t.sh("true");
    t.run().fails(1, "not among execute of org.davit.landlock");
    t.assert_clean();
}

/// [W1] A kernel without Landlock: required is an error before anything is made, best effort a warning. The kernel's answer
/// is strace's.
#[test]
fn kernels_without() {
    only_davit!();
    need!(std::path::Path::new("/usr/bin/strace").exists(), "strace is not installed");
    let strace = |t: &Test| {
        let trace = t.path("trace");
        let inject = "inject=landlock_create_ruleset:error=ENOSYS";
        let options =
            ["strace", "-D", "-f", "-q", "-o", &trace, "-e", "trace=landlock_create_ruleset", "-e", inject];
        t.bundle_cmd("run", &[]).wrap(options).output()
    };
    let mut t = with(&json!({"read": ["/"]}));
    t.sh("true");
    strace(&t).fails(1, "annotations[\"org.davit.landlock\"].read: this kernel has no Landlock");
    t.assert_clean();
    let mut t = with(&json!({"mode": "best-effort", "read": []}));
    t.sh("echo in");
    let output = strace(&t).code(0);
    assert_eq!(output.stdout, "in\n");
    output.says("this kernel has no Landlock, or not among its active modules (lsm=); left out");
    t.assert_clean();
}

/// [W2] Core scheduling: the kernel's and the machine's answer, or a cookie that exec shares.
#[test]
fn core_scheduling() {
    only_davit!();
    let of = |wanted: &str| {
        let mut t = Test::new();
        t.config.set("annotations", json!({ "org.davit.core-scheduling": wanted }));
        t.sh("echo in");
        t
    };
    let t = of("on");
    t.run().fails(
        1,
        "annotations[\"org.davit.core-scheduling\"]: \"on\" is not \"required\" or \"best-effort\"",
    );
    let t = of("required");
    let output = t.run();
    if output.code == 0 {
        let mut t = of("required");
        t.sleeper();
        let cookie = |pid: i32| {
            let script = format!(
                "import ctypes; c=ctypes.c_uint64(); assert not ctypes.CDLL(None).prctl(62,0,{pid},0,ctypes.byref(c)); print(c.value)"
            );
            Cmd::new(&t.dir, ["python3", "-c", &script]).output().ok()
        };
        let init = cookie(t.pid());
        assert_ne!(init, "0");
        let exec = t.exec_cmd(&["--detach", "--pid-file", &t.path("pid")], &["/bin/sleep", "99"]).output();
        exec.ok();
        let pid = std::fs::read_to_string(t.path("pid")).unwrap().trim().parse().unwrap();
        assert_eq!(cookie(pid), init);
        t.rt(&["delete", "--force", &t.id]).ok();
        return t.assert_clean_but_pid_file();
    }
    output.fails(1, "annotations[\"org.davit.core-scheduling\"]: ");
    t.assert_clean();
    let t = of("best-effort");
    let output = t.run().code(0);
    assert_eq!(output.stdout, "in\n");
    output.says("; left out");
    t.assert_clean();
}
