"""Several replicas train what one process trains on the same batches."""

import contextlib
import json
import os
import socket
import subprocess
import sys

import cluster
import numpy as np
import pytest

CHEAP = ["clip", "accumulate", "half"]
BY_DEVICES = [*CHEAP, "lstm", "ctc", "retrieval"]
BY_WORKERS = ["clip", "accumulate", "transformer", "retrieval"]


def start(out, strategy=None, tasks=(), config=None, **options):
    """A process of its own, which has not used TensorFlow yet."""
    job = {"strategy": strategy, "tasks": list(tasks), "out": str(out), **options}
    said = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    environment = os.environ | ({"TF_CONFIG": json.dumps(config)} if config else {})
    command = [sys.executable, cluster.__file__, json.dumps(job)]
    return subprocess.Popen(command, env=environment, **said)


def start_workers(folder, options=({}, {}), **job):
    """As Kubernetes or Slurm would: the same script twice, but for what `TF_CONFIG` says."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in options]
        for each in sockets:
            each.bind(("localhost", 0))
        workers = [f"localhost:{each.getsockname()[1]}" for each in sockets]
    return [
        start(
            folder / str(index),
            "multi_worker",
            config={"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}},
            **job,
            **more,
        )
        for index, more in enumerate(options)
    ]


def finish(*processes):
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert not any(process.returncode for process in processes), "\n".join(said)


def results(folder, name):
    with np.load(folder / f"{name}.npz") as file:
        return {key.partition(" ")[0]: file[key] for key in file}


def assert_same(folder, other, name, tolerance=1e-5):
    made, expected = results(folder, name), results(other, name)
    assert made.keys() == expected.keys()
    for key, value in expected.items():
        # Logits are large.
        close = 10 * tolerance if key.startswith("predicted") else tolerance
        np.testing.assert_allclose(made[key], value, close, close, err_msg=key)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("replicas")


@pytest.fixture(scope="module")
def one(folder):
    finish(start(folder / "one", tasks=[*BY_DEVICES, "transformer"]))
    return folder / "one"


@pytest.fixture(scope="module")
def two(folder):
    finish(start(folder / "two", ["CPU:0", "CPU:1"], BY_DEVICES))
    return folder / "two"


@pytest.fixture(scope="module")
def workers(folder):
    finish(*start_workers(folder, tasks=BY_WORKERS))
    return folder


@pytest.mark.parametrize("name", BY_DEVICES)
def test_two_devices_train_what_one_does(one, two, name):
    # Sums of float16 differ with their order.
    assert_same(two, one, name, tolerance=1e-3 if name == "half" else 1e-5)


@pytest.mark.parametrize("name", BY_WORKERS)
def test_two_workers_train_what_one_does(one, workers, name):
    assert_same(workers / "0", one, name)
    assert_same(workers / "1", one, name)


def test_a_worker_that_dies_is_missed_and_all_go_on_where_they_were(workers, tmp_path):
    run = {"tasks": ["clip"], "directory": str(tmp_path / "run")}
    one, other = start_workers(tmp_path / "killed", [{}, {"die_at": 4}], **run)
    assert other.wait(timeout=120) == 9
    said, _ = one.communicate(timeout=60)
    assert one.returncode == 1
    assert "/job:worker/replica:0/task:1" in said
    finish(*start_workers(tmp_path / "resumed", **run))
    for worker in "01":
        assert_same(tmp_path / "resumed" / worker, workers / worker, "clip", tolerance=0)
