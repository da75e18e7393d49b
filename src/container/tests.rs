//! The store on a real file system, with real processes.

use std::path::Path;
use std::process::Command;

use super::testing::{self, Root};
use super::*;
use crate::error::Kind;

fn record(id: &str) -> Record {
    testing::record(id, Phase::default())
}

fn id(text: &str) -> Id {
    Id::parse(text).expect("id")
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).expect("stat").permissions().mode() & 0o7777
}

/// [S36] [S2] Root 0700, directory 0711, files 0600; the configuration's text as given.
#[test]
fn create_makes_a_whole_directory() {
    let root = Root::new("create");
    let store = Store::open(&root.path().join("deep/er"));
    let container = store.create(&id("c1"), record("c1"), Some(b"{ }"), &mut |_| ()).expect("created");
    assert_eq!(mode(&root.path().join("deep/er")), 0o700);
    assert_eq!(mode(container.path()), 0o711);
    assert_eq!(mode(&container.path().join(STATE_FILE)), 0o600);
    assert_eq!(mode(&container.path().join(CONFIG_FILE)), 0o600);
    assert_eq!(std::fs::read(container.path().join(CONFIG_FILE)).expect("read"), b"{ }");
    assert_eq!(container.status().expect("status"), Status::Creating);
    let names: Vec<_> = std::fs::read_dir(root.path().join("deep/er")).expect("list").collect();
    assert_eq!(names.len(), 1, "{names:?}");
    container.remove_dir().expect("removed");
    assert_eq!(store.load(&id("c1"), Lock::None).expect_err("gone").to_string(), "container does not exist");
}

/// [S1] A duplicate does not touch the first container, whatever phase that is in.
#[test]
fn a_duplicate_is_refused() {
    let root = Root::new("duplicate");
    let store = Store::open(root.path());
    for phase in [Phase::Creating, Phase::Created] {
        let first =
            store.create(&id("c1"), Record { phase, ..record("c1") }, None, &mut |_| ()).expect("created");
        if phase == Phase::Created {
            first.unlock().expect("unlocked");
        }
        let before = std::fs::read(first.path().join(STATE_FILE)).expect("read");
        let error = store.create(&id("c1"), record("other"), None, &mut |_| ()).expect_err("duplicate");
        assert_eq!(error.to_string(), "container with given ID already exists");
        assert_eq!(std::fs::read(first.path().join(STATE_FILE)).expect("read"), before);
        assert!(!root.path().join("c1,new").exists());
        first.remove_dir().expect("removed");
    }
}

/// [S37] Of concurrent creates of one ID exactly one wins.
#[test]
fn one_of_many_creates_wins() {
    let root = Root::new("race");
    let store = Store::open(root.path());
    for round in 0..20 {
        let name = format!("c{round}");
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..6)
                .map(|_| scope.spawn(|| store.create(&id(&name), record(&name), None, &mut |_| ())))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        for error in results.into_iter().filter_map(Result::err) {
            assert_eq!(error.to_string(), "container with given ID already exists");
        }
    }
    assert_eq!(store.list().expect("list").count(), 20);
}

/// [S41] A create whose runtime was killed does not occupy the ID, at whatever point it was killed.
#[test]
fn a_dead_create_is_cleaned() {
    let root = Root::new("dead");
    let store = Store::open(root.path());
    let dead = Process { start_time: 1, ..Process::current().expect("self") };
    let killed = store
        .create(&id("c1"), Record { runtime: dead, ..record("c1") }, None, &mut |_| ())
        .expect("created");
    assert_eq!(killed.status().expect("status"), Status::Stopped);
    // Not only dropped: another test's fork may share the descriptor for a moment.
    killed.unlock().expect("unlocked");
    drop(store.create(&id("c1"), record("c1"), None, &mut |_| ()).expect("created again"));

    std::fs::create_dir(root.path().join("c2,new")).expect("killed before its name");
    std::fs::write(root.path().join("c2,new/state.json"), "{").expect("write");
    std::fs::create_dir(root.path().join("c2")).expect("killed in its removal");
    drop(store.create(&id("c2"), record("c2"), None, &mut |_| ()).expect("created"));
    assert!(!root.path().join("c2,new").exists());
}

/// [S41] [S1] An init that has outlived a create that is not done: nobody's once the maker is dead and its lock is gone, and
/// a container as soon as the socket has its name.
#[test]
fn an_abandoned_init_is_cleaned() {
    let root = Root::new("abandoned");
    let store = Store::open(root.path());
    let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
    let dead = Process { start_time: 1, ..Process::current().expect("self") };
    let left = Record { runtime: dead, ..testing::running("c1", &child) };
    let killed = store.create(&id("c1"), left, None, &mut |_| ()).expect("created");
    std::fs::write(killed.path().join(START_SOCKET), "").expect("write");
    assert_eq!(
        store.create(&id("c1"), record("c1"), None, &mut |_| ()).expect_err("a container").kind(),
        Kind::Exists
    );
    std::fs::rename(killed.path().join(START_SOCKET), killed.path().join(EARLY_SOCKET)).expect("rename");
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| store.create(&id("c1"), record("c1"), None, &mut |_| ()));
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!waiter.is_finished(), "its init has the lock");
        assert!(child.try_wait().expect("wait").is_none());
        killed.unlock().expect("unlocked");
        drop(waiter.join().expect("no panic").expect("created again"));
    });
    assert!(!child.wait().expect("reaped").success());

    let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
    let working =
        store.create(&id("c2"), testing::running("c2", &child), None, &mut |_| ()).expect("created");
    std::fs::write(working.path().join(EARLY_SOCKET), "").expect("write");
    assert_eq!(
        store.create(&id("c2"), record("c2"), None, &mut |_| ()).expect_err("at work").kind(),
        Kind::Exists
    );
    assert!(child.try_wait().expect("wait").is_none());
    working.destroy().expect("destroyed");
    child.wait().expect("reaped");
}

/// [S1] An ID that is valid but longer than a file name fails as such and leaves nothing.
#[test]
fn long_ids() {
    let root = Root::new("long");
    let store = Store::open(root.path());
    let longest = id(&"x".repeat(255));
    store.create(&longest, record("x"), None, &mut |_| ()).expect("created").remove_dir().expect("removed");
    let error = store.create(&id(&"x".repeat(256)), record("x"), None, &mut |_| ()).expect_err("too long");
    assert!(error.to_string().ends_with("file name too long"), "{error}");
    assert_eq!(std::fs::read_dir(root.path()).expect("list").count(), 0);
    let error = store.load(&id(&"x".repeat(1000)), Lock::None).expect_err("too long");
    assert_eq!(error.kind(), Kind::NotFound);
}

/// [S6] The status follows the process and the socket; another boot, another start time: stopped.
#[test]
fn status_follows_the_kernel() {
    let root = Root::new("status");
    let store = Store::open(root.path());
    let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
    let pid = i32::try_from(child.id()).expect("pid");
    let mut container = store.create(&id("c1"), record("c1"), None, &mut |_| ()).expect("created");
    container.record.set_init(Process::of(pid).expect("stat"));
    container.record.phase = Phase::Created;
    container.save().expect("saved");
    container.unlock().expect("unlocked");
    let mut loaded = store.load(&id("c1"), Lock::Exclusive).expect("loaded");
    assert_eq!(loaded.record, container.record);
    assert_eq!(loaded.status().expect("status"), Status::Running);
    assert_eq!(loaded.pid(Status::Running), pid);
    assert_eq!(loaded.pid(Status::Stopped), 0);
    assert!(loaded.kill_init(0).expect("asked"));

    loaded.record.boot_id = "another".into();
    assert_eq!(loaded.status().expect("status"), Status::Stopped);
    assert!(!loaded.kill_init(libc::SIGKILL).expect("asked"), "a stranger must not be hit");
    loaded.record.boot_id.clone_from(&container.record.boot_id);
    loaded.record.init_process_start += 1;
    assert!(!loaded.kill_init(libc::SIGKILL).expect("asked"), "a stranger must not be hit");
    assert!(child.try_wait().expect("wait").is_none());

    assert!(container.kill_init(libc::SIGKILL).expect("killed"));
    // A zombie until it is waited for: stopped all the same, once the kernel has ended it.
    let pidfd = rustix::process::pidfd_open(
        rustix::process::Pid::from_raw(pid).expect("pid"),
        rustix::process::PidfdFlags::empty(),
    )
    .expect("pidfd");
    let mut poll = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut poll, None).expect("poll");
    assert_eq!(container.status().expect("status"), Status::Stopped);
    assert!(!container.kill_init(0).expect("asked"));
    child.wait().expect("reaped");
}

/// [S23] Removal takes what is in the directory, sub-directories and links too, and follows no link.
#[test]
fn remove_dir_empties_it() {
    let root = Root::new("remove");
    let store = Store::open(root.path());
    let container = store.create(&id("c1"), record("c1"), Some(b"{}"), &mut |_| ()).expect("created");
    let outside = root.path().join("outside");
    std::fs::create_dir_all(&outside).expect("mkdir");
    std::fs::write(outside.join("kept"), "").expect("write");
    std::fs::create_dir_all(container.path().join("a/b")).expect("mkdir");
    std::fs::write(container.path().join("a/b/f"), "").expect("write");
    std::os::unix::fs::symlink(&outside, container.path().join("link")).expect("symlink");
    let path = container.path().to_owned();
    container.remove_dir().expect("removed");
    assert!(!path.exists());
    assert!(outside.join("kept").exists());
}

/// [S37] Who waited for the lock of a container that goes away learns that it is gone.
#[test]
fn a_waiter_of_a_removed_container_finds_nothing() {
    let root = Root::new("waiter");
    let store = Store::open(root.path());
    let container = store.create(&id("c1"), record("c1"), None, &mut |_| ()).expect("created");
    assert!(store.try_load(&id("c1")).expect("asked").is_none(), "held");
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| store.load(&id("c1"), Lock::Exclusive));
        std::thread::sleep(std::time::Duration::from_millis(20));
        container.remove_dir().expect("removed");
        let error = waiter.join().expect("no panic").expect_err("gone");
        assert_eq!(error.to_string(), "container does not exist");
    });
}

/// [V19] [S22] Broken ones are listed as such; what is no container is not; and they can be removed.
#[test]
fn list_and_remove_broken_ones() {
    let root = Root::new("list");
    let store = Store::open(root.path());
    assert_eq!(store.list().err().expect("no root").kind(), Kind::NotFound);
    drop(store.create(&id("b"), record("b"), None, &mut |_| ()).expect("created"));
    drop(store.create(&id("a"), record("a"), None, &mut |_| ()).expect("created"));
    std::fs::create_dir(root.path().join("broken")).expect("mkdir");
    std::fs::create_dir(root.path().join("x,new")).expect("mkdir");
    std::fs::create_dir(root.path().join("empty")).expect("mkdir");
    std::fs::write(root.path().join("file"), "").expect("write");
    std::fs::write(root.path().join("broken/state.json"), "{\"vers").expect("write");
    let found: Vec<_> =
        store.list().expect("list").map(|entry| (entry.id.to_string(), entry.container.is_ok())).collect();
    let expected = [("a", true), ("b", true), ("broken", false), ("empty", false)];
    assert_eq!(found, expected.map(|(name, good)| (name.to_owned(), good)));

    for (name, removed) in [("broken", true), ("empty", true), ("x", false), ("none", false)] {
        assert_eq!(store.remove_broken(&id(name)).expect("removed"), removed, "{name}");
    }
    assert_eq!(std::fs::read_dir(root.path()).expect("list").count(), 3);
}
