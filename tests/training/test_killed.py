"""Runs that are really killed, each in a process of its own, end as one that never was."""

import json
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import kill
import pytest

from mmkeras.training import checkpoint, resume

STEPS = 5  # in an epoch of `kill.dense`
KILLED = -signal.SIGKILL


class Server:
    """`kill.py` as a process, which makes another one for each run."""

    def __init__(self, log):
        self.log = log
        with open(log, "w") as file:
            self.process = subprocess.Popen(
                [sys.executable, kill.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )

    def __call__(self, **job):
        """The exit code of a run, and what it printed."""
        print(json.dumps(job), file=self.process.stdin, flush=True)
        code, said = json.loads(self.process.stdout.readline())
        assert code != 1, self.log.read_text()
        return code, json.loads(said or "null")


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("kill") / "log")
    yield server
    server.process.communicate()


def place(directory):
    """Epoch and step of the newest checkpoint, None without any."""
    paths = sorted(Path(directory).glob("checkpoint-*"))
    if not paths:
        return None
    state = json.loads((paths[-1] / "state.json").read_text())
    return state["epoch"], state["step"]


def test_killed_again_and_again(ask, tmp_path):
    _, whole = ask(directory=f"{tmp_path}/whole")
    assert len(whole["history"]["loss"]) == kill.EPOCHS
    directory = f"{tmp_path}/run"
    ways = [
        # The first batch of all; somewhere; while it goes on, twice in a row.
        (["train", [0, 0]], KILLED, None),
        (["train", [0, 3]], KILLED, (0, 2)),
        (["restore", 3], KILLED, (0, 2)),
        (["restore", 40], KILLED, (0, 2)),
        # The last batch of an epoch, and before and within validation, with time to save.
        (["train", [0, 4], "SIGINT"], resume.STOPPED, (0, 4)),
        (["test", [0, 0], "SIGTERM"], resume.STOPPED, (0, STEPS)),
        (["test", [0, 1], "SIGTERM"], resume.STOPPED, (0, STEPS)),
        # While a checkpoint is written, the first batch of an epoch, within validation.
        (["disk", 20], KILLED, (0, STEPS)),
        (["train", [1, 0]], KILLED, (0, STEPS)),
        (["test", [1, 1]], KILLED, (1, 4)),
        # Out of patience.
        (["train", [2, 3], "SIGINT", 2], 128 + signal.SIGINT, (2, 1)),
    ]
    for way, code, reached in ways:
        assert ask(kill=way, directory=directory, every_steps=2) == (code, None)
        assert place(directory) == reached
    # Whether it was quick enough to save again in the background is all the same.
    background = {"directory": directory, "every_steps": 1, "background": True}
    assert ask(kill=["disk", 50], **background) == (KILLED, None)
    assert ask(**background) == (0, whole)
    assert place(directory) == (kill.EPOCHS, 0)
    assert ask(directory=directory) == (0, whole)
    assert "SIGINT: stopped at epoch 1, step 4 of 5, saved in" in ask.log.read_text()


def test_killed_on_two_devices(ask, tmp_path):
    """Under `MirroredStrategy`, in the middle of an epoch."""
    code, whole = ask(directory=f"{tmp_path}/whole", devices=2)
    assert code == 0
    run = {"directory": f"{tmp_path}/run", "devices": 2}
    assert ask(kill=["train", [1, 3]], every_steps=2, **run) == (KILLED, None)
    assert place(run["directory"]) == (1, 1)
    assert ask(**run) == (0, whole)


@pytest.mark.parametrize("task", ["lstm", "transformer", "ctc", "vqa"])
def test_tasks_go_on_from_the_middle_of_an_epoch(ask, tmp_path, task):
    code, (whole, again) = ask(job="train_twice", directory=str(tmp_path), task=task, at=1)
    assert code == 0
    assert again == whole
    state = json.loads((tmp_path / "checkpoint-000001" / "state.json").read_text())
    assert (state["epoch"], state["step"]) == (0, 1)


def test_a_checkpoint_is_whole_or_not_there(ask, tmp_path):
    """Killed before each call to the disk that writes the second."""
    job = {"job": "write", "count": 2}
    _, calls = ask(directory=f"{tmp_path}/all", **job)
    half = len(calls) // 2
    for at in range(half, len(calls) + 1):
        directory = tmp_path / str(at)
        assert ask(directory=str(directory), die_at=at, **job) == (KILLED, None)
        checkpoints = checkpoint.Checkpoints(directory)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            arrays, state = checkpoints.read()
        checkpoints.close()
        assert state["number"] == 1 + ("rename" in calls[half : at - 1])
        assert (arrays["number"] == state["number"]).all()
