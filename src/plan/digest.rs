//! What `exec` needs of a container's configuration, ready to be used: the filter compiled, the rest without what only `create`
//! needs. Docker's config.json takes 0.3 ms to read and compile, this some 0.05 ms.
//!
//! ```text
//! davit-digest 1 VERSION COMMIT\n      another line: written by another davit, to be made anew
//! flags count instruction*             of the filter, little-endian; count 0: none
//! JSON                                 a configuration with process, annotations and a few members of linux
//! ```

use std::path::Path;

use oci_spec::runtime::{Linux, Spec};
use seccompiler::sock_filter;

use super::seccomp;
use crate::cli::commit;
use crate::container::Agent;
use crate::error::{Error, Kind, Result};
use crate::seccomp::Program;

/// The part of a configuration that holds for a process that joins.
#[derive(Debug)]
pub struct Digest {
    /// Process, annotations, personality, memory policy.
    pub spec: Spec,
    /// The compiled filter.
    pub seccomp: Option<Program>,
    /// Who answers the calls that it asks about.
    pub agent: Option<Agent>,
}

impl Digest {
    /// Takes from a whole configuration what is needed. `receiver`: as for [`seccomp::plan`].
    ///
    /// # Errors
    /// A fault in the profile.
    pub fn of(whole: &Spec, bundle: &Path, receiver: Option<&Path>) -> Result<Self> {
        let (seccomp, agent) = seccomp::plan(whole, bundle, receiver)?;
        let failed = |error: serde_json::Error| Error::new(Kind::Config, error.to_string());
        let mut spec: Spec = serde_json::from_slice(br#"{"ociVersion":"1.0.0"}"#).map_err(failed)?;
        spec.set_process(whole.process().clone());
        spec.set_annotations(whole.annotations().clone());
        if let Some(given) = whole.linux() {
            let mut linux: Linux = serde_json::from_slice(b"{}").map_err(failed)?;
            linux.set_personality(given.personality().clone());
            linux.set_memory_policy(given.memory_policy().clone());
            spec.set_linux(Some(linux));
        }
        Ok(Self { spec, seccomp, agent })
    }

    /// As it is kept; `None` where the profile has more to it than its program, which can change from one exec to the next.
    pub fn encode(&self) -> Option<Vec<u8>> {
        if self.agent.is_some() || self.seccomp.as_ref().is_some_and(|program| program.notify) {
            return None;
        }
        let mut bytes = head().into_bytes();
        let (flags, instructions) =
            self.seccomp.as_ref().map_or((0, &[][..]), |program| (program.flags, &program.instructions[..]));
        bytes.extend(flags.to_le_bytes());
        bytes.extend(u32::try_from(instructions.len()).ok()?.to_le_bytes());
        for instruction in instructions {
            bytes.extend(instruction.code.to_le_bytes());
            bytes.extend([instruction.jt, instruction.jf]);
            bytes.extend(instruction.k.to_le_bytes());
        }
        serde_json::to_writer(&mut bytes, &self.spec).ok()?;
        Some(bytes)
    }

    /// Reads what [`Digest::encode`] made; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(head().as_bytes())?;
        let (flags, rest) = rest.split_first_chunk::<4>()?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(INSTRUCTION)?;
        let (program, json) = rest.split_at_checked(length)?;
        let instruction = |bytes: &[u8; INSTRUCTION]| {
            let [code, code_high, jt, jf, k @ ..] = *bytes;
            sock_filter { code: u16::from_le_bytes([code, code_high]), jt, jf, k: u32::from_le_bytes(k) }
        };
        let instructions: Vec<_> = program.as_chunks().0.iter().map(instruction).collect();
        let seccomp = (!instructions.is_empty()).then(|| Program {
            instructions,
            flags: u32::from_le_bytes(*flags),
            notify: false,
            unknown_names: Vec::new(),
        });
        Some(Self { spec: serde_json::from_slice(json).ok()?, seccomp, agent: None })
    }
}

/// Bytes of an instruction (`struct sock_filter`).
const INSTRUCTION: usize = 8;

fn head() -> String {
    format!("davit-digest 1 {} {}\n", env!("CARGO_PKG_VERSION"), commit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn whole() -> Spec {
        let config = json!({
            "ociVersion": "1.0.2", "hostname": "x", "root": { "path": "rootfs" },
            "annotations": { "run.oci.keep_original_groups": "1" },
            "process": {
                "cwd": "/", "user": { "uid": 1, "gid": 2 }, "args": ["sh"],
                "capabilities": { "bounding": ["CAP_KILL"] },
                "ioPriority": { "class": "IOPRIO_CLASS_IDLE", "priority": 7 }
            },
            "linux": {
                "personality": { "domain": "LINUX32" }, "namespaces": [{ "type": "pid" }],
                "seccomp": { "defaultAction": "SCMP_ACT_ERRNO",
                             "syscalls": [{ "names": ["read", "write", "execve"], "action": "SCMP_ACT_ALLOW" }] }
            }
        });
        serde_json::from_value(config).unwrap()
    }

    fn digest_of(spec: &Spec) -> Result<Digest> {
        Digest::of(spec, Path::new("/b"), None)
    }

    /// [B12] [S28] What comes back is what was put in, and nothing that is not needed.
    #[test]
    fn digests_come_back_whole() {
        let digest = digest_of(&whole()).unwrap();
        let back = Digest::decode(&digest.encode().unwrap()).unwrap();
        assert_eq!(back.spec, digest.spec);
        assert_eq!(back.spec.process(), whole().process());
        assert_eq!(back.spec.annotations(), whole().annotations());
        let linux = back.spec.linux().as_ref().unwrap();
        assert_eq!(linux.personality(), whole().linux().as_ref().unwrap().personality());
        assert!(linux.namespaces().is_none() && back.spec.root().is_none() && back.spec.hostname().is_none());
        assert!(back.seccomp.as_ref().unwrap().instructions.len() > 4);
        assert_eq!(back.seccomp, digest.seccomp);
        let mut none = whole();
        none.linux_mut().as_mut().unwrap().set_seccomp(None);
        let digest = digest_of(&none).unwrap();
        assert_eq!(Digest::decode(&digest.encode().unwrap()).unwrap().seccomp, None);
    }

    /// Another version's, a cut one, nonsense: made anew instead.
    #[test]
    fn others_are_not_read() {
        let bytes = digest_of(&whole()).unwrap().encode().unwrap();
        for length in [0, 5, head().len(), head().len() + 6, head().len() + 20, bytes.len() - 1] {
            assert!(Digest::decode(&bytes[..length]).is_none(), "{length}");
        }
        let mut other = bytes.clone();
        other[13] = b'0';
        assert!(Digest::decode(&other).is_none());
        let mut long = bytes;
        long[head().len() + 7] = 0xff;
        assert!(Digest::decode(&long).is_none());
    }
}
