//! The commands, their options and their table.

use super::*;

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
