//! The seccomp filter, and who answers the calls that it asks about.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxSeccomp, Spec};
use seccompiler::sock_filter;

use crate::container::Agent;
use crate::error::{Error, Kind, Result};
use crate::seccomp::{self, MAX_INSTRUCTIONS, Program};

/// crun's annotations: who gets the listener if the profile does not say (X21), plugins (X22), whether unknown names are
/// errors (X23), a program instead of a profile (X24).
const RECEIVER: &str = "run.oci.seccomp.receiver";
const PLUGINS: &str = "run.oci.seccomp.plugins";
const FAIL_UNKNOWN: &str = "run.oci.seccomp_fail_unknown_syscall";
const PROGRAM: &str = "run.oci.seccomp_bpf_data";

/// The environment variable for the same as [`RECEIVER`].
pub const RECEIVER_VARIABLE: &str = "RUN_OCI_SECCOMP_RECEIVER";

/// The filter, and the agent if the filter has SCMP_ACT_NOTIFY.
///
/// # Errors
/// A fault in the profile or in an annotation; a filter under which no program could be started.
pub fn plan(spec: &Spec, bundle: &Path, receiver: Option<&Path>) -> Result<(Option<Program>, Option<Agent>)> {
    let none = HashMap::new();
    let annotations = spec.annotations().as_ref().unwrap_or(&none);
    if annotations.contains_key(PLUGINS) {
        let text = "plugins are not loaded into the runtime: use an agent with linux.seccomp.listenerPath";
        return Err(Error::config(&annotation(PLUGINS), text));
    }
    let profile = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    let agent = agent(profile, annotations, bundle, receiver)?;
    let filter = match annotations.get(PROGRAM) {
        Some(text) => Some(ready_made(text, profile, agent.is_some())?),
        None => profile.map(|profile| compile(profile, agent.as_ref())).transpose()?,
    };
    if let (Some(filter), Some(profile)) = (&filter, profile)
        && annotations.get(FAIL_UNKNOWN).is_some_and(|value| value != "0")
    {
        refuse_unknown(filter, profile)?;
    }
    if filter.as_ref().is_some_and(Program::denies_execve) {
        let text = "the profile forbids execve, by which the container's program is started";
        return Err(
            Error::config("linux.seccomp", text).hint("allow it: nothing else is needed of the runtime's")
        );
    }
    let agent = agent.filter(|_| filter.as_ref().is_some_and(|filter| filter.notify));
    Ok((filter, agent))
}

/// A filter that asks `recorder` about every system call, whatever the profile.
pub fn recorded(
    spec: &Spec,
    recorder: &Path,
    warnings: &mut Vec<String>,
) -> (Option<Program>, Option<Agent>) {
    let hooks = spec.hooks().as_ref().and_then(|hooks| hooks.start_container().as_ref());
    if hooks.is_some_and(|hooks| !hooks.is_empty()) {
        let text = "what they call is not recorded, and the profile will hold for them, too";
        warnings.push(format!("hooks.startContainer: {text}"));
    }
    let agent = Agent { path: recorder.to_path_buf(), metadata: None };
    (Some(Program::asking_always()), Some(agent))
}

fn annotation(name: &str) -> String {
    format!("annotations[{name:?}]")
}

fn compile(profile: &LinuxSeccomp, agent: Option<&Agent>) -> Result<Program> {
    let with_listener = agent.filter(|_| listener_path(profile).is_none()).map(|agent| {
        let mut profile = profile.clone();
        profile.set_listener_path(Some(agent.path.clone()));
        profile
    });
    let compiled = seccomp::compile(with_listener.as_ref().unwrap_or(profile));
    compiled.map_err(|error| Error::new(Kind::Config, error.to_string()))
}

fn listener_path(profile: &LinuxSeccomp) -> Option<&Path> {
    profile.listener_path().as_deref().filter(|path| !path.as_os_str().is_empty())
}

/// Who is asked, in crun's order: the profile's listener, the annotation's, the environment's.
fn agent(
    profile: Option<&LinuxSeccomp>,
    annotations: &HashMap<String, String>,
    bundle: &Path,
    receiver: Option<&Path>,
) -> Result<Option<Agent>> {
    let metadata = profile.and_then(|profile| profile.listener_metadata().clone());
    if let Some(path) = profile.and_then(listener_path) {
        // runc connects from within the bundle.
        let abstract_name = path.as_os_str().as_encoded_bytes().starts_with(b"@");
        let path = if abstract_name { path.to_path_buf() } else { bundle.join(path) };
        return Ok(Some(Agent { path, metadata }));
    }
    let (path, origin) = match (annotations.get(RECEIVER), receiver) {
        (Some(path), _) => (PathBuf::from(path), annotation(RECEIVER)),
        (None, Some(path)) => (path.to_path_buf(), format!("${RECEIVER_VARIABLE}")),
        (None, None) => return Ok(None),
    };
    if !path.is_absolute() {
        let text = format!("the seccomp receiver {:?} is not an absolute path", path.display().to_string());
        return Err(Error::config(&origin, text));
    }
    Ok(Some(Agent { path, metadata }))
}

/// A program in the kernel's form, `struct sock_filter` after `struct sock_filter`, in base64.
fn ready_made(text: &str, profile: Option<&LinuxSeccomp>, listener: bool) -> Result<Program> {
    let wrong = |text: String| Error::config(&annotation(PROGRAM), text);
    let bytes =
        base64(text.trim_end()).ok_or_else(|| wrong("invalid seccomp BPF data: not base64".into()))?;
    let (instructions, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() || instructions.is_empty() || instructions.len() > MAX_INSTRUCTIONS {
        let length = bytes.len();
        return Err(wrong(format!(
            "invalid seccomp BPF data: {length} bytes are not 1 to {MAX_INSTRUCTIONS} instructions of 8 bytes"
        )));
    }
    let instruction = |&[c0, c1, jt, jf, k0, k1, k2, k3]: &[u8; 8]| sock_filter {
        code: u16::from_ne_bytes([c0, c1]),
        jt,
        jf,
        k: u32::from_ne_bytes([k0, k1, k2, k3]),
    };
    let flags = profile.and_then(|profile| profile.flags().as_deref());
    let instructions: Vec<sock_filter> = instructions.iter().map(instruction).collect();
    let program = Program::ready_made(instructions, flags, listener);
    if !program.notify && program.may_notify() {
        return Err(wrong("it asks an agent, and there is no linux.seccomp.listenerPath".into()));
    }
    Ok(program)
}

/// What base64 (RFC 4648, section 4) stands for; None if it is something else.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0u32, 0);
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(bytes)
}

/// Where the profile has the first name that no architecture knows.
fn refuse_unknown(filter: &Program, profile: &LinuxSeccomp) -> Result<()> {
    let Some(unknown) = filter.unknown_names.first() else { return Ok(()) };
    let rules = profile.syscalls().iter().flatten().enumerate();
    let mut names = rules.flat_map(|(rule, call)| {
        call.names().iter().enumerate().map(move |(place, name)| (rule, place, name))
    });
    let path = names.find(|(_, _, name)| *name == unknown).map_or_else(
        || "linux.seccomp.syscalls".into(),
        |(rule, place, _)| format!("linux.seccomp.syscalls[{rule}].names[{place}]"),
    );
    Err(Error::config(&path, format!("unknown system call {unknown:?}, which {FAIL_UNKNOWN} makes an error")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [X24] Padding is needed where it belongs, and nothing else passes.
    #[test]
    fn base64_is_read() {
        for (text, bytes) in
            [("", &b""[..]), ("Zg==", b"f"), ("Zm8=", b"fo"), ("Zm9v", b"foo"), ("+/8A", b"\xfb\xff\0")]
        {
            assert_eq!(base64(text).as_deref(), Some(bytes), "{text}");
        }
        for wrong in ["Z", "Zg", "Zg=", "Zg===", "Z===", "Zm9v====", "Zm 9", "Zm9\u{e9}", "=Zg="] {
            assert_eq!(base64(wrong), None, "{wrong}");
        }
    }
}
