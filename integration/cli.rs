//! The command line: Go's way with options, help, versions, global options; spec and plan.

use crate::support::*;
use std::os::unix::fs::PermissionsExt;

const VERBS: [&str; 13] = [
    "create", "start", "run", "state", "kill", "delete", "list", "spec", "ps", "pause", "resume", "features",
    "plan",
];

fn verbs() -> impl Iterator<Item = &'static str> {
    VERBS.into_iter().filter(|verb| davit_only() || !["plan", "features"].contains(verb))
}

/// The runtime without `--root`.
fn bare(t: &Test, args: &[&str]) -> Output {
    Cmd::new(&t.dir, [runtime()]).args(args).output()
}

/// [G10] no arguments: help, exit 0.
#[test]
fn no_arguments() {
    let t = Test::new();
    assert!(bare(&t, &[]).ok().starts_with("NAME:"));
}

/// [G11] help of the program and of each command, in every way to ask for it.
#[test]
fn help() {
    let t = Test::new();
    for args in [&["--help"][..], &["-h"], &["-help"], &["help"], &["h"]] {
        let out = bare(&t, args).ok();
        assert!(out.starts_with("NAME:"), "{out}");
        for verb in verbs() {
            assert!(out.contains(verb), "{verb} in {out}");
        }
    }
    for verb in verbs() {
        for args in [[verb, "--help"], [verb, "-h"], ["help", verb]] {
            let out = bare(&t, &args).ok();
            assert!(out.starts_with("NAME:") && out.contains(&format!(" {verb} - ")), "{args:?}: {out}");
        }
    }
}

/// [G11] the help of a command names each of its options.
#[test]
fn help_names_the_options() {
    let t = Test::new();
    for (verb, options) in [
        ("create", "bundle console-socket pid-file no-pivot no-new-keyring preserve-fds"),
        (
            "run",
            "bundle console-socket detach keep pid-file no-subreaper no-pivot no-new-keyring preserve-fds",
        ),
        ("delete", "force"),
        ("list", "format quiet"),
        ("ps", "format"),
        ("spec", "bundle rootless"),
    ] {
        let out = bare(&t, &[verb, "--help"]).ok();
        for option in options.split(' ').filter(|option| davit_only() || *option != "keep") {
            assert!(out.contains(&format!("--{option}")), "{verb}: no --{option} in {out}");
        }
    }
}

/// [G12] the version's lines.
#[test]
fn version() {
    let t = Test::new();
    for arg in ["--version", "-v", "-version"] {
        let out = bare(&t, &[arg]).ok();
        let lines: Vec<&str> = out.lines().collect();
        let words: Vec<&str> = lines[0].split(' ').collect();
        assert!(words.len() >= 3 && words[1] == "version", "{out}");
        assert!(lines[1].starts_with("commit: "), "{out}");
        assert!(lines[2].starts_with("spec: 1."), "{out}");
        if davit_only() {
            assert_eq!(words[..3], ["davit", "version", env!("CARGO_PKG_VERSION")]);
        }
    }
}

/// [G1] [G2] [G3] one dash or two, `=` or a blank, booleans with a value.
#[test]
fn ways_to_write_an_option() {
    let t = Test::new();
    t.create().ok();
    let root = t.root.to_str().unwrap();
    let (equals, dash) = (format!("--root={root}"), format!("-root={root}"));
    for front in [
        &["--root", root][..],
        &[&equals],
        &["-root", root],
        &[&dash],
        &["--debug=false", &equals],
        &["--systemd-cgroup=false", &equals],
        &["--rootless=false", &equals],
        &["-rootless", "auto", &equals],
        &["--log-format=text", "-log-format", "json", &equals],
    ] {
        let args: Vec<&str> = front.iter().copied().chain(["state", &t.id]).collect();
        let text = bare(&t, &args).ok();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["id"], t.id, "{args:?}");
    }
}

/// [G3] options of commands, in every form.
#[test]
fn ways_to_write_a_command_option() {
    let mut t = Test::new();
    t.sh("sleep 30");
    t.write();
    let bundle = t.bundle.to_str().unwrap();
    let forms = [
        vec!["run", "--bundle", bundle, "--detach"],
        vec!["run", "-b", bundle, "-d"],
        vec!["run", "-bundle", bundle, "-detach"],
        vec!["run", "-d=true", "-b", bundle],
        vec!["run", "--detach=true", "--no-pivot=false", "-b", bundle],
    ];
    for form in forms {
        t.verb(&form).ok();
        assert_eq!(t.status(), "running");
        t.verb(&["delete", "-force"]).ok();
    }
}

/// [G4] an option given twice: the last one wins.
#[test]
fn the_last_wins() {
    let t = Test::new();
    t.create().ok();
    let root = t.root.to_str().unwrap();
    let (first, second) = (t.path("first"), t.path("second"));
    let args = [
        "--root",
        "/nothere",
        "--log",
        &first,
        "--debug",
        "--debug",
        "--log-format",
        "text",
        "--root",
        root,
        "--log",
        &second,
        "--log-format",
        "json",
        "--systemd-cgroup=false",
        "--systemd-cgroup=false",
    ];
    bare(&t, &[&args[..], &["state", &t.id]].concat()).ok();
    bare(&t, &[&args[..], &["state", "nope"]].concat()).code(1);
    assert!(!t.dir.join("first").exists());
    let text = std::fs::read_to_string(&second).unwrap();
    serde_json::from_str::<Value>(text.lines().last().unwrap()).unwrap();
    t.rt(&["list", "--format", "table", "--format", "json"]).ok().parse::<Value>().unwrap();
}

/// [G5] [G6] options after the id; `--` ends them.
#[test]
fn options_after_the_id() {
    let mut t = Test::new();
    t.sh("sleep 30");
    t.write();
    t.rt(&["run", &t.id, "--detach", "--bundle", t.bundle.to_str().unwrap()]).ok();
    t.rt(&["state", "--", &t.id]).ok();
    t.rt(&["delete", &t.id, "--force"]).ok();
    t.assert_clean();
    t.rt(&["delete", "--", "--force"]).fails(1, "");
}

/// [G7] [E1] an unknown option and an unknown command.
#[test]
fn unknown_words() {
    let t = Test::new();
    let output = bare(&t, &["--bogus", "list"]).code(1);
    output.says("flag provided but not defined: -bogus");
    let output = bare(&t, &["state", "--bogus", "x"]).code(1);
    output.says("flag provided but not defined: -bogus");
    let output = bare(&t, &["bogus"]).code(3);
    output.says("No help topic for 'bogus'");
}

/// [G8] an option without its value.
#[test]
fn missing_value() {
    let t = Test::new();
    for args in
        [&["--root"][..], &["create", "--bundle"], &["create", "--pid-file"], &["run", "--preserve-fds"]]
    {
        let output = bare(&t, args).code(1);
        output.says("flag needs an argument: -");
    }
}

/// [G3] values that are not of the option's type.
#[test]
fn bad_values() {
    let t = Test::new();
    for args in [
        &["run", "--preserve-fds", "many", "x"][..],
        &["run", "--preserve-fds=-1", "x"],
        &["run", "--detach=maybe", "x"],
        &["--debug=maybe", "list"],
        &["--rootless=maybe", "list"],
    ] {
        if args[0] == "--rootless=maybe" && !davit_only() {
            continue; // runc takes it as auto
        }
        let output = bare(&t, args);
        let code = if args[1].contains("fds=-1") && !davit_only() { output.code } else { 1 };
        assert!(output.code == code && !output.stderr.is_empty(), "{output}");
    }
}

/// [G9] the wrong number of arguments.
#[test]
fn number_of_arguments() {
    let t = Test::new();
    for verb in ["create", "start", "run", "state", "delete", "pause", "resume"] {
        for args in [&[verb][..], &[verb, "a", "b"]] {
            let output = t.rt(args).code(1);
            assert!(output.stdout.contains("Incorrect Usage."), "{output}");
            output.says(&format!("\"{verb}\" requires exactly 1 argument(s)"));
        }
    }
    let output = t.rt(&["kill"]).code(1);
    output.says("\"kill\" requires a minimum of 1 argument");
    t.rt(&["ps"]).code(1).says("\"ps\" requires a minimum of 1 argument");
    if davit_only() {
        t.rt(&["list", "extra"]).code(1).says("\"list\" requires exactly 0 argument(s)");
    }
}

/// [G13] a root that is `/` or nothing.
#[test]
fn refused_roots() {
    only_davit!(); // runc 1.1 lists `/`
    let t = Test::new();
    for root in ["/", "", "/tmp/.."] {
        let output = bare(&t, &["--root", root, "list"]).code(1);
        output.says("Option --root argument should not be set to /");
    }
}

/// [G13] [G20] the default root: `$XDG_RUNTIME_DIR/NAME` for a user, `/run/NAME` for root.
#[test]
fn default_root() {
    let t = Test::new();
    assert!(bare(&t, &["list"]).ok().starts_with("ID"));
    std::fs::set_permissions(&t.dir, PermissionsExt::from_mode(0o777)).unwrap();
    let runtime_dir = t.path("xdg");
    std::fs::create_dir(&runtime_dir).unwrap();
    std::fs::set_permissions(&runtime_dir, PermissionsExt::from_mode(0o777)).unwrap();
    let user = ["setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups"];
    let binary = t.dir.join("runtime");
    host::copy_program(runtime(), &binary);
    let output =
        Cmd::new(&t.dir, [&binary]).args(["list"]).only_env(&[("XDG_RUNTIME_DIR", &runtime_dir)]).wrap(user);
    assert!(output.output().ok().starts_with("ID"));
}

/// [G14] [G15] a log that can't be opened, and a format that is none.
#[test]
fn bad_log() {
    let t = Test::new();
    let output = bare(&t, &["--log", "/nothere/log", "list"]).code(1);
    output.says("no such file or directory");
    let output = t.rt(&["--log-format", "yaml", "list"]).code(1);
    output.says("invalid log-format: yaml");
}

/// [G16] debug goes to the log; stdout holds the answer alone.
#[test]
fn debug() {
    let mut t = Test::new();
    let log = t.path("log");
    t.sh("echo out");
    t.write();
    let bundle = t.bundle.to_str().unwrap();
    let output = t.rt(&["--debug", "--log", &log, "--log-format=json", "run", "-b", bundle, &t.id]);
    assert_eq!(output.ok(), "out");
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.is_empty());
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(["debug", "info"].contains(&record["level"].as_str().unwrap()), "{line}");
    }
}

/// [G18] the three values of --rootless.
#[test]
fn rootless_values() {
    for value in ["true", "false", "auto"] {
        let mut t = Test::new();
        t.sh("echo up");
        t.write();
        let option = format!("--rootless={value}");
        let output = t.rt(&[&option, "run", "--bundle", t.bundle.to_str().unwrap(), &t.id]);
        assert_eq!(output.ok(), "up");
    }
}

/// [G19] without any environment.
#[test]
fn empty_environment() {
    let mut t = Test::new();
    t.sh("sleep 30");
    t.bundle_cmd("run", &["--detach"]).only_env(&[]).output().ok();
    assert_eq!(t.status(), "running");
    t.cmd(&["delete", "--force"]).args([&t.id]).only_env(&[]).output().ok();
    t.assert_clean();
}

/// [G17] the systemd driver is refused in words where there is no systemd, never ignored.
#[test]
fn systemd_without_systemd() {
    need!(!std::path::Path::new("/run/systemd/system").exists(), "a host with systemd: shown in the VM");
    let mut t = Test::new();
    t.sh("true");
    t.config.set("linux.cgroupsPath", format!("system.slice:davit:{}", t.id));
    t.write();
    let output = t.rt(&["--systemd-cgroup", "run", "--bundle", t.bundle.to_str().unwrap(), &t.id]).code(1);
    output.says("systemd");
    t.assert_clean();
}

/// [V59] spec writes config.json, tab-indented, and does not overwrite one.
#[test]
fn spec() {
    let t = Test::new();
    let dir = t.dir.join("new");
    std::fs::create_dir(&dir).unwrap();
    assert_eq!(t.cmd(&["spec"]).cwd(&dir).output().ok(), "");
    let text = std::fs::read_to_string(dir.join("config.json")).unwrap();
    assert!(text.starts_with("{\n\t\"ociVersion\": \"1."), "{text}");
    let again = t.cmd(&["spec"]).cwd(&dir).output().code(1);
    again.says("File config.json exists. Remove it first");
    t.rt(&["spec", "--bundle", t.bundle.to_str().unwrap()]).ok();
    assert_eq!(std::fs::read_to_string(t.bundle.join("config.json")).unwrap(), text);
}

fn written_spec(t: &Test, options: &[&str]) -> Value {
    t.cmd(&["spec", "--bundle", t.bundle.to_str().unwrap()]).args(options).output().ok();
    serde_json::from_str(&std::fs::read_to_string(t.bundle.join("config.json")).unwrap()).unwrap()
}

/// [V61] what the default configuration holds.
#[test]
fn spec_content() {
    let t = Test::new();
    let spec = written_spec(&t, &[]);
    let process = &spec["process"];
    assert_eq!(process["args"], json!(["sh"]));
    assert_eq!(process["terminal"], true);
    assert_eq!(process["cwd"], "/");
    assert_eq!(process["env"][1], "TERM=xterm");
    assert_eq!(process["noNewPrivileges"], true);
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    for set in ["bounding", "effective", "permitted"] {
        assert_eq!(process["capabilities"][set], caps, "{set}");
    }
    assert!(process["capabilities"].get("inheritable").is_none());
    assert_eq!(process["rlimits"], json!([{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }]));
    let at: Vec<&str> =
        spec["mounts"].as_array().unwrap().iter().map(|m| m["destination"].as_str().unwrap()).collect();
    assert_eq!(at, ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"]);
    let linux = &spec["linux"];
    assert_eq!(linux["resources"]["devices"], json!([{ "allow": false, "access": "rwm" }]));
    let kinds: Vec<&str> =
        linux["namespaces"].as_array().unwrap().iter().map(|n| n["type"].as_str().unwrap()).collect();
    let expected = ["pid", "network", "ipc", "uts", "mount", "cgroup"];
    assert_eq!(kinds, expected[..if cgroup::unified() { 6 } else { 5 }]);
    assert!(linux["maskedPaths"].as_array().unwrap().len() >= 9);
    assert_eq!(linux["readonlyPaths"].as_array().unwrap().len(), 5);
}

/// [V61] the default configuration runs, here without its terminal.
#[test]
fn spec_runs() {
    let mut t = Test::new();
    let mut spec = written_spec(&t, &[]);
    spec["process"]["terminal"] = json!(false);
    spec["linux"]["cgroupsPath"] = json!(t.cgroup);
    t.config = Config(spec);
    assert_eq!(t.out("echo up"), "up");
}

/// [V60] spec --rootless.
#[test]
fn spec_rootless() {
    let t = Test::new();
    let spec = written_spec(&t, &["--rootless"]);
    let linux = &spec["linux"];
    let kinds: Vec<&str> =
        linux["namespaces"].as_array().unwrap().iter().map(|n| n["type"].as_str().unwrap()).collect();
    assert!(!kinds.contains(&"network") && kinds.contains(&"user"), "{kinds:?}");
    assert_eq!(linux["uidMappings"], json!([{ "containerID": 0, "hostID": 0, "size": 1 }]));
    assert!(linux.get("resources").is_none_or(Value::is_null), "{linux}");
    let text = spec["mounts"].to_string();
    assert!(!text.contains("gid=") && text.contains("rbind"), "{text}");
}

/// [W12] plan prints what would be done, and does nothing.
#[test]
fn plan() {
    only_davit!();
    let t = Test::docker();
    t.write();
    let bundle = t.bundle.to_str().unwrap();
    let text = t.rt(&["plan", "--bundle", bundle]).ok();
    for word in ["/dev/shm", "/bin/true", "/proc/kcore", "536870912"] {
        assert!(text.contains(word), "no {word} in:\n{text}");
    }
    let json: Value = t.rt(&["plan", "--bundle", bundle, "--format", "json"]).ok().parse().unwrap();
    // A list of steps, or an object that holds it.
    assert!(json.to_string().contains("/dev/shm"), "{json}");
    assert!(!t.root.exists(), "no state");
    t.assert_clean();
}

/// [W12] [E12] plan finds the same faults as create does.
#[test]
fn plan_refuses() {
    only_davit!();
    let mut t = Test::docker();
    t.config.set("process.cwd", "relative");
    t.write();
    t.rt(&["plan", "--bundle", t.bundle.to_str().unwrap()]).fails(1, "process.cwd");
    t.rt(&["plan", "--bundle", "/nothere"]).fails(1, "no such file or directory");
}
