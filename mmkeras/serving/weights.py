"""Weights of an export in fewer bytes: large ones are stored small, and cast in the graph."""

import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf


def _bfloat16(values):
    return [tf.cast(values, tf.bfloat16)]


def _int8(values):
    # Of each output channel the largest becomes 127; a channel of zeros stays one.
    largest = tf.reduce_max(tf.abs(values), axis=list(range(len(values.shape) - 1)))
    scale = tf.where(largest > 0, largest / 127, 1.0)
    return [tf.cast(tf.round(values / scale), tf.int8), scale]


# How a matrix becomes what is stored: tensors whose product is near to it.
KINDS = {"float32": lambda values: [values], "bfloat16": _bfloat16, "int8": _int8}


def check_weights(weights):
    """The kind of weights, if it is one.

    Raises:
        ValueError: if it is not.
    """
    if weights not in KINDS:
        raise ValueError(f"`weights` should be one of {list(KINDS)}. Received: weights={weights!r}")
    return weights


class StoredWeights:
    """What an export stores instead of the matrices of a Task.

    Vectors (biases, scales of normalisations) and whole numbers stay as they are.

    Args:
        task: A `Task`.
        weights: `"bfloat16"` or `"int8"`, with one scale for each output channel.
    """

    def __init__(self, task, weights):
        self._stored = [
            (weight, [tf.Variable(part, trainable=False) for part in KINDS[weights](weight.value)])
            for weight in _matrices(task)
        ]

    def scope(self):
        """In it a graph reads what is stored, cast, wherever a layer reads its weight."""
        return keras.StatelessScope([(weight, _read(parts)) for weight, parts in self._stored])


def rounded(task, weights):
    """A copy of a Task that computes with what an export with such `weights` stores.

    Args:
        task: A `Task`, which stays as it is.
        weights: As in `mmkeras.export`: `"bfloat16"` or `"int8"`.

    Returns:
        A `Task`, not compiled.

    Raises:
        ValueError: if `weights` are not one of these.

    Example:

    ```python
    import mmkeras as mm

    before, _ = mm.evaluate(model, test)
    after, _ = mm.evaluate(mm.rounded(model, "bfloat16"), test)
    scores = {"accuracy": after["accuracy"], "accuracy in float32": before["accuracy"]}
    mm.export(model, "saved_models/labels", weights="bfloat16", card={"scores": scores})
    ```
    """
    store = KINDS[check_weights(weights)]
    with tempfile.TemporaryDirectory() as folder:
        # By name: weights stand in another order where a head got a language model later.
        task.save(Path(folder, "task.keras"))
        copy = keras.models.load_model(Path(folder, "task.keras"), compile=False)
    for weight in _matrices(copy):
        weight.assign(_read(store(weight.value)))
    return copy


def differences(expected, found):
    """How answers differ, two dicts of arrays by name, as a sentence for each name."""
    told = []
    for name, was in expected.items():
        now = found[name]
        if was.dtype == object:
            told.append(f"`{name}` is the same in {np.sum(was == now)} of {was.size} answers.")
        else:
            told.append(f"`{name}` differs by {np.abs(was - now).max(initial=0):.2g} at most.")
    return told


def _matrices(task):
    return [w for w in task.weights if w.dtype == "float32" and len(w.shape) > 1]


def _read(parts):
    values = tf.cast(parts[0], tf.float32)
    return values * parts[1] if parts[1:] else values
