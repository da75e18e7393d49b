//! The options of `exec`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::entry::{CommandSpec, Opt, Verb, flag, text};
use super::parse::{Given, usage};
use super::table::{CONSOLE_SOCKET, DETACH, PID_FILE, PIDFD_SOCKET, PRESERVE_FDS, on_container};
use crate::error::Result;

pub(super) const SPEC: CommandSpec = CommandSpec {
    arguments: "<container-id> <command> [arguments]",
    max: usize::MAX,
    trailing: true,
    options: &[
        text(Opt::Process, "process", "FILE", "the process object of config.json, in a file of its own")
            .short("p"),
        flag(Opt::Tty, "tty", "give the program a terminal").short("t"),
        DETACH,
        text(Opt::User, "user", "UID[:GID]", "run as this user, by numbers").short("u"),
        text(Opt::AdditionalGids, "additional-gids", "GID", "a further group; may be repeated").short("g"),
        text(Opt::Cwd, "cwd", "DIR", "working directory in the container"),
        text(Opt::Env, "env", "NAME=VALUE", "add to the environment; may be repeated").short("e"),
        text(Opt::Cap, "cap", "CAP", "add a capability; may be repeated").short("c"),
        flag(Opt::NoNewPrivs, "no-new-privs", "execve gives no privileges (set-user-ID, file capabilities)"),
        text(Opt::Apparmor, "apparmor", "PROFILE", "AppArmor profile"),
        text(Opt::ProcessLabel, "process-label", "LABEL", "SELinux label"),
        text(
            Opt::Cgroup,
            "cgroup",
            "[CTRL,...:]PATH",
            "a cgroup below the container's; with controllers (v1), may be repeated",
        ),
        PID_FILE,
        PIDFD_SOCKET,
        CONSOLE_SOCKET,
        PRESERVE_FDS,
        flag(Opt::IgnorePaused, "ignore-paused", "in a paused container, wait until it is resumed"),
    ],
    ..on_container(
        Verb::Exec,
        "exec",
        "run a further program in a container",
        "\
All that follows the container id belongs to the command; with --process there
is none. What neither says is as for the container's own program.

    # davit exec ubuntu01 ps -ef

The exit code is the program's, 128+N if signal N killed it, or 255 if davit
itself failed.",
    )
};

/// `exec`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecArgs {
    /// The container's id, not validated yet.
    pub id: String,
    /// The program with its arguments; empty with `process`.
    pub command: Vec<OsString>,
    /// `--process`: it takes the place of the command; other options hold over what it says.
    pub process: Option<PathBuf>,
    /// `--tty`.
    pub tty: bool,
    /// `--detach`.
    pub detach: bool,
    /// `--pid-file`.
    pub pid_file: Option<PathBuf>,
    /// `--user`.
    pub user: Option<User>,
    /// `--additional-gids`.
    pub additional_gids: Vec<u32>,
    /// `--cwd`.
    pub cwd: Option<PathBuf>,
    /// `--env`.
    pub env: Vec<String>,
    /// `--cap`.
    pub cap: Vec<String>,
    /// `--no-new-privs`; `None` leaves it to the container's configuration.
    pub no_new_privs: Option<bool>,
    /// `--apparmor`.
    pub apparmor: Option<String>,
    /// `--process-label`.
    pub process_label: Option<String>,
    /// `--cgroup`, each as given.
    pub cgroup: Vec<String>,
    /// `--preserve-fds`: how many, counted from fd 3 on.
    pub preserve_fds: u32,
    /// `--console-socket`.
    pub console_socket: Option<PathBuf>,
    /// `--pidfd-socket`.
    pub pidfd_socket: Option<PathBuf>,
    /// `--ignore-paused`.
    pub ignore_paused: bool,
}

/// `--user`: `UID` or `UID:GID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id, if given.
    pub gid: Option<u32>,
}

pub(super) fn args(id: String, command: Vec<OsString>, given: &mut Given) -> Result<ExecArgs> {
    let process = given.path(Opt::Process);
    match (&process, command.is_empty()) {
        (None, true) => return Err(usage("process args cannot be empty")),
        (Some(_), false) => {
            return Err(usage("--process takes the place of a command: give one of both"));
        }
        _ => {}
    }
    Ok(ExecArgs {
        id,
        command,
        process,
        tty: given.flag(Opt::Tty),
        detach: given.flag(Opt::Detach),
        pid_file: given.path(Opt::PidFile),
        user: given.parsed(Opt::User, |_, text| user(text))?,
        additional_gids: gids(given.unicodes(Opt::AdditionalGids)?)?,
        cwd: given.path(Opt::Cwd),
        env: given.unicodes(Opt::Env)?,
        cap: given.unicodes(Opt::Cap)?,
        no_new_privs: given.given_flag(Opt::NoNewPrivs),
        apparmor: given.unicode(Opt::Apparmor)?,
        process_label: given.unicode(Opt::ProcessLabel)?,
        cgroup: given.unicodes(Opt::Cgroup)?,
        preserve_fds: given.number(Opt::PreserveFds).unwrap_or(0),
        console_socket: given.path(Opt::ConsoleSocket),
        pidfd_socket: given.path(Opt::PidfdSocket),
        ignore_paused: given.flag(Opt::IgnorePaused),
    })
}

/// Digits only, all of them: a lenient look made root of others (Z13). 4294967295 is "unchanged" to setresuid(2).
fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX)
}

fn user(text: &str) -> Result<User> {
    let (uid, gid) = match text.split_once(':') {
        Some((uid, gid)) => (id(uid), Some(id(gid))),
        None => (id(text), None),
    };
    match (uid, gid) {
        (Some(uid), None) => Ok(User { uid, gid: None }),
        (Some(uid), Some(Some(gid))) => Ok(User { uid, gid: Some(gid) }),
        _ => Err(usage(format!("--user {text:?}: invalid user"))
            .hint("UID or UID:GID, as decimal numbers below 4294967295; names are not looked up")),
    }
}

fn gids(texts: Vec<String>) -> Result<Vec<u32>> {
    let gid = |text: String| {
        id(&text).ok_or_else(|| {
            usage(format!("--additional-gids {text:?}: invalid group"))
                .hint("a decimal number below 4294967295")
        })
    };
    texts.into_iter().map(gid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [V30] [Z13]
    #[test]
    fn users_are_whole_numbers() {
        assert_eq!(user("0").unwrap(), User { uid: 0, gid: None });
        assert_eq!(user("1000").unwrap(), User { uid: 1000, gid: None });
        assert_eq!(user("1:4294967294").unwrap(), User { uid: 1, gid: Some(4_294_967_294) });
        for text in [
            "",
            ":",
            "1:",
            ":1",
            "1x",
            "x",
            "-1",
            "+1",
            " 1",
            "1 ",
            "0x10",
            "1:2:3",
            "1:-1",
            "root",
            "1:wheel",
            "1.0",
            "4294967295",
            "4294967296",
            "1:4294967295",
            "18446744073709551616",
            "\u{661}",
        ] {
            let error = user(text).expect_err(text).to_string();
            assert!(error.starts_with(&format!("--user {text:?}: invalid user")), "{error}");
        }
    }

    /// [V31]
    #[test]
    fn groups_are_whole_numbers() {
        assert_eq!(gids(vec!["5".into(), "0".into()]).unwrap(), [5, 0]);
        for text in ["", "-1", "1x", "1,2", "4294967295"] {
            assert!(gids(vec![text.into()]).is_err(), "{text}");
        }
    }
}
