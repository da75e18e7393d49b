//! Who the container's process is: ids, capabilities, limits, labels.

pub mod apply;

use rustix::process::Resource;

/// One resource limit, by its index in the spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// Which.
    pub resource: Resource,
    /// Soft limit; `u64::MAX` is none.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is none.
    pub hard: u64,
}

impl Rlimit {
    /// Whether mappings that are only reserved count against it (getrlimit(2)).
    #[must_use]
    pub fn counts_address_space(&self) -> bool {
        matches!(self.resource, Resource::As | Resource::Data)
    }
}

/// The five sets of capabilities(7), bit N for capability N.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySets {
    /// What no program can ever gain beyond.
    pub bounding: u64,
    /// In force.
    pub effective: u64,
    /// May be put in force.
    pub permitted: u64,
    /// Kept across execve of files with inheritable capabilities.
    pub inheritable: u64,
    /// Kept across execve by a user other than root.
    pub ambient: u64,
}

impl CapabilitySets {
    /// Adds capabilities (V38): to the ambient set only what is inheritable already, to the inheritable set nothing (R14).
    pub fn add(&mut self, capabilities: u64) {
        self.bounding |= capabilities;
        self.effective |= capabilities;
        self.permitted |= capabilities;
        self.ambient |= capabilities & self.inheritable;
    }
}
