//! Init's file tree: mounts, nodes and links in their order, then what hides and protects them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::super::step::Step;
use super::{Init, Once};
use crate::fault::Fault;
use crate::rootfs::tree::{MountAction, Opens};
use crate::rootfs::{devices::DevDirectory, hidden, mounts, paths, root};

/// Descriptors to be left for init's own work when RLIMIT_NOFILE is too low for all bind mounts.
const SPARE: usize = 16;

impl Init<'_> {
    /// As many as there may be descriptors, less [`SPARE`]; the others are opened when their turn comes, with the
    /// rights that are left then.
    pub(super) fn open_sources(&self) -> Result<Vec<(usize, OwnedFd)>, Fault> {
        let mut sources = Vec::with_capacity(self.plan.rootfs.mounts.len());
        for (index, op) in self.plan.rootfs.mounts.iter().enumerate() {
            let MountAction::Bind { source, recursive, opens, links, .. } = &op.action else { continue };
            if *opens == Opens::InTurn || self.sources.iter().any(|(at, _)| *at == index) {
                continue;
            }
            self.progress.at(Step::Mount, index);
            match mounts::clone_source(source, *recursive, *links) {
                Ok(tree) => sources.push((index, tree)),
                Err(Fault { errno: Errno::MFILE, .. }) => {
                    sources.truncate(sources.len().saturating_sub(SPARE));
                    break;
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(sources)
    }

    /// The rootfs with all mounts, nodes and links.
    pub(super) fn build_tree(&self, once: &mut Once, sources: &[(usize, OwnedFd)]) -> Result<OwnedFd, Fault> {
        let plan = &self.plan.rootfs;
        self.progress.enter(Step::Root);
        let root = root::prepare(plan)?;
        for (index, op) in plan.mounts.iter().enumerate() {
            if op.shows_cgroups() {
                self.wait(once)?;
                self.new_cgroup_namespace(once)?;
            }
            self.progress.at(Step::Mount, index);
            let opened = sources.iter().chain(&self.sources).find(|(at, _)| *at == index);
            let mounted = mounts::carry_out(root.as_fd(), op, opened.map(|(_, tree)| tree.as_fd()))?;
            once.readonly_later.extend(mounted.map(|mounted| (index, mounted)));
        }
        if plan.dev_links {
            self.progress.enter(Step::DevLinks);
            let dev = DevDirectory::open(root.as_fd())?;
            let bind = self.plan.namespaces.confined();
            for (index, node) in plan.devices.iter().enumerate() {
                self.progress.at(Step::Device, index);
                dev.make(root.as_fd(), node, bind)?;
            }
            self.progress.enter(Step::DevLinks);
            dev.link()?;
        }
        Ok(root)
    }

    /// What must wait until everything has been made: the working directory, hidden and read-only parts, the read-only root.
    pub(super) fn close_tree(&self, once: &mut Once, root: BorrowedFd<'_>) -> Result<(), Fault> {
        let plan = &self.plan.rootfs;
        self.progress.enter(Step::WorkingDirectory);
        if !self.plan.process.cwd_inside.is_empty() {
            // Not an error by itself: chdir(2) tells what is wrong with it.
            let _ = paths::open_or_make(root, &self.plan.process.cwd_inside, paths::Missing::Directory);
        }
        self.progress.enter(Step::Masked);
        if !plan.masked.is_empty() {
            let mut masks = hidden::Masks::new(plan.context.as_deref())?;
            for path in &plan.masked {
                self.progress.at(Step::Masked, path.index);
                masks.cover(root, &path.path)?;
            }
        }
        for path in &plan.readonly_paths {
            self.progress.at(Step::Readonly, path.index);
            hidden::make_readonly(root, &path.path)?;
        }
        for (index, mounted) in once.readonly_later.drain(..) {
            self.progress.at(Step::ReadonlyMount, index);
            mounts::make_readonly(mounted.as_fd())?;
        }
        if plan.readonly {
            self.progress.enter(Step::ReadonlyRoot);
            mounts::make_readonly(root)?;
        }
        Ok(())
    }
}
