"""What is timed: the runtimes take turns (a round has each once, in a new random order), so that whatever else
the machine does hits all of them alike."""
import random
import sys

from harness import Fail, smaps_of


def sample_run(h, runtime):
    container = h.fresh_id(runtime)
    try:
        usage = h.spawn(h.run_argv(runtime, 'run', container))
    except Fail:
        h.force_delete(runtime, container)
        raise
    h.reap()
    runtime.add('run wall', usage.wall)
    runtime.add('run cpu', usage.cpu)
    runtime.add('run faults', usage.faults)
    runtime.add('run switches', usage.switches)


def sample_mounts(h, runtime):
    """What many mounts of the host add to a `run`: one without and one with them, right after each other."""
    cpu = []
    for loaded in (False, True):
        container = h.fresh_id(runtime)
        argv = h.run_argv(runtime, 'run', container)
        h.loaded(loaded)
        try:
            h.rest()
            cpu.append(h.spawn(argv).cpu)
        except Fail:
            h.force_delete(runtime, container)
            raise
        finally:
            h.loaded(False)
        h.reap()
    runtime.add('mounts cpu', cpu[1])
    runtime.add('mounts added cpu', cpu[1] - cpu[0])


def sample_lifecycle(h, runtime):
    container = h.fresh_id(runtime)
    try:
        create, pid = h.create(runtime, 'life', container)
        runtime.add('init private KiB', smaps_of(pid))
        state = h.spawn(h.argv(runtime, 'state', container))
        start = h.spawn(h.argv(runtime, 'start', container))
        init_cpu = h.wait_init(pid)
        delete = h.spawn(h.argv(runtime, 'delete', container))
    except Fail:
        h.force_delete(runtime, container)
        raise
    for name, usage in (('create', create), ('state', state), ('start', start), ('delete', delete)):
        runtime.add(f'{name} cpu', usage.cpu)
        runtime.add(f'{name} wall', usage.wall)
    runtime.add('lifecycle cpu', create.cpu + start.cpu + delete.cpu + init_cpu)
    runtime.add('lifecycle wall', create.wall + start.wall + delete.wall)


def sample_version(h, runtime):
    usage = h.spawn([runtime.path, '--version'])
    runtime.add('version cpu', usage.cpu)
    runtime.add('version wall', usage.wall)


def sample_exec(h, runtime):
    """`exec` into one long-lived container a runtime; started at first use, removed by `end_exec`."""
    if not hasattr(runtime, 'long_lived'):
        runtime.long_lived = h.fresh_id(runtime)
        h.create(runtime, 'long', runtime.long_lived, ['/bin/sleep', '100000'])
        h.spawn(h.argv(runtime, 'start', runtime.long_lived))
    usage = h.spawn(h.argv(runtime, 'exec', runtime.long_lived, '/bin/true'))
    h.reap()
    runtime.add('exec cpu', usage.cpu)
    runtime.add('exec wall', usage.wall)
    runtime.add('exec faults', usage.faults)


SAMPLERS = {'run': sample_run, 'mounts': sample_mounts, 'lifecycle': sample_lifecycle, 'version': sample_version,
            'exec': sample_exec}
WITH_FLOOR = ('run', 'mounts')
WARM_UP_ROUNDS = 2


def timed(h, runtimes, command, rounds):
    """`rounds` samples of each runtime for one of SAMPLERS; a failing sample is noted and left out."""
    shuffle, sampler = random.Random(1), SAMPLERS[command]
    taking_part = [r for r in runtimes if command in WITH_FLOOR or r.floor is None]
    for number in range(-WARM_UP_ROUNDS, rounds):
        for runtime in shuffle.sample(taking_part, len(taking_part)):
            h.rest()
            before = {metric: len(values) for metric, values in runtime.samples.items()}
            try:
                sampler(h, runtime)
            except (Fail, OSError) as problem:
                runtime.failed(command, problem)
            if number < 0:
                for metric in runtime.samples:
                    del runtime.samples[metric][before.get(metric, 0):]
        if sys.stderr.isatty():
            print(f'\r{command}: {max(0, number + 1)}/{rounds} ', end='', file=sys.stderr, flush=True)
    for runtime in taking_part:
        if hasattr(runtime, 'long_lived'):
            h.force_delete(runtime, runtime.long_lived)
            del runtime.long_lived
    if sys.stderr.isatty():
        print('\r' + ' ' * 30 + '\r', end='', file=sys.stderr, flush=True)


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
