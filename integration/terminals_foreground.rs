//! `run` with a terminal, in the terminal of whoever calls.

use crate::support::terminal::{Screen, with_terminal};
use crate::support::user::User;
use crate::support::*;
use rustix::process::Signal;

fn run(t: &Test) -> Cmd {
    t.bundle_cmd("run", &[])
}

/// [F6] [F8] [F9] the size, raw mode, what is typed, the exit code, and the terminal as it was.
#[test]
fn a_terminal_in_a_terminal() {
    let t = with_terminal("busybox stty size; tty; read line; echo got $line; exit 7");
    let mut screen = Screen::open();
    screen.resize(33, 99);
    let modes = screen.modes();
    let running = screen.run(run(&t));
    screen.expect("33 99\r\n/dev/pts/0\r\n");
    host::wait_until("raw mode", || screen.modes() != modes);
    screen.type_in("words\r");
    // Echoed once: by the container's terminal.
    screen.expect("words\r\ngot words\r\n");
    screen.ends(running, 7, &modes);
    assert_eq!(screen.seen().matches("words").count(), 2);
    t.assert_clean();
}

/// [F6] a terminal of another size.
#[test]
fn a_resize_is_passed_on() {
    let t = with_terminal("trap 'busybox stty size' WINCH; echo ready; while :; do sleep 0.05; done");
    let mut screen = Screen::open();
    let modes = screen.modes();
    let running = screen.run(run(&t));
    screen.expect("ready");
    host::wait_until("raw mode", || screen.modes() != modes);
    screen.resize(40, 120);
    screen.expect("40 120");
    t.cmd(&["kill", &t.id, "KILL"]).output().ok();
    screen.ends(running, 137, &modes);
}

/// [F6] keys that are signals are the container's.
#[test]
fn control_c_is_typed() {
    let t = with_terminal("trap 'echo int; exit 5' INT; echo ready; while :; do sleep 0.05; done");
    let mut screen = Screen::open();
    let modes = screen.modes();
    let running = screen.run(run(&t));
    screen.expect("ready");
    host::wait_until("raw mode", || screen.modes() != modes);
    screen.type_in("\x03");
    screen.expect("^Cint");
    screen.ends(running, 5, &modes);
}

/// [F6] [S33] a signal to the runtime is the container's, and the terminal is restored.
#[test]
fn signals_and_the_terminal() {
    for (signal, number) in [(Signal::TERM, 15), (Signal::HUP, 1), (Signal::QUIT, 3), (Signal::USR1, 10)] {
        let t = with_terminal(&format!("trap 'exit 9' {number}; echo ready; while :; do sleep 0.05; done"));
        let mut screen = Screen::open();
        let modes = screen.modes();
        let running = screen.run(run(&t));
        screen.expect("ready");
        host::wait_until("raw mode", || screen.modes() != modes);
        running.kill(signal);
        screen.ends(running, 9, &modes);
    }
}

/// [F6] a container that does not come to be leaves the terminal as it is.
#[test]
fn a_failed_start_leaves_the_terminal() {
    let mut t = with_terminal("");
    t.args(&["/no/such/program"]);
    let mut screen = Screen::open();
    let modes = screen.modes();
    let running = screen.run(run(&t));
    screen.expect("/no/such/program");
    screen.ends(running, 1, &modes);
    t.assert_clean();
}

/// [F6] no terminal anywhere.
#[test]
fn no_terminal_at_all() {
    let t = with_terminal("true");
    let output = run(&t).wrap(["setsid", "--wait"]).output();
    output.fails(1, "open /dev/tty: no such device or address");
    t.assert_clean();
}

/// [F6] all streams are elsewhere: the controlling terminal has the size.
#[test]
fn only_a_controlling_terminal() {
    only_davit!(); // runc does not tell the end of input
    let t = with_terminal("busybox stty size; cat; echo end");
    let mut screen = Screen::open();
    let modes = screen.modes();
    let out = t.path("out");
    let running = screen.run_by(&format!("echo input | \"$@\" 2>&1 >{out} | cat"), run(&t));
    screen.ends(running, 0, &modes);
    let out = std::fs::read_to_string(out).unwrap();
    assert!(out.contains("24 80\n") && out.ends_with("input\nend\n"), "{out:?}");
}

/// [F6] [F9] BuildKit: a terminal as streams, which is not the controlling one; each newline is CR LF once.
#[test]
fn a_terminal_without_a_session() {
    let t = with_terminal("echo a; read line; echo b $line");
    let mut screen = Screen::open();
    let modes = screen.modes();
    let script = format!("exec \"$@\" <>{} >&0 2>&0", screen.path());
    let running = run(&t).wrap(["setsid"]).shell(&script).spawn();
    screen.expect("a\r\n");
    host::wait_until("raw mode", || screen.modes() != modes);
    screen.type_in("x\r");
    screen.expect("x\r\nb x\r\n");
    screen.ends(running, 0, &modes);
}

/// [F6] input from a pipe ends, also within a line, and again for whoever reads next.
#[test]
fn input_that_ends() {
    only_davit!(); // runc does not tell the end of input
    for (script, input, expected) in [
        ("cat; echo end", "one\\ntwo\\n", "one\ntwo\nend\n"),
        ("cat; echo end", "half", "halfend\n"),
        ("cat; cat; sh -c cat; echo end", "a\\n", "a\nend\n"),
        ("cat; echo end", "", "end\n"),
    ] {
        let t = with_terminal(script);
        let mut screen = Screen::open();
        let modes = screen.modes();
        let out = t.path("out");
        let running = screen.run_by(&format!("printf '{input}' | \"$@\" >{out}"), run(&t));
        screen.ends(running, 0, &modes);
        let out = std::fs::read_to_string(out).unwrap();
        assert!(out.ends_with(expected), "{script}: {out:?}");
    }
    // A shell that edits its lines reads key by key.
    let mut t = with_terminal("");
    t.args(&["/bin/sh", "-i"]);
    let mut screen = Screen::open();
    let modes = screen.modes();
    let out = t.path("out");
    let running = screen.run_by(&format!("printf 'echo $((40+2))' | \"$@\" >{out}"), run(&t));
    screen.ends(running, 0, &modes);
    let out = std::fs::read_to_string(out).unwrap();
    assert!(out.contains("\n42\n"), "{out:?}");
}

/// [F6] input that has no end keeps nobody from ending.
#[test]
fn input_that_does_not_end() {
    let t = with_terminal("trap 'exit 9' TERM; : > /ready; while :; do sleep 0.05; done");
    let mut screen = Screen::open();
    let modes = screen.modes();
    let running = screen.run_by("exec \"$@\" </dev/zero >/dev/null", run(&t));
    host::wait_until("ready", || t.rootfs.join("ready").exists());
    running.kill(Signal::TERM);
    screen.ends(running, 9, &modes);
}

/// [F6] nothing of the output is lost, however fast the program ends and however slowly it is read.
#[test]
fn the_last_words_are_shown() {
    let t = with_terminal("seq 1 20000");
    let screen = Screen::open();
    let count = t.path("count");
    let running = screen.run_by(&format!("\"$@\" | (sleep 0.3; wc -l) >{count}"), run(&t));
    running.wait().code(0);
    assert_eq!(std::fs::read_to_string(count).unwrap().trim(), "20000");
    let t = with_terminal("echo word; echo last");
    for _ in 0..20 {
        let mut screen = Screen::open();
        let running = screen.run(run(&t));
        running.wait().code(0);
        assert_eq!(screen.seen(), "word\r\nlast\r\n");
    }
}

/// [F7] the same without a terminal.
#[test]
fn a_payload_that_ends_at_once_is_heard() {
    let mut t = Test::new();
    for _ in 0..20 {
        assert_eq!(t.out("echo word; echo last"), "word\nlast");
    }
}

/// [F6] who reads the output leaves: the terminal hangs up.
#[test]
fn nobody_reads_the_output() {
    only_davit!(); // runc's container writes on
    let t = with_terminal("yes");
    let mut screen = Screen::open();
    let modes = screen.modes();
    let running = screen.run_by("\"$@\" | head -n 3", run(&t));
    screen.expect("y\r\ny\r\ny\r\n");
    screen.ends(running, 0, &modes);
}

/// [F6] closed streams.
#[test]
fn streams_that_are_closed() {
    only_davit!(); // runc does not tell the end of input
    for (streams, code) in [("<&-", 4), (">&-", 4), ("2>&-", 4), ("<&- >&- 2>&-", 4)] {
        let t = with_terminal("cat; exit 4");
        let mut screen = Screen::open();
        let modes = screen.modes();
        let running = screen.run_by(&format!("\"$@\" {streams}"), run(&t));
        if !streams.contains("<") {
            host::wait_until("raw mode", || screen.modes() != modes);
            screen.type_in("\x04");
        }
        screen.ends(running, code, &modes);
    }
}

/// [F6] others of the container that write on do not keep the session.
#[test]
fn writers_that_stay() {
    let mut t = with_terminal("(trap '' HUP; yes) & sleep 0.2; exit 6");
    t.config.leave("pid");
    let mut screen = Screen::open();
    let modes = screen.modes();
    let running = screen.run_by("\"$@\" >/dev/null", run(&t));
    screen.ends(running, 6, &modes);
}

/// [F6] in the background the terminal is somebody else's: the session is stopped until it is brought to the front.
#[test]
fn the_background_waits() {
    only_davit!(); // runc takes the terminal
    let t = with_terminal("echo in; read line; echo got $line; exit 3");
    let mut screen = Screen::open();
    let words = run(&t).into_args();
    let words: Vec<_> = words.iter().map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let shell = screen.run(Cmd::new(&t.dir, ["sh", "-i"]).env("PS1", "$ ").env("ENV", ""));
    screen.expect("$ ");
    let modes = screen.modes();
    screen.type_in(&format!("{} &\n", words.join(" ")));
    stopped(&t, &mut screen);
    assert_eq!(screen.modes(), modes);
    assert_eq!(host::list(&t.root), [""; 0]);
    screen.type_in("fg\n");
    screen.expect("in\r\n");
    host::wait_until("raw mode", || screen.modes() != modes);
    // Stopped in between, and sent to the background.
    rustix::process::kill_process(runtime_of(&t), Signal::STOP).unwrap();
    stopped(&t, &mut screen);
    screen.type_in("stty sane; bg; echo in the back\n");
    screen.expect("\nin the back");
    stopped(&t, &mut screen);
    let cooked = screen.modes();
    assert!(cooked.contains("ICANON"), "{cooked}");
    screen.type_in("fg\n");
    host::wait_until("raw mode", || screen.modes() != cooked);
    screen.type_in("again\r");
    screen.expect("got again");
    screen.expect("$ ");
    screen.type_in("echo code $?\n");
    screen.expect("code 3");
    screen.type_in("exit\n");
    shell.wait();
}

/// The runtime has been stopped, which the shell tells with its next prompt.
#[track_caller]
fn stopped(t: &Test, screen: &mut Screen) {
    let of_test = |pid: &str| {
        let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.contains(&t.id) && host::process_state(pid.parse().unwrap_or(1)) == Some('T')
    };
    host::wait_until("the runtime stopped", || host::list("/proc").iter().any(|pid| of_test(pid)));
    screen.type_in("\n");
    screen.expect("Stopped");
}

/// The parent of the container's init.
fn runtime_of(t: &Test) -> rustix::process::Pid {
    let parent = host::stat_field(t.pid(), 4).unwrap().parse().unwrap();
    rustix::process::Pid::from_raw(parent).unwrap()
}

/// [F6] [F1] a login program hangs the terminal up and opens it anew.
#[test]
fn a_terminal_that_is_hung_up() {
    let hang_up = "setsid -c true; sleep 0.2; exec </dev/console >/dev/console 2>&1";
    let mut t = with_terminal(&format!("{hang_up}; echo back; read line; echo got $line; exit 3"));
    // To take the terminal from init's session.
    t.config.caps(&["CAP_SYS_ADMIN"]);
    let mut screen = Screen::open();
    let modes = screen.modes();
    let running = screen.run(run(&t));
    screen.expect("back\r\n");
    screen.type_in("word\r");
    screen.expect("got word");
    screen.ends(running, 3, &modes);
}

/// [F6] [U1] of an ordinary user, in a terminal that is not that user's, as after su(1).
#[test]
fn a_foreign_terminal() {
    let mut u = User::new();
    u.t.config.set("process.terminal", true);
    u.t.sh("busybox stty size; read line; echo got $line; exit 4");
    let mut screen = Screen::open();
    let modes = screen.modes();
    let running = screen.run(u.bundle_cmd("run", &[]));
    screen.expect("24 80");
    screen.type_in("word\r");
    screen.expect("got word");
    screen.ends(running, 4, &modes);
}

/// [F6] the runtime is killed: the terminal hangs up, and `delete --force` clears the rest.
#[test]
fn a_killed_runtime() {
    let t = with_terminal("trap 'exit 3' HUP; echo ready; while :; do sleep 0.05; done");
    let mut screen = Screen::open();
    let running = screen.run(run(&t));
    screen.expect("ready");
    running.kill(Signal::KILL);
    running.wait().code(137);
    t.wait_status("stopped");
}

/// [V61] what `spec` writes is a shell in a terminal.
#[test]
fn spec_is_a_shell() {
    let mut t = Test::new();
    std::fs::remove_file(t.bundle.join("config.json")).ok();
    t.cmd(&["spec", "--bundle", t.bundle.to_str().unwrap()]).output().ok();
    let text = std::fs::read_to_string(t.bundle.join("config.json")).unwrap();
    t.config = Config(serde_json::from_str(&text).unwrap());
    t.config.set("linux.cgroupsPath", t.cgroup.clone());
    let mut screen = Screen::open();
    let modes = screen.modes();
    let running = screen.run(run(&t));
    screen.expect("# ");
    host::wait_until("raw mode", || screen.modes() != modes);
    screen.type_in("echo $((6*7))\r");
    screen.expect("\r\n42\r\n");
    screen.type_in("exit 2\r");
    screen.ends(running, 2, &modes);
}
