"""An export behind a batching server without Python: TensorFlow Serving, or a stand-in."""

import contextlib
import os
import re
import shutil
import socket
import struct
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import mmkeras as mm

# TensorFlow Serving's own binary, where there is one.
BINARY = os.environ.get("TENSORFLOW_MODEL_SERVER")
COMPILER = shutil.which("g++")


def settings(path):
    """What `deploy/batching.config` beside a version says, by name."""
    text = (path.parent / "deploy" / "batching.config").read_text()
    return {name: int(value) for name, value in re.findall(r"(\w+) \{ value: (\d+) \}", text)}


class StandIn:
    """The program `stand_in.cc`, compiled into a folder."""

    def __init__(self, folder):
        self._program = folder / "stand_in"
        library = tf.sysconfig.get_lib()
        command = [COMPILER, "-O1", *tf.sysconfig.get_compile_flags()]
        command += ["-o", self._program, Path(__file__).with_name("stand_in.cc")]
        command += ["-l:libtensorflow_cc.so.2", *tf.sysconfig.get_link_flags()]
        subprocess.run([*command, f"-Wl,-rpath,{library}", "-pthread"], check=True)

    def ask(self, path, requests, **changed):
        """What each of many requests gets that come together, and the rows of its batch.

        A request is a dict of lists of bytes; an answer one of arrays, or the text of its error.
        """
        signature = _signature(path)
        chosen = settings(path) | changed
        names = ("max_batch_size", "batch_timeout_micros", "num_batch_threads")
        words = [str(chosen[name]) for name in (*names, "max_enqueued_batches")]
        words += [info.name for info in signature.inputs.values()]
        words += ["--", *(info.name for info in signature.outputs.values())]
        sent = [struct.pack("q", len(requests))]
        for request in requests:
            sent.append(struct.pack("q", len(next(iter(request.values())))))
            for name in signature.inputs:
                sent += [struct.pack("q", len(value)) + value for value in request[name]]
        done = subprocess.run(
            [self._program, path, *words], input=b"".join(sent), stdout=subprocess.PIPE, timeout=120
        )
        assert done.returncode == 0
        return _answers(done.stdout, list(signature.outputs))


class Stock:
    """TensorFlow Serving's binary, asked by many clients at the same time."""

    def ask(self, path, requests):
        with self._serve(path) as client, ThreadPoolExecutor(16) as pool:
            return list(pool.map(lambda request: self._ask(client, request), requests))

    def verify(self, path):
        with self._serve(path) as client:
            return mm.verify(path, client)

    @staticmethod
    def _ask(client, request):
        try:
            answer = client.predict(request)
        except Exception as error:  # of whatever kind: it is compared as text
            return str(error), None
        return {name: np.array(values) for name, values in answer.items()}, None

    @staticmethod
    @contextlib.contextmanager
    def _serve(path):
        ports = []
        for _ in range(2):
            with socket.create_server(("127.0.0.1", 0)) as free:
                ports.append(free.getsockname()[1])
        command = [BINARY, f"--port={ports[0]}", f"--rest_api_port={ports[1]}"]
        command += [f"--model_name={path.parent.name}", f"--model_base_path={path.parent}"]
        batching = path.parent / "deploy" / "batching.config"
        command += ["--enable_batching", f"--batching_parameters_file={batching}"]
        process = subprocess.Popen(command)
        try:
            end = time.monotonic() + 120
            while process.poll() is None and time.monotonic() < end:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", ports[1]), 1).close()
                    break
                time.sleep(0.1)
            yield mm.Client(f"http://127.0.0.1:{ports[1]}", path.parent.name)
        finally:
            process.terminate()
            process.wait()


def _signature(path):
    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    return saved.meta_graphs[0].signature_def["serving_default"]


def _answers(data, names):
    """The answers in the order of their requests, each with the rows of its batch."""
    at, found = 0, {}

    def number():
        nonlocal at
        at += 8
        return struct.unpack_from("q", data, at - 8)[0]

    def text():
        nonlocal at
        size = number()
        at += size
        return data[at - size : at]

    def array():
        nonlocal at
        kind = number()
        shape = [number() for _ in range(number())]
        count = int(np.prod(shape))
        if kind == tf.float32.as_datatype_enum:
            at += 4 * count
            return np.frombuffer(data, "float32", count, at - 4 * count).reshape(shape)
        values = np.empty(count, object)
        values[:] = [text().decode() for _ in range(count)]
        return values.reshape(shape)

    while at < len(data):
        request, code, rows = number(), number(), number()
        answer = text().decode() if code else {name: array() for name in names}
        found[request] = answer, rows
    return [found[request] for request in sorted(found)]
