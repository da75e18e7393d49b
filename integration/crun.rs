//! What crun has and runc has not, as far as it is carried out (docs/crun.md lists all of it).

use crate::support::terminal::{ConsoleSocket, Screen, with_terminal};
use crate::support::*;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

/// A socket that somebody logs to, put at its usual place in a mount namespace of the command's own.
struct Logger {
    socket: UnixDatagram,
    script: String,
}

impl Logger {
    /// `place` is the directory on the host that is covered, `name` the socket below it.
    fn new(t: &Test, place: &str, name: &str) -> Self {
        let base = t.dir.join(format!("logger{}", host::unique()));
        let path = base.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        std::fs::write(base.join("null"), "").unwrap();
        // davit needs /dev/null.
        let base = base.to_str().unwrap();
        let script =
            format!("mount --bind /dev/null {base}/null && mount --rbind {base} {place} && exec \"$@\"");
        Self { socket, script }
    }

    fn sees(&self, cmd: Cmd) -> Cmd {
        cmd.shell(&self.script).wrap(["/usr/bin/unshare", "-m"])
    }

    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("a record within 5 s");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }
}

/// [X3] [Y3] `journald:NAME` sends to the journal, `--systemd-log` does under our own name; the plain text stays on stderr.
#[test]
fn log_to_the_journal() {
    only_davit!();
    let t = Test::new();
    let journal = Logger::new(&t, "/run", "systemd/journal/socket");
    for (option, name) in
        [("--log=journald:c1", "c1"), ("--systemd-log", "davit"), ("--log=journald:", "davit")]
    {
        let output = journal.sees(t.cmd(&[option, "state", "none"])).output();
        output.fails(1, "container does not exist");
        let record = journal.next();
        let wanted =
            format!("PRIORITY=3\nSYSLOG_IDENTIFIER={name}\nID={name}\nDAVIT_CODE=not-found\nMESSAGE\n");
        assert!(record.starts_with(&wanted) && record.ends_with("container does not exist\n"), "{record:?}");
    }
    // Levels have their priorities.
    let output = journal.sees(t.cmd(&["--log=journald:c1", "--debug", "delete", "--regex", "none"])).output();
    assert_eq!(output.code, 0, "{output}");
}

/// [X3] where systemd is at work, its own tool shows the record.
#[test]
fn the_journal_shows_it() {
    only_davit!();
    need!(Path::new("/run/systemd/journal/socket").exists(), "no systemd-journald");
    let t = Test::new();
    t.cmd(&[&format!("--log=journald:{}", t.id), "state", "none"]).output().fails(1, "does not exist");
    host::wait_until("the record", || {
        let args = ["journalctl", "-o", "cat", "-p", "err", "-t", &t.id];
        Cmd::new(&t.dir, args).output().stdout.contains("container does not exist")
    });
}

/// [X3] `syslog:NAME` sends a line to /dev/log.
#[test]
fn log_to_syslog() {
    only_davit!();
    let t = Test::new();
    let syslog = Logger::new(&t, "/dev", "log");
    syslog.sees(t.cmd(&["--log", "syslog:c1", "state", "none"])).output().fails(1, "does not exist");
    let line = syslog.next();
    assert!(line.starts_with("<11>c1[") && line.ends_with("]: container does not exist"), "{line:?}");
}

/// [X3] nobody listens: an error that says where, and what was asked for is not done.
#[test]
fn nobody_listens_to_the_log() {
    only_davit!();
    let mut t = Test::new();
    t.sh("true");
    t.write();
    let empty = "mount -t tmpfs none /run && exec \"$@\"";
    let bundle = t.bundle.to_str().unwrap();
    let run = t.cmd(&["--log", "journald:c1", "run", "--bundle", bundle, &t.id]);
    let output = run.shell(empty).wrap(["/usr/bin/unshare", "-m"]).output().code(1);
    output.says("--log journald:c1: connect to /run/systemd/journal/socket: no such file or directory");
    t.assert_clean();
}

/// [X3] `file:PATH` is PATH. [W10] A failure in JSON has a code that stays when the text changes.
#[test]
fn log_to_a_file_by_prefix() {
    only_davit!();
    let mut t = Test::new();
    let log = t.path("log");
    let option = format!("--log=file:{log}");
    let code_of = |args: &[&str]| {
        let _ = std::fs::remove_file(&log);
        let output = t.cmd(&[&option, "--log-format=json"]).args(args).output();
        assert_ne!(output.code, 0, "{output}");
        let text = std::fs::read_to_string(&log).unwrap();
        let record: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(record["level"], "error");
        record["code"].as_str().unwrap().to_string()
    };
    assert_eq!(code_of(&["state", "none"]), "not-found");
    assert_eq!(code_of(&["state"]), "usage");
    assert_eq!(code_of(&["nosuchverb"]), "unknown-command");
    let bundle = t.bundle.to_str().unwrap().to_string();
    t.config.set("process.cwd", "relative");
    t.sh("sleep 30").write();
    let run = ["run", "-d", "--bundle", &bundle, &t.id.clone()];
    let with = |t: &Test, args: &[&str]| {
        let _ = std::fs::remove_file(&log);
        let output = t.cmd(&[&option, "--log-format=json"]).args(args).output();
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let last = text.lines().last().map(|line| serde_json::from_str::<Value>(line).unwrap());
        (output.code, last.map(|record| record["code"].as_str().unwrap_or("none").to_string()))
    };
    assert_eq!(with(&t, &run), (1, Some("config".into())));
    t.config.set("process.cwd", "/");
    t.args(&["/nosuch"]).write();
    assert_eq!(with(&t, &run), (1, Some("program".into())));
    t.sh("sleep 30").write();
    assert_eq!(with(&t, &run), (0, None));
    assert_eq!(with(&t, &run), (1, Some("exists".into())));
    assert_eq!(with(&t, &["start", &t.id]), (1, Some("state".into())));
    t.rt(&["kill", &t.id, "KILL"]).ok();
    t.wait_status("stopped");
    assert_eq!(with(&t, &["kill", &t.id, "KILL"]), (1, Some("not-running".into())));
}

/// [X2] `--log-level` decides what is written.
#[test]
fn log_level() {
    only_davit!();
    let mut t = Test::new();
    t.config.set("mounts.0.destination", "proc");
    t.sh("true").write();
    let bundle = t.bundle.to_str().unwrap();
    for (level, debug, warning) in [("error", false, false), ("warning", false, true), ("debug", true, true)]
    {
        let log = t.path(level);
        t.cmd(&["--log", &log, "--log-level", level, "run", "--bundle", bundle, &t.id]).output().code(0);
        let text = std::fs::read_to_string(&log).unwrap();
        assert_eq!(text.contains("level=debug"), debug, "{level}: {text}");
        assert_eq!(text.contains("level=warning"), warning, "{level}: {text}");
    }
    t.cmd(&["--log-level", "loud", "list"]).output().fails(1, "invalid log-level: loud");
}

/// [X4] [X5] `--config FILE` is another config.json, `spec --file PATH` writes one.
#[test]
fn another_name_for_config_json() {
    only_davit!();
    let mut t = Test::new();
    t.sh("echo other").write();
    std::fs::rename(t.bundle.join("config.json"), t.bundle.join("other.json")).unwrap();
    let bundle = t.bundle.to_str().unwrap();
    for option in ["-f", "--config"] {
        let output = t.cmd(&["run", "--bundle", bundle, option, "other.json", &t.id]).output();
        assert_eq!(output.ok(), "other");
    }
    t.cmd(&["run", "--bundle", bundle, &t.id]).output().fails(1, "config.json");
    t.cmd(&["spec", "--bundle", bundle, "-f", "mine.json"]).output().ok();
    let text = std::fs::read_to_string(t.bundle.join("mine.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["process"]["args"], json!(["sh"]));
    assert!(!t.bundle.join("config.json").exists());
}

/// [X6] `kill --regex` and `delete --regex` take all that match, somewhere in the id; a failure is a warning and the
/// others still go.
#[test]
fn many_at_once() {
    only_davit!();
    let mut t = Test::new();
    t.sh("sleep 30");
    t.detach();
    let mut others: Vec<_> = (0..2).map(|_| t.sibling()).collect();
    for other in &mut others {
        other.sh("sleep 30");
        other.detach();
    }
    let [first, second] = others.as_slice() else { unreachable!("two") };
    let (one, two) = (first.id.clone(), second.id.clone());
    let pattern = format!("^({one}|{two})$");
    let output = t.rt(&["delete", "--regex", &pattern]).code(0);
    output.says(&format!("{one}: cannot delete container {one} that is not stopped: running"));
    output.says(&format!("{two}: cannot delete"));
    t.rt(&["kill", "-r", &pattern, "KILL"]).ok();
    first.wait_status("stopped");
    second.wait_status("stopped");
    assert_eq!(t.status(), "running", "it does not match");
    t.rt(&["delete", "-r", &pattern]).ok();
    t.rt(&["state", &one]).fails(1, "does not exist");
    t.rt(&["state", &two]).fails(1, "does not exist");
    // No match is no fault; a class of POSIX, an alternative, a repetition.
    t.rt(&["delete", "--regex", "^[[:digit:]]+x{2,}(a|b)$"]).ok();
    t.rt(&["delete", "--regex", "a(b"]).fails(1, "invalid regular expression \"a(b\": ");
    t.rt(&["kill", "--regex", ".", "NOPE"]).fails(1, "unknown signal \"NOPE\"");
    t.rt(&["delete", "--force", "--regex", "."]).ok();
    t.assert_clean_but_pid_file();
    for other in &others {
        other.assert_clean_but_pid_file();
    }
}

/// [X9] `exec --tty=WORD` gives a terminal for every word but those for no.
#[test]
fn a_terminal_by_any_word() {
    only_davit!();
    let mut t = Test::new();
    t.sleeper();
    for (option, tty) in [
        ("--tty=/dev/console", true),
        ("-t=yes", true),
        ("--tty=true", true),
        ("--tty=no", false),
        ("--tty=false", false),
    ] {
        let mut screen = Screen::open();
        let exec = t.exec_cmd(&[option], &["sh", "-c", "tty; tty | grep -c pts"]);
        screen.run(exec).wait().code(i32::from(!tty));
        let wanted = if tty { "/dev/pts/0\r\n1\r\n" } else { "not a tty\r\n0\r\n" };
        assert_eq!(screen.seen(), wanted, "{option}");
    }
    t.exec_cmd(&["--detach=yes"], &["true"]).output().code(255).says("invalid boolean value \"yes\"");
}

/// [Y4] `create -c SOCKET -p FILE` are `--console-socket` and `--pid-file`.
#[test]
fn short_forms_of_create() {
    only_davit!();
    let t = with_terminal("tty");
    let socket = ConsoleSocket::bind(t.path("sock"));
    let pid_file = t.pid_file.to_str().unwrap();
    t.bundle_cmd("create", &["-c", &t.path("sock"), "-p", pid_file]).output().ok();
    let mut screen = socket.accept();
    assert_eq!(std::fs::read_to_string(&t.pid_file).unwrap(), t.pid().to_string());
    t.verb(&["start"]).ok();
    assert_eq!(screen.until_closed(), "/dev/pts/0\r\n");
}
