//! The program: found, made ready to be executed, executed.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use seccompiler::sock_filter;

use super::channel;
use super::hooks::inside;
use super::init::{Init, keep_only};
use super::listener;
use super::step::{Progress, Step};
use crate::fault::{Action, During, Fault};
use crate::plan::process::ProcessPlan;
use crate::sys::exec::Image;
use crate::sys::{fd, seccomp, signal, waiting};

/// A program that was found and may be executed.
#[derive(Debug)]
pub struct Program<'a> {
    path: &'a CStr,
}

/// Finds the program: the first candidate that may be executed, as execvp(3) does.
///
/// # Errors
/// The last reason; [`Action::NotFound`] when there was no candidate.
pub fn look_up(process: &ProcessPlan) -> Result<Program<'_>, Fault> {
    let mut worst = Fault { action: Action::NotFound, errno: Errno::NOENT };
    for candidate in &process.candidates {
        match examine(candidate) {
            Ok(()) => return Ok(Program { path: candidate }),
            Err(fault) if !process.bare => return Err(fault),
            // A file that is there but may not be executed is a better reason than a missing one.
            Err(fault) if fault.errno == Errno::ACCESS => worst = fault,
            Err(_) => {}
        }
    }
    Err(worst)
}

fn examine(path: &CStr) -> Result<(), Fault> {
    let stat = rustix::fs::stat(path).during(Action::Open)?;
    if FileType::from_raw_mode(stat.st_mode).is_dir() {
        return Err(Fault { action: Action::IsDirectory, errno: Errno::ISDIR });
    }
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)?;
    Ok(())
}

impl Program<'_> {
    /// For `create`, tells the parent and waits for `start`; then becomes the program.
    pub(super) fn execute(&self, init: &Init<'_>) -> Result<std::convert::Infallible, Fault> {
        let process = &init.plan.process;
        let keep = 3 + init.plan.preserve_fds;
        let filter = init.plan.seccomp.as_ref();
        let last = LastSteps { flags: filter.map(|filter| filter.flags), keep };
        let instructions = filter.map(|filter| filter.instructions.as_slice()).unwrap_or_default();
        let hooks = StartHooks::of(init, last, instructions);
        let Some((listener, room)) = &init.start else {
            if let Some(hooks) = &hooks {
                hooks.run(init.channel.as_fd());
            }
            outlive_the_runtime()?;
            keep_only(&init.channel, keep)?;
            let image = Image::borrowed(self.path, &process.args, &process.env, instructions);
            last.become_program(&image, init.progress);
        };
        outlive_the_runtime()?;
        let image = Image::packed(self.path, &process.args, &process.env, instructions, room)?;
        channel::send_ready(&init.channel)?;
        init.progress.enter(Step::Created);
        keep_only(listener, keep)?;
        match hooks {
            None => last.wait_for_start(&image, init.progress),
            Some(hooks) => last.wait_with_hooks(&image, init.progress, &hooks),
        }
    }
}

/// Everything is recorded, so the container can do without the process that made it.
fn outlive_the_runtime() -> Result<(), Fault> {
    Ok(rustix::process::set_parent_process_death_signal(None)?)
}

/// The startContainer hooks with what they need; an init that has them keeps its memory while it waits.
struct StartHooks<'a> {
    init: &'a Init<'a>,
    states: &'a inside::States,
    last_rights: super::hooks::Preparation,
}

impl<'a> StartHooks<'a> {
    /// None if there are none.
    fn of(init: &'a Init<'_>, last: LastSteps, filter: &[sock_filter]) -> Option<Self> {
        let states = init.states.as_ref().filter(|_| !init.plan.hooks.start_container.is_empty())?;
        let filter = filter.to_vec();
        // The program's listener is not there yet, and nobody would hear one of a hook's own: SCMP_ACT_NOTIFY is ENOSYS.
        let flags = last.flags.filter(|_| !init.plan.recorded).map(|flags| flags & !listener::FLAGS);
        let last_rights =
            Arc::new(move || flags.map_or(Ok(()), |flags| seccomp::load(&filter, flags).map(drop)));
        Some(Self { init, states, last_rights })
    }

    fn run(&self, channel: BorrowedFd<'_>) {
        let Init { plan, progress, .. } = self.init;
        inside::start_container(plan, self.states, progress, self.last_rights.clone(), channel);
    }
}

/// What is left to do between `start` and the program, all in a few words of the stack.
#[derive(Clone, Copy)]
struct LastSteps {
    /// Of the filter, if there is one.
    flags: Option<u32>,
    keep: i32,
}

impl LastSteps {
    /// Gives all memory back that is not needed any more and waits for a connection. Never returns.
    fn wait_for_start(&self, image: &Image, progress: &Progress) -> ! {
        let Some(listener) = fd::borrow_inherited(self.keep) else { crate::sys::clone::exit_now(1) };
        signal::end_on_terminate();
        let Ok(connection) = waiting::accept_without_memory(listener) else { crate::sys::clone::exit_now(1) };
        if keep_only(&connection, self.keep).is_err() {
            crate::sys::clone::exit_now(1);
        }
        self.become_program(image, progress)
    }

    /// The same with all memory kept, for hooks that run before the program. Never returns.
    fn wait_with_hooks(&self, image: &Image, progress: &Progress, hooks: &StartHooks<'_>) -> ! {
        let Some(listener) = fd::borrow_inherited(self.keep) else { crate::sys::clone::exit_now(1) };
        signal::end_on_terminate();
        let connection = loop {
            match rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
                Ok(connection) => break connection,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(_) => crate::sys::clone::exit_now(1),
            }
        };
        if keep_only(&connection, self.keep).is_err() {
            crate::sys::clone::exit_now(1);
        }
        if let Some(channel) = fd::borrow_inherited(self.keep) {
            hooks.run(channel);
        }
        self.become_program(image, progress)
    }

    /// The channel is at the number `keep`, the only descriptor beyond those of the program.
    fn become_program(&self, image: &Image, progress: &Progress) -> ! {
        let channel = fd::borrow_inherited(self.keep);
        let done = match (self.flags, channel) {
            (Some(flags), Some(channel)) if flags & listener::FLAGS != 0 => {
                listener::hand_over(channel, image, flags, progress)
            }
            _ => self.finish(image, progress),
        };
        let fault = match done {
            Ok(never) => match never {},
            Err(fault) => fault,
        };
        let position = progress.position();
        if position.step == Step::Exec {
            // The filter may forbid to tell; `run` finds it here.
            progress.at(Step::ExecFailed, usize::try_from(fault.errno.raw_os_error()).unwrap_or(0));
        }
        if let Some(channel) = channel {
            channel::send_failed(channel, position, fault, image.path().to_bytes());
        }
        crate::sys::clone::exit_now(1)
    }

    /// The filter after the last call but execve.
    fn finish(&self, image: &Image, progress: &Progress) -> Result<std::convert::Infallible, Fault> {
        progress.enter(Step::Seccomp);
        if let Some(flags) = self.flags {
            seccomp::load(image.filter(), flags)?;
        }
        progress.enter(Step::Exec);
        Err(Fault::from(image.execute()))
    }
}

/// Standard streams: owned by the user, so that a log pipe can be opened again by name (P10), and a /dev/null
/// that is the container's own (F16).
///
/// # Errors
/// Those of fstat(2), fchown(2).
pub fn adopt_streams(uid: u32) -> Result<(), Fault> {
    for number in 0..3 {
        let Some(stream) = fd::borrow_inherited(number) else { continue };
        let stat = rustix::fs::fstat(stream)?;
        if FileType::from_raw_mode(stat.st_mode).is_char_device() && stat.st_rdev == rustix::fs::makedev(1, 3)
        {
            reopen_null(number)?;
        } else if stat.st_uid != uid {
            let uid = rustix::fs::Uid::from_raw(uid);
            match rustix::fs::fchown(stream, Some(uid), None) {
                // A read-only file system, a log that belongs to somebody else, an unmapped owner.
                Ok(()) | Err(Errno::PERM | Errno::ROFS | Errno::INVAL | Errno::NOSYS) => {}
                Err(errno) => return Err(Fault { action: Action::Owner, errno }),
            }
        }
    }
    Ok(())
}

/// Only a real null device may take the place of a stream (R8).
fn reopen_null(number: i32) -> Result<(), Fault> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let Ok(null) = rustix::fs::open(c"/dev/null", flags, Mode::empty()) else { return Ok(()) };
    let stat = rustix::fs::fstat(&null)?;
    if !FileType::from_raw_mode(stat.st_mode).is_char_device() || stat.st_rdev != rustix::fs::makedev(1, 3) {
        return Err(Fault { action: Action::NotNull, errno: Errno::NODEV });
    }
    fd::dup_to(null.as_fd(), number)?;
    Ok(())
}
