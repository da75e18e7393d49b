//! `mounts add`, `mounts remove`: mounts of a container that runs (features.md X7).

use std::io::Read;
use std::path::Path;

use oci_spec::runtime::Mount;

use crate::cli::MountsArgs;
use crate::container::{CONFIG_FILE, Container, Id, Lock, Status, Store, not_running};
use crate::error::{Context, Error, Kind, Result};
use crate::log::Log;
use crate::plan::hotplug;
use crate::process;
use crate::rootfs::paths::normalize;
use crate::spec::load;

/// Mounts all that the file says in the container.
///
/// # Errors
/// It does not run; a fault in the file; a mount that fails, and then none of them is left.
pub fn add(root: &Path, args: &MountsArgs, log: &Log) -> Result<i32> {
    let mounts = read(&args.file)?;
    let container = open(root, &args.id)?;
    let mut spec = load::load(container.path(), Path::new(CONFIG_FILE))?.spec;
    spec.set_mounts(Some(mounts));
    let plan = hotplug::plan(&spec, &container.record.bundle, crate::rootfs::label::enabled)
        .map_err(|error| in_file(error, &args.file))?;
    plan.warnings.iter().for_each(|warning| log.warn(warning));
    process::hotplug::add(&container, &plan)?;
    Ok(0)
}

/// Takes the mounts at the destinations of the file away.
///
/// # Errors
/// It does not run; nothing is mounted there.
pub fn remove(root: &Path, args: &MountsArgs) -> Result<i32> {
    let mounts = read(&args.file)?;
    let container = open(root, &args.id)?;
    let target = |(index, mount): (usize, &Mount)| {
        let target = normalize(mount.destination());
        if target.is_empty() {
            let error = Error::config(&format!("mounts[{index}].destination"), "must not be the root itself");
            return Err(in_file(error, &args.file));
        }
        crate::plan::cstring(target)
    };
    let targets = mounts.iter().enumerate().map(target).collect::<Result<Vec<_>>>()?;
    process::hotplug::remove(&container, &targets)?;
    Ok(0)
}

fn open(root: &Path, id: &str) -> Result<Container> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::new(Kind::Usage, "mounts of a running container take root"));
    }
    let container = Store::open(root).load(&Id::parse(id)?, Lock::Exclusive)?;
    match container.status()? {
        Status::Created | Status::Running | Status::Paused => Ok(container),
        Status::Creating | Status::Stopped => Err(not_running()),
    }
}

fn read(file: &Path) -> Result<Vec<Mount>> {
    let mut raw = Vec::new();
    let read = match file.to_str() {
        Some("-") => std::io::stdin().lock().read_to_end(&mut raw),
        _ => std::fs::File::open(file).and_then(|mut opened| opened.read_to_end(&mut raw)),
    };
    read.with_context(|| format!("read {}", file.display()))?;
    load::mounts(&raw).map_err(|error| in_file(error, file))
}

fn in_file(error: Error, file: &Path) -> Error {
    error.context(if file == Path::new("-") { "stdin".into() } else { file.display().to_string() })
}
