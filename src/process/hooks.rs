//! Hooks that run in the runtime's namespaces: prestart, createRuntime, poststart, poststop.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use oci_spec::runtime::Hook;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use crate::error::{Context, Error, Kind, Result, errno_text};
use crate::sys::process::close_on_exec_from;

/// How much of each output stream an error shows: its beginning.
const OUTPUT_LIMIT: usize = 4096;

/// Runs the hooks of one kind in their order, up to the first that fails.
///
/// # Errors
/// `error running createRuntime hook #0: exit status 1, stdout: , stderr: `.
pub fn run_all(kind: &str, hooks: &[Hook], state_json: &[u8], cwd: &Path) -> Result<()> {
    for (index, hook) in hooks.iter().enumerate() {
        run(hook, state_json, cwd).with_context(|| format!("error running {kind} hook #{index}"))?;
    }
    Ok(())
}

/// Runs one hook: the state on its stdin, its output caught, killed when its time is over.
///
/// The hook gets stdin, stdout and stderr and no other descriptor. Without `env` it has the runtime's
/// environment, with it exactly that. Its working directory is `cwd`, or `/` if that is gone. Its end is
/// learned from a pidfd: a background process that keeps the pipes open holds nobody up.
///
/// # Errors
/// `exec /x: no such file or directory`, `exit status 1, stdout: …, stderr: …`, `signal: killed, …`,
/// `hook ran past specified timeout of 1.0s`.
pub fn run(hook: &Hook, state_json: &[u8], cwd: &Path) -> Result<()> {
    let path = hook.path();
    if !path.is_absolute() {
        return Err(Error::new(Kind::Config, format!("hook path {} is not absolute", path.display())));
    }
    let timeout = match hook.timeout().map(u64::try_from) {
        None => None,
        Some(Ok(seconds)) if seconds > 0 => Some(Duration::from_secs(seconds)),
        Some(_) => return Err(Error::new(Kind::Config, "hook timeout must be greater than zero")),
    };
    let mut child = command(hook, cwd).spawn().map_err(|error| {
        Error::new(Kind::System, format!("exec {}: {}", path.display(), errno_text(&error)))
    })?;
    let mut talk = Talk::new(&mut child, state_json);
    let end = talk.until_exit(&child, timeout);
    if !matches!(end, Ok(true)) {
        // Ended meanwhile is fine; whatever it is, it is waited for below.
        let _ = child.kill();
    }
    let status = child.wait().context("wait for the hook")?;
    match (end?, timeout) {
        (false, Some(timeout)) => {
            let seconds = timeout.as_secs_f64();
            Err(Error::new(Kind::System, format!("hook ran past specified timeout of {seconds:.1}s")))
        }
        _ if status.success() => Ok(()),
        _ => Err(Error::new(Kind::System, talk.failure(status))),
    }
}

fn command(hook: &Hook, cwd: &Path) -> Command {
    let mut command = Command::new(hook.path());
    if let Some((name, rest)) = hook.args().as_deref().and_then(<[String]>::split_first) {
        command.arg0(name).args(rest);
    }
    if let Some(env) = hook.env() {
        command.env_clear();
        command.envs(env.iter().map(|entry| entry.split_once('=').unwrap_or((entry, ""))));
    }
    command.current_dir(if cwd.is_dir() { cwd } else { Path::new("/") });
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    close_on_exec_from(&mut command, 3);
    command
}

/// The three pipes of a hook, none of which blocks.
struct Talk<'s> {
    stdin: Option<ChildStdin>,
    rest: &'s [u8],
    outputs: [Output; 2],
}

/// One output stream: what came so far, up to the limit.
struct Output {
    pipe: Option<std::fs::File>,
    text: Vec<u8>,
}

impl<'s> Talk<'s> {
    fn new(child: &mut Child, state_json: &'s [u8]) -> Self {
        let output = |fd: Option<OwnedFd>| Output { pipe: fd.map(std::fs::File::from), text: Vec::new() };
        Self {
            stdin: child.stdin.take(),
            rest: state_json,
            outputs: [
                output(child.stdout.take().map(OwnedFd::from)),
                output(child.stderr.take().map(OwnedFd::from)),
            ],
        }
    }

    /// Feeds and drains the pipes until the hook has ended; `false` when the time is over before.
    fn until_exit(&mut self, child: &Child, timeout: Option<Duration>) -> Result<bool> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::new(Kind::System, "hook has no pid"))?;
        // Not reaped yet, so the pid is the hook's.
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).context("pidfd_open the hook")?;
        self.set_nonblocking().context("prepare the hook's pipes")?;
        let end = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            self.feed()?;
            let wait = end.map(|end| end.saturating_duration_since(Instant::now()));
            let exited = self.wait(pidfd.as_fd(), wait).context("wait for the hook")?;
            self.outputs.iter_mut().try_for_each(Output::drain)?;
            if exited {
                return Ok(true);
            }
            if wait.is_some_and(|wait| wait.is_zero()) {
                return Ok(false);
            }
        }
    }

    fn set_nonblocking(&self) -> Result<(), Errno> {
        let pipes = self.outputs.iter().filter_map(|output| output.pipe.as_ref()).map(AsFd::as_fd);
        for fd in pipes.chain(self.stdin.as_ref().map(AsFd::as_fd)) {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        Ok(())
    }

    /// Waits until a pipe is ready, the time is over or the hook has ended (`true`).
    fn wait(&self, pidfd: BorrowedFd<'_>, time: Option<Duration>) -> Result<bool, Errno> {
        let mut fds = vec![PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
        if let Some(stdin) = &self.stdin {
            fds.push(PollFd::new(stdin, PollFlags::OUT));
        }
        for pipe in self.outputs.iter().filter_map(|output| output.pipe.as_ref()) {
            fds.push(PollFd::new(pipe, PollFlags::IN));
        }
        // A time that does not fit is as good as none: it is asked again.
        let time = time.map(|time| {
            Timespec::try_from(time).unwrap_or(Timespec { tv_sec: i64::from(i32::MAX), tv_nsec: 0 })
        });
        match poll(&mut fds, time.as_ref()) {
            Ok(_) => Ok(fds.first().is_some_and(|fd| !fd.revents().is_empty())),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Writes what the pipe takes; closes it at the end, or when the hook does not read.
    fn feed(&mut self) -> Result<()> {
        while let Some(stdin) = &mut self.stdin {
            match stdin.write(self.rest) {
                Ok(written) => self.rest = self.rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // The state was not wanted: no fault.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => self.rest = &[],
                Err(error) => return Err(Error::system("write the state to the hook", error)),
            }
            if self.rest.is_empty() {
                self.stdin = None;
            }
        }
        Ok(())
    }

    fn failure(&self, status: ExitStatus) -> String {
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("signal: {}", signal_text(signal)),
            (None, None) => status.to_string(),
        };
        let [stdout, stderr] = &self.outputs;
        format!("{how}, stdout: {}, stderr: {}", stdout.shown(), stderr.shown())
    }
}

impl Output {
    /// Takes what is there, so that the hook never blocks; keeps the first [`OUTPUT_LIMIT`] bytes.
    fn drain(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        // A background process that writes without end must not keep us from seeing the hook's end.
        for _ in 0..64 {
            let Some(pipe) = &mut self.pipe else { break };
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(length) => {
                    let length = length.min(OUTPUT_LIMIT.saturating_sub(self.text.len()));
                    self.text.extend_from_slice(buffer.get(..length).unwrap_or_default());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(Error::system("read the hook's output", error)),
            }
        }
        Ok(())
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.text).trim_end().replace('\n', "; ")
    }
}

/// The signal in Go's words, as runc prints it.
fn signal_text(signal: i32) -> String {
    match signal {
        libc::SIGKILL => "killed".into(),
        libc::SIGTERM => "terminated".into(),
        libc::SIGSEGV => "segmentation fault".into(),
        libc::SIGABRT => "aborted".into(),
        other => format!("signal {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::HookBuilder;

    fn hook(args: &[&str]) -> Hook {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        HookBuilder::default().path("/bin/sh").args(args).build().expect("hook")
    }

    fn sh(script: &str) -> Hook {
        hook(&["sh", "-c", script])
    }

    fn text(hook: &Hook) -> String {
        run(hook, b"{}", Path::new("/")).expect_err("fails").to_string()
    }

    /// [H14] [H18] The error says how it ended and what it said.
    #[test]
    fn a_failing_hook_is_quoted() {
        assert_eq!(text(&sh("exit 1")), "exit status 1, stdout: , stderr: ");
        assert_eq!(text(&sh("echo a; echo b; echo c >&2; exit 3")), "exit status 3, stdout: a; b, stderr: c");
        assert_eq!(text(&sh("kill -9 $$")), "signal: killed, stdout: , stderr: ");
        let error = run_all("createRuntime", &[sh("true"), sh("exit 2")], b"{}", Path::new("/"));
        let expected = "error running createRuntime hook #1: exit status 2, stdout: , stderr: ";
        assert_eq!(error.expect_err("fails").to_string(), expected);
    }

    /// [H2] No search in PATH, and the path is named when it is not there.
    #[test]
    fn the_path_is_absolute() {
        let relative = HookBuilder::default().path("sh").build().expect("hook");
        assert_eq!(text(&relative), "hook path sh is not absolute");
        let missing = HookBuilder::default().path("/no/such").build().expect("hook");
        assert_eq!(text(&missing), "exec /no/such: no such file or directory");
    }

    /// [H3] [H4] args[0] is the name as given; env is exactly what is given, or the runtime's own.
    #[test]
    fn args_and_env_are_as_given() {
        run(&hook(&["a name", "-c", "test \"$0\" = 'a name'"]), b"{}", Path::new("/")).expect("argv[0]");
        let mut with_env = sh("test \"$A\" = 1=2 && test -z \"$HOME\"");
        with_env.set_env(Some(vec!["A=1=2".into()]));
        run(&with_env, b"{}", Path::new("/")).expect("only its own");
        let path = std::env::var("PATH").expect("a path");
        run(&sh(&format!("test \"$PATH\" = {path:?}")), b"{}", Path::new("/")).expect("inherited");
        run(&sh("test \"$PWD\" = /proc"), b"{}", Path::new("/proc")).expect("cwd");
        run(&sh("test \"$PWD\" = /"), b"{}", Path::new("/no/such/bundle")).expect("bundle gone");
    }

    /// [H5] Killed when the time is over; zero is no time.
    #[test]
    fn a_slow_hook_is_killed() {
        let mut slow = sh("exec sleep 60");
        slow.set_timeout(Some(1));
        let start = Instant::now();
        assert_eq!(text(&slow), "hook ran past specified timeout of 1.0s");
        assert!(start.elapsed() < Duration::from_secs(5));
        slow.set_timeout(Some(0));
        assert_eq!(text(&slow), "hook timeout must be greater than zero");
    }

    /// [H6] The whole state arrives, larger than a pipe too; a hook that does not read it is fine.
    #[test]
    fn the_state_is_on_stdin() {
        let large = vec![b'x'; 300_000];
        run(&sh("test $(wc -c) = 300000"), &large, Path::new("/")).expect("all of it");
        run(&sh("exec <&-; sleep 0.05"), &large, Path::new("/")).expect("not read");
        run(&sh("true"), &large, Path::new("/")).expect("not read");
        run(&sh("test \"$(cat)\" = ''"), b"", Path::new("/")).expect("empty");
    }

    /// [H18] Much output does not block the hook, and the error stays short.
    #[test]
    fn much_output_is_cut() {
        let text = text(&sh("head -c 500000 /dev/zero | tr '\\0' y; exit 1"));
        assert_eq!(text.matches('y').count(), OUTPUT_LIMIT);
    }

    /// A background process with the hook's pipes does not hold the runtime up.
    #[test]
    fn a_background_process_is_not_waited_for() {
        let start = Instant::now();
        run(&sh("sleep 3 & exit 0"), b"{}", Path::new("/")).expect("ended");
        assert!(start.elapsed() < Duration::from_secs(2));
    }

    /// [Z16] A hook gets stdio and nothing else, whatever the runtime was given.
    #[test]
    fn no_descriptor_leaks() {
        let file = std::fs::File::open("/dev/null").expect("open");
        let leaked = rustix::io::fcntl_dupfd_cloexec(&file, 50).expect("dup");
        rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).expect("inheritable");
        run(&sh("test ! -e /proc/self/fd/50"), b"{}", Path::new("/")).expect("closed");
    }

    /// [H1] In listed order, up to the first that fails.
    #[test]
    fn hooks_run_in_order() {
        let file = std::env::temp_dir().join(format!("davit-hooks-{}", std::process::id()));
        let append = |word: &str| sh(&format!("echo {word} >> {}", file.display()));
        let hooks = [append("one"), append("two"), sh("exit 1"), append("three")];
        run_all("poststart", &hooks, b"{}", Path::new("/")).expect_err("the third");
        let said = std::fs::read_to_string(&file).expect("read");
        std::fs::remove_file(&file).expect("removed");
        assert_eq!(said, "one\ntwo\n");
    }
}
