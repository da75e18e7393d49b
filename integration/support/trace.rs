//! A signal to a command at its N-th system call.

use super::host;
use super::run::Cmd;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::io::Write;
use std::process::{Command, Stdio};

/// Runs the command under ptrace and kills its main process when it enters its `at`-th system call (0: never).
/// Gives the number of system calls seen. Children are not followed.
pub fn kill_at(cmd: Cmd, at: usize) -> usize {
    signal_at(cmd, at, Signal::SIGKILL).0
}

/// The same with any signal; gives also the exit code, 128+N for signal N.
pub fn signal_at(cmd: Cmd, at: usize, signal: Signal) -> (usize, i32) {
    // The shell waits for a line, so that nothing of the command has run when the tracer is in place.
    let dir = cmd.dir().to_path_buf();
    let args = cmd.shell("read go; exec \"$@\" </dev/null >/dev/null 2>&1").into_args();
    let mut command = Command::new(&args[0]);
    command.args(&args[1..]).stdin(Stdio::piped()).current_dir(dir);
    let mut child = host::spawn(&mut command).unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    ptrace::seize(pid, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC).unwrap();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let mut calls = 0;
    let mut entering = false;
    let mut running = false;
    let code = loop {
        match waitpid(pid, Some(WaitPidFlag::__WALL)).unwrap() {
            WaitStatus::Exited(_, code) => break code,
            WaitStatus::Signaled(_, signal, _) => break 128 + signal as i32,
            WaitStatus::PtraceEvent(_, _, event) if event == nix::libc::PTRACE_EVENT_EXEC => {
                // The next stop is the way out of execve, which is not one of the runtime's calls.
                running = true;
                entering = true;
                step(pid, None, running);
            }
            WaitStatus::PtraceSyscall(_) => {
                entering = !entering;
                if entering {
                    calls += 1;
                    if calls == at {
                        let _ = nix::sys::signal::kill(pid, signal);
                        if signal == Signal::SIGKILL {
                            continue;
                        }
                    }
                }
                step(pid, None, running);
            }
            WaitStatus::Stopped(_, Signal::SIGTRAP) => step(pid, None, running),
            WaitStatus::Stopped(_, signal) => step(pid, Some(signal), running),
            _ => step(pid, None, running),
        }
    };
    // Reaped above; std does not know.
    let _ = child.wait();
    host::forget(pid.as_raw());
    (calls, code)
}

fn step(pid: Pid, signal: Option<Signal>, calls: bool) {
    // ESRCH: the kill came first; the next waitpid tells.
    let _ = if calls { ptrace::syscall(pid, signal) } else { ptrace::cont(pid, signal) };
}
