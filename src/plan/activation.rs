//! What a service manager hands over: sockets (sd_listen_fds(3)) and the wish to know when all is ready (sd_notify(3)).

use std::ffi::{CString, OsStr};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Mount, MountBuilder};

use super::cstring;
use crate::error::{Error, Kind, Result};

/// The descriptors from 3 on that `$LISTEN_FDS` counts; they come before those of `--preserve-fds` (F13).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// How many.
    pub count: u32,
    /// `$LISTEN_FDNAMES`, passed on as it is.
    pub names: Option<CString>,
}

impl Listen {
    /// Reads `LISTEN_FDS` and its companions, as the process `own` got them. Those for another process are not for us; without
    /// `LISTEN_PID` they are taken, as crun does.
    ///
    /// # Errors
    /// `LISTEN_FDS` is ours and not a number.
    pub fn decide(pid: Option<&OsStr>, count: &OsStr, names: Option<&OsStr>, own: u32) -> Result<Self> {
        let ours = pid.is_none_or(|pid| number(pid) == Some(own));
        if !ours {
            return Ok(Self::default());
        }
        let found = number(count);
        let count = found.ok_or_else(|| {
            Error::new(Kind::Usage, format!("LISTEN_FDS: {:?} is not a number", count.to_string_lossy()))
        })?;
        let names = names.filter(|_| count > 0).map(|names| cstring(names.as_encoded_bytes()));
        Ok(Self { count, names: names.transpose()? })
    }

    /// What the container's environment gets; `LISTEN_PID` only init can tell.
    ///
    /// # Errors
    /// None: no NUL byte can be in there.
    pub fn environment(&self) -> Result<Vec<CString>> {
        if self.count == 0 {
            return Ok(Vec::new());
        }
        let mut list = vec![cstring(format!("LISTEN_FDS={}", self.count))?];
        if let Some(names) = &self.names {
            list.push(cstring([b"LISTEN_FDNAMES=", names.as_bytes()].concat())?);
        }
        Ok(list)
    }
}

fn number(text: &OsStr) -> Option<u32> {
    let text = text.to_str()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The directory in the container that holds the socket, which its program finds by `$NOTIFY_SOCKET` (F14).
const NOTIFY_DIRECTORY: &str = "/run/notify";
/// The socket's name there and in the state directory.
pub const NOTIFY_SOCKET: &str = "notify.sock";

/// The variable that names the socket in the container.
///
/// # Errors
/// None.
pub fn notify_variable() -> Result<CString> {
    cstring(format!("NOTIFY_SOCKET={NOTIFY_DIRECTORY}/{NOTIFY_SOCKET}"))
}

/// The mount of the directory `source`: the directory and not the socket, which only `start` makes.
///
/// # Errors
/// None: all parts are given.
pub fn notify_mount(source: &Path) -> Result<Mount> {
    let options = ["bind", "nosuid", "noexec", "nodev", "ro"];
    MountBuilder::default()
        .destination(PathBuf::from(NOTIFY_DIRECTORY))
        .typ("bind")
        .source(source)
        .options(options.map(String::from))
        .build()
        .map_err(|error| Error::new(Kind::System, format!("NOTIFY_SOCKET: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(pid: Option<&str>, count: &str, names: Option<&str>) -> Result<Listen> {
        Listen::decide(pid.map(OsStr::new), OsStr::new(count), names.map(OsStr::new), 42)
    }

    /// [F13]
    #[test]
    fn sockets_are_taken_only_when_they_are_for_us() {
        let two = Listen { count: 2, names: Some(c"a:b".into()) };
        assert_eq!(decide(Some("42"), "2", Some("a:b")).unwrap(), two);
        assert_eq!(decide(None, "2", Some("a:b")).unwrap(), two);
        for (pid, count) in [(Some("1"), "2"), (Some("x"), "2"), (Some("x"), "y")] {
            assert_eq!(decide(pid, count, Some("a:b")).unwrap(), Listen::default(), "{pid:?} {count:?}");
        }
        assert_eq!(decide(Some("42"), "0", Some("a")).unwrap(), Listen::default());
        for bad in ["", "-1", "x", "+2", " 2", "4294967296"] {
            let error = decide(Some("42"), bad, None).unwrap_err().to_string();
            assert_eq!(error, format!("LISTEN_FDS: {bad:?} is not a number"));
        }
        assert_eq!(two.environment().unwrap(), [c"LISTEN_FDS=2", c"LISTEN_FDNAMES=a:b"].map(CString::from));
        assert!(Listen::default().environment().unwrap().is_empty());
    }

    /// [F13] [F14] The mount is the last one and says who asked for it; the variables win over the spec's.
    #[test]
    fn the_plan_has_a_mount_and_variables_more() {
        use crate::cgroups::{Host, Layout};
        let spec = serde_json::from_value(serde_json::json!({
            "ociVersion": "1.0.2", "root": {"path": "rootfs"}, "mounts": [{"destination": "/run", "type": "tmpfs"}],
            "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh"],
                        "env": ["LISTEN_PID=9", "A=1", "NOTIFY_SOCKET=x", "LISTEN_FDS=9"]},
            "linux": {"namespaces": [{"type": "mount"}]}
        }))
        .unwrap();
        let mut request = crate::plan::Request {
            caller: crate::plan::rootless::Caller::ROOT,
            id: "c1",
            bundle: Path::new("/b"),
            no_pivot: false,
            no_new_keyring: true,
            preserve_fds: 3,
            listen: Listen::default(),
            selinux: || false,
            seccomp_receiver: None,
            seccomp_recorder: None,
            kernel: crate::plan::Kernel::PLAIN,
            notify: None,
            cgroup: crate::plan::cgroup::Options::default(),
            no_cgroup: true,
        };
        let layout = Layout::V1 { hierarchies: Vec::new(), unified: None };
        let host = Host { layout, own_v2: PathBuf::from("/") };
        let plain = crate::plan::plan(&spec, &request, &host).unwrap();
        assert_eq!((plain.rootfs.mounts.len(), plain.preserve_fds, plain.process.listen_pid), (1, 3, false));
        assert_eq!(plain.mount_origin(0), "mounts[0]");
        assert_eq!(plain.process.env.as_slice().len(), 4);

        request.notify = Some("/run/davit/c1/notify".into());
        request.listen = Listen { count: 2, names: None };
        let plan = crate::plan::plan(&spec, &request, &host).unwrap();
        assert_eq!((plan.rootfs.mounts.len(), plan.preserve_fds, plan.process.listen_pid), (2, 5, true));
        assert_eq!(
            (plan.mount_origin(0), plan.mount_origin(1)),
            ("mounts[0]".into(), "NOTIFY_SOCKET".into())
        );
        assert_eq!(plan.rootfs.mounts[1].target.as_c_str(), c"run/notify");
        let shown = crate::plan::show::steps(&plan);
        assert!(
            shown.iter().any(|step| step.path == "NOTIFY_SOCKET" && step.detail.contains("/run/davit/c1"))
        );
        let env = [c"A=1", c"NOTIFY_SOCKET=/run/notify/notify.sock", c"LISTEN_FDS=2"].map(CString::from);
        assert_eq!(plan.process.env.as_slice(), env);

        request.preserve_fds = u32::MAX;
        assert!(crate::plan::plan(&spec, &request, &host).is_err());
    }
}
