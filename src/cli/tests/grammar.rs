//! How a command line is made up: options, their values, arguments.

use std::os::unix::ffi::OsStringExt as _;

use super::*;

/// [G1] Global options, command, options, arguments.
#[test]
fn shape() {
    let all = ok(
        "--root /r --log l --log-format json --debug --systemd-cgroup --rootless true --criu x delete -f c1",
    );
    assert_eq!(
        all.global,
        Global {
            root: Some("/r".into()),
            log: Some("l".into()),
            log_format: LogFormat::Json,
            level: Level::Debug,
            cgroup_manager: CgroupManager::Systemd,
            rootless: Rootless::True,
            quiet: false,
        }
    );
    assert_eq!(all.command, Command::Delete { id: id(), force: true, regex: false });
    assert_eq!(all.name, "delete");
    // A global option is none of the command's.
    assert_eq!(fault("state --root /r c1").error.to_string(), "flag provided but not defined: -root");
}

/// [G2] One dash or two, short or long.
#[test]
fn dashes() {
    for text in ["run -no-subreaper -d c1", "run --no-subreaper --d c1", "run -no-subreaper=1 -detach c1"] {
        let args = run_args(text);
        assert!(args.no_subreaper && args.detach, "{text}");
    }
    // Short names do not cluster: Go reads a name of its own.
    assert_eq!(fault("list -qf json").error.to_string(), "flag provided but not defined: -qf");
    assert_eq!(fault("list ---q").error.to_string(), "bad flag syntax: ---q");
    assert_eq!(fault("list --=x").error.to_string(), "bad flag syntax: --=x");
}

/// [G3] `--name=value`, `--name value`, `--flag=BOOL` in each of Go's words.
#[test]
fn values() {
    for text in
        ["run --bundle /b c1", "run --bundle=/b c1", "run -b /b c1", "run -b=/b c1", "run c1 -bundle /b"]
    {
        assert_eq!(run_args(text).create.bundle, Some("/b".into()), "{text}");
    }
    for word in ["1", "t", "T", "true", "TRUE", "True"] {
        assert!(run_args(&format!("run --detach={word} c1")).detach, "{word}");
    }
    for word in ["0", "f", "F", "false", "FALSE", "False"] {
        assert!(!run_args(&format!("run --detach={word} c1")).detach, "{word}");
    }
    // No separate value: "true" is the id here, and c1 is one argument too many.
    assert_eq!(run_args("run --detach true").create.id, "true");
    assert!(line("run --detach true c1").is_err());
    let odd = fault("run --detach=maybe c1").error.to_string();
    assert_eq!(odd, "invalid boolean value \"maybe\" for -detach: parse error");
    assert_eq!(run_args("run --preserve-fds=3 c1").create.preserve_fds, 3);
    for bad in ["x", "-1", "4294967296", "''"] {
        let error = fault(&format!("run --preserve-fds {bad} c1")).error.to_string();
        let bad = bad.replace('\'', "");
        assert_eq!(error, format!("invalid value \"{bad}\" for flag -preserve-fds: parse error"));
    }
    // A value may look like an option, and may hold `=`.
    assert_eq!(run_args("run --pid-file --keep c1").create.pid_file, Some("--keep".into()));
    assert_eq!(run_args("run --pid-file=a=b c1").create.pid_file, Some("a=b".into()));
    // An empty path is none.
    assert_eq!(
        run_args("run --pid-file= --bundle '' c1").create,
        CreateArgs { id: id(), ..CreateArgs::default() }
    );
}

/// [G4] The last one wins, globals too.
#[test]
fn repeated() {
    let twice = ok("--root /a --log l1 --log-format json --debug --systemd-cgroup --rootless true \
         --root /b --log l2 --log-format text --debug=false --systemd-cgroup --rootless=false \
         run --bundle a --keep --bundle b --keep=false c1");
    let wanted = Global {
        root: Some("/b".into()),
        log: Some("l2".into()),
        cgroup_manager: CgroupManager::Systemd,
        rootless: Rootless::False,
        ..Global::default()
    };
    assert_eq!(twice.global, wanted);
    let Command::Run(args) = twice.command else { panic!() };
    assert_eq!(args.create.bundle, Some("b".into()));
    assert!(!args.keep);
}

/// [G5] Options after the id belong to the command, but not for `ps`.
#[test]
fn options_after_the_id() {
    assert_eq!(command_of("delete c1 --force"), Command::Delete { id: id(), force: true, regex: false });
    let kill = Command::Kill { id: id(), signal: Some("9".into()), all: true, regex: false };
    assert_eq!(command_of("kill c1 -a 9"), kill);
    assert_eq!(command_of("kill c1 9 --all"), kill);
    let args = ["-f", "json", "--", "-h"].map(OsString::from).to_vec();
    assert_eq!(
        command_of("ps --format json c1 -f json -- -h"),
        Command::Ps { id: id(), format: TableFormat::Json, args }
    );
    assert_eq!(command_of("ps -- c1"), Command::Ps { id: id(), format: TableFormat::Table, args: vec![] });
}

/// [G6] `--` ends options.
#[test]
fn end_of_options() {
    assert_eq!(command_of("state -- -x"), Command::State { id: "-x".into(), all: false });
    assert_eq!(command_of("-- state c1"), Command::State { id: id(), all: false });
    assert_eq!(command_of("state -"), Command::State { id: "-".into(), all: false });
    assert_eq!(command_of("state -- --"), Command::State { id: "--".into(), all: false });
}

/// [G7] Unknown option: usage on stdout, exit 1. Unknown command: exit 3, nothing on stdout.
#[test]
fn unknown() {
    let option = fault("state -x c1");
    assert_eq!(option.error.to_string(), "flag provided but not defined: -x");
    assert_eq!(option.error.exit_code(), 1);
    let begin = "Incorrect Usage: flag provided but not defined: -x\n\nNAME:\n   davit state - ";
    assert!(option.stdout.starts_with(begin), "{}", option.stdout);
    let global = fault("--x=1 state c1");
    assert_eq!(global.error.to_string(), "flag provided but not defined: -x");
    assert!(
        global.stdout.starts_with("Incorrect Usage. flag provided but not defined: -x\n\nNAME:\n   davit - ")
    );
    let command = fault("zzz c1");
    assert_eq!(command.error.to_string(), "No help topic for 'zzz'");
    assert_eq!((command.error.exit_code(), command.stdout.as_str()), (3, ""));
    for (typed, meant) in [("feat", "features"), ("craete", "create"), ("pau", "pause"), ("lists", "list")] {
        let text = fault(typed).error.to_string();
        assert_eq!(text, format!("No help topic for '{typed}' (hint: did you mean \"{meant}\"?)"));
    }
    // The fault goes where the options before it say.
    assert_eq!(fault("--log /l --log-format json nope").global.log_format, LogFormat::Json);
}

/// [G8] A missing value, in the words that Podman looks for.
#[test]
fn missing_value() {
    for (text, name) in [("--log", "log"), ("run --bundle", "bundle"), ("run c1 -b", "b")] {
        let fault = fault(text);
        assert_eq!(fault.error.to_string(), format!("flag needs an argument: -{name}"));
        assert_eq!(fault.error.exit_code(), 1);
    }
}

/// [G9] Wrong number of arguments.
#[test]
fn number_of_arguments() {
    for (text, rule) in [
        ("start", "\"start\" requires exactly 1"),
        ("start a b", "\"start\" requires exactly 1"),
        ("create", "\"create\" requires exactly 1"),
        ("run a b", "\"run\" requires exactly 1"),
        ("kill", "\"kill\" requires a minimum of 1"),
        ("kill a b c", "\"kill\" requires a maximum of 2"),
        ("ps", "\"ps\" requires a minimum of 1"),
        ("list a", "\"list\" requires exactly 0"),
        ("spec a", "\"spec\" requires exactly 0"),
        ("features a", "\"features\" requires exactly 0"),
        ("plan a", "\"plan\" requires exactly 0"),
    ] {
        let fault = fault(text);
        assert_eq!(fault.error.to_string(), format!("davit: {rule} argument(s)"));
        assert_eq!(fault.error.exit_code(), 1);
        assert!(fault.stdout.starts_with("Incorrect Usage.\n\nNAME:\n   davit "), "{}", fault.stdout);
    }
}

/// Paths need not be UTF-8; an id must be, and what goes into JSON or a file of the kernel.
#[test]
fn bytes() {
    let raw = || OsString::from_vec(vec![b'/', 0xff]);
    let args = ["run".into(), "--bundle".into(), raw(), "c1".into()];
    let Command::Run(run) = parse(args.into_iter()).unwrap().command else { panic!() };
    assert_eq!(run.create.bundle, Some(raw().into()));
    let fault = parse(["state".into(), raw()].into_iter()).unwrap_err();
    assert_eq!(fault.error.to_string(), "invalid container ID format");
    for (verb, option) in
        [("update", "--cpuset-cpus"), ("update", "--memory"), ("exec", "--user"), ("exec", "--env")]
    {
        let args = [verb.into(), option.into(), raw(), "c1".into(), "sh".into()];
        let fault = parse(args.into_iter().take(if verb == "exec" { 5 } else { 4 })).unwrap_err();
        assert_eq!(fault.error.to_string(), format!("{option}: \"/\\xFF\" is not UTF-8"));
    }
}
