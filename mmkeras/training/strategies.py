"""Where a training runs: on one device, on several, or on several machines."""

import contextlib
import json
import os
import socket
import time

import tensorflow as tf

from mmkeras.training import replication

NAMES = ("one", "mirrored", "multi_worker")
CONFIG = "TF_CONFIG"
JOBS = ("chief", "worker")
ASK_AGAIN_SECONDS = 0.2


def strategy(name=None, timeout=300):
    """The strategy in whose scope a model is made, to be trained by one device or by many.

    Training gives what one device gives on the same batches, but for rounding: losses are means
    over the examples of all replicas, pairs are held against those of all, and gradients are
    clipped and accumulated once they are summed. A batch of `mm.dataset` is parted among them.

    Args:
        name: `"one"` device; `"mirrored"`, all GPUs of this machine; `"multi_worker"`, all machines
            that the environment variable `TF_CONFIG` tells of, each running the same script; or a
            list of devices of this machine, such as `["GPU:0", "GPU:2"]`. By default what there
            is: `TF_CONFIG` if it is set, else all GPUs, else the one device.
        timeout: seconds to wait for the workers that `TF_CONFIG` names.

    Returns:
        A `tf.distribute.Strategy`. With `TF_CONFIG` to be asked for before anything else of
        TensorFlow is used.

    Raises:
        ValueError: `name` or `TF_CONFIG` is wrong, or there is no such device.
        OSError: the port of this worker is in use.
        TimeoutError: a worker has not come, naming its address.

    Example:

    ```python
    import mmkeras as mm

    with mm.strategy().scope():
        model = mm.image_captioning(words, image_size=160)
    model.fit(mm.dataset(train, model.preprocessor, 64, shuffle=True))
    ```
    """
    if isinstance(name, (list, tuple)):
        return _mirrored(list(name))
    if name is None:
        several = len(tf.config.list_physical_devices("GPU")) > 1
        name = "multi_worker" if os.environ.get(CONFIG) else "mirrored" if several else "one"
    if name not in NAMES:
        raise ValueError(
            f"`name` should be one of {list(NAMES)} or a list of devices. Received: name={name!r}"
        )
    if name == "one":
        return tf.distribute.get_strategy()
    return _mirrored(None) if name == "mirrored" else _multi_worker(timeout)


def _mirrored(devices):
    there = [each.name.removeprefix("/device:") for each in tf.config.list_logical_devices()]
    unknown = [each for each in devices or [] if each.removeprefix("/device:") not in there]
    if unknown or devices == []:
        raise ValueError(f"Devices should be some of {there}. Received: name={devices}")
    replication.override()
    return replication.Mirrored(devices)


def _multi_worker(timeout):
    addresses, own = _cluster(os.environ.get(CONFIG, ""))
    _meet(addresses, own, timeout)
    replication.override()
    try:
        return replication.MultiWorker()
    except RuntimeError as error:
        raise RuntimeError(
            "`mm.strategy` should be asked for several workers before anything else of TensorFlow "
            f"is used. {error}"
        ) from error


def _cluster(text):
    """The addresses of all workers, and that of this one, from the text of `TF_CONFIG`."""
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        kind, index = task["type"], task["index"]
        own = cluster[kind][int(index)]
        addresses = [each for job in JOBS for each in cluster.get(job, [])]
        pairs = [(host, int(port)) for host, _, port in (a.rpartition(":") for a in addresses)]
    except json.JSONDecodeError as error:
        raise _wrong(f"JSON, and {error}", text) from None
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise _wrong(f"{type(error).__name__}: {error}", text) from None
    if kind not in JOBS or not set(cluster) <= {*JOBS, "evaluator"}:
        raise _wrong(f"jobs {list(JOBS)} only: there are no parameter servers", text)
    if len(set(pairs)) < len(pairs) or not all(host for host, _ in pairs):
        raise _wrong("a different HOST:PORT for each worker", text)
    return addresses, own


def _wrong(what, text):
    shape = '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'
    return ValueError(f"{CONFIG} should be like {shape}. Received: {what} {text!r:.500}")


def _meet(addresses, own, timeout):
    """Waits until every worker listens; TensorFlow would wait for an hour and not say for whom."""
    until = time.monotonic() + timeout
    missing = [each for each in addresses if each != own]
    with _listening(int(own.rpartition(":")[2])):
        while missing and time.monotonic() < until:
            missing = [each for each in missing if not _is_there(each)]
            if missing:
                time.sleep(ASK_AGAIN_SECONDS)
    if missing:
        raise TimeoutError(
            f"{missing} of {CONFIG} did not come within {timeout} seconds; this worker is {own}. "
            "Every worker should run the same script, and reach the others' ports."
        )


@contextlib.contextmanager
def _listening(port):
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("", port))
            server.listen()
        except OSError as error:
            error.filename = f"port {port}, which {CONFIG} gives this worker"
            raise
        yield


def _is_there(address):
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError):
        socket.create_connection((host, int(port)), timeout=1).close()
        return True
    return False
