//! What keeps a spec from being planned: all of it, where [`plan`](super::plan()) gives the first.

use oci_spec::runtime::Spec;

use super::{
    Request, annotations, cgroup_plan, landlock, namespaces, process, resctrl, rootfs, scheduling, seccomp,
    sysctl,
};
use crate::cgroups::{CgroupPlan, Host};
use crate::error::Error;

/// The faults of each part of the plan, beyond the rules of `spec::validate`, and the warnings. A part gives its first
/// fault.
pub fn faults(spec: &Spec, request: &Request<'_>, host: &Host) -> (Vec<Error>, Vec<String>) {
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    faults.extend(annotations::check(spec).err());
    faults.extend(namespaces::plan(spec, &request.caller).err());
    let cgroup = match cgroup_plan(spec, request, host) {
        Ok(plan) => plan,
        Err(error) => {
            faults.push(error);
            CgroupPlan::default()
        }
    };
    warnings.extend(cgroup.warnings.iter().cloned());
    faults.extend(seccomp::plan(spec, request.bundle, request.seccomp_receiver.as_deref()).err());
    match super::place(spec, request, host, &cgroup, &mut warnings) {
        Ok(place) => faults.extend(rootfs::plan(spec, &place, &mut warnings).err()),
        Err(error) => faults.push(error),
    }
    if let Some(process) = spec.process() {
        faults.extend(scheduling::plan(process, spec.linux().as_ref(), &mut warnings).err());
        faults.extend(process::plan(process, None).err());
    }
    faults.extend(scheduling::core(spec, request.kernel, &mut warnings).err());
    faults.extend(landlock::plan(spec, request.kernel.landlock, &mut warnings).err());
    faults.extend(sysctl(spec).err());
    faults.extend(resctrl::plan(spec, request.id).err());
    (faults, warnings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::cgroup::{Options, tests::v2};
    use serde_json::json;

    /// [E12] The parts fail each by itself.
    #[test]
    fn every_part_is_heard() {
        let spec = json!({"root": {"path": "r"}, "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["x"]},
        "linux": {
            "cgroupsPath": "/..",
            "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_ERRNO"}]},
        }});
        let spec: Spec = serde_json::from_value(spec).unwrap();
        let request = Request {
            id: "x",
            bundle: "/b".as_ref(),
            no_pivot: false,
            no_new_keyring: true,
            preserve_fds: 0,
            listen: crate::plan::activation::Listen::default(),
            notify: None,
            selinux: || false,
            seccomp_receiver: None,
            seccomp_recorder: None,
            kernel: crate::plan::Kernel::PLAIN,
            caller: crate::plan::rootless::Caller::ROOT,
            cgroup: Options::default(),
            no_cgroup: false,
        };
        let (faults, _) = faults(&spec, &request, &v2("/"));
        let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(texts[0].starts_with("linux.cgroupsPath: "), "{texts:?}");
        assert!(texts[1].starts_with("linux.seccomp.syscalls[0].names: "), "{texts:?}");
    }
}
