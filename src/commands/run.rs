//! `run`: create, start, wait, delete.

use crate::cli::{Global, RunArgs};
use crate::commands::create::{Finish, Made, make};
use crate::commands::start::{report_readiness, run_poststart};
use crate::error::{Context, Error, Result};
use crate::log::Log;
use crate::process::{interrupt, wait};

/// Runs a container in the foreground, or with `--detach` returns when its program runs.
///
/// # Errors
/// As `create`, and a failed poststart hook.
pub fn run(global: &Global, args: &RunArgs, log: &Log) -> Result<i32> {
    if !(args.detach || args.no_subreaper) {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .context("become a subreaper")?;
    }
    let finish = if args.detach { Finish::Detached } else { Finish::Foreground };
    let mut made = make(global, &args.create, log, finish)?;
    let notify = made.notify.take();
    if let Err(error) = run_poststart(&made.container.record).and_then(|()| made.container.unlock()) {
        return Err(give_up(made, log, error));
    }
    let Some(mut signals) = made.signals.take() else {
        if let Some(notify) = notify {
            // Who ends this wait ends no more than that, as with `start`.
            interrupt::resume();
            report_readiness(notify, &made.child.pidfd, made.child.pid, log);
        }
        return Ok(0);
    };
    let session = made.session.take();
    let code = match wait::until_exit(&made.child, &mut signals, notify, session, log) {
        Ok(code) => code,
        Err(error) => return Err(give_up(made, log, error)),
    };
    if made.cgroup.oom_killed() {
        log.warn("the container's memory limit was reached: the kernel killed a process of it");
    }
    if !args.keep {
        take_down(made, log)?;
    }
    Ok(code)
}

/// Nobody will look after the container when this fails: it ends with us.
fn give_up(made: Made, log: &Log, error: Error) -> Error {
    made.child.kill_and_reap();
    match take_down(made, log) {
        Ok(()) => error,
        Err(left) => error.hint(left.to_string()),
    }
}

/// Removes what is left of a container whose init has ended.
fn take_down(made: Made, log: &Log) -> Result<()> {
    let record = made.container.record.clone();
    let destroyed = made.container.destroy();
    crate::commands::delete::run_poststop(&record, &mut |text| log.warn(text));
    destroyed
}
