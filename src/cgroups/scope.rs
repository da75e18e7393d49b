//! Cgroups that systemd makes: the unit is started with init in it, then filled as other cgroups are.

use super::create::{self, Making};
use super::steps::{CgroupPlan, ScopePlan};
use super::systemd::{self, Property, Started, Unit, Value};
use super::{Cgroup, Driver, Record};
use crate::error::{Error, Kind, Result};

impl Cgroup {
    /// What can be seen before init is there: a cgroup of this name that is in use is somebody else's.
    pub(super) fn before_scope(plan: &CgroupPlan) -> Result<Self> {
        for directory in plan.directories.iter().filter(|directory| directory.path.exists()) {
            create::refuse_used(&directory.path, &directory.controllers)?;
        }
        Ok(Self { record: plan.record(), ..Self::default() })
    }

    /// Makes the cgroups of the systemd driver and puts init into them, since a scope must have a process: the limits and
    /// device rules follow, and then init may go on. Nothing to do with other drivers: init is there or enters by itself.
    ///
    /// # Errors
    /// As [`Self::create`] and [`Self::attach`]. What was made is in the record, for [`Self::remove`].
    pub fn enter(&mut self, plan: &CgroupPlan, pid: i32) -> Result<()> {
        let Some(scope) = &plan.scope else { return Ok(()) };
        if let Err(error) = self.start(scope, pid) {
            if error.kind() == Kind::State {
                // Somebody else's: nothing of it is to be removed.
                self.record = Record::default();
            }
            return Err(error);
        }
        let record =
            Record { driver: Driver::Systemd, unit: self.record.unit.clone(), directories: Vec::new() };
        let mut making = Making {
            cgroup: Self { record, ..Self::default() },
            started: true,
            first_in: scope.subgroup.as_ref().map(|_| pid),
            ..Making::new(plan)
        };
        // If this fails, the record that was made of the plan names all that may be there.
        making.run()?;
        self.record = making.cgroup.record;
        self.fd = making.cgroup.fd;
        if self.is_v2() && !scope.is_slice { Ok(()) } else { self.attach(pid) }
    }

    fn start(&mut self, scope: &ScopePlan, pid: i32) -> Result<()> {
        let mut properties = scope.properties.clone();
        if !scope.is_slice {
            let number =
                u32::try_from(pid).map_err(|_| Error::new(Kind::System, format!("{pid} is no pid")))?;
            properties.push(Property::new("PIDs", Value::Array("u".into(), vec![Value::U32(number)])));
        }
        let levels = scope.subgroup.as_ref().map_or(0, |path| path.components().count());
        let main =
            self.main().and_then(|main| main.ancestors().nth(levels)).map(std::path::Path::to_path_buf);
        let ours = || main.as_deref().is_some_and(|directory| systemd::holds(directory, pid));
        match scope.unit.start(&properties, ours)? {
            Started::Done(unknown) => {
                self.warnings.extend(unknown.into_iter().map(|name| unknown_property(&scope.unit, &name)));
                Ok(())
            }
            // A slice may be there for others, too.
            Started::Exists if scope.is_slice => Ok(()),
            Started::Exists => {
                let text = format!("systemd: unit {} already exists", scope.unit.name);
                Err(Error::new(Kind::State, text).hint(format!("see systemctl status {}", scope.unit.name)))
            }
        }
    }

    /// What is to be logged once the container is there.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Ends the unit, if there is one. One that ended with its systemd is a success.
    pub(super) fn stop_unit(&self) -> Result<()> {
        let Some(unit) = &self.record.unit else { return Ok(()) };
        unit.stop().or_else(|error| if unit.is_orphan() { Ok(()) } else { Err(error) })
    }
}

pub(super) fn unknown_property(unit: &Unit, name: &str) -> String {
    format!(
        "{}: this systemd does not take the property {name}; only the cgroup's file is written",
        unit.name
    )
}
