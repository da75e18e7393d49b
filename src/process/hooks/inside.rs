//! Hooks that init runs, in the container's namespaces: createContainer before the root changes, startContainer
//! just before the program.
//!
//! The parent has made the state's text; only the pid, which init alone knows as it is seen inside, is put in.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use oci_spec::runtime::Hook;
use rustix::fs::Mode;
use rustix::io::Errno;

use super::{Outputs, Preparation, Setting};
use crate::container::{Record, State, StateText, Status};
use crate::error::Result;
use crate::fault::Fault;
use crate::plan::Plan;
use crate::process::channel;
use crate::process::step::{Progress, Step};
use crate::sys::clone::exit_now;
use crate::sys::signal;

/// Of each output stream, so that both fit into one message of the channel.
const OUTPUT_LIMIT: usize = 440;

/// The state as hooks inside get it, but for the pid.
#[derive(Debug)]
pub struct States {
    creating: StateText,
    created: StateText,
    /// For createContainer hooks only: once the root has changed, init keeps nothing of the host open.
    outputs: Outputs,
}

impl States {
    /// None if there are no such hooks.
    ///
    /// # Errors
    /// A path is not UTF-8; a file for the output can't be opened.
    pub fn prepare(plan: &Plan, record: &Record) -> Result<Option<Self>> {
        if plan.hooks.create_container.is_empty() && plan.hooks.start_container.is_empty() {
            return Ok(None);
        }
        let text = |status| State::plain(record, status, 0).around_pid();
        let outputs = match plan.hooks.create_container.is_empty() {
            true => Outputs::default(),
            false => Outputs::of(record)?,
        };
        Ok(Some(Self { creating: text(Status::Creating)?, created: text(Status::Created)?, outputs }))
    }
}

/// The createContainer hooks (H10): found in the runtime's file tree, cwd the rootfs there, no environment but what
/// they give. They have the rights that init has at this point, and the usual umask.
///
/// # Errors
/// Those of fchdir(2). A hook that fails ends init.
pub fn create_container(
    plan: &Plan,
    states: &States,
    progress: &Progress,
    root: BorrowedFd<'_>,
    channel: impl AsFd,
) -> Result<(), Fault> {
    let hooks = &plan.hooks.create_container;
    if hooks.is_empty() {
        return Ok(());
    }
    progress.enter(Step::CreateContainer);
    rustix::process::fchdir(root)?;
    let state = states.creating.with_pid(own_pid());
    let umask: Preparation = Arc::new(|| {
        rustix::process::umask(Mode::from_raw_mode(0o022));
        Ok(())
    });
    let setting = Setting { env: Some(Vec::new()), outputs: Some(&states.outputs), ..setting(&state, umask) };
    run(hooks, Step::CreateContainer, &setting, progress, channel);
    Ok(())
}

/// The startContainer hooks (H11): as the container's user in its working directory, with the program's environment
/// if they give none, and after `last_rights` with just the rights of the program, its seccomp filter among them.
///
/// A hook that fails ends init.
pub fn start_container(
    plan: &Plan,
    states: &States,
    progress: &Progress,
    last_rights: Preparation,
    channel: impl AsFd,
) {
    let hooks = &plan.hooks.start_container;
    let state = states.created.with_pid(own_pid());
    let setting = Setting { env: Some(plan.process.env.texts()), ..setting(&state, last_rights) };
    run(hooks, Step::StartContainer, &setting, progress, channel);
}

fn setting(state: &[u8], prepare: Preparation) -> Setting<'_> {
    Setting {
        state,
        cwd: None,
        env: None,
        dies_with_us: true,
        inside: true,
        output_limit: OUTPUT_LIMIT,
        outputs: None,
        prepare: Some(prepare),
    }
}

fn run(hooks: &[Hook], step: Step, setting: &Setting<'_>, progress: &Progress, channel: impl AsFd) {
    // A hook need not read its state. The hook itself starts with the default again, by std.
    signal::ignore_broken_pipes(true);
    for (index, hook) in hooks.iter().enumerate() {
        progress.at(step, index);
        if let Err(error) = super::run(hook, setting) {
            let fault = Fault::from(Errno::CANCELED);
            channel::send_failed(channel, progress.position(), fault, error.to_string().as_bytes());
            exit_now(1);
        }
    }
    signal::ignore_broken_pipes(false);
}

/// In the pid namespace that init is in: 1 in one of its own.
fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}
