"""How every benchmark measures: in turns, with the machine written beside the figures."""

import argparse
import importlib.metadata
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import mmkeras as mm

PEER = Path(__file__).with_name("huggingface.py")
PACKAGES = ("tensorflow", "keras", "numpy", "pillow")


def parser(description, rounds):
    """Options that all benchmarks share."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--quick", action="store_true", help="tiny, to see that it runs")
    options.add_argument("--rounds", type=int, default=rounds, help="measured turns of each")
    return options


def machine():
    """What the figures depend on; `load` tells whether anything else was running."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu(),
        "load": round(os.getloadavg()[0], 2),
    }


def _cpu():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def report(benchmark, figures, machine, peer=None):
    """Prints the one JSON line of a benchmark."""
    versions = {"python": platform.python_version(), "mmkeras": mm.__version__}
    versions |= {name: importlib.metadata.version(name) for name in PACKAGES}
    line = {"benchmark": benchmark, **figures, "machine": machine, "versions": versions}
    if peer is not None:
        versions |= peer.versions
        line[f"{peer.name}_missing"] = peer.missing
    print(json.dumps(line))


def timed(function):
    """The function as one that returns the seconds it took."""

    def run():
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return run


def consuming(dataset):
    """A function that reads a data set to its end."""

    def run():
        for _ in dataset:
            pass

    return run


def in_turns(runs, rounds):
    """Seconds that each of the functions says it took, `{name: [seconds, ...]}`.

    After one turn to warm up they take `rounds` turns, so that whatever else the machine does
    meets all of them alike.
    """
    for run in runs.values():
        run()
    turns = [{name: run() for name, run in runs.items()} for _ in range(rounds)]
    return {name: [turn[name] for turn in turns] for name in runs}


def seconds(times, name):
    """The median turn, None for what was not measured."""
    return round(statistics.median(times[name]), 6) if name in times else None


def rate(times, name, count, best=False):
    """How many of `count` things a second in the median or best turn."""
    if name not in times:
        return None
    return rounded(count / (min if best else statistics.median)(times[name]))


def ratio(times, name, other):
    """How many times faster `name` was than `other`: the median over the turns."""
    if name not in times or other not in times:
        return None
    pairs = zip(times[name], times[other], strict=True)
    return rounded(statistics.median(theirs / ours for ours, theirs in pairs))


def rounded(value):
    return None if value is None else float(f"{value:.4g}")


class HuggingFace:
    """The captioner of `huggingface.py`, in a process of its own.

    Args:
        python: The interpreter that has torch and transformers.
        settings: Of the model, see `captioner.peer_settings`.

    Attributes:
        versions: Of its packages.
        missing: Why it does not run, None if it does.
    """

    name, program = "huggingface", PEER

    def __init__(self, python, settings):
        try:
            self._process = subprocess.Popen(
                [python, str(self.program), json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            hello = json.loads(self._process.stdout.readline() or '{"missing": "it did not start"}')
        except OSError as error:
            self._process, hello = None, {"missing": str(error)}
        self.missing = hello.get("missing")
        self.versions = hello.get("versions", {})

    def runs(self, *names):
        """Functions for `in_turns` under the names `<peer>_NAME`; none if it is missing."""
        if self.missing:
            return {}
        return {f"{self.name}_{name}": lambda name=name: self._run(name) for name in names}

    def _run(self, name):
        # Its threads spin while they wait for work: it stands still in the others' turns.
        self._process.send_signal(signal.SIGCONT)
        print(name, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        self._process.send_signal(signal.SIGSTOP)
        if not answer:
            sys.exit(f"{self.program.name} ended while it ran {name!r}")
        return float(answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.communicate()
