"""What a Task computes as one function from tensors to tensors, without any variable or search."""

import os
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from mmkeras.serving.golden import TOLERANCE


class TensorFunction:
    """The function of a task that classifies, or of CTC, for other formats than TensorFlow's.

    Args:
        task: A `Task` with one target, of a closed set or with the head `CTC`.
        batch: How many examples it takes at once; None for any number.
        frames: What recordings are padded to.

    Attributes:
        specs: What it takes: a dict of `tf.TensorSpec` by name.

    Raises:
        ValueError: if the task does something else, or `frames` is no such number.
    """

    def __init__(self, task, batch, frames):
        hindrance = what_prevents(task)
        if hindrance:
            raise ValueError(f"`task` should be one function from tensors to tensors: {hindrance}")
        if not (isinstance(frames, int) and frames > 0):
            raise ValueError(
                f"`frames` should be a whole number, at least 1. Received: frames={frames!r}"
            )
        self.task = task
        self.specs = {
            name: tf.TensorSpec(
                [batch, *(size or frames for size in x.shape[1:])], x.dtype, name=name
            )
            for name, x in task.input.items()
        }

    def __call__(self, inputs):
        """Tensors by name -> probabilities or log-probabilities, by the target's name."""
        ((name, given),) = self.task(inputs, training=False).items()
        is_class = hasattr(self.task.get_layer(name), "classes")
        return {name: keras.ops.softmax(given) if is_class else given}

    def graph(self):
        """It as a `tf.function`, in which weights are constants."""
        constants = [(weight, weight.numpy()) for weight in self.task.weights]

        @tf.function(input_signature=[self.specs], autograph=False)
        def function(inputs):
            with keras.StatelessScope([(weight, tf.constant(v)) for weight, v in constants]):
                return self(inputs)

        return function

    def compare(self, run, examples=None):
        """Ask a function that should be the same, one example after the other.

        Args:
            run: A function of arrays by name that gives one array.
            examples: A dict of lists by input name; None for some that the fields make up.

        Raises:
            ValueError: if answers differ by more than 1e-4, absolute or relative.
        """
        for number, inputs in enumerate(self._examples(examples)):
            (expected,), found = self(inputs).values(), run(inputs)
            if not np.allclose(expected, found, rtol=TOLERANCE, atol=TOLERANCE):
                furthest = np.abs(expected - found).max()
                raise ValueError(
                    f"What was converted differs from Python by {furthest:.2g} in example {number}"
                )

    def _examples(self, examples):
        """The tensors of each example, padded, or cut, to what the function takes."""
        fields = self.task.preprocessor
        if examples is None:
            examples = {name: [field.example(0)] for name, field in fields.inputs.items()}
        columns = fields.load(examples)
        for row in range(len(next(iter(columns.values())))):
            one = {name: values[row : row + 1] for name, values in columns.items()}
            tensors = fields.tensors(self.task.raw_tensors(one))
            yield {
                name: _sized(tensors[name].numpy(), (1, *spec.shape[1:]))
                for name, spec in self.specs.items()
            }


def what_prevents(task):
    """Why a Task is no single function from tensors to tensors, as text; None if it is."""
    heads = {name: task.get_layer(name) for name in task.preprocessor.targets}
    if len(heads) != 1:
        return f"it has the targets {sorted(heads)}, not one"
    ((name, head),) = heads.items()
    if hasattr(head, "step") or hasattr(head, "ctc"):
        return (
            f"its target {name!r} is written token by token, in a search ({type(head).__name__}), "
            "which a SavedModel holds, see `mmkeras.export`, and this format cannot"
        )
    if not (hasattr(head, "classes") or hasattr(head, "search")):
        return f"its target {name!r} is neither a class nor CTC ({type(head).__name__})"
    return None


def _sized(values, shape):
    sized = np.zeros(shape, values.dtype)
    kept = tuple(slice(min(pair)) for pair in zip(values.shape, shape, strict=True))
    sized[kept] = values[kept]
    return sized


def placed(contents, path):
    """Writes a file whole or not at all; gives its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        Path(folder, path.name).write_bytes(contents)
        os.replace(Path(folder, path.name), path)
    return path
