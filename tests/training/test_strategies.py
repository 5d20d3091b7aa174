"""Several replicas train what one process trains on the same batches."""

import json
import os
import subprocess
import sys

import cluster
import numpy as np
import pytest

CHEAP = ["clip", "accumulate", "half"]
WHOLE = ["lstm", "transformer", "ctc", "retrieval"]


def start(out, strategy=None, tasks=(), config=None, **options):
    """A process of its own, which has not used TensorFlow yet."""
    job = {"strategy": strategy, "tasks": list(tasks), "out": str(out), **options}
    said = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    environment = os.environ | ({"TF_CONFIG": json.dumps(config)} if config else {})
    command = [sys.executable, cluster.__file__, json.dumps(job)]
    return subprocess.Popen(command, env=environment, **said)


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
        np.testing.assert_allclose(made[key], value, tolerance, tolerance, err_msg=key)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("replicas")


@pytest.fixture(scope="module")
def one(folder):
    finish(start(folder / "one", tasks=CHEAP + WHOLE))
    return folder / "one"


@pytest.fixture(scope="module")
def two(folder):
    finish(start(folder / "two", ["CPU:0", "CPU:1"], CHEAP + WHOLE))
    return folder / "two"


@pytest.mark.parametrize("name", CHEAP + WHOLE)
def test_two_devices_train_what_one_does(one, two, name):
    # Sums of float16 differ with their order.
    assert_same(two, one, name, tolerance=1e-3 if name == "half" else 1e-5)
