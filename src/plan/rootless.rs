//! What an ordinary user may and may not do: the one id that is its own, helpers for more, a user namespace in any case.

use oci_spec::OciSpecError;
use oci_spec::runtime::{Linux, LinuxIdMappingBuilder, LinuxNamespaceBuilder, LinuxNamespaceType, Spec};

use super::process::ProcessPlan;
use crate::error::{Error, Kind, Result};
use crate::namespaces::IdMaps;

/// Who calls the runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// It may do what root may in its own user namespace: map any ids, make any namespace.
    pub privileged: bool,
    /// Its user namespace is not the initial one: devices can't be made there, nor the OOM score lowered (U2).
    pub confined: bool,
}

impl Caller {
    /// Root of the machine.
    pub const ROOT: Self = Self { uid: 0, gid: 0, privileged: true, confined: false };

    /// Decides how the maps of a new user namespace are written (user_namespaces(7)): without privilege one line that
    /// maps the own id, for groups only once setgroups(2) is given up; all else by newuidmap(1) and newgidmap(1).
    pub fn decide(&self, maps: &mut IdMaps) {
        if self.privileged {
            return;
        }
        maps.uid_helper = !is_only(&maps.uid, self.uid);
        maps.gid_helper = !is_only(&maps.gid, self.gid);
        maps.deny_setgroups = !maps.gid_helper;
    }

    /// N18: who may make no namespace at all without a user namespace gets one, as with crun, if the config says nothing of
    /// one. It maps the container's user to the caller. Gives the warning to be logged.
    ///
    /// # Errors
    /// None in practice.
    pub fn add_user_namespace(&self, spec: &mut Spec) -> Result<Option<String>> {
        if self.privileged {
            return Ok(None);
        }
        let user = spec.process().as_ref().map(|process| process.user());
        let (uid, gid) = user.map_or((0, 0), |user| (user.uid(), user.gid()));
        let Some(linux) = spec.linux_mut().as_mut().filter(|linux| says_nothing(linux)) else {
            return Ok(None);
        };
        let failed = |error: OciSpecError| Error::new(Kind::Config, error.to_string());
        let map = |container: u32, host: u32| {
            let one = LinuxIdMappingBuilder::default().container_id(container).host_id(host).size(1u32);
            one.build().map(|line| vec![line]).map_err(failed)
        };
        let (uids, gids) = (map(uid, self.uid)?, map(gid, self.gid)?);
        let entry = LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::User).build().map_err(failed)?;
        linux.namespaces_mut().get_or_insert_default().push(entry);
        linux.set_uid_mappings(Some(uids));
        linux.set_gid_mappings(Some(gids));
        Ok(Some(format!(
            "linux.namespaces: a user namespace is added, since uid {} can make a container only in one; uid {uid} of the container \
             is uid {} outside (add {{\"type\": \"user\"}} with linux.uidMappings and linux.gidMappings to choose)",
            self.uid, self.uid
        )))
    }
}

/// Neither a user namespace nor mappings for one.
fn says_nothing(linux: &Linux) -> bool {
    let user = |namespaces: &Vec<oci_spec::runtime::LinuxNamespace>| {
        namespaces.iter().any(|namespace| namespace.typ() == LinuxNamespaceType::User)
    };
    !linux.namespaces().as_ref().is_some_and(user)
        && linux.uid_mappings().as_ref().is_none_or(Vec::is_empty)
        && linux.gid_mappings().as_ref().is_none_or(Vec::is_empty)
}

/// Whether the lines map just this id of the host.
fn is_only(lines: &str, id: u32) -> bool {
    let fields: Vec<_> = lines.split_whitespace().collect();
    matches!(fields[..], [_, host, "1"] if host.parse() == Ok(id))
}

/// Keeps the caller's supplementary groups, as crun and Podman name the wish (X14): files of a group that has no id in
/// the container stay within reach.
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// Whether the annotation for it is there.
pub fn keep_groups(spec: &Spec) -> bool {
    super::annotations::get(spec, KEEP_GROUPS) == Some("1")
}

/// P8: setgroups(2) is denied with one's own group alone.
///
/// # Errors
/// There are groups to set.
pub fn check_groups(process: &ProcessPlan, maps: Option<&IdMaps>) -> Result<()> {
    if process.groups.is_empty() {
        return Ok(());
    }
    if process.keep_groups {
        let text = format_args!("can't be set while the annotation {KEEP_GROUPS} keeps the caller's groups");
        return Err(Error::config("process.user.additionalGids", text));
    }
    if !maps.is_some_and(|maps| maps.deny_setgroups) {
        return Ok(());
    }
    let text = "cannot set any additional groups in a rootless container";
    Err(Error::config("process.user.additionalGids", text)
        .hint("with only the caller's own group in linux.gidMappings the kernel denies setgroups"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const USER: Caller = Caller { uid: 1000, gid: 100, privileged: false, confined: false };

    fn maps(caller: Caller, uid: &str, gid: &str) -> (bool, bool, bool) {
        let mut maps = IdMaps { uid: uid.into(), gid: gid.into(), ..IdMaps::default() };
        caller.decide(&mut maps);
        (maps.uid_helper, maps.gid_helper, maps.deny_setgroups)
    }

    /// [N10] [U1]
    #[test]
    fn helpers_are_for_ids_that_are_not_the_callers() {
        assert_eq!(maps(Caller::ROOT, "0 5 10\n", "0 5 10\n"), (false, false, false));
        assert_eq!(maps(USER, "0 1000 1\n", "7 100 1\n"), (false, false, true));
        assert_eq!(maps(USER, "0 1000 1\n1 100000 9\n", "0 100 1\n1 100000 9\n"), (true, true, false));
        assert_eq!(maps(USER, "0 1000 2\n", "0 100 1\n"), (true, false, true));
        assert_eq!(maps(USER, "0 1001 1\n", "0 1000 1\n"), (true, true, false));
    }

    /// [N18]
    #[test]
    fn a_user_namespace_is_added_where_none_is_spoken_of() {
        let process = json!({"user": {"uid": 5, "gid": 6}, "cwd": "/", "args": ["x"]});
        let spec = |linux: serde_json::Value| -> Spec {
            serde_json::from_value(json!({"ociVersion": "1.0.2", "process": process, "linux": linux}))
                .unwrap()
        };
        let plain = json!({"namespaces": [{"type": "mount"}]});
        let mut added = spec(plain.clone());
        assert!(USER.add_user_namespace(&mut added).unwrap().unwrap().starts_with("linux.namespaces: "));
        let linux = added.linux().as_ref().unwrap();
        assert_eq!(linux.namespaces().as_ref().unwrap().len(), 2);
        let (uid, gid) =
            (&linux.uid_mappings().as_ref().unwrap()[0], &linux.gid_mappings().as_ref().unwrap()[0]);
        assert_eq!((uid.container_id(), uid.host_id(), uid.size()), (5, 1000, 1));
        assert_eq!((gid.container_id(), gid.host_id(), gid.size()), (6, 100, 1));
        assert_eq!(Caller::ROOT.add_user_namespace(&mut spec(plain)).unwrap(), None);
        let map = json!([{"containerID": 0, "hostID": 1, "size": 1}]);
        for other in
            [json!({"namespaces": [{"type": "user"}]}), json!({"namespaces": [], "uidMappings": map})]
        {
            let mut spec = spec(other);
            let before = spec.clone();
            assert_eq!(USER.add_user_namespace(&mut spec).unwrap(), None);
            assert_eq!(spec, before);
        }
    }

    /// [P8] [U6]
    #[test]
    fn groups_need_setgroups() {
        let denied = IdMaps { deny_setgroups: true, ..IdMaps::default() };
        let process = |groups: &[u32]| {
            let user = json!({"uid": 0, "gid": 0, "additionalGids": groups});
            let process = serde_json::from_value(json!({"user": user, "cwd": "/", "args": ["x"]})).unwrap();
            crate::plan::process::plan(&process, None).unwrap()
        };
        assert!(check_groups(&process(&[]), Some(&denied)).is_ok());
        assert!(check_groups(&process(&[7]), Some(&IdMaps::default())).is_ok());
        let both = ProcessPlan { keep_groups: true, ..process(&[7]) };
        assert!(check_groups(&both, None).unwrap_err().to_string().contains("run.oci.keep_original_groups"));
        let error = check_groups(&process(&[7]), Some(&denied)).unwrap_err().to_string();
        assert!(error.contains("cannot set any additional groups in a rootless container"), "{error}");
    }
}
