//! Init's end of SCMP_ACT_NOTIFY: the filter's listener goes to the agent, though the filter may forbid everything but execve.
//!
//! ```text
//! init                                       a second thread, without the filter
//!   load the filter: the listener ─ stage ─▶ sends it on the channel, waits for Go
//!   waits without a system call   ◀─ stage ─ passed on
//!   execve, which ends the other thread      tells of a failed one, ends both
//! ```

use std::convert::Infallible;
use std::ffi::CStr;
use std::os::fd::{BorrowedFd, IntoRawFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::Timespec;

use super::channel;
use super::step::{Position, Progress, Step};
use crate::fault::Fault;
use crate::sys::clone::exit_now;
use crate::sys::exec::Image;
use crate::sys::{fd, seccomp, thread};

/// The flags that make a listener: `SECCOMP_FILTER_FLAG_NEW_LISTENER` and what the kernel takes only with it.
pub const FLAGS: u32 = 1 << 3 | 1 << 5;

/// Stages besides the listener's number; below the last one -errno of execve.
const LOADING: i32 = -1;
const PASSED_ON: i32 = -2;
const FAILED: i32 = -10_000;

/// While the filter is loaded and the listener passed on, and while execve is under way.
const SOON: Duration = Duration::from_micros(20);
const LATER: Duration = Duration::from_millis(1);

/// What the two threads share.
struct HandOver<'a> {
    stage: AtomicI32,
    channel: BorrowedFd<'a>,
    path: &'a CStr,
}

/// Loads the filter of `image`, has its listener passed on by who is at the other end of the channel, and executes the program.
/// Comes back only if no filter was loaded; what goes wrong later ends init, and the channel tells what it was.
///
/// # Errors
/// Those of clone(2).
pub fn hand_over(
    channel: BorrowedFd<'_>,
    image: &Image,
    flags: u32,
    progress: &Progress,
) -> Result<Infallible, Fault> {
    progress.enter(Step::Seccomp);
    let shared = HandOver { stage: AtomicI32::new(LOADING), channel, path: image.path() };
    let errno = thread::split(&shared, HandOver::speak, || {
        let listener = match seccomp::load(image.filter(), flags) {
            Ok(Some(listener)) => listener,
            other => {
                // No filter yet, so it can be told.
                let errno = other.err().unwrap_or(Errno::INVAL);
                channel::send_failed(channel, progress.position(), Fault::from(errno), b"");
                exit_now(1)
            }
        };
        progress.enter(Step::Listener);
        // It is close-on-exec, and who shares the descriptors has it until then.
        shared.stage.store(listener.into_raw_fd(), Ordering::Release);
        while shared.stage.load(Ordering::Acquire) != PASSED_ON {
            std::hint::spin_loop();
        }
        progress.enter(Step::Exec);
        let errno = image.execute();
        shared.stage.store(FAILED - errno.raw_os_error(), Ordering::Release);
        loop {
            std::hint::spin_loop();
        }
    });
    Err(Fault::from(errno))
}

impl HandOver<'_> {
    /// The second thread. Sends without the C library, whose errno is the other thread's.
    fn speak(&self) -> Infallible {
        let listener = loop {
            match self.stage.load(Ordering::Acquire) {
                LOADING => pause(SOON),
                number => break fd::borrow_inherited(number),
            }
        };
        let passed_on = listener.map(|listener| channel::send_listener(self.channel, listener));
        if passed_on != Some(Ok(())) {
            // Who was to pass it on has given up, and knows why.
            exit_now(1);
        }
        self.stage.store(PASSED_ON, Ordering::Release);
        loop {
            pause(LATER);
            let stage = self.stage.load(Ordering::Acquire);
            if stage < FAILED {
                let position = Position { step: Step::Exec, index: 0 };
                let fault = Fault::from(Errno::from_raw_os_error(FAILED - stage));
                channel::send_failed(self.channel, position, fault, self.path.to_bytes());
                exit_now(1);
            }
        }
    }
}

fn pause(time: Duration) {
    let _ = rustix::thread::nanosleep(&Timespec { tv_sec: 0, tv_nsec: time.subsec_nanos().into() });
}
