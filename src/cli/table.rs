//! Every option and command, once: parser, help, man page and completions are made from these tables.

pub use super::entry::{CommandSpec, Kind, Opt, OptionSpec, Verb};
use super::entry::{flag, text};

/// `--help`, an option of the program and of every command.
pub const HELP: OptionSpec = flag(Opt::Help, "help", "show help").short("h");

pub(super) const BUNDLE: OptionSpec =
    text(Opt::Bundle, "bundle", "DIR", "the bundle's directory, by default the current one").short("b");
pub(super) const CONFIG: OptionSpec =
    text(Opt::Config, "config", "FILE", "another file in place of the bundle's config.json").short("f");
pub(super) const CONSOLE_SOCKET: OptionSpec = text(
    Opt::ConsoleSocket,
    "console-socket",
    "PATH",
    "a listening AF_UNIX socket; the terminal's master end is sent to it",
);
pub(super) const PIDFD_SOCKET: OptionSpec = text(
    Opt::PidfdSocket,
    "pidfd-socket",
    "PATH",
    "a listening AF_UNIX socket; a pidfd of the process is sent to it",
);
pub(super) const PID_FILE: OptionSpec =
    text(Opt::PidFile, "pid-file", "FILE", "write the process id, as the host sees it, to this file");
const NO_PIVOT: OptionSpec = flag(
    Opt::NoPivot,
    "no-pivot",
    "move the root mount and chroot instead of pivot_root, for a rootfs on a ramdisk",
);
const NO_NEW_KEYRING: OptionSpec =
    flag(Opt::NoNewKeyring, "no-new-keyring", "keep the caller's session keyring, make no new one");
pub(super) const PRESERVE_FDS: OptionSpec = OptionSpec {
    kind: Kind::Number,
    ..text(
        Opt::PreserveFds,
        "preserve-fds",
        "N",
        "pass N open descriptors on, from 3 (after those of $LISTEN_FDS)",
    )
    .default("0")
};
pub(super) const DETACH: OptionSpec =
    flag(Opt::Detach, "detach", "return as soon as the program runs").short("d");
const REGEX: OptionSpec = flag(
    Opt::Regex,
    "regex",
    "the container id is a regular expression: act on every match, failures are warnings",
)
.short("r");
const TEXT_FORMAT: OptionSpec = text(Opt::Format, "format", "text|json", "how to print").default("text");
const OUTPUT_FORMAT: OptionSpec =
    text(Opt::Format, "format", "table|json", "how to print").short("f").default("table");

/// The options before the command.
pub const GLOBAL: &[OptionSpec] = &[
    text(Opt::Root, "root", "DIR", "directory of the containers' state, best on a tmpfs")
        .default("/run/davit"),
    text(
        Opt::Log,
        "log",
        "FILE",
        "append log records to this file, or send them to journald:NAME or syslog:NAME, in place of stderr",
    ),
    flag(Opt::SystemdLog, "systemd-log", "the same as --log journald:davit"),
    text(Opt::LogFormat, "log-format", "text|json", "how log records are written").default("text"),
    text(Opt::LogLevel, "log-level", "error|warning|debug", "the least weighty records that are written")
        .default("warning"),
    flag(Opt::Debug, "debug", "the same as --log-level debug"),
    flag(
        Opt::SystemdCgroup,
        "systemd-cgroup",
        "the same as --cgroup-manager systemd; cgroupsPath is then slice:prefix:name",
    ),
    text(
        Opt::CgroupManager,
        "cgroup-manager",
        "cgroupfs|systemd|disabled",
        "who makes the cgroup; disabled: nobody, the caller's is used",
    )
    .default("cgroupfs"),
    text(Opt::Rootless, "rootless", "true|false|auto", "go on without a cgroup that may not be made")
        .default("auto"),
    text(Opt::Criu, "criu", "PATH", "obsolete: criu is found in $PATH").hidden(),
    flag(Opt::Version, "version", "print the version").short("v"),
];

const ID: &str = "<container-id>";

/// A command without options that takes one container.
pub(super) const fn on_container(
    verb: Verb,
    name: &'static str,
    summary: &'static str,
    description: &'static str,
) -> CommandSpec {
    CommandSpec {
        verb,
        name,
        aliases: &[],
        arguments: ID,
        min: 1,
        max: 1,
        trailing: false,
        quiet: false,
        summary,
        description,
        options: &[],
        commands: &[],
    }
}

const fn without_arguments(
    verb: Verb,
    name: &'static str,
    summary: &'static str,
    description: &'static str,
) -> CommandSpec {
    CommandSpec { arguments: "", min: 0, max: 0, ..on_container(verb, name, summary, description) }
}

const BUNDLE_TEXT: &str = "\
A bundle is a directory with a configuration file, config.json, and the
container's root file system. config.json says what runs in the container
(process.args); \"davit spec\" writes one to start from.

The container id is your name for the container and is unique under --root.";

/// The commands, in alphabetical order.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        arguments: "[bash|zsh|fish]",
        min: 0,
        options: &[text(Opt::Shell, "shell", "bash|zsh|fish", "the shell, in place of the argument")],
        ..on_container(
            Verb::Completion,
            "completion",
            "print the completion script of a shell",
            "\
To have completion in the shell that runs now:

    # source <(davit completion bash)
    # source <(davit completion zsh)
    # davit completion fish | source

The package and \"make install\" put the scripts where shells look for them.",
        )
    },
    CommandSpec {
        options: &[
            BUNDLE,
            CONFIG,
            CONSOLE_SOCKET.short("c"),
            PIDFD_SOCKET,
            PID_FILE.short("p"),
            NO_PIVOT,
            NO_NEW_KEYRING,
            PRESERVE_FDS,
        ],
        ..on_container(Verb::Create, "create", "create a container, ready to be started", BUNDLE_TEXT)
    },
    CommandSpec {
        options: &[
            flag(Opt::Force, "force", "kill the container first (SIGKILL) if it still runs").short("f"),
            REGEX,
        ],
        ..on_container(
            Verb::Delete,
            "delete",
            "delete what a container holds: state, cgroup, processes left",
            "\
The container must be stopped, unless --force is given.

With --regex all containers go whose id the expression matches somewhere:

    # davit delete --force --regex '^test-'",
        )
    },
    CommandSpec {
        options: &[
            text(Opt::Interval, "interval", "DURATION", "time between two lines: 5s, 100ms, 1m30s")
                .default("5s"),
            flag(Opt::Stats, "stats", "print one line of numbers and end"),
        ],
        ..on_container(
            Verb::Events,
            "events",
            "print what a container uses, and when it ran out of memory, as JSON lines",
            "\
A line of type \"stats\" comes each interval, one of type \"oom\" for each
process that the kernel kills for lack of memory. Ends when the container does.",
        )
    },
    super::exec::SPEC,
    CommandSpec {
        quiet: true,
        ..without_arguments(
            Verb::Features,
            "features",
            "show what this build supports, as JSON",
            "\
The output is the features structure of the OCI runtime specification.",
        )
    },
    CommandSpec {
        aliases: &["h"],
        arguments: "[command [sub-command]]",
        min: 0,
        max: 2,
        ..on_container(Verb::Help, "help", "show the list of commands, or the help of one", "")
    },
    CommandSpec {
        options: &[TEXT_FORMAT],
        ..without_arguments(
            Verb::Info,
            "info",
            "show what this host offers containers, and what it lacks",
            "\
Kernel, cgroups, namespaces, security modules, seccomp, capabilities and helper
programs, as davit finds them for who calls it; last what can't be used, and why.
\"davit features\" tells what this build can do, whatever the host.",
        )
    },
    CommandSpec {
        arguments: "<container-id> [signal]",
        max: 2,
        options: &[
            flag(Opt::All, "all", "signal every process of the container; not an error if it is stopped")
                .short("a"),
            REGEX,
        ],
        ..on_container(
            Verb::Kill,
            "kill",
            "send a signal (default: SIGTERM) to the container's init process",
            "\
The signal is a number or a name, with or without SIG:

    # davit kill ubuntu01 KILL",
        )
    },
    CommandSpec {
        quiet: true,
        options: &[OUTPUT_FORMAT, flag(Opt::Quiet, "quiet", "print container ids only").short("q")],
        ..without_arguments(
            Verb::List,
            "list",
            "list the containers under --root",
            "\
Containers made with another --root are found by giving it:

    # davit --root DIR list",
        )
    },
    CommandSpec {
        arguments: "[command]",
        min: 0,
        ..on_container(
            Verb::Man,
            "man",
            "print the manual page of the program or of a command",
            "\
Where the pages are not installed:

    # davit man run | man -l -",
        )
    },
    CommandSpec {
        arguments: "command [command options] [arguments...]",
        min: 0,
        max: 0,
        commands: super::mounts::COMMANDS,
        ..on_container(Verb::Mounts, "mounts", "add mounts to a running container, or take them away", "")
    },
    on_container(
        Verb::Pause,
        "pause",
        "suspend all processes of a container",
        "\
Returns when all of them are frozen. \"davit resume\" thaws them.",
    ),
    CommandSpec {
        options: &[BUNDLE, CONFIG, TEXT_FORMAT],
        ..without_arguments(
            Verb::Plan,
            "plan",
            "show what \"run\" would do with a bundle, and do nothing",
            "\
Prints every decision made from config.json: namespaces, mounts in order,
cgroup values, capabilities, the seccomp program, each with its place in the file.",
        )
    },
    CommandSpec {
        arguments: "<container-id> [ps options]",
        max: usize::MAX,
        trailing: true,
        quiet: true,
        options: &[OUTPUT_FORMAT],
        ..on_container(
            Verb::Ps,
            "ps",
            "show the processes of a container",
            "\
Runs ps(1), with -ef or the options given, and keeps the lines of the
container's processes. With --format json: an array of process ids.",
        )
    },
    on_container(Verb::Resume, "resume", "let the processes of a paused container go on", ""),
    CommandSpec {
        options: &[
            BUNDLE,
            CONFIG,
            CONSOLE_SOCKET,
            PIDFD_SOCKET,
            DETACH,
            flag(Opt::Keep, "keep", "do not delete the container when it ends"),
            PID_FILE,
            flag(Opt::NoSubreaper, "no-subreaper", "do not adopt processes that lose their parent"),
            NO_PIVOT,
            NO_NEW_KEYRING,
            PRESERVE_FDS,
        ],
        ..on_container(Verb::Run, "run", "create a container, start it, wait for its end", BUNDLE_TEXT)
    },
    CommandSpec {
        arguments: "command [command options] [arguments...]",
        min: 0,
        max: 0,
        commands: super::seccomp::COMMANDS,
        ..on_container(
            Verb::Seccomp,
            "seccomp",
            "what a seccomp profile says, and why",
            "\
A profile is a file, or the bundle that has it in its config.json. The file may
hold config.json, a linux.seccomp object, or a profile of Docker or Podman.",
        )
    },
    CommandSpec {
        options: &[
            BUNDLE,
            text(Opt::File, "file", "PATH", "another name for config.json").short("f"),
            flag(
                Opt::Rootless,
                "rootless",
                "for a user without privilege: a user namespace with the own ids",
            ),
        ],
        ..without_arguments(
            Verb::Spec,
            "spec",
            "write a config.json to start from",
            "\
The configuration runs \"sh\" in a root file system expected at ./rootfs. Edit
process.args and what else differs, then:

    # davit run container1",
        )
    },
    on_container(Verb::Start, "start", "run the program of a created container", ""),
    CommandSpec {
        quiet: true,
        options: &[flag(Opt::All, "all", "add the cgroups, the systemd unit and all process ids").short("a")],
        ..on_container(
            Verb::State,
            "state",
            "print the state of a container as JSON",
            "\
The status is one of creating, created, running, paused, stopped.",
        )
    },
    CommandSpec {
        arguments: "[container-id...]",
        min: 0,
        max: usize::MAX,
        options: &[
            OUTPUT_FORMAT,
            text(Opt::Interval, "interval", "DURATION", "time between two tables: 1s, 500ms").default("1s"),
            flag(Opt::NoStream, "no-stream", "print once and end"),
        ],
        ..on_container(
            Verb::Stats,
            "stats",
            "show what containers use, refreshed as top(1) does",
            "\
Of the containers named, or of all that run: processor time and how much of it
the quota held back, memory with its peak and limit, swap, processes, block
devices, pressure (the share of the last ten seconds in which some process
waited, in percent), and how many processes were killed for lack of memory.",
        )
    },
    CommandSpec {
        options: super::update::OPTIONS,
        ..on_container(
            Verb::Update,
            "update",
            "change the limits of a container",
            "\
What is not given stays as it is. With --resources, the other limits on the
command line are ignored (but for those of resctrl, which the file can't have):

    # echo '{\"memory\": {\"limit\": 536870912}}' | davit update -r - c1

Device rules change only if the file has some, and then as a whole. If a value is
refused, those written before it are put back.",
        )
    },
    CommandSpec {
        options: &[BUNDLE, CONFIG, TEXT_FORMAT],
        ..without_arguments(
            Verb::Validate,
            "validate",
            "check a bundle's config.json and list every fault, and do nothing",
            "\
Lists what \"run\" would refuse on this host, all at once, each with its line and
column and its JSON path; then what it would do otherwise than might be meant:
unknown properties, relative destinations. The exit code is 1 if there are faults.",
        )
    },
    on_container(
        Verb::Wait,
        "wait",
        "wait for a container's end and print its exit code",
        "\
The code is that of the container's program, or 128 and the number of the signal
that ended it. It takes no monitor: who made the container gets the code as ever.
Linux 6.15 or newer tells others, too; on older kernels it is only known until
that parent has asked for it.",
    ),
];
