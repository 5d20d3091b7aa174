"""How fast a training goes, and the line that says so."""

import datetime
import os
import resource
import shutil
import sys
import time

TERMINAL_SECONDS, FILE_SECONDS = 0.5, 60


class Progress:
    """Steps, epochs and the time they take.

    Args:
        epochs: how many there are.
        steps: of an epoch; None if that is not known.
        examples: of an epoch; None if that is not known.
        waited: function that tells how many seconds steps have waited for data in all, and how
            many steps that were measured.
        shown: whether to print.
    """

    def __init__(self, epochs, steps, examples, waited, shown):
        self.epochs = epochs
        self.steps = steps
        self.examples = examples
        self._waited = waited
        self._shown = shown
        self._terminal = sys.stdout.isatty()
        self._width = 0
        self._epoch_seconds = []

    def begin_epoch(self, epoch):
        self.epoch, self.first, self.step = epoch, None, 0
        self._began = self._last = self._printed = time.perf_counter()
        self._first_wait, self._first_batch = self._waited()

    def end_step(self, step, logs):
        """After each step, which is counted from 0 and may not have begun there."""
        if self.first is None:
            self.first = step
        self.step = step + 1
        self._last = now = time.perf_counter()
        every = TERMINAL_SECONDS if self._terminal else FILE_SECONDS
        if self._shown and now - self._printed >= every:
            self._printed = now
            of = f"/{self.steps}" if self.steps else ""
            speed = [*self._rates(self.speeds()), *self._left(now)]
            self._print(f"{self._place()}, step {self.step}{of}", logs, speed, "")

    def end_epoch(self, logs):
        """Prints the line of an epoch."""
        speeds = self.speeds()
        self._epoch_seconds.append(speeds["seconds"])
        if self._shown:
            took = _clock(speeds["seconds"])
            self._print(self._place(), logs, [took, *self._rates(speeds)], "\n")

    def speeds(self):
        """Of the epoch so far: seconds, examples a second, share of time waiting, memory.

        Validation counts for the seconds alone. What is not known is left out.
        """
        known = {"seconds": time.perf_counter() - self._began}
        done, trained = self.step - (self.first or 0), self._last - self._began
        if self.examples and self.steps and done:
            known["examples_per_second"] = done * self.examples / self.steps / trained
        waited, batches = self._waited()
        if batches > self._first_batch and done:
            known["waiting"] = (waited - self._first_wait) / trained
        return known | {"gigabytes": memory() / 1e9}

    def _place(self):
        return f"epoch {self.epoch + 1}/{self.epochs}"

    def _rates(self, speeds):
        if "examples_per_second" in speeds:
            yield f"{speeds['examples_per_second']:.4g} examples/s"
        if "waiting" in speeds:
            yield f"{speeds['waiting']:.0%} waiting for data"
        yield f"{speeds['gigabytes']:.1f} GB"

    def _left(self, now):
        """Time left: by whole epochs if there were any, with their validation."""
        if not self.steps:
            return
        done = self.step - self.first
        of_epoch = (now - self._began) / done * self.steps
        later = self.epochs - self.epoch - 1
        whole = sorted(self._epoch_seconds[1:] or self._epoch_seconds or [of_epoch])
        left = of_epoch * (self.steps - self.step) / self.steps + later * whole[len(whole) // 2]
        yield f"{_clock(left)} left"

    def _print(self, place, logs, speeds, end):
        names = sorted(logs, key=lambda name: name != "loss")
        values = ", ".join(f"{name} {float(logs[name]):.4g}" for name in names)
        line = f"{place}: {values} | {', '.join(speeds)}"
        if self._terminal:
            # What is longer than a row cannot be written over.
            line = line if end else line[: shutil.get_terminal_size().columns - 1]
            print(f"\r{line:<{self._width}}", end=end, flush=True)
            self._width = 0 if end else len(line)
        else:
            print(line, flush=True)


def memory():
    """Bytes that the process holds now; where that is not told, the most it ever did."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most * (1 if sys.platform == "darwin" else 1024)


def _clock(seconds):
    return str(datetime.timedelta(seconds=round(seconds)))
