//! Scopes and slices made by systemd, asked over D-Bus (org.freedesktop.systemd1(5)). One thread, plain sockets; what
//! takes longer than the time-out is an error that names the call and the unit.

mod address;
mod bus;
#[cfg(test)]
mod tests;
mod value;
mod wire;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

pub use bus::Address;
pub use value::{Property, Value};
pub use wire::first_type;

use super::layout;
use crate::error::{Error, Kind, Result};
use bus::{Bus, Failure};

/// How long systemd has for one answer, and for one job (features.md C6). `$SYSTEMD_BUS_TIMEOUT` says otherwise, as it
/// does for systemd's own programs.
const TIMEOUT: Duration = Duration::from_secs(30);

fn timeout() -> Duration {
    std::env::var("SYSTEMD_BUS_TIMEOUT").ok().and_then(|text| span(&text)).unwrap_or(TIMEOUT)
}

/// A time span of systemd.time(7) of one part: `5`, `1.5s`, `200ms`, `2min`. `None`: another text, or no time at all.
fn span(text: &str) -> Option<Duration> {
    let text = text.trim();
    let unit = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let factor = match unit {
        "" | "s" | "sec" => 1.0,
        "ms" | "msec" => 0.001,
        "us" | "usec" => 0.000_001,
        "m" | "min" => 60.0,
        _ => return None,
    };
    let seconds = number.trim_end().parse::<f64>().ok()? * factor;
    Duration::try_from_secs_f64(seconds).ok().filter(|span| !span.is_zero())
}

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const SCOPE: &str = "org.freedesktop.systemd1.Scope";
const SLICE: &str = "org.freedesktop.systemd1.Slice";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// The systemd that makes the container's unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manager {
    /// A user's, not the system's.
    pub user: bool,
    /// Where it can be asked, in the order of preference.
    pub bus: Vec<Address>,
    /// Its own cgroup, which its units' are in: `/`, `/user.slice/user-1000.slice/user@1000.service`.
    pub cgroup: PathBuf,
}

/// A unit that was made for a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// `runc-ID.scope`
    pub name: String,
    /// Where its systemd can be asked: later verbs may have another environment.
    pub bus: Vec<Address>,
}

/// What [`Unit::start`] came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Started {
    /// It runs. For the log: the properties that this systemd does not know.
    Done(Vec<String>),
    /// A unit of this name is there, and is not ours.
    Exists,
}

/// A call that failed.
#[derive(Debug)]
struct Failed {
    call: &'static str,
    failure: Failure,
}

type Outcome<T> = std::result::Result<T, Failed>;

impl Manager {
    /// The system's systemd, or the caller's own (features.md C7). The environment tells where that one is.
    ///
    /// # Errors
    /// There is none.
    pub fn find(user: bool) -> Result<Self> {
        let running = rustix::fs::lstat("/run/systemd/system");
        if !running.is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir()) {
            let text =
                "systemd cgroup flag passed, but systemd support for managing cgroups is not available";
            return Err(Error::new(Kind::Usage, text).hint("systemd is not the init process of this host"));
        }
        if !user {
            return Ok(Self { user, bus: address::system(), cgroup: "/".into() });
        }
        if !rustix::fs::statfs(layout::ROOT).is_ok_and(|found| layout::is_cgroup2(&found)) {
            let text = "rootless containers with the systemd cgroup driver need cgroup v2";
            return Err(Error::new(Kind::Usage, text));
        }
        let bus = address::user();
        if bus.is_empty() {
            let text = "the user's systemd can't be found: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set";
            return Err(Error::new(Kind::Usage, text));
        }
        let unit = Unit { name: "the user's systemd".into(), bus };
        let cgroup = unit.with_bus(timeout(), |bus| {
            let arguments = vec![MANAGER.into(), "ControlGroup".into()];
            let answer = bus.call(NAME, PATH, PROPERTIES, "Get", arguments);
            let answer = answer.map_err(|failure| Failed { call: "get ControlGroup", failure })?;
            let text = answer.first().and_then(|value| value.inner().as_text());
            text.map(PathBuf::from).ok_or(Failed { call: "get ControlGroup", failure: Failure::Malformed })
        })?;
        Ok(Self { user, bus: unit.bus, cgroup })
    }
}

impl Unit {
    /// Starts the transient unit and waits until it runs. `ours` tells whether a unit that is there is that which an
    /// interrupted first try has made.
    ///
    /// # Errors
    /// systemd can't be reached, refuses, fails, or takes too long. The unit may then still come to be.
    pub fn start(&self, properties: &[Property], ours: impl Fn() -> bool) -> Result<Started> {
        self.start_within(timeout(), properties, ours)
    }

    fn start_within(
        &self,
        timeout: Duration,
        properties: &[Property],
        ours: impl Fn() -> bool,
    ) -> Result<Started> {
        self.with_bus(timeout, |bus| {
            listen(bus)?;
            let mut properties = properties.to_vec();
            let (mut unknown, mut again) = (Vec::new(), true);
            loop {
                match self.start_once(bus, &properties) {
                    Ok(()) => return Ok(Started::Done(unknown)),
                    Err(failed) if failed.is("org.freedesktop.systemd1.UnitExists") => {
                        if ours() {
                            return Ok(Started::Done(unknown));
                        }
                        if !again {
                            return Ok(Started::Exists);
                        }
                        // A failed unit stays until it is reset (features.md C6).
                        again = false;
                        self.reset(bus)?;
                    }
                    Err(failed) => match failed.names(&properties) {
                        Some(at) => unknown.push(properties.remove(at).name),
                        None => return Err(failed),
                    },
                }
            }
        })
    }

    fn start_once(&self, bus: &mut Bus, properties: &[Property]) -> Outcome<()> {
        let list = properties.iter().map(Property::to_value).collect();
        let arguments = vec![
            self.name.as_str().into(),
            "replace".into(),
            Value::Array("(sv)".into(), list),
            Value::Array("(sa(sv))".into(), Vec::new()),
        ];
        job(bus, "StartTransientUnit", arguments).and_then(|result| match result.as_str() {
            "done" => Ok(()),
            _ => Err(Failed::job("StartTransientUnit", result)),
        })
    }

    /// Stops the unit, waits for its end, and takes a failed one away. One that is gone is a success.
    ///
    /// # Errors
    /// systemd can't do it, or takes too long.
    pub fn stop(&self) -> Result<()> {
        self.stop_within(timeout())
    }

    fn stop_within(&self, timeout: Duration) -> Result<()> {
        self.with_bus(timeout, |bus| {
            listen(bus)?;
            match job(bus, "StopUnit", vec![self.name.as_str().into(), "replace".into()]) {
                Ok(result) if matches!(result.as_str(), "done" | "skipped" | "canceled") => self.reset(bus),
                Ok(result) => {
                    self.reset(bus)?;
                    Err(Failed::job("StopUnit", result))
                }
                Err(failed) if failed.is("org.freedesktop.systemd1.NoSuchUnit") => Ok(()),
                Err(failed) => Err(failed),
            }
        })
    }

    /// Whether its systemd is gone, and all its units with it.
    pub fn is_orphan(&self) -> bool {
        let gone = |address: &Address| {
            let failure = Bus::connect(address, timeout()).err();
            matches!(failure, Some(Failure::Gone(Errno::NOENT | Errno::CONNREFUSED)))
        };
        self.bus.iter().all(gone)
    }

    /// What the unit has now for these properties, as [`Self::set`] takes it; those that this systemd does not know are
    /// left out. An empty list stays one: it stands before what replaces a list.
    ///
    /// # Errors
    /// There is no such unit, or systemd can't be reached or takes too long.
    pub fn get(&self, properties: &[Property]) -> Result<Vec<Property>> {
        self.with_bus(timeout(), |bus| {
            let answer = manager(bus, "GetUnit", vec![self.name.as_str().into()])?;
            let failed = |failure| Failed { call: "GetUnit", failure };
            let path = answer.first().and_then(Value::as_text).ok_or_else(|| failed(Failure::Malformed))?;
            let interface = if self.name.ends_with(".slice") { SLICE } else { SCOPE };
            let mut present = Vec::new();
            for property in properties {
                let value = match &property.value {
                    Value::Array(_, elements) if elements.is_empty() => property.value.clone(),
                    _ => {
                        let arguments = vec![interface.into(), property.name.as_str().into()];
                        match bus.call(NAME, path, PROPERTIES, "Get", arguments) {
                            Ok(body) => match body.into_iter().next() {
                                Some(Value::Variant(value)) => *value,
                                _ => return Err(failed(Failure::Malformed)),
                            },
                            Err(Failure::Refused(..)) => continue,
                            Err(failure) => return Err(failed(failure)),
                        }
                    }
                };
                present.push(Property { value, ..property.clone() });
            }
            Ok(present)
        })
    }

    /// Changes properties of the running unit, until it ends, all or none; comes back when systemd has written its
    /// cgroup's files. Gives the names of those that this systemd does not know.
    ///
    /// # Errors
    /// systemd can't be reached, refuses, or takes too long.
    pub fn set(&self, properties: &[Property]) -> Result<Vec<String>> {
        self.set_within(timeout(), properties)
    }

    fn set_within(&self, timeout: Duration, properties: &[Property]) -> Result<Vec<String>> {
        self.with_bus(timeout, |bus| {
            let (mut properties, mut unknown) = (properties.to_vec(), Vec::new());
            while !properties.is_empty() {
                let list = properties.iter().map(Property::to_value).collect();
                let runtime = Value::Bool(true);
                let arguments = vec![self.name.as_str().into(), runtime, Value::Array("(sv)".into(), list)];
                match manager(bus, "SetUnitProperties", arguments) {
                    Ok(_) => break,
                    Err(failed) => match failed.names(&properties) {
                        Some(at) => unknown.push(properties.remove(at).name),
                        None => return Err(failed),
                    },
                }
            }
            // It writes the files after its answer, and before it looks at the next message.
            let answer = bus.call(NAME, PATH, "org.freedesktop.DBus.Peer", "Ping", Vec::new());
            answer.map_err(|failure| Failed { call: "Ping", failure })?;
            Ok(unknown)
        })
    }

    /// systemd has nothing to reset where the unit has not failed.
    fn reset(&self, bus: &mut Bus) -> Outcome<()> {
        match manager(bus, "ResetFailedUnit", vec![self.name.as_str().into()]) {
            Err(Failed { failure: Failure::Refused(..), .. }) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Does something on a connection of its own; once more if that breaks (systemd and its bus may be started anew).
    fn with_bus<T>(&self, timeout: Duration, act: impl Fn(&mut Bus) -> Outcome<T>) -> Result<T> {
        let connect = || self.connect(timeout);
        let first = connect().and_then(|mut bus| act(&mut bus));
        let done = match first {
            Err(Failed { failure: Failure::Gone(_), call }) if call != CONNECT => {
                connect().and_then(|mut bus| act(&mut bus))
            }
            other => other,
        };
        done.map_err(|failed| failed.error(&self.name, timeout))
    }

    fn connect(&self, timeout: Duration) -> Outcome<Bus> {
        let mut failure = Failure::Gone(Errno::NOENT);
        for address in &self.bus {
            match Bus::connect(address, timeout) {
                Ok(bus) => return Ok(bus),
                // The first one is what should be there.
                Err(other) if failure == Failure::Gone(Errno::NOENT) => failure = other,
                Err(_) => {}
            }
        }
        Err(Failed { call: CONNECT, failure })
    }
}

const CONNECT: &str = "connect to the bus";

impl Failed {
    fn job(call: &'static str, result: String) -> Self {
        Self { call, failure: Failure::Refused("job".into(), format!("job ended as {result:?}")) }
    }

    fn is(&self, error: &str) -> bool {
        matches!(&self.failure, Failure::Refused(name, _) if name == error)
    }

    /// The place of the optional property that the refusal speaks of.
    fn names(&self, properties: &[Property]) -> Option<usize> {
        const PROPERTY: [&str; 3] = [
            "org.freedesktop.DBus.Error.PropertyReadOnly",
            "org.freedesktop.DBus.Error.UnknownProperty",
            "org.freedesktop.DBus.Error.InvalidArgs",
        ];
        let Failure::Refused(name, text) = &self.failure else { return None };
        let spoken = |name: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == name);
        let known = PROPERTY.contains(&name.as_str());
        properties.iter().position(|one| known && one.optional && spoken(&one.name))
    }

    fn error(self, unit: &str, timeout: Duration) -> Error {
        let doing = format!("systemd: {} ({unit})", self.call);
        match self.failure {
            Failure::Gone(errno) => Error::system(doing, errno),
            Failure::Late => {
                Error::new(Kind::System, format!("{doing}: no answer within {} s", timeout.as_secs_f32()))
                    .hint("systemd is busy, or its bus is")
            }
            Failure::Refused(name, text) if text.is_empty() => {
                Error::new(Kind::System, format!("{doing}: {name}"))
            }
            Failure::Refused(_, text) => {
                Error::new(Kind::System, format!("{doing}: {}", text.trim_end_matches('.')))
            }
            Failure::Malformed => {
                Error::new(Kind::System, format!("{doing}: the answer can't be understood"))
            }
        }
    }
}

/// Before anything is started, or its end could be missed.
fn listen(bus: &mut Bus) -> Outcome<()> {
    if !bus.is_direct() {
        let rule = format!("type='signal',path='{PATH}',interface='{MANAGER}',member='JobRemoved'");
        let (name, path) = ("org.freedesktop.DBus", "/org/freedesktop/DBus");
        let answer = bus.call(name, path, name, "AddMatch", vec![rule.as_str().into()]);
        answer.map_err(|failure| Failed { call: "AddMatch", failure })?;
    }
    manager(bus, "Subscribe", Vec::new()).map(|_| ())
}

fn manager(bus: &mut Bus, call: &'static str, arguments: Vec<Value>) -> Outcome<Vec<Value>> {
    bus.call(NAME, PATH, MANAGER, call, arguments).map_err(|failure| Failed { call, failure })
}

/// Calls what makes a job, and waits for its result.
fn job(bus: &mut Bus, call: &'static str, arguments: Vec<Value>) -> Outcome<String> {
    let answer = manager(bus, call, arguments)?;
    let failed = |failure| Failed { call, failure };
    let job = answer.first().and_then(Value::as_text).ok_or_else(|| failed(Failure::Malformed))?;
    // JobRemoved(u id, o job, s unit, s result)
    let result = bus.signal(|signal| {
        let text = |at: usize| signal.body.get(at).and_then(Value::as_text);
        let ours = signal.member == "JobRemoved" && signal.interface == MANAGER && text(1) == Some(job);
        ours.then(|| text(3).unwrap_or_default().to_string())
    });
    result.map_err(failed)
}

/// True if the process is in this cgroup.
pub(super) fn holds(directory: &Path, pid: i32) -> bool {
    super::processes::list(directory).is_ok_and(|pids| pids.contains(&pid))
}
