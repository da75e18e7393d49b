//! SIGKILL of the runtime at its N-th system call: `delete --force` clears what is left, and the id is free.

use crate::support::terminal::ConsoleSocket;
use crate::support::*;
use std::time::Duration;

/// Points from 1 to `total`, at most `count`, spread evenly.
fn points(total: usize, count: usize) -> impl Iterator<Item = usize> {
    let count = count.min(total);
    (0..count).map(move |n| 1 + n * (total - 1) / (count - 1).max(1))
}

/// Kills a verb at `count` points. `prepare` brings the container to where the verb starts; when it is not killed
/// it ends in `status`, or with no container.
fn kill_everywhere(count: usize, words: &[&str], status: Option<&str>, prepare: impl Fn(&Test)) {
    kill_everywhere_of(Test::docker(), count, words, status, prepare);
}

fn kill_everywhere_of(
    mut t: Test,
    count: usize,
    words: &[&str],
    status: Option<&str>,
    prepare: impl Fn(&Test),
) {
    only_davit!(); // runc and crun leave cgroups and processes behind (runc #4534)
    t.sh("exec sleep 30");
    t.write();
    let words: Vec<&str> = words.iter().copied().chain([t.id.as_str()]).collect();
    prepare(&t);
    let total = trace::kill_at(t.cmd(&words), 0);
    match status {
        Some(status) => assert_eq!(t.status(), status),
        None => drop(t.verb(&["state"]).fails(1, "does not exist")),
    }
    t.verb(&["delete", "--force"]).ok();
    for point in points(total, count) {
        prepare(&t);
        trace::kill_at(t.cmd(&words), point);
        let output = t.verb(&["delete", "--force"]);
        assert!(output.code == 0 && output.stderr.is_empty(), "at call {point} of {total}: {output}");
        let _ = std::fs::remove_file(&t.pid_file);
        let what = format!("at call {point} of {total}");
        assert!(
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| t.assert_clean())).is_ok(),
            "{what}"
        );
    }
    t.config.set("process.terminal", false);
    t.create().ok();
}

fn created(t: &Test) {
    t.create().ok();
    std::fs::remove_file(&t.pid_file).unwrap();
}

fn running(t: &Test) {
    created(t);
    t.verb(&["start"]).ok();
}

fn stopped(t: &Test) {
    running(t);
    t.rt(&["kill", &t.id, "KILL"]).ok();
    t.wait_status("stopped");
}

/// [S41] [E18] create, killed at 25 points of its run.
#[test]
fn create() {
    kill_everywhere(25, &["create", "--bundle", "bundle"], Some("created"), |_| ());
}

/// [S41] [F1] create with a terminal, killed at 12 points.
#[test]
fn create_with_a_terminal() {
    let mut t = Test::docker();
    t.config.set("process.terminal", true);
    let path = t.path("sock");
    let _socket = ConsoleSocket::bind(&path);
    let words = ["create", "--bundle", "bundle", "--console-socket", &path];
    kill_everywhere_of(t, 12, &words, Some("created"), |_| ());
}

/// [S41] run, killed at 20 points.
#[test]
fn run() {
    kill_everywhere(20, &["run", "--detach", "--bundle", "bundle"], Some("running"), |_| ());
}

/// [S41] start, killed at 10 points.
#[test]
fn start() {
    kill_everywhere(10, &["start"], Some("running"), created);
}

/// [S41] delete of a stopped container, killed at 10 points.
#[test]
fn delete() {
    kill_everywhere(10, &["delete"], None, stopped);
}

/// [S41] delete --force of a running container, killed at 10 points.
#[test]
fn delete_force() {
    kill_everywhere(10, &["delete", "--force"], None, running);
}

/// [S41] kill, killed at 6 points.
#[test]
fn kill() {
    kill_everywhere(6, &["kill"], Some("running"), running);
}

/// [S41] pause, killed at 8 points: what is left frozen can be deleted.
#[test]
fn pause() {
    kill_everywhere(8, &["pause"], Some("paused"), running);
}

/// [S41] [S37] a create that was killed leaves an id that a new create may take, without delete.
#[test]
fn create_after_a_killed_create() {
    only_davit!();
    let mut t = Test::docker();
    t.sh("exec sleep 30");
    t.write();
    let words = ["create", "--bundle", "bundle"];
    let cmd = |t: &Test| t.cmd(&words).args([&t.id]);
    let total = trace::kill_at(cmd(&t), 0);
    assert_eq!(t.status(), "created");
    t.verb(&["delete", "--force"]).ok();
    for point in points(total, 8) {
        trace::kill_at(cmd(&t), point);
        // Once init outlives its maker, just before Ready, the container is there, though it may never be "created".
        let gone = host::until(Duration::from_secs(2), || {
            let state = t.verb(&["state"]);
            state.code != 0 || state.stdout.contains("\"stopped\"")
        });
        if gone {
            t.create().ok();
            assert_eq!(t.status(), "created", "at call {point} of {total}");
        }
        t.verb(&["delete", "--force"]).ok();
        let _ = std::fs::remove_file(&t.pid_file);
        t.assert_clean();
    }
}

/// [S41] list, state and delete get along with what a killed create leaves.
#[test]
fn verbs_after_a_killed_create() {
    only_davit!();
    let mut t = Test::docker();
    t.sh("exec sleep 30");
    t.write();
    let cmd = |t: &Test| t.cmd(&["create", "--bundle", "bundle", &t.id]);
    let total = trace::kill_at(cmd(&t), 0);
    assert_eq!(t.status(), "created");
    t.verb(&["delete", "--force"]).ok();
    for point in points(total, 8) {
        trace::kill_at(cmd(&t), point);
        t.rt(&["list"]).code(0);
        let state = t.verb(&["state"]);
        assert!(
            state.code == 0 || state.stderr.contains("does not exist"),
            "at call {point} of {total}: {state}"
        );
        t.verb(&["start"]);
        t.verb(&["delete", "--force"]).ok();
        t.assert_clean();
    }
}
