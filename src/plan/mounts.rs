//! What a mount needs to know about the rest of the configuration, and what it makes of its data.

use std::ffi::CString;

use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, Mount, Spec};

use super::cstring;
use super::rootfs::Place;
use crate::error::{Error, Result};
use crate::rootfs::configured::LONGEST_VALUE;
use crate::rootfs::options::MountOptions;
use crate::rootfs::paths::normalize;
use crate::rootfs::tree::{MountAction, Parameter};
use crate::spec::validate::{forbidden_target, has_namespace, join_path, namespaces};
use crate::sys::mount::Attributes;

/// The most data that mount(2) takes, with its NUL: one page of the smallest size there is.
const PAGE: usize = 4096;

/// The configuration around a mount.
#[derive(Debug)]
pub(super) struct Around<'a> {
    pub(super) place: &'a Place<'a>,
    /// The container has a cgroup namespace.
    pub(super) own_cgroup: bool,
    pub(super) spec: &'a Spec,
    /// The rootfs on the host, cleaned, without the first slash.
    rootfs: String,
    warnings: &'a mut Vec<String>,
}

impl<'a> Around<'a> {
    pub(super) fn new(spec: &'a Spec, place: &'a Place<'a>, warnings: &'a mut Vec<String>) -> Self {
        let rootfs = spec.root().as_ref().map(|root| normalize(&place.bundle.join(root.path())));
        let own_cgroup = has_namespace(spec, LinuxNamespaceType::Cgroup);
        Self { place, own_cgroup, spec, rootfs: rootfs.unwrap_or_default(), warnings }
    }

    /// Where to mount, relative to the rootfs. A relative destination is taken from `/`, and one that repeats the
    /// rootfs's path on the host is meant inside of it, as with runc (M2).
    ///
    /// # Errors
    /// What is left is the root itself, or inside /proc.
    pub(super) fn target(&mut self, index: usize, mount: &Mount) -> Result<String> {
        let given = mount.destination();
        let path = format!("mounts[{index}].destination");
        if !given.is_absolute() {
            self.warnings.push(format!("{path}: {} is relative: taken from /", given.display()));
        }
        let target = normalize(given);
        if self.rootfs.is_empty() {
            return Ok(target);
        }
        let inside = match target.strip_prefix(&self.rootfs) {
            Some("") => "",
            Some(rest) if rest.starts_with('/') => rest.trim_start_matches('/'),
            _ => return Ok(target),
        };
        if let Some(text) = forbidden_target(inside, mount) {
            return Err(Error::config(&path, text));
        }
        self.warnings
            .push(format!("{path}: {} repeats the path of the rootfs: taken as /{inside}", given.display()));
        Ok(inside.into())
    }

    /// A new file system; `detached`: it is not mounted by mount(2) in any case.
    ///
    /// # Errors
    /// A NUL byte.
    pub(super) fn fresh(
        &mut self,
        index: usize,
        mount: &Mount,
        options: &MountOptions,
        readonly_later: bool,
        detached: bool,
    ) -> Result<MountAction> {
        let fstype = mount.typ().as_deref().unwrap_or_default();
        let source =
            mount.source().as_ref().map_or(fstype.as_bytes(), |source| source.as_os_str().as_encoded_bytes());
        let text =
            if fstype == "devpts" { self.mapped_gid(index, &options.data) } else { options.data.clone() };
        let text = super::label::data(&text, fstype, self.place.label);
        let handle =
            readonly_later || !options.propagation.is_empty() || options.recursive != Attributes::default();
        Ok(MountAction::Fresh {
            fstype: cstring(fstype)?,
            source: cstring(source)?,
            flags: if readonly_later { options.flags & !libc::MS_RDONLY } else { options.flags },
            parameters: if detached {
                Some(parameters(fstype, &text)?)
            } else {
                one_by_one(fstype, &text, handle)?
            },
            copy_up: options.copy_up,
            data: data(&text)?,
            plain_target: fstype == "proc" || fstype == "sysfs",
            fallback: self.fallback(fstype),
        })
    }

    /// Where no namespace is made that a user namespace could mount its file system for, the host's tree must do.
    fn fallback(&self, fstype: &str) -> Option<CString> {
        let (kind, tree) = match fstype {
            "proc" => (LinuxNamespaceType::Pid, c"/proc"),
            "sysfs" => (LinuxNamespaceType::Network, c"/sys"),
            _ => return None,
        };
        let made = namespaces(self.spec)
            .iter()
            .any(|namespace| namespace.typ() == kind && join_path(namespace).is_none());
        (!made).then(|| tree.to_owned())
    }

    /// `gid=5` of a devpts is what every example has, and what a user namespace with few ids can't have: there the
    /// kernel refuses the whole mount (M41).
    fn mapped_gid(&mut self, index: usize, data: &str) -> String {
        let linux = self.spec.linux().as_ref();
        let Some(maps) = linux.and_then(|linux| linux.gid_mappings().as_deref()) else { return data.into() };
        if !has_namespace(self.spec, LinuxNamespaceType::User) {
            return data.into();
        }
        let unmapped = |option: &&str| {
            let gid = option.strip_prefix("gid=").and_then(|gid| gid.parse::<u32>().ok());
            gid.is_some_and(|gid| !maps.iter().any(|map| holds(map, gid)))
        };
        let Some(option) = data.split(',').find(unmapped) else { return data.into() };
        self.warnings
            .push(format!("mounts[{index}].options: {option} is left out: linux.gidMappings has no such id"));
        data.split(',').filter(|other| *other != option).collect::<Vec<_>>().join(",")
    }
}

fn holds(map: &LinuxIdMapping, gid: u32) -> bool {
    gid.checked_sub(map.container_id()).is_some_and(|offset| offset < map.size())
}

/// The fifth argument of mount(2).
///
/// # Errors
/// A NUL byte.
pub(super) fn data(text: &str) -> Result<Option<CString>> {
    if text.is_empty() { Ok(None) } else { cstring(text).map(Some) }
}

/// The options for fsconfig(2), if they have to go that way (M49), or can and a handle of the mount is wanted.
fn one_by_one(fstype: &str, data: &str, handle: bool) -> Result<Option<Vec<Parameter>>> {
    let overlay = fstype == "overlay";
    let long = data.len() >= PAGE;
    let pairs = split(data, overlay);
    // The names that an overlay has for layers one by one are new (Linux 6.5).
    let fits = !overlay
        && pairs.iter().all(|(_, value)| value.as_ref().is_none_or(|text| text.len() <= LONGEST_VALUE));
    if !(long || handle && fits) {
        return Ok(None);
    }
    parameters(fstype, data).map(Some)
}

/// The options for fsconfig(2).
///
/// # Errors
/// A NUL byte.
pub(super) fn parameters(fstype: &str, data: &str) -> Result<Vec<Parameter>> {
    let overlay = fstype == "overlay";
    let pairs = split(data, overlay);
    let mut parameters = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        match value {
            Some(layers) if overlay && key == "lowerdir" => layers_of(&layers, &mut parameters)?,
            value => {
                parameters.push(Parameter { key: cstring(key)?, value: value.map(cstring).transpose()? })
            }
        }
    }
    Ok(parameters)
}

/// `a=b,c` as names with their values. A comma inside of quotes (`context="…"`), or in an overlay behind a backslash,
/// is part of its value; the quotes are not.
fn split(data: &str, overlay: bool) -> Vec<(String, Option<String>)> {
    let mut options = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for character in data.chars() {
        match character {
            ',' if !quoted && !escaped => options.push(String::new()),
            '"' if !overlay => quoted = !quoted,
            other => options.last_mut().into_iter().for_each(|last| last.push(other)),
        }
        escaped = overlay && character == '\\' && !escaped;
    }
    let options = options.into_iter().filter(|option| !option.is_empty());
    options
        .map(|option| match option.split_once('=') {
            Some((key, value)) => (key.to_string(), Some(value.to_string())),
            None => (option, None),
        })
        .collect()
}

/// `lowerdir=a:b::c` layer by layer: `lowerdir+=a`, `lowerdir+=b`, `datadir+=c` (overlayfs.rst, Linux 6.5).
fn layers_of(layers: &str, parameters: &mut Vec<Parameter>) -> Result<()> {
    let mut found = vec![(c"lowerdir+", String::new())];
    let mut characters = layers.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            ':' if characters.next_if_eq(&':').is_some() => found.push((c"datadir+", String::new())),
            ':' => found.push((c"lowerdir+", String::new())),
            // Taken as they are, these names need no escapes.
            '\\' => found.last_mut().into_iter().for_each(|(_, path)| path.extend(characters.next())),
            other => found.last_mut().into_iter().for_each(|(_, path)| path.push(other)),
        }
    }
    for (key, path) in found {
        parameters.push(Parameter { key: key.to_owned(), value: Some(cstring(path)?) });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(parameters: &[Parameter]) -> Vec<String> {
        let text = |parameter: &Parameter| match &parameter.value {
            Some(value) => format!("{}={}", parameter.key.to_string_lossy(), value.to_string_lossy()),
            None => parameter.key.to_string_lossy().into_owned(),
        };
        parameters.iter().map(text).collect()
    }

    /// [M15] [M25]
    #[test]
    fn a_handle_takes_parameters() {
        assert_eq!(one_by_one("tmpfs", "size=1k,noswap", false).unwrap(), None);
        let parameters = one_by_one("tmpfs", "size=1k,noswap,context=\"a,b\"", true).unwrap().unwrap();
        assert_eq!(shown(&parameters), ["size=1k", "noswap", "context=a,b"]);
        assert_eq!(one_by_one("overlay", "lowerdir=/a:/b", true).unwrap(), None);
        assert_eq!(one_by_one("9p", &format!("x={}", "y".repeat(300)), true).unwrap(), None);
    }

    /// [M49]
    #[test]
    fn long_overlays_go_layer_by_layer() {
        let data =
            format!("lowerdir=/a\\:b:/c\\,d::/data,upperdir=/{},workdir=/w,metacopy=on", "u".repeat(5000));
        let parameters = one_by_one("overlay", &data, false).unwrap().unwrap();
        let shown = shown(&parameters);
        assert_eq!(shown[..3], ["lowerdir+=/a:b", "lowerdir+=/c,d", "datadir+=/data"]);
        assert!(shown[3].starts_with("upperdir=/uuu") && shown[3].len() == 5010, "{}", shown[3].len());
        assert_eq!(shown[4..], ["workdir=/w", "metacopy=on"]);
    }
}
