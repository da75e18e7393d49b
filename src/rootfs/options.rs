//! The mount option names of mount(8) and of the OCI specification, and what each does.

use std::ffi::CStr;

use crate::sys::mount::Attributes;

/// Everything that the options of one mount ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// `MS_*` flags to set, with `MS_BIND`, `MS_REC` and `MS_REMOUNT` among them.
    pub flags: u64,
    /// `MS_*` flags that an option such as `rw` or `dev` clears explicitly.
    pub cleared: u64,
    /// Propagation changes to make after mounting, in order: `MS_SHARED` and so on, with `MS_REC`.
    pub propagation: Vec<u64>,
    /// The `r*` options: attributes for the mount and everything below it.
    pub recursive: Attributes,
    /// Copy what the directory held into the new tmpfs.
    pub copy_up: bool,
    /// `idmap` (Some(false)) or `ridmap` (Some(true)).
    pub id_map: Option<bool>,
    /// What stands after `idmap=` (crun; features.md X11).
    pub id_map_text: Option<String>,
    /// What the ends of both paths may be.
    pub links: Links,
    /// What is not an option of ours, for the file system; comma-joined.
    pub data: String,
}

/// How a bind mount treats symbolic links where its paths end (crun; features.md X10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// `copy-symlink`: a source that is one is made anew at the destination, not mounted.
    pub copy: bool,
    /// `src-nofollow`: the source is bound itself, also if it is one.
    pub source: bool,
    /// `dest-nofollow`: it is mounted on the destination itself, also if that is one.
    pub destination: bool,
}

impl Links {
    /// Whether what the source leads to is bound.
    pub fn follows_source(self) -> bool {
        !(self.copy || self.source)
    }
}

#[derive(Clone, Copy)]
enum Effect {
    Set(u64),
    Clear(u64),
    Propagation(u64),
    RecursiveSet(u64),
    RecursiveClear(u64),
    CopyUp,
    IdMap {
        recursive: bool,
    },
    CopyLink,
    SourceNoFollow,
    DestinationNoFollow,
    /// Also what crun takes by name and no kernel can do for a whole tree: flags of a file system.
    Nothing,
}

/// Linux 5.10.
pub(super) const MS_NOSYMFOLLOW: u64 = 256;
const MS_LAZYTIME: u64 = 1 << 25;
/// The field of the access time mode.
pub(super) const ATTR_ATIME: u64 = 0x70;
const ATTR_NOATIME: u64 = 0x10;
const ATTR_STRICTATIME: u64 = 0x20;
pub(super) const ATTR_NODIRATIME: u64 = 0x80;
const ATTR_NOSYMFOLLOW: u64 = 0x0020_0000;
const ATTR_RDONLY: u64 = 1;
const ATTR_NOSUID: u64 = 2;
const ATTR_NODEV: u64 = 4;
const ATTR_NOEXEC: u64 = 8;

/// Sorted by name (config.md, "Linux mount options"; mount(8), "Filesystem-independent mount options").
const OPTIONS: &[(&str, Effect)] = {
    use Effect::{
        Clear, CopyLink, CopyUp, DestinationNoFollow, IdMap, Nothing, Propagation, RecursiveClear,
        RecursiveSet, Set, SourceNoFollow,
    };
    &[
        ("async", Clear(libc::MS_SYNCHRONOUS)),
        ("atime", Clear(libc::MS_NOATIME)),
        ("bind", Set(libc::MS_BIND)),
        ("copy-symlink", CopyLink),
        ("defaults", Nothing),
        ("dest-nofollow", DestinationNoFollow),
        ("dev", Clear(libc::MS_NODEV)),
        ("diratime", Clear(libc::MS_NODIRATIME)),
        ("dirsync", Set(libc::MS_DIRSYNC)),
        ("exec", Clear(libc::MS_NOEXEC)),
        ("idmap", IdMap { recursive: false }),
        ("iversion", Set(libc::MS_I_VERSION)),
        ("lazytime", Set(MS_LAZYTIME)),
        ("loud", Clear(libc::MS_SILENT)),
        ("mand", Set(libc::MS_MANDLOCK)),
        ("noatime", Set(libc::MS_NOATIME)),
        ("nodev", Set(libc::MS_NODEV)),
        ("nodiratime", Set(libc::MS_NODIRATIME)),
        ("noexec", Set(libc::MS_NOEXEC)),
        ("noiversion", Clear(libc::MS_I_VERSION)),
        ("nolazytime", Clear(MS_LAZYTIME)),
        ("nomand", Clear(libc::MS_MANDLOCK)),
        ("norelatime", Clear(libc::MS_RELATIME)),
        ("nostrictatime", Clear(libc::MS_STRICTATIME)),
        ("nosuid", Set(libc::MS_NOSUID)),
        ("nosymfollow", Set(MS_NOSYMFOLLOW)),
        ("private", Propagation(libc::MS_PRIVATE)),
        ("rasync", Nothing),
        ("ratime", RecursiveClear(ATTR_NOATIME)),
        ("rbind", Set(libc::MS_BIND | libc::MS_REC)),
        ("rdev", RecursiveClear(ATTR_NODEV)),
        ("rdiratime", RecursiveClear(ATTR_NODIRATIME)),
        ("rdirsync", Nothing),
        ("relatime", Set(libc::MS_RELATIME)),
        ("remount", Set(libc::MS_REMOUNT)),
        ("rexec", RecursiveClear(ATTR_NOEXEC)),
        ("ridmap", IdMap { recursive: true }),
        ("rmand", Nothing),
        ("rnoatime", RecursiveSet(ATTR_NOATIME)),
        ("rnodev", RecursiveSet(ATTR_NODEV)),
        ("rnodiratime", RecursiveSet(ATTR_NODIRATIME)),
        ("rnoexec", RecursiveSet(ATTR_NOEXEC)),
        ("rnomand", Nothing),
        ("rnorelatime", RecursiveClear(0)),
        ("rnostrictatime", RecursiveClear(ATTR_STRICTATIME)),
        ("rnosuid", RecursiveSet(ATTR_NOSUID)),
        ("rnosymfollow", RecursiveSet(ATTR_NOSYMFOLLOW)),
        ("ro", Set(libc::MS_RDONLY)),
        ("rprivate", Propagation(libc::MS_PRIVATE | libc::MS_REC)),
        ("rrelatime", RecursiveSet(0)),
        ("rro", RecursiveSet(ATTR_RDONLY)),
        ("rrw", RecursiveClear(ATTR_RDONLY)),
        ("rshared", Propagation(libc::MS_SHARED | libc::MS_REC)),
        ("rslave", Propagation(libc::MS_SLAVE | libc::MS_REC)),
        ("rstrictatime", RecursiveSet(ATTR_STRICTATIME)),
        ("rsuid", RecursiveClear(ATTR_NOSUID)),
        ("rsymfollow", RecursiveClear(ATTR_NOSYMFOLLOW)),
        ("rsync", Nothing),
        ("runbindable", Propagation(libc::MS_UNBINDABLE | libc::MS_REC)),
        ("rw", Clear(libc::MS_RDONLY)),
        ("shared", Propagation(libc::MS_SHARED)),
        ("silent", Set(libc::MS_SILENT)),
        ("slave", Propagation(libc::MS_SLAVE)),
        ("src-nofollow", SourceNoFollow),
        ("strictatime", Set(libc::MS_STRICTATIME)),
        ("suid", Clear(libc::MS_NOSUID)),
        ("symfollow", Clear(MS_NOSYMFOLLOW)),
        ("sync", Set(libc::MS_SYNCHRONOUS)),
        ("tmpcopyup", CopyUp),
        ("unbindable", Propagation(libc::MS_UNBINDABLE)),
    ]
};

/// Every option name that Davit carries out itself, sorted; all others go to the file system.
pub fn known() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|(name, _)| *name)
}

/// Reads the options of one mount. The last of contradicting options wins (`ro,rw`).
pub fn parse<'a>(options: impl IntoIterator<Item = &'a str>) -> MountOptions {
    let mut result = MountOptions::default();
    for option in options {
        match OPTIONS.binary_search_by_key(&option, |(name, _)| name) {
            Ok(index) => result.apply(OPTIONS[index].0, OPTIONS[index].1),
            Err(_) if result.takes_id_map(option) => {}
            Err(_) => {
                if !result.data.is_empty() {
                    result.data.push(',');
                }
                result.data.push_str(option);
            }
        }
    }
    result
}

impl MountOptions {
    fn apply(&mut self, name: &str, effect: Effect) {
        match effect {
            Effect::Set(flags) => {
                self.flags |= flags;
                self.cleared &= !flags;
            }
            Effect::Clear(flags) => {
                self.flags &= !flags;
                self.cleared |= flags;
            }
            Effect::Propagation(flags) => self.propagation.push(flags),
            Effect::RecursiveSet(attribute) => self.recursive_attribute(name, attribute, true),
            Effect::RecursiveClear(attribute) => self.recursive_attribute(name, attribute, false),
            Effect::CopyUp => self.copy_up = true,
            Effect::CopyLink => self.links.copy = true,
            Effect::SourceNoFollow => self.links.source = true,
            Effect::DestinationNoFollow => self.links.destination = true,
            Effect::IdMap { recursive } => self.id_map = Some(recursive),
            Effect::Nothing => {}
        }
    }

    /// `idmap=…`, `ridmap=…`: a mapping in the option itself.
    fn takes_id_map(&mut self, option: &str) -> bool {
        let given = [("idmap=", false), ("ridmap=", true)]
            .into_iter()
            .find_map(|(name, recursive)| option.strip_prefix(name).map(|text| (text, recursive)));
        if let Some((text, recursive)) = given {
            self.id_map = Some(recursive);
            self.id_map_text = Some(text.to_string());
        }
        given.is_some()
    }

    /// mount_setattr(2): the access time mode is a field of its own, which must be cleared to be changed.
    fn recursive_attribute(&mut self, name: &str, attribute: u64, set: bool) {
        let attributes = &mut self.recursive;
        if name.ends_with("atime") && !name.ends_with("diratime") {
            attributes.clear |= ATTR_ATIME;
            attributes.set &= !ATTR_ATIME;
            if set {
                attributes.set |= attribute;
            }
        } else if set {
            attributes.set |= attribute;
            attributes.clear &= !attribute;
        } else {
            attributes.clear |= attribute;
            attributes.set &= !attribute;
        }
    }

    /// Whether this is a bind mount (`bind` or `rbind` among the options).
    pub fn is_bind(&self) -> bool {
        self.flags & libc::MS_BIND != 0
    }

    /// The per-mount flags as mount_setattr(2) takes them, for a bind mount.
    pub fn attributes(&self) -> Attributes {
        let mut result = Attributes {
            set: mount_attributes(self.flags),
            clear: mount_attributes(self.cleared & !self.flags),
            propagation: 0,
        };
        let access_time = libc::MS_NOATIME | libc::MS_RELATIME | libc::MS_STRICTATIME;
        if (self.flags | self.cleared) & access_time != 0 {
            result.clear |= ATTR_ATIME;
            if self.flags & libc::MS_NOATIME != 0 {
                result.set |= ATTR_NOATIME;
            } else if self.flags & libc::MS_STRICTATIME != 0 {
                result.set |= ATTR_STRICTATIME;
            }
        }
        result
    }
}

/// What a mount with these `MS_*` flags has, as mount_setattr(2) and fsmount(2) take it.
pub fn attributes(flags: u64) -> Attributes {
    MountOptions { flags, ..MountOptions::default() }.attributes()
}

/// The names that fsconfig(2) knows for `MS_*` flags of a whole file system.
pub fn superblock_flags(flags: u64) -> impl Iterator<Item = &'static CStr> {
    let pairs = [
        (libc::MS_RDONLY, c"ro"),
        (libc::MS_SYNCHRONOUS, c"sync"),
        (libc::MS_DIRSYNC, c"dirsync"),
        (libc::MS_MANDLOCK, c"mand"),
        (MS_LAZYTIME, c"lazytime"),
        (libc::MS_I_VERSION, c"iversion"),
    ];
    pairs.into_iter().filter(move |(flag, _)| flags & flag != 0).map(|(_, name)| name)
}

/// The `MOUNT_ATTR_*` of per-mount `MS_*` flags; the access time mode is apart.
pub fn mount_attributes(flags: u64) -> u64 {
    let pairs = [
        (libc::MS_RDONLY, ATTR_RDONLY),
        (libc::MS_NOSUID, ATTR_NOSUID),
        (libc::MS_NODEV, ATTR_NODEV),
        (libc::MS_NOEXEC, ATTR_NOEXEC),
        (libc::MS_NODIRATIME, ATTR_NODIRATIME),
        (MS_NOSYMFOLLOW, ATTR_NOSYMFOLLOW),
    ];
    pairs.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, attribute)| attribute).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(OPTIONS.is_sorted_by_key(|(name, _)| *name));
    }

    /// [M8] [M23]
    #[test]
    fn unknown_options_are_data_and_defaults_is_nothing() {
        let options = parse(["defaults", "size=64k", "ro", "mode=755"]);
        assert_eq!(options.data, "size=64k,mode=755");
        assert_eq!(options.flags, libc::MS_RDONLY);
    }

    /// [M9] [M10] [M11] [M12] [M13] [M14] [M15] [M16] [M17] [M18] [M19] [M20] [M21] [M22] [M24]
    #[test]
    fn every_pair_sets_and_clears_one_flag() {
        let pairs = [
            ("sync", "async", libc::MS_SYNCHRONOUS),
            ("noatime", "atime", libc::MS_NOATIME),
            ("nodiratime", "diratime", libc::MS_NODIRATIME),
            ("relatime", "norelatime", libc::MS_RELATIME),
            ("strictatime", "nostrictatime", libc::MS_STRICTATIME),
            ("nodev", "dev", libc::MS_NODEV),
            ("noexec", "exec", libc::MS_NOEXEC),
            ("nosuid", "suid", libc::MS_NOSUID),
            ("ro", "rw", libc::MS_RDONLY),
            ("mand", "nomand", libc::MS_MANDLOCK),
            ("iversion", "noiversion", libc::MS_I_VERSION),
            ("lazytime", "nolazytime", MS_LAZYTIME),
            ("silent", "loud", libc::MS_SILENT),
            ("nosymfollow", "symfollow", MS_NOSYMFOLLOW),
        ];
        for (set, clear, flag) in pairs {
            assert_eq!(parse([set]).flags, flag, "{set}");
            assert_eq!(parse([set, clear]).flags, 0, "{set},{clear}");
            assert_eq!(parse([set, clear]).cleared, flag, "{set},{clear}");
            assert_eq!(parse([clear, set]).flags, flag, "{clear},{set}");
        }
        assert_eq!(parse(["dirsync"]).flags, libc::MS_DIRSYNC);
        assert_eq!(parse(["remount"]).flags, libc::MS_REMOUNT);
        assert_eq!(parse(["rbind"]).flags, libc::MS_BIND | libc::MS_REC);
    }

    /// [M33] [M34] [X11]
    #[test]
    fn id_maps_are_no_data() {
        assert_eq!(parse(["idmap"]).id_map, Some(false));
        let options = parse(["ridmap=uids=0-1-2;gids=0-1-2", "size=1"]);
        assert_eq!((options.id_map, options.data.as_str()), (Some(true), "size=1"));
        assert_eq!(options.id_map_text.as_deref(), Some("uids=0-1-2;gids=0-1-2"));
    }

    /// [M25]
    #[test]
    fn propagation_is_kept_in_order() {
        let options = parse(["slave", "rshared"]);
        assert_eq!(options.propagation, [libc::MS_SLAVE, libc::MS_SHARED | libc::MS_REC]);
    }

    /// [M26] [M27] [M28]
    #[test]
    fn recursive_options_are_attributes() {
        let options = parse(["rro", "rnosuid", "rsuid", "rnoatime", "rnosymfollow"]);
        assert_eq!(options.recursive.set, ATTR_RDONLY | ATTR_NOATIME | ATTR_NOSYMFOLLOW);
        assert_eq!(options.recursive.clear, ATTR_NOSUID | ATTR_ATIME);
        assert_eq!(parse(["rrelatime"]).recursive, Attributes { clear: ATTR_ATIME, ..Attributes::default() });
        assert_eq!(parse(["rnodiratime"]).recursive.set, ATTR_NODIRATIME);
    }

    /// [M29] [M30]
    #[test]
    fn bind_attributes_name_what_was_asked_for_only() {
        let attributes = parse(["bind", "ro", "rw", "nosuid", "relatime"]).attributes();
        assert_eq!(attributes.set, ATTR_NOSUID);
        assert_eq!(attributes.clear, ATTR_RDONLY | ATTR_ATIME);
        assert_eq!(parse(["rbind"]).attributes(), Attributes::default());
    }
}
