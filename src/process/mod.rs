//! Starting processes in containers: the parent (`launch`), the child (`init`), and what is between them.

pub mod agent;
pub mod channel;
pub mod describe;
pub mod exec;
mod go_between;
pub mod hooks;
pub mod hotplug;
mod id_maps;
pub mod init;
pub mod interrupt;
mod join;
pub mod labels;
pub mod launch;
mod listener;
pub mod notify;
pub mod own_binary;
pub mod pidfd_socket;
pub mod program;
pub mod recorder;
pub mod sources;
pub mod start;
pub mod step;
pub mod terminal;
pub mod unix_socket;
pub mod wait;
