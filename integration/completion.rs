//! The completion scripts, each in its own shell.

use crate::support::*;
use std::path::PathBuf;

/// A test with the script of `shell` in a file, and the runtime as `davit` in a directory for `$PATH`.
fn with_script(shell: &str) -> (Test, PathBuf, String) {
    let t = Test::new();
    let script = t.dir.join("script");
    std::fs::write(&script, t.rt(&["completion", shell]).ok() + "\n").unwrap();
    let bin = t.dir.join("path");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(runtime(), bin.join("davit")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    (t, script, path)
}

fn has(t: &Test, shell: &str) -> bool {
    Cmd::new(&t.dir, ["sh", "-c", "command -v \"$1\"", "sh", shell]).output().code == 0
}

/// What bash offers for the line, as `complete -F` is called.
fn bash(t: &Test, script: &PathBuf, path: &str, line: &[&str]) -> Vec<String> {
    let code = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1))
                complete -p davit >/dev/null && _davit && printf '%s\\n' \"${COMPREPLY[@]}\"";
    let cmd = Cmd::new(&t.dir, ["bash", "--norc", "-c", code, "bash"]).args([script]).args(line);
    cmd.env("PATH", path).output().ok().split('\n').map(String::from).collect()
}

/// [Y2] bash: commands, options, values, also after `=`; ids of containers under `--root`; signals.
#[test]
fn in_bash() {
    only_davit!();
    let (t, script, path) = with_script("bash");
    let root = t.root.to_str().unwrap();
    t.create().ok();
    let offers = |line: &[&str]| bash(&t, &script, &path, line);
    let id: &[&str] = &[&t.id];
    for (line, expected) in [
        (&["davit", "st"][..], &["start", "state", "stats"][..]),
        (&["davit", "--log-f"], &["--log-format"]),
        (&["davit", "--log-format", ""], &["text", "json"]),
        (&["davit", "--log-format", "=", "j"], &["json"]),
        (&["davit", "--log-format", "="], &["text", "json"]),
        (&["davit", "--debug", "=", "t"], &["true"]),
        (&["davit", "--debug=false", "--root", "/x", "pau"], &["pause"]),
        (&["davit", "run", "--bun"], &["--bundle"]),
        (&["davit", "run", "--detach", "=", "true", "--pid-"], &["--pid-file"]),
        (&["davit", "run", "-b", "/et"], &["/etc"]),
        (&["davit", "run", ""], &[""]),
        (&["davit", "--root", root, "state", ""], id),
        (&["davit", "--root", "=", root, "kill", "t"], id),
        (&["davit", "--root", root, "stats", "a", "b", "t"], id),
        (&["davit", "--root", "/nothere", "state", ""], &[""]),
        (&["davit", "kill", "c1", "TER"], &["TERM"]),
        (&["davit", "kill", "--all", "c1", "SIGK"], &["SIGKILL"]),
        (&["davit", "kill", "c1", "TERM", ""], &[""]),
        (&["davit", "help", "pau"], &["pause"]),
        (&["davit", "ps", "c1", "-"], &[""]),
        (&["davit", "completion", "z"], &["zsh"]),
        (&["davit", "seccomp", "ex"], &["explain"]),
        (&["davit", "seccomp", "explain", "--ar"], &["--arch"]),
        (&["davit", "seccomp", "explain", "/et"], &["/etc"]),
        (&["davit", "--root", root, "exec", ""], id),
        (&["davit", "exec", "--pro"], &["--process", "--process-label"]),
        (&["davit", "exec", "c1", "--pro"], &[""]),
        (&["davit", "bogus", ""], &[""]),
    ] {
        assert_eq!(offers(line), expected, "{line:?}");
    }
}

/// [Y2] fish, which says itself what it would offer.
#[test]
fn in_fish() {
    only_davit!();
    let (t, script, path) = with_script("fish");
    need!(has(&t, "fish"), "fish");
    let root = t.root.to_str().unwrap();
    t.create().ok();
    let with_root = format!("davit --root {root} state ");
    let with_equals = format!("davit --root={root} kill --all ");
    for (line, expected) in [
        ("davit st", "start state stats"),
        ("davit --log-f", "--log-format"),
        ("davit --log-format ", "json text"),
        ("davit --log-format=j", "--log-format=json"),
        ("davit --debug --root /x pau", "pause"),
        ("davit run --bun", "--bundle"),
        ("davit run -b /et", "/etc/"),
        (&with_root, &t.id),
        (&with_equals, &t.id),
        ("davit kill c1 TER", "TERM"),
        ("davit help pau", "pause"),
        ("davit completion z", "zsh"),
        ("davit seccomp ", "disasm explain record"),
        ("davit seccomp explain --ar", "--arch"),
        ("davit features ", ""),
    ] {
        let code = "source $argv[1]; complete -C $argv[2]";
        let cmd =
            Cmd::new(&t.dir, ["fish", "--no-config", "-c", code]).args([script.to_str().unwrap(), line]);
        let out = cmd.env("PATH", &path).env("HOME", t.dir.to_str().unwrap()).output().ok();
        let mut offers: Vec<_> = out.lines().filter_map(|line| line.split('\t').next()).collect();
        offers.sort_unstable();
        assert_eq!(offers.join(" "), expected, "{line}");
    }
}

/// [Y2] zsh, at a terminal, with the Tab key.
#[test]
fn in_zsh() {
    only_davit!();
    let (t, script, path) = with_script("zsh");
    need!(has(&t, "zsh"), "zsh");
    let root = t.root.to_str().unwrap();
    t.create().ok();
    let pairs = [
        ("davit dele".to_string(), "davit delete ".to_string()),
        ("davit sta".to_string(), "davit sta".to_string()),
        ("davit --log-fo".to_string(), "davit --log-format=".to_string()),
        ("davit --log-format j".to_string(), "davit --log-format json ".to_string()),
        ("davit --debug --root /x pau".to_string(), "davit --debug --root /x pause ".to_string()),
        ("davit run --bun".to_string(), "davit run --bundle=".to_string()),
        ("davit run -b /et".to_string(), "davit run -b /etc/".to_string()),
        (format!("davit --root {root} state "), format!("davit --root {root} state {} ", t.id)),
        (format!("davit --root={root} kill t"), format!("davit --root={root} kill {} ", t.id)),
        ("davit kill c1 TER".to_string(), "davit kill c1 TERM ".to_string()),
        ("davit kill c1 SIGTER".to_string(), "davit kill c1 SIGTERM ".to_string()),
        ("davit help pau".to_string(), "davit help pause ".to_string()),
        ("davit seccomp ex".to_string(), "davit seccomp explain ".to_string()),
        (format!("davit --root {root} exec -e A=b t"), format!("davit --root {root} exec -e A=b {} ", t.id)),
    ];
    let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/integration/fixtures/complete.zsh");
    let cmd =
        Cmd::new(&t.dir, ["zsh", "-f", driver]).args([&script]).args(pairs.iter().map(|(line, _)| line));
    let out = cmd.env("PATH", &path).env("TERM", "dumb").output().ok();
    let lines: Vec<_> = out.split('\n').map(|line| line.trim_end_matches('\r')).collect();
    let expected: Vec<_> = pairs.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(lines, expected);
}

/// [Y2] the forms of the command line, and what is no shell.
#[test]
fn the_command() {
    only_davit!();
    let t = Test::new();
    let script = t.rt(&["completion", "bash"]).ok();
    assert_eq!(t.rt(&["completion", "--shell", "bash"]).ok(), script);
    assert_eq!(t.rt(&["completion", "--shell=/usr/bin/bash"]).ok(), script);
    t.rt(&["completion"]).fails(1, "completion for which shell?");
    t.rt(&["completion", "csh"])
        .fails(1, "no completion for the shell \"csh\" (hint: there is bash, zsh and fish)");
}
