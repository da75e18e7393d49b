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
    let mut t = Test::docker();
    t.sh("exec sleep 30");
    kill_everywhere_of(t, count, words, status, prepare);
}

fn kill_everywhere_of(
    mut t: Test,
    count: usize,
    words: &[&str],
    status: Option<&str>,
    prepare: impl Fn(&Test),
) {
    only_davit!(); // runc and crun leave cgroups and processes behind (runc #4534)
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
    t.sh("exec sleep 30");
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

/// [S41] [S35] run in the foreground, killed at 20 points, up to the removal of what its program has left.
#[test]
fn run_in_the_foreground() {
    let mut t = Test::docker();
    t.sh("true");
    kill_everywhere_of(t, 20, &["run", "--bundle", "bundle"], None, |_| ());
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

/// A test of a create that is killed, with the points to kill it at: all over it, and each of those around the call that
/// makes the container "created". Before that, init comes to outlive its maker.
fn killed_creates() -> (Test, Vec<usize>) {
    let mut t = Test::docker();
    t.sh("exec sleep 30");
    t.write();
    let total = kill_create(&t, 0);
    assert!(is_created(&t));
    t.verb(&["delete", "--force"]).ok();
    let (mut before, mut after) = (1, total);
    while after - before > 1 {
        let middle = before.midpoint(after);
        kill_create(&t, middle);
        *(if is_created(&t) { &mut after } else { &mut before }) = middle;
        t.verb(&["delete", "--force"]).ok();
        t.assert_clean();
    }
    let around = before.saturating_sub(20).max(1)..=after;
    (t, points(*around.start(), 8).chain(around).chain([total]).collect())
}

fn kill_create(t: &Test, point: usize) -> usize {
    trace::kill_at(t.cmd(&["create", "--bundle", "bundle", &t.id]), point)
}

/// Whether it has come to that, without a word from the runtime.
fn is_created(t: &Test) -> bool {
    t.root.join(&t.id).join("start.sock").exists()
}

/// [S41] [S37] a create that was killed leaves an id that a new create may take at once, without delete. Only what it had
/// brought to "created" is a container.
#[test]
fn create_after_a_killed_create() {
    only_davit!();
    let (t, points) = killed_creates();
    for point in points {
        kill_create(&t, point);
        let was_created = is_created(&t);
        let second = t.create();
        let what = format!("at call {point}, created: {was_created}: {second}");
        if was_created {
            assert!(second.code == 1 && second.stderr.contains("already exists"), "{what}");
        } else {
            assert!(second.code == 0 && second.stderr.is_empty(), "{what}");
        }
        assert_eq!(t.status(), "created", "{what}");
        t.verb(&["delete", "--force"]).ok();
        let _ = std::fs::remove_file(&t.pid_file);
        t.assert_clean();
    }
}

/// Whether the init that state.json names lives.
fn init_lives(t: &Test) -> bool {
    let record = std::fs::read(t.root.join(&t.id).join("state.json")).unwrap_or_default();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap_or_default();
    let pid = record["init_process_pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    pid.is_some_and(|pid| pid > 0 && host::alive(pid))
}

/// [S41] [S6] [S16] list, state, start, kill and delete get along with what a killed create leaves: it is stopped, also where init has
/// outlived its maker and would wait for ever.
#[test]
fn verbs_after_a_killed_create() {
    only_davit!();
    let (t, points) = killed_creates();
    let mut waiting = 0;
    for point in points {
        kill_create(&t, point);
        t.rt(&["list"]).code(0);
        let state = t.verb(&["state"]);
        let value: serde_json::Value = serde_json::from_str(&state.stdout).unwrap_or_default();
        match value["status"].as_str() {
            None => drop(state.fails(1, "does not exist")),
            Some("stopped") => {
                // One that will not come to wait dies in a moment.
                waiting += usize::from(!host::until(Duration::from_millis(200), || !init_lives(&t)));
                t.verb(&["start"]).fails(1, "cannot start a container that has stopped");
                t.verb(&["kill"]).fails(1, "container not running");
                t.verb(&["delete"]).ok();
            }
            Some(status) => {
                assert_eq!((status, is_created(&t)), ("created", true), "at call {point}");
                t.verb(&["start"]).ok();
                assert_eq!(t.status(), "running", "at call {point}");
            }
        }
        t.verb(&["delete", "--force"]).ok();
        t.assert_clean();
    }
    assert!(waiting > 0, "no init had outlived its maker");
}
