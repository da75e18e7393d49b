//! What the tests look at and keep clean on the host: children, processes, mounts.

use rustix::process::{Pid, WaitOptions, set_child_subreaper, waitpid};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, Once};
use std::time::{Duration, Instant};

/// Children that a test waits for itself. All others came as orphans and are reaped by [`reap`].
static OWN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn own() -> MutexGuard<'static, BTreeSet<i32>> {
    OWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A number that no other call in this process got.
pub fn unique() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Makes this process the one that orphans come to, as containerd's shim and conmon are.
pub fn become_subreaper() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| set_child_subreaper(Some(rustix::process::getpid())).unwrap());
}

/// Starts a child that [`wait`] is called for later.
pub fn spawn(command: &mut Command) -> std::io::Result<Child> {
    let mut own = own();
    let child = command.spawn()?;
    own.insert(i32::try_from(child.id()).unwrap());
    Ok(child)
}

/// Writes a file that may be executed, by `write`. No child starts meanwhile: it would have the file open for writing, too,
/// until its own execve, and so long nobody could execute it (execve(2), ETXTBSY).
pub fn make_program<T>(write: impl FnOnce() -> T) -> T {
    let _no_child_starts = own();
    write()
}

/// A copy of a program, which takes long in a virtual machine: by another process, so that others' children may start and
/// be reaped meanwhile.
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let mut cp = spawn(Command::new("cp").args([from.as_ref(), to.as_ref()])).expect("cp");
    assert!(wait(&mut cp).success(), "cp {}", from.as_ref().display());
}

/// Waits for a child of [`spawn`].
pub fn wait(child: &mut Child) -> ExitStatus {
    let status = child.wait().unwrap();
    own().remove(&i32::try_from(child.id()).unwrap());
    status
}

/// A child of [`spawn`] that was waited for by other means.
pub fn forget(pid: i32) {
    own().remove(&pid);
}

/// Reaps the orphans that have ended. The kernel gives orphans to the first thread; what another thread has is the
/// child of a test, which waits for it by itself.
pub fn reap() {
    let own = own();
    let path = format!("/proc/self/task/{}/children", std::process::id());
    let children = std::fs::read_to_string(path).unwrap_or_default();
    for pid in children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()) {
        if !own.contains(&pid) && process_state(pid) == Some('Z') {
            let _ = waitpid(Pid::from_raw(pid), WaitOptions::NOHANG);
        }
    }
}

/// The names in a directory; none if it is not there.
pub fn list(dir: impl AsRef<Path>) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Field `number` (counted from 1, as in proc(5)) of `/proc/PID/stat`, from the third on.
pub fn stat_field(pid: i32, number: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split_whitespace().nth(number - 3).map(str::to_string)
}

/// The state letter of a process.
pub fn process_state(pid: i32) -> Option<char> {
    stat_field(pid, 3)?.chars().next()
}

/// True while the process exists and is not a zombie.
pub fn alive(pid: i32) -> bool {
    process_state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// SIGKILL to one process; 0 and below would be a whole group, this one among them.
#[track_caller]
pub fn kill(pid: i32) {
    assert!(pid > 1, "pid {pid}");
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
}

/// A line `NAME:\tVALUE` of `/proc/PID/status`.
pub fn status_line(pid: i32, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    field(&text, name)
}

/// The value of the line `NAME:\tVALUE` in a text like `/proc/PID/status`.
#[track_caller]
pub fn field(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in:\n{text}")).trim().to_string()
}

/// True when this process has the capability of that number.
pub fn capable(capability: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    capabilities(&status, "CapEff") & (1 << capability) != 0
}

/// The bits of `CapEff` or another set in a text like `/proc/PID/status`.
#[track_caller]
pub fn capabilities(status: &str, set: &str) -> u64 {
    u64::from_str_radix(&field(status, set), 16).unwrap()
}

/// The processes that are in the cgroup or that were started with a path in the directory, zombies too.
pub fn processes(cgroup: &str, dir: &Path) -> Vec<String> {
    let dir = dir.to_string_lossy();
    let mut found = vec![];
    for pid in list("/proc").iter().filter_map(|name| name.parse::<u32>().ok()) {
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let in_group = groups.lines().any(|line| {
            line.split_once(cgroup).is_some_and(|(_, rest)| {
                rest.is_empty() || rest.starts_with('/') || rest.starts_with(" (deleted)")
            })
        });
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if in_group || String::from_utf8_lossy(&command).contains(&*dir) {
            let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            found.push(format!("{pid} ({})", comm.trim()));
        }
    }
    found
}

/// The kernel's version.
pub fn linux() -> (u32, u32) {
    let name = rustix::system::uname();
    let mut numbers = name.release().to_str().unwrap().split('.').map_while(|part| part.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// The lines of the host's mountinfo that name a path in the directory.
pub fn mounts(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let dir = dir.to_string_lossy();
    text.lines().filter(|line| line.contains(&*dir)).map(str::to_string).collect()
}

/// Polls until the condition holds, reaping orphans meanwhile; false after the time.
pub fn until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        reap();
        if condition() {
            return true;
        }
        if start.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// As [`until`], with 20 seconds, after which the test fails.
#[track_caller]
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    assert!(until(Duration::from_secs(20), condition), "not within 20 s: {what}");
}
