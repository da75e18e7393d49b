//! `delete ID`: what is left of a container goes: processes, cgroups, directory; then the poststop hooks run.

use std::path::Path;

use crate::container::{Container, Id, Lock, Record, State, Status, Store};
use crate::error::{Error, Kind, Result};
use crate::process::hooks::{self, Outputs, Setting};

/// Deletes a stopped or created container; with `force` one in any state.
///
/// With `force` a container that is not there is no error, and the rest of a broken one is removed. Faults
/// that do not keep the container from being gone are told through `warn`.
///
/// # Errors
/// `container does not exist`, `cannot delete container c1 that is not stopped: running`, `container init
/// still running`, or something cannot be removed: then the record stays and `delete` may be repeated.
pub fn run(root: &Path, id: &str, force: bool, warn: &mut dyn FnMut(&str)) -> Result<i32> {
    let id = Id::parse(id)?;
    let store = Store::open(root);
    let container = match open(&store, &id, force) {
        Ok(container) => container,
        Err(error) => return without_record(&store, &id, force, error, warn),
    };
    if !force {
        allow(&container)?;
    }
    let record = container.record.clone();
    container.destroy()?;
    run_poststop(&record, warn);
    Ok(0)
}

/// Opens the container with its lock.
fn open(store: &Store, id: &Id, force: bool) -> Result<Container> {
    if force {
        if let Some(container) = store.try_load(id)? {
            return Ok(container);
        }
        // Another verb is at work, perhaps stuck with init: it comes to its end when init is gone.
        store.load(id, Lock::None)?.kill_init(libc::SIGKILL)?;
    }
    store.load(id, Lock::Exclusive)
}

/// Whether `delete` without `--force` may take it.
fn allow(container: &Container) -> Result<()> {
    match container.status()? {
        Status::Stopped | Status::Created => Ok(()),
        status => {
            let id = &container.record.id;
            let message = format!("cannot delete container {id} that is not stopped: {status}");
            Err(Error::new(Kind::State, message))
        }
    }
}

/// No record could be read: nothing is there, or what a crash left.
fn without_record(
    store: &Store,
    id: &Id,
    force: bool,
    error: Error,
    warn: &mut dyn FnMut(&str),
) -> Result<i32> {
    match error.kind() {
        // A directory without a record was on its way out: the record goes last.
        Kind::NotFound => {
            store.remove_broken(id)?;
            if force { Ok(0) } else { Err(error) }
        }
        Kind::Config if force => {
            if store.remove_broken(id)? {
                warn(&format!(
                    "removed the directory of {id}, its record was unreadable ({error}): \
                     processes and cgroups of it, if there are any, are not known"
                ));
            }
            Ok(0)
        }
        Kind::Config => Err(error.hint("delete --force removes what is left")),
        _ => Err(error),
    }
}

/// Runs the poststop hooks in order. One that fails is a warning, the others still run (runtime.md,
/// "Lifecycle" step 13).
pub(super) fn run_poststop(record: &Record, warn: &mut dyn FnMut(&str)) {
    if record.hooks.poststop.is_empty() {
        return;
    }
    let state = match State::plain(record, Status::Stopped, 0).to_json() {
        Ok(state) => state,
        Err(error) => return warn(&error.context("poststop hooks").to_string()),
    };
    let outputs = Outputs::of(record).unwrap_or_else(|error| {
        warn(&error.context("poststop hooks").to_string());
        Outputs::default()
    });
    let setting = Setting::runtime(&state, &record.bundle).writing_to(&outputs);
    for (index, hook) in record.hooks.poststop.iter().enumerate() {
        if let Err(error) = hooks::run(hook, &setting) {
            warn(&error.context(format_args!("error running poststop hook #{index}")).to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::testing::{Root, record, running, sh};
    use crate::container::{Phase, Process};
    use std::process::Command;

    fn delete(root: &Root, force: bool) -> (Result<i32>, Vec<String>) {
        let mut warned = Vec::new();
        let result = run(root.path(), "c1", force, &mut |text| warned.push(text.to_owned()));
        (result, warned)
    }

    fn make(root: &Root, record: Record) {
        let id = Id::parse(&record.id).expect("id");
        let container = Store::open(root.path()).create(&id, record, None, &mut |_| ()).expect("created");
        container.unlock().expect("unlocked");
    }

    fn is_empty(root: &Root) -> bool {
        std::fs::read_dir(root.path()).expect("list").next().is_none()
    }

    /// [S22] [S23] A missing one: an error without --force, silence with it.
    #[test]
    fn missing() {
        let root = Root::new("delete-missing");
        let (result, warned) = delete(&root, false);
        assert_eq!(result.expect_err("missing").to_string(), "container does not exist");
        assert!(warned.is_empty());
        let (result, warned) = delete(&root, true);
        assert_eq!(result.expect("silent"), 0);
        assert!(warned.is_empty());
        let error = run(root.path(), "../x", true, &mut |_| ()).expect_err("bad ID");
        assert!(error.to_string().starts_with("invalid container ID format"));
    }

    /// [S22] [S23] What is left of a broken one goes; an unreadable record only with --force, and is told.
    #[test]
    fn broken() {
        let root = Root::new("delete-broken");
        let dir = root.path().join("c1");
        std::fs::create_dir_all(&dir).expect("mkdir");
        let (result, warned) = delete(&root, false);
        assert_eq!(result.expect_err("missing").to_string(), "container does not exist");
        assert!(warned.is_empty() && is_empty(&root));

        for text in ["", "{\"version\":1"] {
            std::fs::create_dir(&dir).expect("mkdir");
            std::fs::write(dir.join("state.json"), text).expect("write");
            let error = delete(&root, false).0.expect_err("unreadable").to_string();
            assert!(error.starts_with("state.json: "), "{error}");
            let (result, warned) = delete(&root, true);
            assert_eq!(result.expect("removed"), 0);
            assert_eq!(warned.len(), 1);
            assert!(is_empty(&root));
        }

        // Killed before the directory had its name.
        std::fs::create_dir(root.path().join("c1,new")).expect("mkdir");
        let (result, warned) = delete(&root, true);
        assert_eq!((result.expect("silent"), warned.len()), (0, 0));
        assert!(is_empty(&root));
    }

    /// [S21] [S23] A running one is refused with its status, and killed with --force.
    #[test]
    fn running_and_force() {
        let root = Root::new("delete-running");
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
        make(&root, running("c1", &child));
        let error = delete(&root, false).0.expect_err("running");
        assert_eq!(error.to_string(), "cannot delete container c1 that is not stopped: running");
        assert!(child.try_wait().expect("wait").is_none());
        let (result, warned) = delete(&root, true);
        assert_eq!((result.expect("deleted"), warned.len()), (0, 0));
        assert!(!child.wait().expect("wait").success());
        assert!(is_empty(&root));
    }

    /// [S23] A verb that holds the lock until init dies does not keep `delete --force` away.
    #[test]
    fn force_frees_a_stuck_verb() {
        let root = Root::new("delete-stuck");
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
        make(&root, running("c1", &child));
        let id = Id::parse("c1").expect("id");
        let holder = Store::open(root.path()).load(&id, Lock::Exclusive).expect("locked");
        std::thread::scope(|scope| {
            let delete = scope.spawn(|| delete(&root, true).0);
            child.wait().expect("killed");
            drop(holder);
            assert_eq!(delete.join().expect("no panic").expect("deleted"), 0);
        });
        assert!(is_empty(&root));
    }

    /// [S21] One that is being created is not deleted under its creator, a dead create's rest is.
    #[test]
    fn creating() {
        let root = Root::new("delete-creating");
        let creating = record("c1", Phase::Creating);
        make(&root, creating.clone());
        let error = delete(&root, false).0.expect_err("creating");
        assert_eq!(error.to_string(), "cannot delete container c1 that is not stopped: creating");
        delete(&root, true).0.expect("deleted");
        let dead = Process { start_time: 1, ..creating.runtime };
        make(&root, Record { runtime: dead, ..creating });
        delete(&root, false).0.expect("deleted");
        assert!(is_empty(&root));
    }

    /// [H7] [H8] [H13] [H17] Poststop hooks run when all is gone, with the state on stdin; one that fails is
    /// a warning and the next one runs.
    #[test]
    fn poststop_hooks() {
        let root = Root::new("delete-hooks");
        let out = std::env::temp_dir().join(format!("davit-poststop-{}", std::process::id()));
        let mut record = record("c1", Phase::Created);
        let gone = root.path().join("c1");
        let script = format!("test ! -e {} && cat > {}", gone.display(), out.display());
        record.hooks.poststop = vec![sh("echo no >&2; exit 7"), sh(&script)];
        make(&root, record);
        let (result, warned) = delete(&root, false);
        assert_eq!(result.expect("deleted"), 0);
        assert_eq!(warned, ["error running poststop hook #0: exit status 7, stdout: , stderr: no"]);
        let state = std::fs::read_to_string(&out).expect("the second ran");
        std::fs::remove_file(&out).expect("removed");
        assert_eq!(state, r#"{"ociVersion":"1.2.0","id":"c1","pid":0,"status":"stopped","bundle":"/b"}"#);
    }
}
