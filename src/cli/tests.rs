//! The command line's rules, by the rows of features.md sections 1 and 2.

use std::os::unix::ffi::OsStringExt as _;

use super::*;

fn line(text: &str) -> Result<Invocation, Box<UsageError>> {
    parse(text.split_whitespace().map(|word| OsString::from(word.replace("''", ""))))
}

fn ok(text: &str) -> Invocation {
    line(text).unwrap_or_else(|fault| panic!("{text}: {}", fault.error))
}

fn command_of(text: &str) -> Command {
    ok(text).command
}

fn fault(text: &str) -> Box<UsageError> {
    line(text).expect_err(text)
}

fn id() -> String {
    "c1".to_string()
}

fn run_args(text: &str) -> RunArgs {
    match command_of(text) {
        Command::Run(args) => args,
        other => panic!("{other:?}"),
    }
}

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

/// [G10] Nothing at all: help.
#[test]
fn no_arguments() {
    for text in ["", "--debug", "--root /"] {
        let Command::Help(help) = command_of(text) else { panic!("{text}") };
        assert!(help.starts_with("NAME:\n   davit - Open Container Initiative runtime\n"));
    }
}

/// [G11] Help of the program and of each command, wherever it is asked for.
#[test]
fn help_texts() {
    for text in ["--help", "-h", "-help", "help", "h", "--help state"] {
        let Command::Help(help) = command_of(text) else { panic!("{text}") };
        assert!(help.starts_with("NAME:\n   davit - "), "{text}");
        assert!(help.contains("\n   davit [global options] command [command options] [arguments...]\n"));
        for command in COMMANDS {
            assert!(help.contains(&format!("\n   {}", command.name)), "{}", command.name);
        }
        assert!(help.contains("--root DIR") && !help.contains("criu"), "{help}");
    }
    let all = || COMMANDS.iter().flat_map(|command| std::iter::once(command).chain(command.commands));
    for command in all() {
        let name = command.name;
        for text in [format!("{name} --help"), format!("{name} c1 -h"), format!("help {name}")] {
            if command.trailing && text.ends_with("c1 -h") {
                continue;
            }
            if !command.commands.is_empty() && text.ends_with("c1 -h") {
                assert_eq!(fault(&text).error.exit_code(), 3);
                continue;
            }
            let Command::Help(help) = command_of(&text) else { panic!("{text}") };
            assert!(help.starts_with(&format!("NAME:\n   davit {name} - ")), "{help}");
            for option in command.options {
                let shown = help.contains(&format!("\n   --{}", option.long));
                assert_eq!(shown, !option.hidden, "{name} {}", option.long);
            }
        }
    }
    assert_eq!(command_of("state --help=false c1"), Command::State { id: id(), all: false });
    assert_eq!(fault("help nope").error.exit_code(), 3);
    assert!(line("help a b").is_err());
    let Command::Help(delete) = command_of("delete -h") else { panic!() };
    assert_eq!(
        delete,
        "NAME:\n   davit delete - delete what a container holds: state, cgroup, processes left\n\n\
         USAGE:\n   davit delete [command options] <container-id>\n\n\
         DESCRIPTION:\n   The container must be stopped, unless --force is given.\n\n   \
         With --regex all containers go whose id the expression matches somewhere:\n\n       \
         # davit delete --force --regex '^test-'\n\n\
         OPTIONS:\n   --force, -f  kill the container first (SIGKILL) if it still runs\n   \
         --regex, -r  the container id is a regular expression: act on every match, failures are warnings\n   \
         --help, -h   show help\n"
    );
}

/// [G12] The version, which wins over a command.
#[test]
fn version_lines() {
    for text in ["--version", "-v", "--version state", "-version nosuch"] {
        assert_eq!(command_of(text), Command::Version, "{text}");
    }
    let text = version();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(concat!("davit version ", env!("CARGO_PKG_VERSION"))));
    assert!(lines.next().is_some_and(|line| line.starts_with("commit: ") && line.len() > 8));
    assert_eq!(lines.next(), Some("spec: 1.3.0"));
    assert_eq!(lines.next(), None);
}

/// [G13] `--root` is refused as `/`; otherwise it is the state's root, absolute.
#[test]
fn state_root() {
    for text in ["--root / list", "--root '' list", "--root=/run/.. list"] {
        let fault = fault(text);
        assert_eq!(fault.error.to_string(), "Option --root argument should not be set to /");
    }
    let explicit = ok("--root /r/./s list").global.state_root();
    assert_eq!(explicit, StateRoot { path: "/r/s".into(), xdg: false });
}

/// [G15, X2] Log format and level.
#[test]
fn log_options() {
    assert_eq!(ok("--log-format= list").global.log_format, LogFormat::Text);
    assert_eq!(fault("--log-format xx list").error.to_string(), "invalid log-format: xx");
    for (word, level) in [("error", Level::Error), ("warning", Level::Warning), ("debug", Level::Debug)] {
        assert_eq!(ok(&format!("--log-level {word} list")).global.level, level);
    }
    assert_eq!(fault("--log-level loud list").error.to_string(), "invalid log-level: loud");
    assert_eq!(ok("--debug --log-level error list").global.level, Level::Debug);
    assert_eq!(ok("list").global.level, Level::Warning);
}

/// [G17, X1] Who makes the cgroup: the last one given says.
#[test]
fn cgroup_manager() {
    for (text, manager) in [
        ("", CgroupManager::Cgroupfs),
        ("--systemd-cgroup", CgroupManager::Systemd),
        ("--systemd-cgroup=false", CgroupManager::Cgroupfs),
        ("--systemd-cgroup --systemd-cgroup=false", CgroupManager::Cgroupfs),
        ("--cgroup-manager systemd", CgroupManager::Systemd),
        ("--cgroup-manager=disabled", CgroupManager::Disabled),
        ("--cgroup-manager=disabled --systemd-cgroup", CgroupManager::Systemd),
        ("--systemd-cgroup --cgroup-manager cgroupfs", CgroupManager::Cgroupfs),
        ("--cgroup-manager disabled --systemd-cgroup=false", CgroupManager::Disabled),
    ] {
        assert_eq!(ok(&format!("{text} list")).global.cgroup_manager, manager, "{text}");
    }
    assert_eq!(fault("--cgroup-manager x list").error.to_string(), "invalid cgroup-manager: x");
}

/// [G18] Rootless.
#[test]
fn rootless() {
    for (word, mode) in [("true", Rootless::True), ("false", Rootless::False), ("auto", Rootless::Auto)] {
        assert_eq!(ok(&format!("--rootless={word} list")).global.rootless, mode);
        assert_eq!(ok(&format!("--rootless {word} list")).global.rootless, mode);
    }
    assert_eq!(fault("--rootless=x list").error.to_string(), "invalid rootless: x");
}

/// [V1-V13, X4] Every option of `create` and `run`.
#[test]
fn create_and_run() {
    let options = "-b /b -f /c.json --console-socket /s --pidfd-socket /p --pid-file /f --no-pivot \
                   --no-new-keyring --preserve-fds 2";
    let create = CreateArgs {
        id: id(),
        bundle: Some("/b".into()),
        config: Some("/c.json".into()),
        console_socket: Some("/s".into()),
        pidfd_socket: Some("/p".into()),
        pid_file: Some("/f".into()),
        no_pivot: true,
        no_new_keyring: true,
        preserve_fds: 2,
        recorder: None,
    };
    assert_eq!(command_of(&format!("create {options} c1")), Command::Create(create.clone()));
    let run = RunArgs { create, detach: true, keep: true, no_subreaper: true };
    assert_eq!(run_args(&format!("run {options} -d --keep --no-subreaper c1")), run);
    assert!(line("create --keep c1").is_err(), "only run has it");
}

/// [V9, V14-V21, V45] The small verbs.
#[test]
fn small_verbs() {
    assert_eq!(command_of("start c1"), Command::Start { id: id() });
    assert_eq!(command_of("state c1"), Command::State { id: id(), all: false });
    assert_eq!(command_of("pause c1"), Command::Pause { id: id() });
    assert_eq!(command_of("resume c1"), Command::Resume { id: id() });
    assert_eq!(command_of("delete c1"), Command::Delete { id: id(), force: false, regex: false });
    assert_eq!(command_of("kill c1"), Command::Kill { id: id(), signal: None, all: false, regex: false });
    assert_eq!(command_of("list"), Command::List { format: TableFormat::Table, quiet: false });
    assert_eq!(command_of("list --format=json -q"), Command::List { format: TableFormat::Json, quiet: true });
    for text in ["list -f xml", "ps -f xml c1", "plan --format xml"] {
        let fault = fault(text);
        assert!(fault.error.to_string().starts_with("invalid format option"));
        assert_eq!(fault.stdout, "");
    }
    assert_eq!(command_of("features"), Command::Features);
}

/// [V59, V60, X5] `spec` and `plan`.
#[test]
fn spec_and_plan() {
    let spec = SpecArgs { bundle: Some("/b".into()), file: Some("x.json".into()), rootless: true };
    assert_eq!(command_of("spec -b /b -f x.json --rootless"), Command::Spec(spec));
    assert_eq!(command_of("spec"), Command::Spec(SpecArgs::default()));
    let plan = PlanArgs { bundle: Some("/b".into()), config: Some("c".into()), format: PlanFormat::Json };
    assert_eq!(command_of("plan -b /b --config c --format json"), Command::Plan(plan));
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

/// A command with sub-commands: its help, and one of them.
#[test]
fn sub_commands() {
    for text in ["seccomp", "seccomp -h", "help seccomp"] {
        let Command::Help(help) = command_of(text) else { panic!("{text}") };
        assert!(
            help.contains("COMMANDS:\n   disasm   print") && help.contains("\n   explain  tell"),
            "{help}"
        );
    }
    let unknown = fault("seccomp explian p");
    assert_eq!(unknown.error.exit_code(), 3);
    assert!(unknown.error.to_string().contains("did you mean \"explain\"?"), "{}", unknown.error.to_string());
    let Command::SeccompExplain(args) = command_of("seccomp explain --arch x86 p -- kill -1 - 0x10") else {
        panic!()
    };
    let expected = SeccompArgs {
        profile: "p".into(),
        call: Some("kill".into()),
        args: vec![Some(u64::MAX), None, Some(16)],
        arch: Some("x86".into()),
        ..SeccompArgs::default()
    };
    assert_eq!(args, expected);
    assert_eq!(fault("seccomp explain p kill x").error.exit_code(), 1);
    assert!(line("seccomp explain").is_err() && line("seccomp explain p c 1 2 3 4 5 6 7").is_err());
    assert!(line("seccomp disasm p read").is_err() && line("seccomp disasm --format json p").is_err());
}

/// The table itself: names are unique, the order is the alphabet's, an option's kind and placeholder agree.
#[test]
fn table_is_sound() {
    let all = || COMMANDS.iter().flat_map(|command| std::iter::once(command).chain(command.commands));
    assert!(COMMANDS.is_sorted_by_key(|command| command.name));
    for command in COMMANDS {
        assert!(command.commands.is_sorted_by_key(|sub| sub.name));
        let front = format!("{} ", command.name);
        assert!(command.commands.iter().all(|sub| sub.name == front.clone() + sub.word()));
    }
    let lists = all().map(|command| command.options).chain([GLOBAL]);
    for options in lists {
        let mut names: Vec<_> =
            options.iter().flat_map(|option| [Some(option.long), option.short]).flatten().collect();
        names.extend(["help", "h"]);
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for option in options {
            assert_eq!(option.kind == table::Kind::Flag, option.value.is_empty(), "{}", option.long);
        }
    }
    // [G7] A quiet command is one whose stderr is read as data.
    let quiet: Vec<_> = COMMANDS.iter().filter(|command| command.quiet).map(|command| command.name).collect();
    assert_eq!(quiet, ["features", "list", "ps", "state"]);
}

/// [X6] [Y4] [W13] crun's and youki's short forms.
#[test]
fn short_forms() {
    for text in ["delete -r ^a", "delete ^a --regex"] {
        let wanted = Command::Delete { id: "^a".into(), force: false, regex: true };
        assert_eq!(command_of(text), wanted, "{text}");
    }
    let wanted = Command::Kill { id: "a|b".into(), signal: Some("KILL".into()), all: false, regex: true };
    assert_eq!(command_of("kill -r a|b KILL"), wanted);
    let Command::Create(args) = command_of("create -c sock -p pid c1") else { panic!() };
    assert_eq!((args.console_socket, args.pid_file), (Some("sock".into()), Some("pid".into())));
    assert_eq!(command_of("state -a c1"), Command::State { id: id(), all: true });
}

/// [Y3] [X3] The journal, by one option or the other: the last one wins.
#[test]
fn log_to_the_journal() {
    let log = |text: &str| ok(&format!("{text} state c1")).global.log;
    assert_eq!(log("--systemd-log"), Some("journald:davit".into()));
    assert_eq!(log("--log /l --systemd-log"), Some("journald:davit".into()));
    assert_eq!(log("--systemd-log --log journald:c1"), Some("journald:c1".into()));
    assert_eq!(log("--log /l --systemd-log=false"), Some("/l".into()));
}

/// [G21] A name that asks crun for a handler is refused; any other is as good as ours.
#[test]
fn names_of_handlers() {
    let called = |name: &str, text: &str| parse_as(OsStr::new(name), text.split(' ').map(OsString::from));
    for name in ["/usr/bin/krun", "krun", "crun-wasm"] {
        let fault = called(name, "state c1").expect_err(name);
        assert!(fault.error.to_string().contains("davit has no handler"), "{}", fault.error);
        assert_eq!(called(name, "--version").expect(name).command, Command::Version);
    }
    for name in ["davit", "/usr/bin/runc", "crun", "", "notkrun"] {
        assert!(called(name, "state c1").is_ok(), "{name}");
    }
}

/// [X9] crun's optional value of `exec --tty`.
#[test]
fn exec_tty_takes_a_word() {
    for (text, wanted) in [
        ("exec --tty c1 sh", true),
        ("exec --tty=yes c1 sh", true),
        ("exec -t=1 c1 sh", true),
        ("exec --tty=no c1 sh", false),
        ("exec --tty=false c1 sh", false),
    ] {
        let Command::Exec(args) = command_of(text) else { panic!("{text}") };
        assert_eq!(args.tty, wanted, "{text}");
    }
    assert!(line("exec --detach=no c1 sh").is_err(), "others are Go's");
}
