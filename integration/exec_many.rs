//! Many execs, short ones, and ends at the wrong moment: none is lost, nothing is left, nothing hangs.

use crate::support::run::Running;
use crate::support::*;
use rustix::process::Signal;

/// How many at once: 50, or $DAVIT_TEST_EXECS.
fn count() -> usize {
    std::env::var("DAVIT_TEST_EXECS").ok().and_then(|text| text.parse().ok()).unwrap_or(50)
}

/// Nobody but init is left in the container.
#[track_caller]
fn assert_alone(t: &Test) {
    host::wait_until("all others' end", || cgroup::pids(&t.cgroup) == [t.pid()]);
}

/// [S27] [S37] All at once, each with its own exit code and output.
#[test]
fn at_once() {
    let mut t = Test::new();
    t.config.remove("linux.resources.pids");
    t.sleeper();
    let running: Vec<_> = (0..count())
        .map(|n| t.exec_cmd(&[], &["sh", "-c", &format!("echo {n}; exit {}", n % 200)]).spawn())
        .collect();
    for (n, running) in running.into_iter().enumerate() {
        let output = running.wait().code(i32::try_from(n % 200).unwrap());
        assert_eq!((output.stdout, output.stderr), (format!("{n}\n"), String::new()));
    }
    assert_alone(&t);
}

/// [reliability R14] Programs that end at once; no exit is lost.
#[test]
fn quick_ones() {
    let mut t = Test::new();
    t.sleeper();
    for n in 0..count() {
        t.exec_cmd(&[], &[if n % 2 == 0 { "true" } else { "false" }]).output().code(i32::from(n % 2 == 1));
    }
    assert_alone(&t);
}

/// [reliability R14] What the program leaves in the background keeps nobody.
#[test]
fn a_child_in_the_background() {
    let mut t = Test::new();
    t.sleeper();
    let begin = std::time::Instant::now();
    t.exec(&[], "sleep 55 >/dev/null 2>&1 & exit 4").code(4);
    t.exec(&[], "(setsid sleep 55 &) ; exit 0").ok();
    assert!(begin.elapsed().as_secs() < 50);
    assert_eq!(cgroup::pids(&t.cgroup).len(), 3);
}

/// [S41] The caller dies in the middle, at many points: the program runs or it does not, nothing else is left.
#[test]
fn killed_anywhere() {
    only_davit!();
    let mut t = Test::new();
    t.sleeper();
    let file = t.path("exec.pid");
    let cmd = || t.exec_cmd(&["--pid-file", &file], &["true"]);
    let total = trace::kill_at(cmd(), 0);
    for n in 0..25 {
        trace::kill_at(cmd(), 1 + n * (total - 1) / 24);
        assert_alone(&t);
    }
    let left = host::list(&t.dir).into_iter().filter(|name| name.starts_with(".exec.pid")).count();
    assert!(left <= 1, "one temporary file at most, which the next one replaces");
    cmd().output().ok();
    assert!(!host::list(&t.dir).iter().any(|name| name.starts_with(".exec.pid")));
}

/// An exec that waits for its program, which runs.
fn foreground(t: &Test) -> Running {
    let running = t.exec_cmd(&[], &["sh", "-c", "echo up; exec sleep 600"]).spawn();
    host::wait_until("up", || running.stdout() == "up\n");
    running
}

/// [S35] [S27] The program of a runtime that is killed in the foreground goes on, as with runc; delete ends it.
#[test]
fn the_runtime_is_killed_meanwhile() {
    let mut t = Test::new();
    t.sleeper();
    let running = foreground(&t);
    running.kill(Signal::KILL);
    running.wait().code(137);
    assert_eq!(cgroup::pids(&t.cgroup).len(), 2);
    t.verb(&["delete", "--force"]).ok();
    t.assert_clean_but_pid_file();
}

/// [S26] [S27] Init ends meanwhile: its pid namespace takes all others along, and exec says 137.
#[test]
fn init_ends_meanwhile() {
    let mut t = Test::new();
    t.sleeper();
    let running = foreground(&t);
    t.rt(&["kill", &t.id, "KILL"]).ok();
    running.wait().code(137);
    t.wait_status("stopped");
}

/// [S37] exec while the container is being deleted: a clean answer, no hang, nothing left.
#[test]
fn while_it_is_deleted() {
    only_davit!();
    for _ in 0..4 {
        let mut t = Test::new();
        t.sleeper();
        let mut running: Vec<_> = (0..6).map(|_| t.exec_cmd(&[], &["sleep", "600"]).spawn()).collect();
        let delete = t.cmd(&["delete", "--force", &t.id]).spawn();
        running.extend((0..4).map(|_| t.exec_cmd(&[], &["sleep", "600"]).spawn()));
        delete.wait().ok();
        for running in running {
            let output = running.wait();
            assert!(matches!(output.code, 137 | 255), "{output}");
            assert!(output.code == 137 || output.stderr.contains("exec failed: "), "{output}");
            assert!(!output.stderr.contains("panicked"), "{output}");
        }
        t.assert_clean_but_pid_file();
    }
}
