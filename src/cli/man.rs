//! Manual pages in man(7)'s macros, made from the tables.

use std::fmt::Write as _;

use super::help::ABOUT;
use super::table::{COMMANDS, CommandSpec, GLOBAL, HELP, OptionSpec};

/// The date that the pages show: that of the version in Cargo.toml.
const DATE: &str = "2026-11-29";

const FILES: &[(&str, &str)] = &[
    ("config.json", "In the bundle: what to run and how to confine it."),
    ("/run/davit", "The state of root's containers, one directory each; --root names another one."),
    ("$XDG_RUNTIME_DIR/davit", "The same for an ordinary user."),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("XDG_RUNTIME_DIR", "Where the state of an ordinary user's containers lies."),
    (
        "LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES",
        "Sockets of a service manager: they are passed on to the container's program, from descriptor 3 on.",
    ),
    (
        "NOTIFY_SOCKET",
        "A service manager waits for readiness: the container gets a socket of its own, and its READY=1 is passed on.",
    ),
    (
        "DBUS_SYSTEM_BUS_ADDRESS, DBUS_SESSION_BUS_ADDRESS",
        "With --systemd-cgroup: where systemd is asked, as root and as an ordinary user.",
    ),
    (
        "SYSTEMD_BUS_TIMEOUT",
        "With --systemd-cgroup: how long systemd has for an answer, 30s if it is not set.",
    ),
    (
        "RUN_OCI_SECCOMP_RECEIVER",
        "Who gets the listener of a seccomp profile that names nobody: the absolute path of a socket.",
    ),
];

const EXIT: &[(&str, &str)] = &[
    ("0", "Done."),
    ("1", "An error; one line on stderr, and in the file of --log, says which."),
    ("3", "There is no such command."),
    (
        "128+N",
        "\"davit run\" and \"davit exec\": the program was ended by signal N. Else they end as the program did.",
    ),
    ("255", "\"davit exec\": the program could not be run, for whatever reason."),
];

const EXAMPLES: &str = "\
A container from nothing but a directory with a busybox in it:

    # mkdir -p bundle/rootfs/bin && cd bundle
    # cp /bin/busybox rootfs/bin/sh
    # davit spec
    # davit run hello

Step by step, as engines do it:

    # davit create --bundle /path/to/bundle hello
    # davit start hello
    # davit kill hello TERM
    # davit delete hello";

/// davit(1).
pub(super) fn program() -> String {
    let mut page = head("davit", "run containers by the OCI runtime specification");
    page.push_str(".SH SYNOPSIS\n.B davit\n[\\fIglobal options\\fR] \\fIcommand\\fR ");
    page.push_str("[\\fIcommand options\\fR] [\\fIarguments\\fR...]\n.SH DESCRIPTION\n");
    prose(&mut page, ABOUT);
    page.push_str(
        ".PP\nOptions are written as \\fB\\-\\-name\\fR or \\fB\\-name\\fR, their values as the next word ",
    );
    page.push_str("or after a \\fB=\\fR.\n.SH COMMANDS\n");
    for command in COMMANDS {
        let _ =
            writeln!(page, ".TP\n{}(1)\n{}", bold(&format!("davit-{}", command.name)), text(command.summary));
    }
    page.push_str(".SH GLOBAL OPTIONS\n");
    options(&mut page, GLOBAL);
    for (title, entries) in [("FILES", FILES), ("ENVIRONMENT", ENVIRONMENT), ("EXIT STATUS", EXIT)] {
        let _ = writeln!(page, ".SH {title}");
        for (name, meaning) in entries {
            let _ = writeln!(page, ".TP\n{}\n{}", bold(name), text(meaning));
        }
    }
    page.push_str(".SH EXAMPLES\n");
    prose(&mut page, EXAMPLES);
    page.push_str(".SH SEE ALSO\n");
    for command in COMMANDS {
        let _ = writeln!(page, "{}(1),", bold(&format!("davit-{}", command.name)));
    }
    page.push_str(".BR namespaces (7),\n.BR cgroups (7),\n.BR capabilities (7),\n.BR seccomp (2)\n");
    page
}

/// davit-COMMAND(1).
pub(super) fn command(command: &CommandSpec) -> String {
    let mut page = head(&format!("davit-{}", command.name), command.summary);
    let _ = write!(page, ".SH SYNOPSIS\n.B davit {}\n", command.name);
    page.push_str(&synopsis(command));
    page.push_str(".SH DESCRIPTION\n");
    if command.description.is_empty() {
        let mut summary = command.summary.to_string();
        summary.get_mut(..1).map(str::make_ascii_uppercase);
        let _ = writeln!(page, "{}.", text(&summary));
    }
    prose(&mut page, command.description);
    for alias in command.aliases {
        let _ = writeln!(page, ".PP\nAnother name for it is {}.", bold(alias));
    }
    for sub in command.commands {
        let _ = writeln!(
            page,
            ".SH {}\n.B davit {}\n{}.PP",
            sub.name.to_ascii_uppercase(),
            sub.name,
            synopsis(sub)
        );
        prose(&mut page, sub.description);
        options(&mut page, sub.options);
    }
    page.push_str(".SH OPTIONS\n");
    options(&mut page, command.options);
    page.push_str(".PP\nOptions of the program, as \\fB\\-\\-root\\fR and \\fB\\-\\-log\\fR, stand before the command; ");
    page.push_str("files, environment and exit status: see\n.BR davit (1).\n.SH SEE ALSO\n.BR davit (1)\n");
    page
}

/// What stands behind the command's name; nothing, or a line.
fn synopsis(command: &CommandSpec) -> String {
    let options = if command.options.is_empty() { "" } else { "[\\fIoptions\\fR] " };
    let line = format!("{options}{}", text(command.arguments));
    if line.is_empty() { line } else { line.trim_end().to_string() + "\n" }
}

fn head(name: &str, summary: &str) -> String {
    format!(
        ".\\\" Made by: davit man\n.TH {} 1 {DATE} \"davit {}\" \"User Commands\"\n.SH NAME\n{} \\- {}\n",
        name.to_ascii_uppercase(),
        env!("CARGO_PKG_VERSION"),
        text(name),
        text(summary)
    )
}

fn options(page: &mut String, options: &[OptionSpec]) {
    for option in options.iter().chain([&HELP]).filter(|option| !option.hidden) {
        let value =
            if option.value.is_empty() { String::new() } else { format!(" \\fI{}\\fR", text(option.value)) };
        let _ = write!(page, ".TP\n{}{value}", bold(&format!("--{}", option.long)));
        if let Some(short) = option.short {
            let _ = write!(page, ", {}{value}", bold(&format!("-{short}")));
        }
        let _ = write!(page, "\n{}", text(option.help));
        if let Some(default) = option.default {
            let _ = write!(page, " (default: {})", text(default));
        }
        page.push('\n');
    }
}

/// Paragraphs between empty lines; what is indented by four blanks stands as it is.
fn prose(page: &mut String, prose: &str) {
    for (index, paragraph) in prose.trim_end().split("\n\n").filter(|text| !text.is_empty()).enumerate() {
        let verbatim = paragraph.starts_with("    ");
        match (index, verbatim) {
            (_, true) => page.push_str(".PP\n.RS 4\n.nf\n"),
            (0, false) => {}
            (_, false) => page.push_str(".PP\n"),
        }
        for line in paragraph.lines() {
            let _ = writeln!(page, "{}", text(line.strip_prefix("    ").unwrap_or(line)));
        }
        if verbatim {
            page.push_str(".fi\n.RE\n");
        }
    }
}

fn bold(text_: &str) -> String {
    format!("\\fB{}\\fR", text(text_))
}

/// Text as it shall be seen: a hyphen stays a minus sign that can be copied, no line is taken for a macro.
fn text(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_macro_would_be_is_text() {
        assert_eq!(text(".TH a-b \\n"), "\\&.TH a\\-b \\en");
    }

    /// Every option and its default is on its page, once.
    #[test]
    fn pages_hold_the_tables() {
        for spec in COMMANDS {
            let page = command(spec);
            for option in spec.options {
                let name = bold(&format!("--{}", option.long));
                let count = page.lines().filter(|line| line.starts_with(&name)).count();
                assert_eq!(count, usize::from(!option.hidden), "{} {}", spec.name, option.long);
            }
        }
        let page = program();
        assert!(COMMANDS.iter().all(|spec| page.contains(&text(&format!("davit-{}", spec.name)))));
        assert!(page.contains("(default: /run/davit)") && !page.contains("criu"));
    }
}
