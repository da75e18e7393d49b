//! Running a command with a deadline; its output goes to files, since init keeps what it is given open.

use super::host;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// How long a command may take, unless it is given more.
const DEADLINE: i64 = 20;

/// What a command left: exit code (128+N for a signal), stdout and stderr.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    what: String,
}

impl Output {
    /// The command succeeded and said nothing on stderr; gives stdout without the last newline.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.code == 0 && self.stderr.is_empty(), "{self}");
        self.stdout.trim_end_matches('\n').to_string()
    }

    /// The command exited with this code.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// The command failed with this code and a text that holds `text`, nothing on stdout; for Davit the text is
    /// one line.
    #[track_caller]
    pub fn fails(self, code: i32, text: &str) -> Self {
        assert_eq!(self.code, code, "{self}");
        self.says(text);
        assert_eq!(self.stdout, "", "{self}");
        if super::davit_only() {
            assert_eq!(self.stderr.lines().count(), 1, "one line: {self}");
            assert!(self.stderr.ends_with('\n'), "ends with a newline: {self}");
            assert!(!self.stderr.contains("panicked"), "{self}");
        }
        self
    }
}

impl Output {
    /// stderr holds the text; in a record of the text log format its quotes are escaped.
    #[track_caller]
    pub fn says(&self, text: &str) {
        let plain = self.stderr.replace("\\\"", "\"");
        assert!(self.stderr.contains(text) || plain.contains(text), "no `{text}` in: {self}");
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}: exit code {}", self.what, self.code)?;
        writeln!(f, "--- stdout:\n{}--- stderr:\n{}---", self.stdout, self.stderr)
    }
}

/// A command under construction.
pub struct Cmd {
    args: Vec<OsString>,
    cwd: Option<PathBuf>,
    env: Option<Vec<(String, String)>>,
    extra_env: Vec<(String, String)>,
    stdin: Option<PathBuf>,
    dir: PathBuf,
    deadline: i64,
}

impl Cmd {
    /// `args[0]` is the program; the files for its output are made in `dir`.
    pub fn new<S: AsRef<OsStr>>(dir: &Path, args: impl IntoIterator<Item = S>) -> Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_os_string()).collect();
        let dir = dir.to_path_buf();
        Self { args, cwd: None, env: None, extra_env: vec![], stdin: None, dir, deadline: DEADLINE }
    }

    /// More arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_os_string()));
        self
    }

    /// Runs in this directory.
    pub fn cwd(mut self, dir: &Path) -> Self {
        self.cwd = Some(dir.to_path_buf());
        self
    }

    /// With exactly this environment.
    pub fn only_env(mut self, env: &[(&str, &str)]) -> Self {
        self.env = Some(env.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect());
        self
    }

    /// With one more variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.extra_env.push((name.to_string(), value.to_string()));
        self
    }

    /// Reads stdin from this file.
    pub fn stdin(mut self, file: &Path) -> Self {
        self.stdin = Some(file.to_path_buf());
        self
    }

    /// It may take this many seconds.
    #[allow(dead_code, reason = "callers/ needs more than the everyday tests do")]
    pub fn patience(mut self, seconds: i64) -> Self {
        self.deadline = seconds;
        self
    }

    /// By way of `/bin/sh`, whose script runs the command as `"$@"` (or `exec "$@"`).
    pub fn shell(self, script: &str) -> Self {
        self.wrap(["/bin/sh", "-c", script, "sh"])
    }

    /// By way of another program that runs its last arguments.
    pub fn wrap<S: AsRef<OsStr>>(mut self, front: impl IntoIterator<Item = S>) -> Self {
        let front: Vec<OsString> = front.into_iter().map(|arg| arg.as_ref().to_os_string()).collect();
        self.args.splice(0..0, front);
        self
    }

    /// The directory for its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The words of the command line.
    pub fn into_args(self) -> Vec<OsString> {
        self.args
    }

    /// Starts it without waiting.
    pub fn spawn(self) -> Running {
        let number = host::unique();
        let file = |name: &str| self.dir.join(format!("{name}-{number}"));
        let (stdout, stderr) = (file("out"), file("err"));
        let mut command = Command::new(&self.args[0]);
        command.args(&self.args[1..]);
        command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
        command.stdin(match &self.stdin {
            Some(path) => Stdio::from(File::open(path).unwrap()),
            None => Stdio::null(),
        });
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        if let Some(env) = &self.env {
            command.env_clear().envs(env.iter().cloned());
        }
        command.envs(self.extra_env.iter().cloned());
        let what = self.args.iter().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
        let child = host::spawn(&mut command).unwrap_or_else(|error| panic!("{what}: {error}"));
        Running { child, stdout, stderr, what, deadline: self.deadline }
    }

    /// Runs it to its end; panics if that takes longer than it may.
    pub fn output(self) -> Output {
        self.spawn().wait()
    }
}

/// A command that was started.
pub struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    what: String,
    deadline: i64,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Sends it a signal.
    pub fn kill(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid()).unwrap(), signal).unwrap();
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stdout).unwrap()).into_owned()
    }

    /// Waits for its end; panics if that takes longer than it may.
    #[track_caller]
    pub fn wait(self) -> Output {
        let deadline = self.deadline;
        let (output, ended) = self.wait_or_kill();
        assert!(ended, "no end within {deadline} s: {output}");
        output
    }

    /// Waits for its end, or kills it after its time; says whether it ended by itself.
    pub fn wait_or_kill(mut self) -> (Output, bool) {
        let pidfd = pidfd_open(Pid::from_raw(self.pid()).unwrap(), PidfdFlags::empty()).unwrap();
        // A pid namespace ends only once all in it are reaped, and who is orphaned there has us as its parent.
        let slice = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
        let ended = (0..self.deadline * 5).any(|_| {
            let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&slice)).unwrap() > 0;
            if !ended {
                host::reap();
            }
            ended
        });
        if !ended {
            let _ = self.child.kill();
        }
        let status = host::wait(&mut self.child);
        let text = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        let output = Output {
            code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            stdout: text(&self.stdout),
            stderr: text(&self.stderr),
            what: std::mem::take(&mut self.what),
        };
        (output, ended)
    }
}
