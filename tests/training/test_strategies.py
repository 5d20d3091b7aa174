"""Several replicas train what one process trains on the same batches."""

import contextlib
import json
import os
import socket
import subprocess
import sys

import cluster
import keras
import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mm
from mmkeras.training import replication

CHEAP = ["clip", "accumulate", "half"]
BY_DEVICES = [*CHEAP, "ctc"]
BY_WORKERS = ["clip", "lstm", "retrieval"]


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
    try:
        said = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
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
    finish(start(folder / "one", tasks=sorted({*BY_DEVICES, *BY_WORKERS})))
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


@pytest.mark.slow
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


CONFIG = {"cluster": {"worker": ["here:1", "there:2"]}, "task": {"type": "worker", "index": 0}}


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ("{", "JSON"),
        ("[]", "TypeError"),
        (json.dumps({"cluster": CONFIG["cluster"]}), "KeyError: 'task'"),
        (json.dumps({"task": CONFIG["task"]}), "KeyError: 'cluster'"),
        (json.dumps(CONFIG | {"task": {"type": "worker", "index": 2}}), "IndexError"),
        (json.dumps(CONFIG | {"cluster": {"worker": ["here"]}}), "ValueError"),
        (json.dumps(CONFIG | {"cluster": {"worker": ["here:1", "here:1"]}}), "different HOST:PORT"),
        (json.dumps(CONFIG | {"cluster": {"worker": ["a:1"], "ps": ["b:1"]}}), "parameter servers"),
    ],
)
def test_a_wrong_config_is_said(monkeypatch, config, fault):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match=f"(?s)`?TF_CONFIG`? should be like .*{fault}"):
        mm.strategy()


def test_a_port_in_use_is_said(monkeypatch):
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        workers = {"cluster": {"worker": [f"localhost:{port}", "localhost:1"]}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(CONFIG | workers))
        with pytest.raises(OSError, match=f"port {port}, which TF_CONFIG gives"):
            mm.strategy()


def test_a_worker_that_does_not_come_is_named(monkeypatch):
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
    workers = {"cluster": {"worker": [f"localhost:{port}", "localhost:1"]}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(CONFIG | workers))
    with pytest.raises(
        TimeoutError, match=r"\['localhost:1'\] of TF_CONFIG did not come within 0.3"
    ):
        mm.strategy("multi_worker", timeout=0.3)


def test_what_there_is_not():
    with pytest.raises(ValueError, match=r"`name` should be one of .* Received: name='tpu'"):
        mm.strategy("tpu")
    with pytest.raises(ValueError, match=r"some of \['CPU:0'.*\]. Received: name=\['GPU:7'\]"):
        mm.strategy(["GPU:7"])
    with pytest.raises(ValueError, match="Received: name=\\[\\]"):
        mm.strategy([])


def test_by_default_one_device_is_left_alone():
    assert mm.strategy() is mm.strategy("one") is tf.distribute.get_strategy()


class Two(tf.distribute.OneDeviceStrategy):
    """Says that it has two replicas, which is all that is looked at before anything is done."""

    num_replicas_in_sync = 2
    apply = None


def refused(message, data=None, strategy=Two, **options):
    strategy = strategy("CPU:0")
    optimizer = options.pop("optimizer", "sgd")
    with strategy.scope():
        task, records = cluster.TASKS["clip"]()
        task.compile(optimizer, {"caption": "mse"}, **options)
    data = data or mm.dataset(records, task.preprocessor, 8)
    with pytest.raises(ValueError, match=message):
        task.fit(data, verbose=0)


def test_what_cannot_work_is_refused():
    class Foreign(tf.distribute.OneDeviceStrategy):
        num_replicas_in_sync = 2

    refused("should be made within `mm.strategy", strategy=Foreign)
    refused("`jit_compile` should be False with 2 replicas", jit_compile=True)
    refused("`steps_per_execution` should be 1 with 2 replicas", steps_per_execution=2)
    refused("optimizer should be made within the scope", optimizer=keras.optimizers.SGD())
    strings = {"vector": tf.constant([["a"] * 4]), "caption_input": tf.ones([1, 4], tf.int32)}
    data = tf.data.Dataset.from_tensors((strings, {"caption": tf.ones([1, 4])}))
    refused("no strings with 2 replicas", data)


def test_a_batch_that_cannot_be_shared_is_refused():
    task, records = cluster.TASKS["clip"]()
    data = mm.dataset(records, task.preprocessor, 3)
    strategy = replication.Mirrored(["CPU:0"])
    strategy.__class__ = type("Two", (replication.Mirrored,), {"num_replicas_in_sync": 2})
    with pytest.raises(ValueError, match=r"multiple of 2, the number of replicas.*batch_size=3"):
        strategy.experimental_distribute_dataset(data)


def test_another_keras_is_warned_of(monkeypatch):
    monkeypatch.setattr(replication.keras, "__version__", "3.99.0")
    with pytest.warns(UserWarning, match="verified with Keras 3.15.*3.99.0.*issues/20585"):
        mm.strategy(["CPU:0"])
