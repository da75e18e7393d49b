"""What every measurement shares: an isolated place to run in, bundles, and processes started and reaped exactly.

The state roots, the bundles and the pid files lie on a tmpfs of the harness's own in a private mount namespace.
The harness is a child subreaper, as a containerd shim is: it reaps the container's init itself.
Every process is started with posix_spawn and reaped with wait4, whose usage covers what it waited for in turn.
"""
import ctypes
import glob
import json
import os
import re
import select
import shutil
import statistics
import subprocess
import time
from collections import namedtuple

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS = 0x20000
MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 4096, 16384, 1 << 18, 2
PR_SET_CHILD_SUBREAPER = 36
UNIFIED = '/sys/fs/cgroup/unified'

# Microseconds, microseconds, minor page faults, context switches.
Usage = namedtuple('Usage', 'wall cpu faults switches')


class Fail(Exception):
    """One command under measurement failed."""


def libc(name, *args):
    if getattr(LIBC, name)(*args) < 0:
        error = ctypes.get_errno()
        raise OSError(error, f'{name}: {os.strerror(error)}')


def mount(source, target, fstype, flags, data=None):
    encoded = [None if s is None else s.encode() for s in (source, target, fstype, data)]
    libc('mount', *encoded[:3], ctypes.c_ulong(flags), encoded[3])


def to_usage(wall_ns, ru):
    return Usage(wall_ns / 1000, (ru.ru_utime + ru.ru_stime) * 1e6, ru.ru_minflt, ru.ru_nvcsw + ru.ru_nivcsw)


class Runtime:
    """One program under measurement, and what was measured: metric -> list of values."""

    def __init__(self, name, path, floor_options=None):
        self.name, self.path, self.floor = name, os.path.realpath(path), floor_options
        self.settings = []      # changes of config.json that this one needs, as KEY=JSON
        self.samples = {}
        self.notes = []
        self.failures = {}

    def add(self, metric, value):
        self.samples.setdefault(metric, []).append(value)

    def median(self, metric):
        values = self.samples.get(metric)
        return statistics.median(values) if values else None

    def least(self, metric):
        values = self.samples.get(metric)
        return min(values) if values else None

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)

    def failed(self, what, problem):
        """Count a failure; the first one of its kind keeps its text."""
        self.failures.setdefault(what, [0, str(problem)])[0] += 1

    def remarks(self):
        return self.notes + [f'{what} failed {n} times, first: {text}' for what, (n, text) in self.failures.items()]

    def version(self):
        if self.floor is not None:
            return 'bare C, only what the kernel must do'
        out = subprocess.run([self.path, '--version'], capture_output=True, text=True, check=False).stdout
        return out.splitlines()[0] if out else 'unknown'


class Harness:
    """The isolated place. Use with `with`; everything in it is gone at the end."""

    def __init__(self, bundle, rootfs, settings=(), host_mounts=0, timeout=20, pause=50, hide_unified=True):
        self.base = f'/run/davit-bench-{os.getpid()}'
        self.env = {'PATH': os.environ.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin'), 'HOME': '/root'}
        self.settings, self.host_mounts, self.timeout, self.pause = list(settings), host_mounts, timeout, pause
        with open(os.path.join(bundle, 'config.json'), encoding='utf-8') as f:
            self.spec = json.load(f)
        self.spec['root']['path'] = os.path.abspath(rootfs)
        self.null = os.open('/dev/null', os.O_RDWR | os.O_CLOEXEC)
        self.hidden = hide_unified and os.path.ismount(UNIFIED)
        self.serial = 0
        self.plain_namespace = self.loaded_namespace = None
        self.before = []
        self.before = self.parents_made()

    def __enter__(self):
        libc('unshare', CLONE_NEWNS)
        mount(None, '/', None, MS_REC | MS_PRIVATE)
        os.makedirs(self.base, exist_ok=True)
        mount('tmpfs', self.base, 'tmpfs', 0, 'mode=0755')
        if self.hidden:
            # crun refuses hybrid hosts whose cgroup2 has controllers: let this one look like plain v1 to all alike.
            # The tmpfs takes the files that crun still makes there, following the `0::` line of /proc/self/cgroup.
            libc('umount2', UNIFIED.encode(), MNT_DETACH)
            mount('tmpfs', UNIFIED, 'tmpfs', 0, 'mode=0755')
        if self.host_mounts:
            self.make_loaded_namespace()
        libc('prctl', PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        return self

    def __exit__(self, *_):
        os.chdir('/')
        for folder in self.parents_made():
            try:
                os.rmdir(folder)
            except OSError:
                pass    # someone else's container is in it
        LIBC.umount2(self.base.encode(), MNT_DETACH)
        shutil.rmtree(self.base, ignore_errors=True)

    def parents_made(self):
        """The cgroups above the containers' own that were not there before; runtimes leave them."""
        parent = os.path.dirname(self.spec.get('linux', {}).get('cgroupsPath', '')).strip('/')
        if not parent:
            return []
        roots = ['/sys/fs/cgroup', *glob.glob('/sys/fs/cgroup/*/')]
        return [d for d in (os.path.join(root, parent) for root in roots) if os.path.isdir(d) and d not in self.before]

    def make_loaded_namespace(self):
        """A second mount namespace: a copy of the first and `host_mounts` more, as on a host with many containers."""
        self.plain_namespace = os.open('/proc/self/ns/mnt', os.O_RDONLY | os.O_CLOEXEC)
        libc('unshare', CLONE_NEWNS)
        self.loaded_namespace = os.open('/proc/self/ns/mnt', os.O_RDONLY | os.O_CLOEXEC)
        mount('tmpfs', '/mnt', 'tmpfs', 0, 'mode=0755')
        for i in range(self.host_mounts):
            os.mkdir(f'/mnt/{i}')
            mount(self.base, f'/mnt/{i}', None, MS_BIND)
        self.loaded(False)

    def loaded(self, yes):
        """Go on in the namespace with many mounts, or back in the plain one."""
        libc('setns', self.loaded_namespace if yes else self.plain_namespace, CLONE_NEWNS)

    # ---- bundles and names ----------------------------------------------------------------------

    def bundle(self, runtime, slot, args=None, memory=None):
        """Write a bundle for `runtime` with a cgroup of its own; `memory` (bytes) replaces all memory settings."""
        folder = f'{self.base}/bundles/{runtime.name}/{slot}'
        os.makedirs(folder, exist_ok=True)
        spec = json.loads(json.dumps(self.spec))
        if args:
            spec['process']['args'] = args
        cgroup = spec.get('linux', {}).get('cgroupsPath')
        if cgroup:
            spec['linux']['cgroupsPath'] = f'{cgroup}-{os.getpid()}-{runtime.name}-{slot}'
        settings = self.settings + runtime.settings
        if memory is not None:
            settings = settings + [f'linux.resources.memory={{"limit":{memory}}}']
        for setting in settings:
            apply_setting(spec, setting)
        with open(f'{folder}/config.json', 'w', encoding='utf-8') as f:
            json.dump(spec, f)
        return folder

    def argv(self, runtime, *rest):
        root = f'{self.base}/root/{runtime.name}'
        os.makedirs(root, exist_ok=True)
        return [runtime.path, '--root', root, *rest]

    def run_argv(self, runtime, slot, container):
        """The command line that runs one whole container: of a runtime, or of the floor program."""
        if runtime.floor is not None:
            return [runtime.path, 'run', '--name', container, *runtime.floor]
        return self.argv(runtime, 'run', '--bundle', self.bundle(runtime, slot), container)

    def fresh_id(self, runtime):
        self.serial += 1
        return f'bench{os.getpid()}-{runtime.name}-{self.serial}'

    # ---- processes ------------------------------------------------------------------------------

    def spawn(self, argv):
        """Run one command to its end; its Usage. Fail with its standard error if its status is not 0."""
        err = os.open(f'{self.base}/stderr', os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        actions = [(os.POSIX_SPAWN_DUP2, self.null, 0), (os.POSIX_SPAWN_DUP2, self.null, 1),
                   (os.POSIX_SPAWN_DUP2, err, 2)]
        try:
            begun = time.perf_counter_ns()
            pid = os.posix_spawn(argv[0], argv, self.env, file_actions=actions)
            ended = wait_pidfd(pid, self.timeout)
            if not ended:
                os.kill(pid, 9)
            _, status, ru = os.wait4(pid, 0)
            wall = time.perf_counter_ns() - begun
            command = ' '.join(argv)[:120]
            if not ended:
                raise Fail(f'{command}: killed after {self.timeout} s')
            if status:
                text = os.pread(err, 2000, 0).decode(errors='replace').strip()
                raise Fail(f'{command}: status {os.waitstatus_to_exitcode(status)}: {text[-400:]}')
        finally:
            os.close(err)
        return to_usage(wall, ru)

    def wait_init(self, pid):
        """Wait for a container's init and reap it, as a shim does; its CPU time in microseconds."""
        if not wait_pidfd(pid, self.timeout):
            raise Fail('the payload does not exit')
        try:
            _, status, ru = os.wait4(pid, 0)
        except ChildProcessError:
            return 0.0
        if status:
            raise Fail(f'payload status {os.waitstatus_to_exitcode(status)}')
        return (ru.ru_utime + ru.ru_stime) * 1e6

    def create(self, runtime, slot, container, args=None):
        """`create`; its Usage and the pid of the waiting init."""
        pid_file = f'{self.base}/pid'
        bundle = self.bundle(runtime, slot, args)
        usage = self.spawn(self.argv(runtime, 'create', '--bundle', bundle, '--pid-file', pid_file, container))
        with open(pid_file, encoding='ascii') as f:
            return usage, int(f.read())

    def force_delete(self, runtime, container):
        if runtime.floor is None:
            try:
                self.spawn(self.argv(runtime, 'delete', '--force', container))
            except Fail:
                pass
        self.reap()

    def reap(self):
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass

    def rest(self):
        """A pause before every sample: the first move into a cgroup after one waits for an RCU grace period, one
        shortly after another's move does not, and a runtime would profit from the one before it."""
        time.sleep(self.pause / 1000)

    # ---- can it be measured at all? ---------------------------------------------------------------

    def usable(self, runtime):
        """Try one run. Older crun refuses newer versions of the specification: it gets an older number."""
        reason = ''
        for setting in (None, 'ociVersion="1.0.2"'):
            if setting:
                runtime.settings.append(setting)
            container = self.fresh_id(runtime)
            try:
                self.spawn(self.run_argv(runtime, 'probe', container))
                if setting:
                    runtime.note('config.json has ociVersion 1.0.2 for this one')
                return True
            except (Fail, OSError) as problem:
                self.force_delete(runtime, container)
                reason = str(problem)
                if 'version' not in reason:
                    break
        runtime.note(f'left out: {reason}')
        return False


def wait_pidfd(pid, seconds):
    """True once the process has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(fd)


def apply_setting(spec, setting):
    """KEY=JSON with a dotted KEY; null removes the key."""
    key, _, text = setting.partition('=')
    value, path, place = json.loads(text), key.split('.'), spec
    for name in path[:-1]:
        place = place.setdefault(name, {})
    if value is None:
        place.pop(path[-1], None)
    else:
        place[path[-1]] = value


def smaps_of(pid):
    """Private memory of a process in KiB, by the kernel's own sum."""
    with open(f'/proc/{pid}/smaps_rollup', encoding='ascii') as f:
        return sum(int(kib) for kib in re.findall(r'^Private_(?:Clean|Dirty):\s+(\d+)', f.read(), re.M))


# ---- measuring in a process of its own, so that the mount namespace ends with it ---------------------

def isolated(work):
    """Run work() in a forked child and return what it returns (it must be JSON)."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        code = 1
        try:
            with os.fdopen(writer, 'w', encoding='utf-8') as f:
                json.dump(work(), f)
            code = 0
        except Exception as problem:  # pylint: disable=broad-except
            print(f'bench: {type(problem).__name__}: {problem}', flush=True)
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, encoding='utf-8') as f:
        text = f.read()
    _, status = os.waitpid(pid, 0)
    if status or not text:
        raise SystemExit('bench: a measurement failed')
    return json.loads(text)
