//! Which mounts are id-mapped, and how (config.md, "Mounts": `idmap`, `ridmap`, `uidMappings`, `gidMappings`).

use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};

use super::namespaces::map_lines;
use crate::rootfs::idmap_option;
use crate::rootfs::options::MountOptions;
use crate::rootfs::tree::{IdMap, MapNamespace};
use crate::spec::validate::{id_mappings as container, join_path, namespaces};

/// The mapping of a mount: its own, else with `idmap` or `ridmap` that of the container's user namespace. Mappings
/// without an option are as with `idmap` (M35).
pub fn of(mount: &Mount, options: &MountOptions, spec: &Spec) -> Option<IdMap> {
    let uids = mount.uid_mappings().as_deref().unwrap_or_default();
    let gids = mount.gid_mappings().as_deref().unwrap_or_default();
    if options.id_map.is_none() && uids.is_empty() && gids.is_empty() {
        return None;
    }
    let namespace = if !(uids.is_empty() && gids.is_empty()) {
        MapNamespace::Made { uid: map_lines(uids), gid: map_lines(gids) }
    } else if let Some(text) = &options.id_map_text {
        // Text that is no mapping was refused by the validation.
        let (uid, gid) = idmap_option::maps(text, &container(spec)).unwrap_or_default();
        MapNamespace::Made { uid, gid }
    } else {
        of_container(spec)
    };
    Some(IdMap { recursive: options.id_map == Some(true), namespace })
}

/// A new user namespace is not there yet when the mount is made: one with the same maps is as good.
fn of_container(spec: &Spec) -> MapNamespace {
    let joined = namespaces(spec)
        .iter()
        .any(|namespace| namespace.typ() == LinuxNamespaceType::User && join_path(namespace).is_some());
    if joined {
        return MapNamespace::Joined;
    }
    let linux = spec.linux().as_ref();
    let uids = linux.and_then(|linux| linux.uid_mappings().as_deref()).unwrap_or_default();
    let gids = linux.and_then(|linux| linux.gid_mappings().as_deref()).unwrap_or_default();
    MapNamespace::Made { uid: map_lines(uids), gid: map_lines(gids) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::options;
    use serde_json::json;

    fn mapping(user: serde_json::Value, mount: serde_json::Value) -> Option<IdMap> {
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 10}]);
        let linux = json!({"namespaces": [user], "uidMappings": map, "gidMappings": map});
        let spec: Spec = serde_json::from_value(json!({ "linux": linux })).unwrap();
        let mount: Mount = serde_json::from_value(mount).unwrap();
        let given = mount.options().clone().unwrap_or_default();
        of(&mount, &options::parse(given.iter().map(String::as_str)), &spec)
    }

    fn made(uid: &str, gid: &str) -> MapNamespace {
        MapNamespace::Made { uid: uid.into(), gid: gid.into() }
    }

    /// [M33] [M34] [M35]
    #[test]
    fn a_mount_has_its_own_mapping_or_the_containers() {
        let user = json!({"type": "user"});
        let plain = json!({"destination": "/a", "options": ["bind"]});
        assert_eq!(mapping(user.clone(), plain), None);
        let option = json!({"destination": "/a", "options": ["rbind", "ridmap"]});
        let implied = mapping(user.clone(), option).unwrap();
        assert_eq!(implied, IdMap { recursive: true, namespace: made("0 100000 10\n", "0 100000 10\n") });
        let own = json!({"destination": "/a", "options": ["bind"],
            "uidMappings": [{"containerID": 1, "hostID": 2, "size": 3}],
            "gidMappings": [{"containerID": 4, "hostID": 5, "size": 6}]});
        let own = mapping(user, own).unwrap();
        assert_eq!(own, IdMap { recursive: false, namespace: made("1 2 3\n", "4 5 6\n") });
    }

    /// [X11]
    #[test]
    fn a_mapping_in_the_option() {
        let options =
            json!({"destination": "/a", "options": ["bind", "idmap=uids=0-5-2#@7-3-1;gids=@0-0-1"]});
        let maps = mapping(json!({"type": "user"}), options).unwrap();
        assert_eq!(maps.namespace, made("0 5 2\n7 100003 1\n", "0 100000 1\n"));
    }

    /// [M36]
    #[test]
    fn a_joined_namespace_has_the_mapping() {
        let user = json!({"type": "user", "path": "/proc/1/ns/user"});
        let option = json!({"destination": "/a", "options": ["bind", "idmap"]});
        assert_eq!(mapping(user, option).unwrap().namespace, MapNamespace::Joined);
    }
}
