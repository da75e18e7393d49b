//! One container under test: its temporary directory, bundle and state root; gone without a trace at the end.

use super::config::Config;
use super::run::{Cmd, Output, Running};
use super::{cgroup, host, runtime};
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use std::fs::File;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

const APPLETS: &[&str] = &[
    "sh",
    "cat",
    "ls",
    "id",
    "grep",
    "sleep",
    "true",
    "false",
    "echo",
    "mkdir",
    "mknod",
    "mount",
    "umount",
    "touch",
    "stat",
    "readlink",
    "hostname",
    "env",
    "pwd",
    "chmod",
    "chown",
    "head",
    "tail",
    "sed",
    "awk",
    "cut",
    "wc",
    "sort",
    "tr",
    "test",
    "kill",
    "ps",
    "ip",
    "ulimit",
    "dd",
    "rm",
    "rmdir",
    "cp",
    "mv",
    "ln",
    "sync",
    "seq",
    "tty",
    "date",
    "sysctl",
    "df",
    "xargs",
    "find",
    "od",
    "uname",
    "yes",
    "timeout",
    "nohup",
    "setsid",
    "expr",
    "printf",
    "basename",
    "dirname",
    "dnsdomainname",
    "nproc",
    "taskset",
    "usleep",
    "mountpoint",
    "getopt",
    "chroot",
    "unshare",
    "ipcs",
];

/// A container under test.
pub struct Test {
    /// The temporary directory that holds all the rest.
    pub dir: PathBuf,
    /// Its bundle.
    pub bundle: PathBuf,
    /// The bundle's root file system, with busybox in `/bin`.
    pub rootfs: PathBuf,
    /// The runtime's state root.
    pub root: PathBuf,
    /// The container's id.
    pub id: String,
    /// Its cgroupsPath.
    pub cgroup: String,
    /// What `create` and `run` write to config.json.
    pub config: Config,
    /// Where `create` is told to write the pid.
    pub pid_file: PathBuf,
    owner: bool,
    lock: File,
}

impl Test {
    /// With the configuration that `runc spec` writes.
    pub fn new() -> Self {
        Self::with(Config::plain())
    }

    /// With Docker's configuration.
    pub fn docker() -> Self {
        Self::with(Config::docker())
    }

    /// With a configuration of one's own.
    pub fn with(config: Config) -> Self {
        assert!(rustix::process::geteuid().is_root(), "the integration tests need root");
        host::become_subreaper();
        let lock = File::create(std::env::temp_dir().join("davit-test.lock")).unwrap();
        flock(&lock, FlockOperation::LockShared).unwrap();
        // The letter at its end, so that no test's name is the beginning of another's.
        let name = format!("{}-{}x", std::process::id(), host::unique());
        let dir = std::env::temp_dir().join(format!("davit-test-{name}"));
        std::fs::create_dir(&dir).unwrap();
        let dir = dir.canonicalize().unwrap();
        let bundle = dir.join("bundle");
        let mut test = Self {
            rootfs: bundle.join("rootfs"),
            root: dir.join("state"),
            pid_file: dir.join("pid"),
            id: format!("t{name}"),
            cgroup: format!("/davit-test/{name}"),
            owner: true,
            bundle,
            dir,
            config,
            lock,
        };
        std::fs::create_dir(&test.bundle).unwrap();
        make_rootfs(&test.rootfs);
        test.config.set("linux.cgroupsPath", test.cgroup.clone());
        test
    }

    /// A second container with a bundle of its own under the same state root.
    pub fn sibling(&self) -> Self {
        let mut test = Self::with(self.config.clone());
        test.root.clone_from(&self.root);
        test
    }

    /// Another bundle for the same id under the same root; it owns no container.
    pub fn rival(&self) -> Self {
        let mut test = self.sibling();
        test.id.clone_from(&self.id);
        test.owner = false;
        test
    }

    /// The container's program is this shell script.
    pub fn sh(&mut self, script: &str) -> &mut Self {
        self.args(&["/bin/sh", "-c", script])
    }

    /// The container's program.
    pub fn args(&mut self, args: &[&str]) -> &mut Self {
        self.config.set("process.args", json!(args));
        self
    }

    /// A path in the temporary directory, as text.
    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }

    /// Writes a file in the root file system, with its parents.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.rootfs.join(name.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        host::make_program(|| std::fs::write(&path, content)).unwrap();
        path
    }

    /// Puts the one-call probe at `/probe`; false where it can't be built.
    pub fn probe(&self) -> bool {
        super::probe::write(&self.rootfs.join("probe"))
    }

    /// Lets every user into the directory: a container in a user namespace must reach its root.
    pub fn open_to_all(&self) {
        std::fs::set_permissions(&self.dir, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// [`Config::user_namespace`], for a container that starts.
    pub fn user_namespace(&mut self) {
        self.open_to_all();
        self.config.user_namespace();
    }

    /// Writes config.json.
    pub fn write(&self) {
        let text = serde_json::to_string_pretty(&self.config.0).unwrap();
        std::fs::write(self.bundle.join("config.json"), text).unwrap();
    }

    /// The runtime with `--root` and these arguments.
    pub fn cmd(&self, args: &[&str]) -> Cmd {
        let front = [runtime().into_os_string(), "--root".into(), self.root.clone().into()];
        Cmd::new(&self.dir, front).args(args)
    }

    /// Runs the runtime with `--root` and these arguments.
    pub fn rt(&self, args: &[&str]) -> Output {
        self.cmd(args).output()
    }

    /// `VERB [options] ID`, with no bundle.
    pub fn verb(&self, args: &[&str]) -> Output {
        self.cmd(args).args([&self.id]).output()
    }

    /// `VERB --bundle B [options] ID`, after writing config.json.
    pub fn bundle_cmd(&self, verb: &str, options: &[&str]) -> Cmd {
        self.write();
        let bundle = self.bundle.to_str().unwrap();
        self.cmd(&[verb, "--bundle", bundle]).args(options).args([&self.id])
    }

    /// `create` with a pid file.
    pub fn create(&self) -> Output {
        self.bundle_cmd("create", &["--pid-file", self.pid_file.to_str().unwrap()]).output()
    }

    /// `run` in the foreground.
    pub fn run(&self) -> Output {
        self.bundle_cmd("run", &[]).output()
    }

    /// `run --detach` that must succeed.
    #[track_caller]
    pub fn detach(&self) {
        self.bundle_cmd("run", &["--detach", "--pid-file", self.pid_file.to_str().unwrap()]).output().ok();
    }

    /// The control of a test whose attack may well be refused: a plain container does start.
    #[track_caller]
    pub fn control() {
        assert_eq!(Self::new().out("echo up"), "up");
    }

    /// Runs a shell script as the container; its stdout.
    #[track_caller]
    pub fn out(&mut self, script: &str) -> String {
        self.sh(script);
        self.run().ok()
    }

    /// Runs a shell script as the container in the foreground, without waiting.
    pub fn start_run(&mut self, script: &str) -> Running {
        self.sh(script);
        self.bundle_cmd("run", &[]).spawn()
    }

    /// A detached container that sleeps, for others to join.
    #[track_caller]
    pub fn sleeper(&mut self) -> &mut Self {
        self.sh("exec sleep 1000").detach();
        self
    }

    /// `exec [options] ID COMMAND...`, not started yet.
    pub fn exec_cmd(&self, options: &[&str], command: &[&str]) -> Cmd {
        self.cmd(&["exec"]).args(options).args([&self.id]).args(command)
    }

    /// Runs a shell script in the container by `exec`.
    pub fn exec(&self, options: &[&str], script: &str) -> Output {
        self.exec_cmd(options, &["/bin/sh", "-c", script]).output()
    }

    /// `exec --process FILE` with this object in the file.
    pub fn exec_process(&self, options: &[&str], process: &Value) -> Output {
        let file = self.path("process.json");
        std::fs::write(&file, process.to_string()).unwrap();
        self.exec_cmd(&[&["--process", &file], options].concat(), &[]).output()
    }

    /// What `state` says.
    #[track_caller]
    pub fn state(&self) -> Value {
        let text = self.verb(&["state"]).ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("state: {error}: {text}"))
    }

    /// The status in `state`.
    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_string()
    }

    /// The init's pid by `state`.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.state()["pid"].as_i64().unwrap()).unwrap()
    }

    /// Waits until a `run` has become the container's program; its status is `running` a moment before.
    #[track_caller]
    pub fn wait_program(&self) {
        host::wait_until("the container's program", || {
            let comm = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            self.verb(&["state"]).code == 0 && !matches!(&*comm(self.pid()), "" | "davit:[init]\n")
        });
    }

    /// Waits until `state` says so.
    #[track_caller]
    pub fn wait_status(&self, status: &str) {
        host::wait_until(&format!("status {status}"), || self.status() == status);
    }

    /// A failed command left nothing: no process, mount, cgroup, state or pid file.
    #[track_caller]
    pub fn assert_clean(&self) {
        let mut left = vec![];
        let clean = host::until(Duration::from_secs(1), || {
            left = self.leftovers();
            left.is_empty()
        });
        assert!(clean, "left behind: {left:#?}");
    }

    /// As [`Test::assert_clean`], where a command that succeeded has written the pid file.
    #[track_caller]
    pub fn assert_clean_but_pid_file(&self) {
        std::fs::remove_file(&self.pid_file).expect("the pid file");
        self.assert_clean();
    }

    fn leftovers(&self) -> Vec<String> {
        let mut left: Vec<String> =
            host::processes(&self.cgroup, &self.dir).iter().map(|p| format!("process {p}")).collect();
        left.extend(host::mounts(&self.dir).iter().map(|line| format!("mount {line}")));
        left.extend(cgroup::dirs(&self.cgroup).iter().map(|dir| format!("cgroup {}", dir.display())));
        if self.owner {
            left.extend(self.root.join(&self.id).exists().then(|| "state directory".to_string()));
        }
        left.extend(self.pid_file.exists().then(|| "pid file".to_string()));
        left
    }

    fn remove_by_force(&self) {
        cgroup::destroy(&self.cgroup);
        for line in host::mounts(&self.dir).iter().rev() {
            if let Some(at) = line.split(' ').nth(4) {
                let _ = rustix::mount::unmount(at, rustix::mount::UnmountFlags::DETACH);
            }
        }
        let _ = std::fs::remove_dir_all(self.root.join(&self.id));
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        // A panic in here during another one would end the whole run, so that nothing panics before the end.
        let deleted =
            self.owner.then(|| self.cmd(&["delete", "--force"]).args([&self.id]).spawn().wait_or_kill());
        let _ = std::fs::remove_file(&self.pid_file);
        let mut left = vec![];
        host::until(Duration::from_secs(2), || {
            left = self.leftovers();
            left.is_empty()
        });
        if !left.is_empty() {
            self.remove_by_force();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
        // The last one out takes the parent cgroup away.
        flock(&self.lock, FlockOperation::Unlock).unwrap();
        if flock(&self.lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            cgroup::dirs("/davit-test").iter().for_each(|dir| drop(std::fs::remove_dir(dir)));
        }
        if !std::thread::panicking() {
            if let Some((output, ended)) = deleted {
                assert!(ended && output.code == 0 && output.stderr.is_empty(), "ended: {ended}: {output}");
            }
            assert!(left.is_empty(), "left behind after delete --force: {left:#?}");
        }
    }
}

/// A root file system with nothing but busybox and the usual empty directories.
fn make_rootfs(rootfs: &Path) {
    for dir in ["bin", "proc", "dev", "sys", "tmp", "etc", "root", "var", "run"] {
        std::fs::create_dir_all(rootfs.join(dir)).unwrap();
    }
    std::fs::set_permissions(rootfs.join("tmp"), PermissionsExt::from_mode(0o1777)).unwrap();
    host::copy_program("/bin/busybox", rootfs.join("bin/busybox"));
    for applet in APPLETS {
        symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
    }
}
