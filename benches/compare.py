#!/usr/bin/env python3
"""Davit, crun and runc side by side on the same bundle, and the floor: a bare C program that does only the kernel's part.

    compare.py --rootfs DIR --floor PROGRAM --runtime davit=PATH --runtime crun=PATH --runtime runc=PATH

Root only. Prints one table (Markdown); --json keeps every sample. README.md beside this file says how to read it.
"""
import argparse
import json
import os
import time

from counts import count_all
from harness import Harness, Runtime, isolated
from timings import percentile, timed

HOST_MOUNTS = 1000
ROWS = (
    # title, metric, how it is summed up, unit
    ('`run`: CPU', 'run cpu', 'median', 'ms'),
    ('`run`: wall, least', 'run wall', 'least', 'ms'),
    ('`run`: wall, median', 'run wall', 'median', 'ms'),
    ('create + start + delete: CPU', 'lifecycle cpu', 'median', 'ms'),
    ('create + start + delete: wall, median', 'lifecycle wall', 'median', 'ms'),
    ('`state`: CPU', 'state cpu', 'median', 'ms'),
    ('`--version`: CPU', 'version cpu', 'median', 'ms'),
    ('`exec`: CPU', 'exec cpu', 'median', 'ms'),
    ('`exec`: wall, median', 'exec wall', 'median', 'ms'),
    ('`exec`: system calls, all processes', 'exec calls', 'median', ''),
    ('`exec`: page faults', 'exec faults', 'median', ''),
    ('`exec`: peak RSS', 'exec peak KiB', 'median', 'KiB'),
    ('`run`: system calls, all processes', 'run calls', 'median', ''),
    ('`run`: page faults', 'run faults', 'median', ''),
    ('`run`: context switches', 'run switches', 'median', ''),
    ('`run`: processes and threads made', 'run clones', 'median', ''),
    ('`run`: messages between processes', 'run messages', 'median', ''),
    ('`run`: peak RSS', 'run peak KiB', 'median', 'KiB'),
    ('waiting init: private memory', 'init private KiB', 'median', 'KiB'),
    ('smallest memory limit', 'smallest limit KiB', 'median', 'KiB'),
    (f'`run`, {HOST_MOUNTS} more host mounts: CPU added', 'mounts added cpu', 'median', 'ms'),
    ('size of the program', 'size KiB', 'median', 'KiB'),
)


def measure(options):
    """All measurements, in a mount namespace of their own; whether cgroup2 was hidden, and the runtimes' samples."""
    def inside():
        runtimes = make_runtimes(options)
        mounts = HOST_MOUNTS if 'mounts' in options.cmd else 0
        with Harness(options.bundle, options.rootfs, options.set, mounts, options.timeout, options.pause,
                     not options.hybrid) as h:
            usable = [r for r in runtimes if h.usable(r)]
            if not options.only_timings:
                count_all(h, usable, options.floor)
            for command in options.cmd:
                timed(h, usable, command, options.rounds)
            return {'hidden': h.hidden, 'runtimes': [[r.samples, r.remarks()] for r in runtimes]}

    measured = isolated(inside)
    runtimes = make_runtimes(options)
    for runtime, (samples, notes) in zip(runtimes, measured['runtimes']):
        runtime.samples, runtime.notes = samples, notes
    return measured['hidden'], runtimes


def make_runtimes(options):
    runtimes = [Runtime(*pair.split('=', 1)) for pair in options.runtime]
    if options.floor:
        kind = os.path.basename(os.path.abspath(options.bundle))
        extra = ['--time'] if kind == 'docker-time' else []
        kind = 'docker' if kind == 'docker-time' else kind
        floor = ['--rootfs', os.path.abspath(options.rootfs), '--bundle', kind, '--attach', 'child', *extra]
        runtimes.append(Runtime('floor', options.floor, floor))
    return runtimes


def cell_value(runtime, metric, how):
    return runtime.least(metric) if how == 'least' else runtime.median(metric)


def show(value, unit):
    if value is None:
        return '–'
    return f'{value / 1000:.2f} ms' if unit == 'ms' else f'{value:,.0f}{" " + unit if unit else ""}'


def ratio(value, other):
    return f'{value / other:.2f}' if value is not None and other else '–'


def print_table(runtimes):
    """Columns: each runtime, then the first one's ratio to each of the others."""
    first, others = runtimes[0], runtimes[1:]
    heads = [r.name for r in runtimes] + [f'{first.name} / {r.name}' for r in others]
    print('| | ' + ' | '.join(heads) + ' |')
    print('|---|' + '---:|' * len(heads))
    for title, metric, how, unit in ROWS:
        values = [cell_value(r, metric, how) for r in runtimes]
        if all(v is None for v in values):
            continue
        cells = [show(v, unit) for v in values] + [ratio(values[0], v) for v in values[1:]]
        print(f'| {title} | ' + ' | '.join(cells) + ' |')


def print_head(options, runtimes, hidden):
    print(f'Bundle `{os.path.basename(os.path.abspath(options.bundle))}`, {options.rounds} rounds, '
          f'Linux {os.uname().release}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, '
          f'{time.strftime("%F")}' + ('; cgroup2 hidden, as crun refuses hybrid hosts' if hidden else ''))
    print()
    for runtime in runtimes:
        print(f'* {runtime.name}: {runtime.version()}' + ''.join(f'; {text}' for text in runtime.notes))
    print()


def print_details(runtimes):
    print(f'\n{"metric":22} {"runtime":10} {"least":>11} {"median":>11} {"p90":>11} {"n":>5}')
    for metric in dict.fromkeys(m for r in runtimes for m in r.samples):
        for runtime in runtimes:
            values = runtime.samples.get(metric)
            if values:
                print(f'{metric:22} {runtime.name:10} {min(values):11.0f} {runtime.median(metric):11.0f} '
                      f'{percentile(values, .9):11.0f} {len(values):5}')


def parse_arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.abspath(__file__))
    p.add_argument('--runtime', action='append', required=True, metavar='NAME=PATH', help='the first is the one compared')
    p.add_argument('--floor', metavar='PROGRAM', help='floor.c, built')
    p.add_argument('--rootfs', required=True, metavar='DIR')
    p.add_argument('--bundle', default=f'{here}/bundles/docker', metavar='DIR', help='its config.json (default: docker)')
    p.add_argument('--cmd', default='run,lifecycle,version,exec,mounts', help='what to time: run,lifecycle,version,mounts,exec')
    p.add_argument('--rounds', type=int, default=60)
    p.add_argument('--pause', type=float, default=50, help='milliseconds before each sample')
    p.add_argument('--timeout', type=float, default=20, help='seconds after which a command is killed')
    p.add_argument('--only-timings', action='store_true', help='leave out what is counted')
    p.add_argument('--set', action='append', default=[], metavar='KEY=JSON', help='change config.json (dotted key)')
    p.add_argument('--hybrid', action='store_true', help='do not hide cgroup2 on a hybrid host (crun then refuses)')
    p.add_argument('--details', action='store_true', help='also print least, median, p90 of every metric')
    p.add_argument('--json', metavar='FILE')
    options = p.parse_args()
    options.floor = options.floor and os.path.realpath(options.floor)
    options.cmd = [name for name in options.cmd.split(',') if name]
    if os.geteuid() != 0:
        p.error('needs root: it makes real containers')
    if not options.floor and not options.only_timings:
        p.error('counting needs --floor (or give --only-timings)')
    return options


def main():
    options = parse_arguments()
    hidden, runtimes = measure(options)
    print_head(options, runtimes, hidden)
    print_table(runtimes)
    if options.details:
        print_details(runtimes)
    if options.json:
        with open(options.json, 'w', encoding='utf-8') as f:
            json.dump({r.name: {'samples': r.samples, 'notes': r.notes} for r in runtimes}, f)


if __name__ == '__main__':
    main()
