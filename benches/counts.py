"""What is counted, not timed: the same numbers on an idle and on a busy machine."""
import os
import re

from harness import Fail

CLONES = ('clone', 'clone3', 'fork', 'vfork')
SMALLEST_STEP_KIB = 4


def traced(h, argv, *options):
    """Run argv under strace, with all its children; the text of strace's log."""
    log = f'{h.base}/strace'
    h.spawn(['/usr/bin/strace', '-f', '-o', log, *options, *argv])
    with open(log, encoding='utf-8', errors='replace') as f:
        return f.read()


def calls_of(h, argv):
    """How often each system call is made, by the command and all its children."""
    table = traced(h, argv, '-c', '-U', 'calls,name')
    calls = {name: int(count) for count, name in re.findall(r'^\s*(\d+)\s+(\w+)\s*$', table, re.M)}
    calls.pop('total', None)
    return calls


def system_calls(h, runtime):
    """System calls, and processes or threads made, of one `run`: runtime, init and payload together."""
    calls = calls_of(h, h.run_argv(runtime, 'trace', h.fresh_id(runtime)))
    runtime.add('run calls', sum(calls.values()))
    runtime.add('run clones', sum(calls.get(name, 0) for name in CLONES))
    h.reap()


def messages(h, runtime):
    """Messages that the processes of one `run` sent each other over sockets and pipes (/dev/null and files do not count)."""
    log = traced(h, h.run_argv(runtime, 'trace', h.fresh_id(runtime)), '-yy', '-s', '0',
                 '-e', 'trace=read,recvfrom,recvmsg')
    received = re.findall(r'(?:read|recvfrom|recvmsg)\(\d+<(?:UNIX|socket|pipe)[^\n]* = [1-9]\d*$', log, re.M)
    # A call that had to wait is written in two lines; the second has the result but no descriptor.
    waited = waits_that_ended(log)
    runtime.add('run messages', len(received) + waited)
    h.reap()


def waits_that_ended(log):
    count, waiting = 0, set()
    for line in log.splitlines():
        pid = line.split(None, 1)[0]
        if re.search(r'(?:read|recvfrom|recvmsg)\(\d+<(?:UNIX|socket|pipe).*<unfinished \.\.\.>$', line):
            waiting.add(pid)
        elif pid in waiting and re.search(r'<\.\.\. (?:read|recvfrom|recvmsg) resumed>', line):
            waiting.discard(pid)
            count += bool(re.search(r' = [1-9]\d*$', line))
    return count


def peak_memory(h, runtime, helper):
    """Peak RSS of one `run`, KiB. Started by the small floor program: what starts straight from Python inherits
    the peak of Python itself through execve."""
    out = f'{h.base}/usage'
    h.spawn([helper, 'rusage', out, *h.run_argv(runtime, 'peak', h.fresh_id(runtime))])
    with open(out, encoding='ascii') as f:
        runtime.add('run peak KiB', int(f.read().split()[0]))
    h.reap()


def exec_counts(h, runtime, helper):
    """The same of `exec`, the second one into its container: the first may keep something for the others."""
    container = h.fresh_id(runtime)
    try:
        h.create(runtime, 'long', container, ['/bin/sleep', '100000'])
        h.spawn(h.argv(runtime, 'start', container))
        argv = h.argv(runtime, 'exec', container, '/bin/true')
        h.spawn(argv)
        runtime.add('exec calls', sum(calls_of(h, argv).values()))
        out = f'{h.base}/usage'
        h.spawn([helper, 'rusage', out, *argv])
        with open(out, encoding='ascii') as f:
            runtime.add('exec peak KiB', int(f.read().split()[0]))
    finally:
        h.force_delete(runtime, container)


def smallest_limit(h, runtime, tries=3):
    """The smallest memory limit, KiB, under which `run` works `tries` times in a row."""
    def works(kib):
        for _ in range(tries):
            container = h.fresh_id(runtime)
            bundle = h.bundle(runtime, 'limit', memory=kib * 1024)
            try:
                h.spawn(h.argv(runtime, 'run', '--bundle', bundle, container))
            except Fail:
                h.force_delete(runtime, container)
                return False
        return True

    low, high = 0, 65536
    if not works(high):
        runtime.note('does not start even with a memory limit of 64 MiB')
        return
    while high - low > SMALLEST_STEP_KIB:
        middle = (low + high) // 2 // SMALLEST_STEP_KIB * SMALLEST_STEP_KIB
        if works(middle):
            high = middle
        else:
            low = middle
    runtime.add('smallest limit KiB', high)


def count_all(h, runtimes, helper, repeats=3):
    """Everything above for each runtime; what fails is noted."""
    for runtime in runtimes:
        runtime.add('size KiB', os.path.getsize(runtime.path) / 1024)
        steps = [system_calls, messages] + [lambda h, r: peak_memory(h, r, helper)] * repeats
        if runtime.floor is None:
            steps += [smallest_limit, lambda h, r: exec_counts(h, r, helper)]
        for step in steps:
            try:
                step(h, runtime)
            except (Fail, OSError) as problem:
                runtime.failed('counting', problem)
