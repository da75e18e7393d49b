//! (in work)
pub mod cgroup;
pub mod cgroup_v1;
pub mod cgroup_v2;
pub mod resources;
