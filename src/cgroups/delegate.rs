//! A cgroup below the container's that the container manages by itself (crun's `run.oci.delegate-cgroup`; X18).

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{CWD, Mode};
use rustix::io::Errno;

use super::steps::CgroupPlan;
use super::{Cgroup, cant_open, create, file, no_cgroup, open_directory, ownership};
use crate::error::{Error, Result};

impl Cgroup {
    /// Makes it, without limits, and moves init there from the container's cgroup, whose controllers it then has.
    /// Nothing if the plan has none.
    ///
    /// # Errors
    /// The container runs without a cgroup; the path of what can't be made, given away or entered.
    pub fn delegate(&self, plan: &CgroupPlan, pid: i32) -> Result<()> {
        let Some(below) = &plan.delegate else { return Ok(()) };
        let base = self.unified().ok_or_else(|| no_cgroup("delegate a cgroup"))?;
        let mut path = base.to_path_buf();
        for name in below {
            path.push(name);
            match rustix::fs::mkdirat(CWD, &path, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => {
                    return Err(Error::system(format_args!("make cgroup {}", path.display()), errno));
                }
            }
            if let Some(uid) = plan.owner {
                let directory = open_directory(&path).map_err(|errno| cant_open(&path, errno))?;
                ownership::give(directory.as_fd(), &path, uid)?;
            }
        }
        let procs = file::join(&path, "cgroup.procs");
        file::write_at(CWD, &procs, pid.to_string().as_bytes())
            .map_err(|errno| Error::system(format_args!("write {pid} to {}", procs.display()), errno))?;
        let controllers = file::read(&file::join(base, "cgroup.controllers"))?;
        let controllers = String::from_utf8_lossy(&controllers).into_owned();
        let names: Vec<&str> = controllers.split_ascii_whitespace().collect();
        let above: Vec<&Path> =
            path.ancestors().skip(1).take_while(|above| above.starts_with(base)).collect();
        for directory in above.into_iter().rev() {
            create::enable(directory, &names);
        }
        Ok(())
    }
}
