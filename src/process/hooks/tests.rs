//! Hooks as ordinary programs of the test's user.

use super::*;
use oci_spec::runtime::HookBuilder;
use std::time::Instant;

fn hook(args: &[&str]) -> Hook {
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    HookBuilder::default().path("/bin/sh").args(args).build().expect("hook")
}

fn sh(script: &str) -> Hook {
    hook(&["sh", "-c", script])
}

fn text(hook: &Hook) -> String {
    run(hook, &Setting::runtime(b"{}", Path::new("/"))).expect_err("fails").to_string()
}

/// [H14] [H18] The error says how it ended and what it said.
#[test]
fn a_failing_hook_is_quoted() {
    assert_eq!(text(&sh("exit 1")), "exit status 1, stdout: , stderr: ");
    assert_eq!(text(&sh("echo a; echo b; echo c >&2; exit 3")), "exit status 3, stdout: a; b, stderr: c");
    assert_eq!(text(&sh("kill -9 $$")), "signal: killed, stdout: , stderr: ");
    assert_eq!(text(&sh("kill -SYS $$")), "signal: bad system call, stdout: , stderr: ");
    let error =
        run_all("createRuntime", &[sh("true"), sh("exit 2")], &Setting::runtime(b"{}", Path::new("/")));
    let expected = "error running createRuntime hook #1: exit status 2, stdout: , stderr: ";
    assert_eq!(error.expect_err("fails").to_string(), expected);
}

/// [H2] No search in PATH, and the path is named when it is not there.
#[test]
fn the_path_is_absolute() {
    let relative = HookBuilder::default().path("sh").build().expect("hook");
    assert_eq!(text(&relative), "hook path sh is not absolute");
    let missing = HookBuilder::default().path("/no/such").build().expect("hook");
    assert_eq!(text(&missing), "exec /no/such: no such file or directory");
}

/// [H3] [H4] args[0] is the name as given; env is exactly what is given, or the runtime's own.
#[test]
fn args_and_env_are_as_given() {
    run(&hook(&["a name", "-c", "test \"$0\" = 'a name'"]), &Setting::runtime(b"{}", Path::new("/")))
        .expect("argv[0]");
    let mut with_env = sh("test \"$A\" = 1=2 && test -z \"$HOME\"");
    with_env.set_env(Some(vec!["A=1=2".into()]));
    run(&with_env, &Setting::runtime(b"{}", Path::new("/"))).expect("only its own");
    let path = std::env::var("PATH").expect("a path");
    run(&sh(&format!("test \"$PATH\" = {path:?}")), &Setting::runtime(b"{}", Path::new("/")))
        .expect("inherited");
    run(&sh("test \"$PWD\" = /proc"), &Setting::runtime(b"{}", Path::new("/proc"))).expect("cwd");
    run(&sh("test \"$PWD\" = /"), &Setting::runtime(b"{}", Path::new("/no/such/bundle")))
        .expect("bundle gone");
}

/// [H5] Killed when the time is over; zero is no time.
#[test]
fn a_slow_hook_is_killed() {
    let mut slow = sh("exec sleep 60");
    slow.set_timeout(Some(1));
    let start = Instant::now();
    assert_eq!(text(&slow), "hook ran past specified timeout of 1.0s");
    assert!(start.elapsed() < Duration::from_secs(5));
    let mut patient = sh("true");
    patient.set_timeout(Some(i64::MAX));
    run(&patient, &Setting::runtime(b"{}", Path::new("/"))).expect("no clock gets there");
    slow.set_timeout(Some(0));
    assert_eq!(text(&slow), "hook timeout must be greater than zero");
}

/// [H6] The whole state arrives, larger than a pipe too; a hook that does not read it is fine.
#[test]
fn the_state_is_on_stdin() {
    let large = vec![b'x'; 300_000];
    run(&sh("test $(wc -c) = 300000"), &Setting::runtime(&large, Path::new("/"))).expect("all of it");
    run(&sh("exec <&-; sleep 0.05"), &Setting::runtime(&large, Path::new("/"))).expect("not read");
    run(&sh("true"), &Setting::runtime(&large, Path::new("/"))).expect("not read");
    run(&sh("test \"$(cat)\" = ''"), &Setting::runtime(b"", Path::new("/"))).expect("empty");
}

/// [H18] Much output does not block the hook, and the error stays short.
#[test]
fn much_output_is_cut() {
    let text = text(&sh("head -c 500000 /dev/zero | tr '\\0' y; exit 1"));
    assert_eq!(text.matches('y').count(), OUTPUT_LIMIT);
}

/// A background process with the hook's pipes does not hold the runtime up.
#[test]
fn a_background_process_is_not_waited_for() {
    let start = Instant::now();
    run(&sh("sleep 3 & exit 0"), &Setting::runtime(b"{}", Path::new("/"))).expect("ended");
    assert!(start.elapsed() < Duration::from_secs(2));
}

/// [Z16] A hook gets stdio and nothing else, whatever the runtime was given.
#[test]
fn no_descriptor_leaks() {
    let file = std::fs::File::open("/dev/null").expect("open");
    let leaked = rustix::io::fcntl_dupfd_cloexec(&file, 50).expect("dup");
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).expect("inheritable");
    run(&sh("test ! -e /proc/self/fd/50"), &Setting::runtime(b"{}", Path::new("/"))).expect("closed");
}

/// [H1] In listed order, up to the first that fails.
#[test]
fn hooks_run_in_order() {
    let file = std::env::temp_dir().join(format!("davit-hooks-{}", std::process::id()));
    let append = |word: &str| sh(&format!("echo {word} >> {}", file.display()));
    let hooks = [append("one"), append("two"), sh("exit 1"), append("three")];
    run_all("poststart", &hooks, &Setting::runtime(b"{}", Path::new("/"))).expect_err("the third");
    let said = std::fs::read_to_string(&file).expect("read");
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(said, "one\ntwo\n");
}
