"""What a training leaves in its directory, and how several compare."""

import csv
import datetime
import json
import os
import platform
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

RUN, CONFIG, HISTORY, REPORT = "run.json", "config.json", "history.csv", "report.html"
DIFF, LARGEST_DIFF = "uncommitted.diff", 2**20
# Columns of a history that are not of the model.
_NO_METRICS = ("epoch", "seconds", "examples_per_second", "waiting", "gigabytes")


class RunFiles:
    """The files of one run.

    Args:
        directory: where; made if there is none.
    """

    def __init__(self, directory):
        self.directory = Path(directory)
        self._rows = []

    def begin(self, model, config):
        """Writes what is known before the first step."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._write(CONFIG, config)
        except OSError as error:
            raise ValueError(
                "`directory` should be one that can be written to. "
                f"Received: directory={str(self.directory)!r}: {error}"
            ) from None
        self.about = {
            "name": self.directory.name,
            "model": model.name,
            "parameters": model.count_params(),
            "command": shlex.join(["python", *sys.argv]),
            "started": _now(),
            "ended": None,
            "process": os.getpid(),
            "host": socket.gethostname(),
            "environment": environment(),
            "git": git_state(self.directory / DIFF),
        }
        self._write(RUN, self.about)
        self._rows = read_history(self.directory)

    def keep(self, epochs):
        """Keeps so many epochs of the history, if a training begins or goes on behind them."""
        self._rows = [row for row in self._rows if row["epoch"] <= epochs]

    def add(self, row):
        """Adds an epoch to the history."""
        self._rows.append(row)
        names = dict.fromkeys(name for each in self._rows for name in each)
        part = self.directory / f"{HISTORY}.part"
        with open(part, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self._rows)
        os.replace(part, self.directory / HISTORY)

    def end(self):
        """Notes that the training has come to its end."""
        self.about["ended"] = _now()
        self._write(RUN, self.about)

    def _write(self, name, value):
        part = self.directory / f"{name}.part"
        part.write_text(json.dumps(value, indent=1), encoding="utf-8")
        os.replace(part, self.directory / name)


def _now():
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def environment():
    """Versions, machine and devices."""
    devices = tf.config.list_physical_devices()
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "devices": [device.name.removeprefix("/physical_device:") for device in devices],
        "precision": keras.config.dtype_policy().name,
    }


def git_state(diff):
    """The commit that the working directory has, and what differs from it; None without git.

    Args:
        diff: the file that the difference is written to, if it is not large.
    """
    try:
        commit, branch = _git("rev-parse", "HEAD", "--abbrev-ref", "HEAD").split()
        changed = _git("status", "--porcelain").splitlines()
        changes = _git("diff", "HEAD")
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    if changes and len(changes) <= LARGEST_DIFF:
        diff.write_text(changes, encoding="utf-8")
    return {"commit": commit, "branch": branch, "changed": changed}


def _git(*words):
    return subprocess.run(
        ["git", *words], capture_output=True, encoding="utf-8", check=True, timeout=10
    ).stdout


def read_history(directory):
    """The epochs of a run, a list of dicts of numbers."""
    try:
        with open(Path(directory) / HISTORY, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    return [{n: _number(value) for n, value in row.items() if value} for row in rows]


def _number(text):
    return int(text) if text.lstrip("-").isdigit() else float(text)


def read_runs(*paths):
    """The runs that `RunLog` has written.

    Args:
        paths: directories of runs, or directories of such; the first to begin comes first.

    Returns:
        List of dicts: what is in `run.json`, and `path`, `status` (`"complete"`, `"running"` or
        `"stopped"`), `history`, a list of an epoch each, `config`, a flat dict, and `report`, the
        path of the report or None.

    Raises:
        ValueError: a path is no directory, or a file in it is damaged.

    Example:

    ```python
    import mmkeras as mm

    for run in mm.read_runs("runs"):
        print(run["name"], run["status"], run["history"][-1:])
    ```
    """
    found = []
    for path in map(Path, paths):
        if not path.is_dir():
            raise ValueError(f"`path` should be a directory of runs. Received: {str(path)!r}")
        found += sorted(path.glob(RUN)) or sorted(path.glob(f"*/{RUN}"))
    return sorted((_read_run(file.parent) for file in found), key=lambda run: run["started"])


def _read_run(path):
    try:
        about = json.loads((path / RUN).read_bytes())
        config = json.loads((path / CONFIG).read_bytes())
        history = read_history(path)
        status = "complete" if about["ended"] else "running" if _is_alive(about) else "stopped"
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ValueError(f"{str(path)!r} should be a run. Received: {error!r}") from None
    report = path / REPORT
    report = str(report) if report.exists() else None
    seen = {"path": str(path), "status": status, "history": history}
    return {**about, **seen, "config": config, "report": report}


def _is_alive(about):
    """Whether the process is there; of another machine's that cannot be told, so it is believed."""
    if about["host"] != socket.gethostname():
        return True
    try:
        os.kill(about["process"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def format_runs(runs, differences=False):
    """Runs as a table: how far each is, and the values of its last epoch.

    Args:
        runs: what `read_runs` gives.
        differences: whether it is followed by what differs in the configurations.

    Returns:
        A string of lines.
    """
    metrics = dict.fromkeys(
        name for run in runs for row in run["history"] for name in row if name not in _NO_METRICS
    )
    speed = "examples_per_second"
    table = [["run", "status", "started", "epochs", *metrics, "examples/s", "commit", "report"]]
    for run in runs:
        last = run["history"][-1] if run["history"] else {}
        epochs = f"{last.get('epoch', 0)}/{run['config'].get('epochs', '?')}"
        values = [f"{last[name]:.4g}" if name in last else "" for name in [*metrics, speed]]
        when = run["started"][:16].replace("T", " ")
        about = [_commit(run["git"]), run["report"] or ""]
        table.append([run["name"], run["status"], when, epochs, *values, *about])
    lines = _aligned(table)
    if differences:
        configs = [run["config"] for run in runs]
        names = dict.fromkeys(name for config in configs for name in config)
        rows = [[name, *(str(config.get(name, "")) for config in configs)] for name in names]
        rows = [row for row in rows if len(set(row[1:])) > 1]
        lines += ["", *_aligned([["differs", *(run["name"] for run in runs)], *rows])]
    return "\n".join(lines)


def _commit(git):
    return f"{git['commit'][:8]}{'+' if git['changed'] else ''}" if git else ""


def _aligned(table):
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rows = [zip(row, widths, strict=True) for row in table]
    return ["  ".join(f"{cell:<{width}}" for cell, width in row).rstrip() for row in rows]
