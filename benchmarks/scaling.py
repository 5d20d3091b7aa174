"""Examples per second and core of two workers, against one process on one core.

    python benchmarks/scaling.py

The captioner of the other benchmarks is trained with `fit` by one process, and by two workers of
`mm.strategy` on this machine, each held to a core of its own with the same examples per step.
`ratio` is 1 if what they tell each other costs nothing.
"""

import contextlib
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import time

import keras
import measure
from captioner import FULL, QUICK, captioner
from photos import photo

import mmkeras as mm

TIMEOUT = 1200


class Clock(keras.callbacks.Callback):
    """When each step began."""

    def on_train_begin(self, logs=None):
        self.times = []

    def on_train_batch_begin(self, batch, logs=None):
        self.times.append(time.perf_counter())


def main():
    options = measure.parser(__doc__, rounds=3)
    options.add_argument("--steps", type=int, default=12, help="of a turn")
    options.add_argument("--batch-size", type=int, default=16, help="of a worker")
    options.add_argument("--core", type=int, help="to be a worker there")
    args = options.parse_args()
    if args.quick:
        args.batch_size, args.steps, args.rounds = 2, 4, 1
    if args.core is not None:
        return work(args)
    machine = measure.machine()
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("Two cores are needed, one for each worker.")
    turns = [(rate(cores[:1]), rate(cores)) for _ in range(args.rounds)]
    one, two = (statistics.median(each) for each in zip(*turns, strict=True))
    figures = {
        "batch_size_of_a_worker": args.batch_size,
        "one_examples_per_s": measure.rounded(one),
        "two_examples_per_s": measure.rounded(two),
        "ratio": measure.rounded(statistics.median(two / 2 / one for one, two in turns)),
    }
    measure.report("scaling", figures, machine)


def rate(cores):
    """Examples per second of a worker on each of these cores, together."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("", 0))) for _ in cores]
        workers = [f"localhost:{each.getsockname()[1]}" for each in sockets]
    processes = []
    for index, core in enumerate(cores):
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        told = {"TF_CONFIG": json.dumps(config)} if len(cores) > 1 else {}
        command = [sys.executable, __file__, *sys.argv[1:], "--core", str(core)]
        said = {"stdout": subprocess.PIPE, "text": True, "env": os.environ | told}
        processes.append(subprocess.Popen(command, **said))
    outputs = [process.communicate(timeout=TIMEOUT)[0] for process in processes]
    if any(process.returncode for process in processes):
        sys.exit("A worker has failed.")
    return sum(float(output.splitlines()[-1]) for output in outputs)


def work(args):
    """Trains on one core, and prints its examples per second."""
    # Before TensorFlow counts the cores to make its threads.
    os.sched_setaffinity(0, {args.core})
    settings, batch, steps = QUICK if args.quick else FULL, args.batch_size, args.steps
    strategy = mm.strategy(timeout=120)
    with strategy.scope():
        task = captioner(settings)
    batch *= strategy.num_replicas_in_sync
    picture = photo(0, settings.image_size, settings.image_size)
    records = {"image": [picture] * batch * steps, "caption": ["word1 word2"] * batch * steps}
    data, clock = mm.dataset(records, task.preprocessor, batch, cache=True), Clock()
    # The first epoch traces.
    task.fit(data, epochs=2, callbacks=[clock], verbose=0)
    begun = clock.times[steps:]
    took = statistics.median(b - a for a, b in itertools.pairwise(begun))
    print(batch / strategy.num_replicas_in_sync / took)


if __name__ == "__main__":
    main()
