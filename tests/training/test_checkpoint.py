import errno
import fcntl
import json
import os
import shutil
import socket
import threading
import warnings

import kill
import numpy as np
import pytest

from mmkeras.training import checkpoint
from mmkeras.training.checkpoint import Checkpoints

CALLS = 18  # to the disk, before the second checkpoint has its name


@pytest.fixture
def opened(tmp_path):
    """Checkpoints 1 and 2, each of which holds its number."""
    checkpoints = Checkpoints(tmp_path)
    write(checkpoints, 1)
    write(checkpoints, 2)
    yield checkpoints
    checkpoints.close()


@pytest.fixture
def disk(monkeypatch):
    """A function that has another called before whatever is done to the disk."""

    def watch(notice):
        for name, value in {"os": os, "shutil": shutil, "open": open}.items():
            monkeypatch.setattr(checkpoint, name, value, raising=False)
        kill.watch_disk(notice)

    return watch


def write(checkpoints, number):
    checkpoints.write({"number": np.full((2, 50), number)}, {"number": number})


def read(checkpoints):
    """The number that is read, without any warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        arrays, state = checkpoints.read()
    assert (arrays["number"] == state["number"]).all()
    return state["number"]


def names(directory):
    return sorted(path.name for path in directory.iterdir() if path.name != "lock")


def test_the_newest_is_read(opened):
    assert read(opened) == 2


def test_arrays_come_back_as_they_were(tmp_path):
    arrays = {
        "a": np.arange(6, dtype="float32").reshape(2, 3).T,
        "b": np.array(7, "uint32"),
        "c": np.zeros((0, 4), "bool"),
    }
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(arrays, {"loss": [0.1, float("nan")], "none": None})
    found, state = checkpoints.read()
    checkpoints.close()
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert repr(state) == "{'loss': [0.1, nan], 'none': None}"


def test_none_yet_is_none(tmp_path):
    checkpoints = Checkpoints(tmp_path / "new" / "run")
    assert checkpoints.read() is None
    checkpoints.close()


@pytest.mark.parametrize("keep", [1, 3])
def test_only_so_many_are_kept(tmp_path, keep):
    checkpoints = Checkpoints(tmp_path, keep)
    for number in range(1, 6):
        write(checkpoints, number)
    checkpoints.close()
    assert names(tmp_path) == [f"checkpoint-{number:06d}" for number in range(6 - keep, 6)]


def flip(path):
    content = bytearray((path / "arrays.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (path / "arrays.npz").write_bytes(content)


def cut(path):
    os.truncate(path / "arrays.npz", 100)


def edit(path):
    (path / "state.json").write_text('{"number": 3}')


def lie(path):
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["state.json"]["bytes"] += 1
    (path / "manifest.json").write_text(json.dumps(manifest))


DAMAGES = {
    "arrays.npz": flip,
    "'bytes': 100": cut,
    "'bytes': 13": edit,
    "as manifest.json says": lie,
    "No such file": lambda path: (path / "manifest.json").unlink(),
    "arrays.npz'": lambda path: (path / "arrays.npz").unlink(),
    "Expecting value": lambda path: (path / "manifest.json").write_text(""),
    "should have the format 1": lambda path: (path / "manifest.json").write_text("[1]"),
    "format 1. Received: {'format': 2}": lambda path: (path / "manifest.json").write_text(
        '{"format": 2}'
    ),
    "says, None": lambda path: (path / "manifest.json").write_text('{"format": 1}'),
}


@pytest.mark.parametrize("words", DAMAGES)
def test_a_damaged_one_is_named_and_that_before_it_is_taken(opened, tmp_path, words):
    DAMAGES[words](tmp_path / "checkpoint-000002")
    with pytest.warns(UserWarning, match="checkpoint-000002: ") as caught:
        arrays, state = opened.read()
    assert words in str(caught[0].message)
    assert state == {"number": 1}
    assert (arrays["number"] == 1).all()


def test_if_none_verifies_it_is_an_error(opened, tmp_path):
    flip(tmp_path / "checkpoint-000002")
    lie(tmp_path / "checkpoint-000001")
    expected = "should hold a checkpoint that verifies.*checkpoint-000002: .*checkpoint-000001: "
    with pytest.raises(ValueError, match=expected):
        opened.read()


def test_a_damaged_one_does_not_cost_a_good_one(opened, tmp_path):
    flip(tmp_path / "checkpoint-000002")
    with pytest.warns(UserWarning, match="checkpoint-000002"):
        opened.read()
    write(opened, 3)
    assert names(tmp_path) == [f"checkpoint-00000{number}" for number in (1, 2, 3)]
    assert read(opened) == 3
    write(opened, 4)
    assert names(tmp_path) == [f"checkpoint-00000{number}" for number in (3, 4)]


@pytest.mark.parametrize("at", range(1, CALLS + 1))
def test_a_full_disk_costs_no_more_than_this_checkpoint(opened, tmp_path, disk, at):
    calls = []

    def fill(name):
        calls.append(name)
        if len(calls) == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    disk(fill)
    with pytest.raises(OSError, match="No space left"):
        write(opened, 3)
    assert names(tmp_path) == ["checkpoint-000001", "checkpoint-000002"]
    assert read(opened) == 2
    write(opened, 3)
    assert read(opened) == 3


def test_so_many_calls_are_made(opened, disk):
    calls = []
    disk(calls.append)
    write(opened, 3)
    assert calls[:CALLS].count("fsync") == 4
    assert calls[CALLS : CALLS + 2] == ["rename", "fsync"]


def test_training_goes_on_meanwhile_and_none_overtakes(opened, disk):
    go_on = threading.Event()
    disk(lambda name: go_on.wait(60))
    opened.start({"number": np.full(3, 3)}, {"number": 3})
    assert opened.busy
    threading.Timer(0.0, go_on.set).start()
    opened.start({"number": np.full(3, 4)}, {"number": 4})
    opened.wait()
    assert not opened.busy
    assert read(opened) == 4


def test_what_fails_in_the_background_is_told(opened, disk):
    def fail(name):
        raise OSError(errno.EIO, "no good")

    disk(fail)
    opened.start({"number": np.full(3, 3)}, {"number": 3})
    with pytest.raises(OSError, match="no good"):
        opened.wait()
    opened.wait()
    assert read(opened) == 2


def test_two_runs_are_refused(tmp_path):
    Checkpoints(tmp_path).close()
    with open(tmp_path / "lock") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        expected = f"one run at a time. Received: .*, where process {os.getpid()} on .* is training"
        with pytest.raises(RuntimeError, match=expected):
            Checkpoints(tmp_path)


def is_free(directory):
    with open(directory / "lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_a_run_that_failed_does_not_lock_out_the_next_one_of_its_process(tmp_path):
    failed = Checkpoints(tmp_path)
    write(failed, 1)
    again = Checkpoints(tmp_path)
    assert read(again) == 1
    assert not is_free(tmp_path)
    again.close()
    assert is_free(tmp_path)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_a_forked_process_does_not_keep_the_lock(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    mine, its = socket.socketpair()
    child = os.fork()
    if child == 0:
        mine.close()
        its.send(b"I live")
        its.recv(1)
        os._exit(0)
    its.close()
    assert mine.recv(6) == b"I live"
    checkpoints.close()
    assert is_free(tmp_path)
    mine.close()
    os.waitpid(child, 0)


@pytest.mark.parametrize("below", ["", "run"])
def test_a_directory_that_cannot_be_written_to(tmp_path, below):
    (tmp_path / "file").touch()
    directory = tmp_path / "file" / below
    with pytest.raises(ValueError, match=f"`directory` should be .*{directory}"):
        Checkpoints(directory)


def test_a_disk_that_is_full_from_the_first(tmp_path, disk):
    def fill(name):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    disk(fill)
    with pytest.raises(ValueError, match=r"`directory` should be .*No space left"):
        Checkpoints(tmp_path)
    assert is_free(tmp_path)


def test_what_was_left_half_written_is_cleared_away(opened, tmp_path):
    opened.close()
    for name in (".writing", ".deleting"):
        shutil.copytree(tmp_path / "checkpoint-000001", tmp_path / name)
    again = Checkpoints(tmp_path)
    assert names(tmp_path) == ["checkpoint-000001", "checkpoint-000002"]
    assert read(again) == 2
    again.close()
