"""What `mm.Resume` costs a step of training, and how long it takes to go on at a late step.

    python benchmarks/resume.py

The captioner of the other benchmarks is trained with `fit`, in turns without `Resume`, with it, and
with it saving in the background. `overhead` is what a step would take longer if a checkpoint were
saved every minute. Then a training whose checkpoint says that it has taken 100,000 steps of its
epoch goes on: the seconds from `fit` to the end of its first step, beside those of one that begins.
"""

import contextlib
import statistics
import tempfile
import time
from pathlib import Path

import keras
import measure
from captioner import FULL, QUICK, captioner
from photos import photo

import mmkeras as mm
from mmkeras.training.checkpoint import Checkpoints

LATE_BATCH = 2


class Clock(keras.callbacks.Callback):
    """When each step began."""

    def on_train_begin(self, logs=None):
        self.times = []

    def on_train_batch_begin(self, batch, logs=None):
        self.times.append(time.perf_counter())


class StopTraining(Exception):
    pass


class StopAfter(keras.callbacks.Callback):
    """Ends `fit` after so many steps."""

    def __init__(self, steps):
        super().__init__()
        self.left = iter(range(steps - 1))

    def on_train_batch_end(self, batch, logs=None):
        if next(self.left, None) is None:
            self.ended = time.perf_counter()
            raise StopTraining


def main():
    options = measure.parser(__doc__, rounds=5)
    options.add_argument("--steps", type=int, default=24, help="of a turn")
    options.add_argument("--late", type=int, default=100_000, help="step to go on at")
    args = options.parse_args()
    machine = measure.machine()
    settings, batch = (QUICK, 2) if args.quick else (FULL, 16)
    steps, late = (4, 50) if args.quick else (args.steps, args.late)
    with tempfile.TemporaryDirectory() as folder:
        training = Training(settings, batch, steps, folder)
        runs = {
            "plain": lambda: training.seconds(),
            "resume": lambda: training.seconds(every_steps=10**9),
            "saving": lambda: training.seconds(every_steps=steps // 2),
        }
        times = measure.in_turns(runs, args.rounds)
        size = max(path.stat().st_size for path in Path(folder).glob("*/*/arrays.npz"))
    plain = statistics.median(times["plain"]) / steps
    hook = statistics.median(difference(times, "resume", "plain")) / steps
    save = statistics.median(difference(times, "saving", "resume"))
    with tempfile.TemporaryDirectory() as folder:
        begun, gone_on = starts(settings, late, Path(folder), args.rounds)
    figures = {
        "step_s": measure.rounded(plain),
        "callback_s_per_step": measure.rounded(hook),
        "save_s": measure.rounded(save),
        "overhead": measure.rounded(hook / plain + save / 60),
        "checkpoint_megabytes": round(size / 1e6),
        "late_step": late,
        "begin_s": measure.rounded(statistics.median(begun)),
        "go_on_s": measure.rounded(statistics.median(gone_on)),
        "go_on_later_by_s": measure.rounded(
            statistics.median(b - a for a, b in zip(begun, gone_on, strict=True))
        ),
    }
    measure.report("resume", figures, machine)


def difference(times, name, other):
    return [a - b for a, b in zip(times[name], times[other], strict=True)]


def records_of(settings, count):
    picture = photo(0, settings.image_size, settings.image_size)
    return {"image": [picture] * count, "caption": ["word1 word2 word3"] * count}


class Training:
    """Epochs of one model, on data that cost nothing to read."""

    def __init__(self, settings, batch, steps, folder):
        self.task = captioner(settings)
        records = records_of(settings, batch * (steps + 1))
        self.data = mm.dataset(records, self.task.preprocessor, batch, cache=True)
        self.folder, self.turns = Path(folder), 0

    def seconds(self, **options):
        """What the steps of an epoch take, but for the last."""
        self.turns += 1
        clock, callbacks = Clock(), []
        if options:
            directory = self.folder / str(self.turns)
            callbacks = [mm.Resume(directory, keep=1, background=True, **options)]
        self.task.fit(self.data, callbacks=[*callbacks, clock], verbose=0)
        return clock.times[-1] - clock.times[0]


def starts(settings, late, folder, rounds):
    """Seconds to the end of the first step, of trainings that begin and that go on."""
    records = records_of(settings, LATE_BATCH * (late + 10))
    first_step(settings, records, folder / "late", every_steps=1, steps=2)
    move_on(folder / "late", late)
    begun, gone_on = [], []
    for number in range(rounds):
        begun.append(first_step(settings, records, folder / str(number)))
        gone_on.append(first_step(settings, records, folder / "late"))
    return begun, gone_on


def first_step(settings, records, directory, steps=1, **options):
    """Seconds from `fit` to the end of its first step, of a model that was just made."""
    keras.utils.clear_session()
    task = captioner(settings)
    data = mm.dataset(records, task.preprocessor, LATE_BATCH, shuffle=True)
    stop = StopAfter(steps)
    start = time.perf_counter()
    with contextlib.suppress(StopTraining):
        task.fit(data, callbacks=[mm.Resume(directory, **options), stop], verbose=0)
    return stop.ended - start


def move_on(directory, step):
    """Makes the newest checkpoint say that so many steps were taken."""
    checkpoints = Checkpoints(directory)
    arrays, state = checkpoints.read()
    checkpoints.write(arrays, {**state, "step": step})
    checkpoints.close()


if __name__ == "__main__":
    main()
