//! A directory, a name and a cgroup that belong to one test, and a daemon in it; gone without a trace at the end.

use crate::support::run::Running;
use crate::support::{Cmd, cgroup, host, runtime};
use rustix::process::Signal;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where everything of one test lies.
pub struct Place {
    pub dir: PathBuf,
    /// Unique on this machine; the name of the cgroup, too.
    pub name: String,
}

impl Place {
    pub fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "the tests of callers need root");
        host::become_subreaper();
        let name = format!("davit-caller-{}-{:05}", std::process::id(), host::unique());
        let dir = std::env::temp_dir().join(&name);
        std::fs::create_dir(&dir).unwrap();
        Self { dir: dir.canonicalize().unwrap(), name }
    }

    /// A path in the directory, as text.
    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }

    /// Writes a file in the directory, with its parents; its path.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        self.path(name)
    }

    /// A command that runs here (conmon writes a file `oom` where it is), and whose output files lie here.
    pub fn cmd(&self, args: &[&str]) -> Cmd {
        Cmd::new(&self.dir, args).cwd(&self.dir).patience(120)
    }

    /// Puts the runtime under test under this name into a directory of [`Place::search_path`], as contrib's files name it.
    pub fn link_runtime(&self, name: &str) {
        let bin = self.dir.join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        symlink(runtime(), bin.join(name)).unwrap();
    }

    /// The `PATH` of callers: the place's own directory of programs first.
    pub fn search_path(&self) -> String {
        format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.path("bin"))
    }

    /// The cgroup that the callers are told to put containers in.
    pub fn cgroup(&self) -> String {
        format!("/{}", self.name)
    }

    fn leftovers(&self) -> Vec<String> {
        let cgroup = self.cgroup();
        let mut left: Vec<String> =
            host::processes(&cgroup, &self.dir).iter().map(|p| format!("process {p}")).collect();
        // Docker keeps two mounts of its own, whatever the runtime: the host's network namespace once `--network host` was
        // used, and its directory with `--live-restore`. Podman's storage is a mount of its own from its latest use on, and
        // that may be conmon's clean-up.
        let known =
            ["exec/netns/default", "data", "storage/overlay"].map(|name| format!(" {} ", self.path(name)));
        let mounts = host::mounts(&self.dir);
        let mounts = mounts.iter().filter(|line| !known.iter().any(|known| line.contains(known)));
        left.extend(mounts.map(|line| format!("mount {line}")));
        for dir in cgroup::dirs(&cgroup) {
            left.extend(below(&dir).iter().map(|dir| format!("cgroup {}", dir.display())));
        }
        left
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut left = vec![];
        host::until(Duration::from_secs(5), || {
            left = self.leftovers();
            left.is_empty()
        });
        cgroup::destroy(&self.cgroup());
        for line in host::mounts(&self.dir).iter().rev() {
            if let Some(at) = line.split(' ').nth(4) {
                let _ = rustix::mount::unmount(at, rustix::mount::UnmountFlags::DETACH);
            }
        }
        let _ = std::fs::remove_dir_all(&self.dir);
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left behind: {left:#?}");
        }
    }
}

/// A daemon in the foreground of a test; ended with SIGTERM.
pub struct Daemon {
    running: Option<Running>,
    log: PathBuf,
}

impl Daemon {
    /// Starts it by way of a shell that sends its output to `PLACE/NAME.log`, and waits for its socket.
    pub fn start(place: &Place, name: &str, command: Cmd, socket: &str) -> Self {
        let log = place.dir.join(format!("{name}.log"));
        let script = format!("exec \"$@\" >>{} 2>&1", log.display());
        let daemon = Self { running: Some(command.shell(&script).spawn()), log };
        let up = host::until(Duration::from_secs(30), || UnixStream::connect(socket).is_ok());
        assert!(up, "{name} does not listen on {socket}:\n{}", daemon.log());
        daemon
    }

    /// The end of what it said.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    /// Kills it with this signal and waits for its end.
    pub fn end(&mut self, signal: Signal) {
        if let Some(running) = self.running.take() {
            running.kill(signal);
            let (output, ended) = running.wait_or_kill();
            assert!(ended || std::thread::panicking(), "the daemon does not end: {output}\n{}", self.log());
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the daemon's log ends:\n{}", self.log());
        }
        self.end(Signal::TERM);
    }
}

/// The cgroups below this one but two parents that are left whatever the runtime: `conmon`, which Podman 4.3 makes in the
/// cgroup that it is given, and `buildkit`.
fn below(dir: &Path) -> Vec<PathBuf> {
    let children = host::list(dir).into_iter().map(|name| dir.join(name)).filter(|path| path.is_dir());
    let of = |child: PathBuf| {
        let known = child.ends_with("conmon") || child.ends_with("buildkit");
        if known { below(&child) } else { vec![child] }
    };
    children.flat_map(of).collect()
}

/// Whether a program is installed, `/usr/sbin` and `/sbin` included.
pub fn installed(program: &str) -> bool {
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].iter().any(|dir| PathBuf::from(dir).join(program).exists())
}
