"""What an export does in a process that has TensorFlow and neither mmkeras nor Keras.

python -I alone.py EXPORT MALFORMED REQUESTS prints as JSON what it found: how it answers, what
became of that many malformed requests, and the memory before and after that many good ones.
"""

import base64
import collections
import faulthandler
import json
import re
import sys
from pathlib import Path

for name in ("mmkeras", "keras", "tf_keras"):
    sys.modules[name] = None  # importing it now fails

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow.core.protobuf import saved_model_pb2  # noqa: E402
from tensorflow.python.framework import op_def_registry  # noqa: E402

DEFAULT = "serving_default"
# What a server answers with a status; anything else is a fault.
ERRORS = (TypeError, ValueError, tf.errors.InvalidArgumentError)
OTHER_TYPES = (np.float32(1.5), np.int64(3), b"text", True)


def main(path, malformed, requests):
    faulthandler.enable()
    # Optimizing graphs that run a few times takes longer than running them.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    golden = json.loads(Path(path, "assets.extra", "golden.json").read_text())
    raw = {name: array(plain(values)) for name, values in golden["inputs"].items()}
    models = [tf.saved_model.load(path) for _ in range(2)]
    first, second = (Asked(model, raw) for model in models)
    told = {
        "unknown": sorted(op for op in operations(path) if op_def_registry.get(op) is None),
        "python": sorted(op for op in operations(path) if re.match("Py|EagerPy|Numpy|Xla", op)),
        "unlike": [name for name in golden["outputs"] if not first.rows_are_the_batch(name)],
        "side_by_side": all(same(first.ask(n), second.ask(n)) for n in golden["outputs"]),
    }
    first.models = models  # variables live as long as what holds them
    told["malformed"] = first.malformed(int(malformed))
    told["kilobytes"] = first.memory(int(requests))
    print(json.dumps(told))


class Asked:
    """A loaded export and requests that are good."""

    def __init__(self, model, raw):
        self.signatures, self.raw = model.signatures, raw
        _, specs = self.signatures[DEFAULT].structured_input_signature
        self.default = {name: raw[name].astype(dtype(spec)) for name, spec in specs.items()}
        self.rows = len(next(iter(self.default.values())))

    def ask(self, signature, rows=slice(None)):
        _, specs = self.signatures[signature].structured_input_signature
        request = {k: tf.constant(self.raw[k][rows], spec.dtype) for k, spec in specs.items()}
        return {k: x.numpy() for k, x in self.signatures[signature](**request).items()}

    def rows_are_the_batch(self, signature):
        """Whether each row gets in a batch what it gets alone, up to what pads it."""
        batch = self.ask(signature)
        for row in range(self.rows):
            one = slice(row, row + 1)
            for name, alone in self.ask(signature, one).items():
                kept = (one, *(slice(size) for size in alone.shape[1:]))
                if not same({name: alone}, {name: batch[name][kept]}):
                    return False
        return True

    def malformed(self, count):
        """How many were answered, and how many refused by kind, with good ones between."""
        random, became = np.random.default_rng(0), collections.Counter()
        expected = self.ask(DEFAULT)
        for number in range(count):
            kind, request = spoilt(self.default, random)
            print(number, kind, file=sys.stderr)
            try:
                answer = self.signatures[DEFAULT](**{k: tf.constant(x) for k, x in request.items()})
            except ERRORS as error:
                became[type(error).__name__] += 1
            else:
                became["answered"] += 1
                for values in answer.values():
                    assert values.dtype != tf.string or [x.decode() for x in values.numpy().flat]
            if number % 100 == 99:
                assert same(self.ask(DEFAULT), expected), f"after {kind}"
        return became

    def memory(self, count):
        """Kilobytes after a fifth of the requests and after all of them."""
        found = []
        for part in (count // 5, count - count // 5):
            for number in range(part):
                row = number % self.rows
                self.ask(DEFAULT, slice(row, row + 1))
            status = Path("/proc/self/status").read_text()
            found.append(int(re.search(r"VmRSS:\s+(\d+)", status)[1]))
        return found


def spoilt(raw, random):
    """A request of one row that is wrong somewhere: what was done to it, and its arrays."""
    row = random.integers(len(next(iter(raw.values()))))
    request = {name: values[row : row + 1].copy() for name, values in raw.items()}
    name = random.choice(sorted(request))
    value = request[name]
    kind = random.choice(KINDS, p=CHANCES)
    if kind == "missing":
        del request[name]
    elif kind == "unknown":
        request["colour"] = value
    elif kind == "type":
        request[name] = array([OTHER_TYPES[random.integers(len(OTHER_TYPES))]])
    elif kind == "shape":
        request[name] = value[:, None] if random.random() < 0.5 else value[0]
    elif kind == "rows":
        request[name] = np.repeat(value, 3, axis=0)
    elif value.dtype != object:
        value[0] = random.choice([np.nan, np.inf, -np.inf, 3e38, 0])
    else:
        value[0] = spoilt_bytes(value[0], kind, random)
    return kind, request


KINDS = ["flip", "cut", "insert", "lengths", "long", "missing", "unknown", "type", "shape", "rows"]
CHANCES = np.array([8, 6, 6, 6, 1, 1, 1, 3, 3, 2]) / 37


def spoilt_bytes(data, kind, random):
    data = bytearray(data)
    place = int(random.integers(len(data) + 1))
    if kind == "cut":
        return bytes(data[:place])
    if kind == "insert":
        return bytes(data[:place] + random.bytes(int(random.integers(1, 50))) + data[place:])
    if kind == "long":
        return bytes(data + random.bytes(100_000))
    if kind == "lengths":
        # Where headers have sizes of pictures and chunks.
        place = min(place, 60)
        return bytes(
            data[:place] + random.choice([b"\xff", b"\x7f", b"\x00"]) * 4 + data[place + 4 :]
        )
    for at in random.integers(len(data), size=random.integers(1, 9)) if data else ():
        data[at] ^= 1 << random.integers(8)
    return bytes(data)


def operations(path):
    saved = saved_model_pb2.SavedModel.FromString(Path(path, "saved_model.pb").read_bytes())
    (graph,) = (meta.graph_def for meta in saved.meta_graphs)
    functions = graph.library.function
    nodes = [*graph.node, *(node for function in functions for node in function.node_def)]
    return {node.op for node in nodes} - {function.signature.name for function in functions}


def same(one, other):
    for name, values in one.items():
        if values.dtype == object:
            if not np.array_equal(values, other[name]):
                return False
        elif not np.allclose(values, other[name], rtol=1e-4, atol=1e-4, equal_nan=True):
            return False
    return True


def dtype(spec):
    return object if spec.dtype == tf.string else spec.dtype.as_numpy_dtype


def plain(values):
    if isinstance(values, list):
        return [plain(each) for each in values]
    if isinstance(values, dict):
        return base64.b64decode(values["b64"])
    return values.encode() if isinstance(values, str) else values


def array(values):
    """Nested lists as an array; bytes as objects, since NumPy's own lose zeros at their ends."""
    return np.array(values, object if isinstance(values[0], bytes) else None)


if __name__ == "__main__":
    main(*sys.argv[1:])
