//! Hooks: one program with the state on its stdin, in the runtime's namespaces or (`inside`) in the container's.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use oci_spec::runtime::Hook;
use rustix::io::Errno;
use rustix::process::Signal;

mod family;
pub mod inside;
mod talk;
#[cfg(test)]
mod tests;

use crate::container::Record;
use crate::error::{Context, Error, Kind, Result, errno_text};
use crate::plan::annotations::{HOOKS_STDERR, HOOKS_STDOUT};
use crate::sys::process::{before_exec, close_on_exec_from, unblock_signals};
use family::Family;
use talk::Talk;

/// How much of each output stream an error shows: its beginning.
const OUTPUT_LIMIT: usize = 4096;

/// What the process of a hook does before it executes the hook.
pub type Preparation = Arc<dyn Fn() -> Result<(), Errno> + Send + Sync>;

/// Files that take what hooks say, in place of the error's text (crun's annotations; X19).
#[derive(Debug, Default)]
pub struct Outputs {
    stdout: Option<File>,
    stderr: Option<File>,
    /// Their names, for errors.
    names: Vec<String>,
}

impl Outputs {
    /// Opens those that the annotations name, to append to them; relative names start in the bundle. A file that is
    /// missing is made, mode 0600: nobody knows what hooks say.
    ///
    /// # Errors
    /// `annotations["run.oci.hooks.stdout"]: open …: permission denied`.
    pub fn open(annotations: &BTreeMap<String, String>, bundle: &Path) -> Result<Self> {
        let mut names = Vec::new();
        let mut open = |key: &str| {
            let Some(name) = annotations.get(key).filter(|name| !name.is_empty()) else { return Ok(None) };
            let path = bundle.join(name);
            let file = File::options().append(true).create(true).mode(0o600).open(&path);
            names.push(path.display().to_string());
            file.with_context(|| format!("annotations[{key:?}]: open {}", path.display())).map(Some)
        };
        let (stdout, stderr) = (open(HOOKS_STDOUT)?, open(HOOKS_STDERR)?);
        Ok(Self { stdout, stderr, names })
    }

    /// Those of a container; nothing is opened where no annotation names any.
    ///
    /// # Errors
    /// As [`Outputs::open`].
    pub fn of(record: &Record) -> Result<Self> {
        Self::open(&record.annotations, &record.bundle)
    }
}

/// What the hooks of one kind have in common.
pub struct Setting<'a> {
    /// The state, one line of JSON.
    state: &'a [u8],
    /// The working directory, or `/` if that is gone; None: the one that this process has.
    cwd: Option<&'a Path>,
    /// The environment of a hook that gives none; None: that of this process.
    env: Option<Vec<&'a CStr>>,
    /// The hook is killed when this process dies.
    dies_with_us: bool,
    /// This process is init: what a hook leaves behind ends with the container.
    inside: bool,
    /// Bytes of each output stream that an error shows.
    output_limit: usize,
    /// Files that take the output.
    outputs: Option<&'a Outputs>,
    prepare: Option<Preparation>,
}

impl<'a> Setting<'a> {
    /// In the runtime's namespaces.
    pub fn runtime(state: &'a [u8], cwd: &'a Path) -> Self {
        Self {
            state,
            cwd: Some(cwd),
            env: None,
            dies_with_us: false,
            inside: false,
            output_limit: OUTPUT_LIMIT,
            outputs: None,
            prepare: None,
        }
    }

    /// Their output goes there.
    pub fn writing_to(mut self, outputs: &'a Outputs) -> Self {
        self.outputs = Some(outputs);
        self
    }

    /// Without the runtime the container dies, and a hook for it would work on nothing.
    pub fn dying_with_us(mut self) -> Self {
        self.dies_with_us = true;
        self
    }
}

/// Runs the hooks of one kind in their order, up to the first that fails.
///
/// # Errors
/// `error running createRuntime hook #0: exit status 1, stdout: , stderr: `.
pub fn run_all(kind: &str, hooks: &[Hook], setting: &Setting<'_>) -> Result<()> {
    for (index, hook) in hooks.iter().enumerate() {
        run(hook, setting).with_context(|| format!("error running {kind} hook #{index}"))?;
    }
    Ok(())
}

/// Runs one hook: the state on its stdin, its output caught, killed with its children when its time is over.
///
/// The hook gets stdin, stdout and stderr and no other descriptor, and a process group of its own. With `env` it has
/// exactly that environment. Its end is learned from a pidfd: a background process that keeps the pipes open holds
/// nobody up, and is left alone unless the hook ran out of time.
///
/// # Errors
/// `exec /x: no such file or directory`, `exit status 1, stdout: …, stderr: …`, `signal: killed, …`,
/// `hook ran past specified timeout of 1.0s`.
pub fn run(hook: &Hook, setting: &Setting<'_>) -> Result<()> {
    let path = hook.path();
    if !path.is_absolute() {
        return Err(Error::new(Kind::Config, format!("hook path {} is not absolute", path.display())));
    }
    let timeout = match hook.timeout().map(u64::try_from) {
        None => None,
        Some(Ok(seconds)) if seconds > 0 => Some(Duration::from_secs(seconds)),
        Some(_) => return Err(Error::new(Kind::Config, "hook timeout must be greater than zero")),
    };
    // Only what has a time limit can have to be killed.
    let family = timeout.filter(|_| !setting.inside).map(|_| Family::adopt()).transpose()?;
    let mut child = command(hook, setting).spawn().map_err(|error| {
        Error::new(Kind::System, format!("exec {}: {}", path.display(), errno_text(&error)))
    })?;
    let mut talk = Talk::new(&mut child, setting.state, setting.output_limit);
    let end = talk.until_exit(&child, timeout);
    let ended = matches!(end, Ok(true));
    if !ended {
        kill(&mut child);
    }
    let status = child.wait().context("wait for the hook")?;
    if let Some(family) = family.filter(|_| !ended) {
        family.kill();
    }
    match (end?, timeout) {
        (false, Some(timeout)) => {
            let seconds = timeout.as_secs_f64();
            Err(Error::new(Kind::System, format!("hook ran past specified timeout of {seconds:.1}s")))
        }
        _ if status.success() => Ok(()),
        _ => Err(with_outputs(Error::new(Kind::System, talk.failure(status)), setting)),
    }
}

fn with_outputs(error: Error, setting: &Setting<'_>) -> Error {
    match setting.outputs.map(|outputs| outputs.names.join(" and ")) {
        Some(names) if !names.is_empty() => error.hint(format!("what it said is in {names}")),
        _ => error,
    }
}

/// The hook and its group. It is not waited for yet, so both numbers are its own; if it has ended meanwhile, fine.
fn kill(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    let _ = child.kill();
}

fn command(hook: &Hook, setting: &Setting<'_>) -> Command {
    let mut command = Command::new(hook.path());
    if let Some((name, rest)) = hook.args().as_deref().and_then(<[String]>::split_first) {
        command.arg0(name).args(rest);
    }
    match (hook.env(), &setting.env) {
        (Some(env), _) => set_env(&mut command, env.iter().map(String::as_bytes)),
        (None, Some(env)) => set_env(&mut command, env.iter().map(|entry| entry.to_bytes())),
        (None, None) => {}
    }
    if let Some(cwd) = setting.cwd {
        command.current_dir(if cwd.is_dir() { cwd } else { Path::new("/") });
    }
    let to = |file: fn(&Outputs) -> &Option<File>| {
        let file = setting.outputs.and_then(|outputs| file(outputs).as_ref()?.try_clone().ok());
        file.map_or_else(Stdio::piped, Stdio::from)
    };
    command.stdin(Stdio::piped()).stdout(to(|outputs| &outputs.stdout)).stderr(to(|outputs| &outputs.stderr));
    command.process_group(0);
    close_on_exec_from(&mut command, 3);
    unblock_signals(&mut command);
    if setting.dies_with_us {
        die_with_us(&mut command);
    }
    if let Some(prepare) = setting.prepare.clone() {
        before_exec(&mut command, move || prepare());
    }
    command
}

fn set_env<'e>(command: &mut Command, env: impl Iterator<Item = &'e [u8]>) {
    command.env_clear();
    for entry in env {
        let equals = entry.iter().position(|byte| *byte == b'=').unwrap_or(entry.len());
        let (name, value) = entry.split_at(equals);
        command.env(OsStr::from_bytes(name), OsStr::from_bytes(value.get(1..).unwrap_or_default()));
    }
}

fn die_with_us(command: &mut Command) {
    let us = rustix::process::getpid();
    before_exec(command, move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // Who has died before cannot send it any more.
        if rustix::process::getppid() == Some(us) { Ok(()) } else { Err(Errno::CANCELED) }
    });
}
