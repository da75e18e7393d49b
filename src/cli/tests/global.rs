//! The options before the command; help and version.

use super::*;

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

/// [Y3] [X3] The journal, by one option or the other: the last one wins.
#[test]
fn log_to_the_journal() {
    let log = |text: &str| ok(&format!("{text} state c1")).global.log;
    assert_eq!(log("--systemd-log"), Some("journald:davit".into()));
    assert_eq!(log("--log /l --systemd-log"), Some("journald:davit".into()));
    assert_eq!(log("--systemd-log --log journald:c1"), Some("journald:c1".into()));
    assert_eq!(log("--log /l --systemd-log=false"), Some("/l".into()));
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
