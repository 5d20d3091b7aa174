"""Training behind a frozen network without running it again every epoch."""

import hashlib
import os
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from mmkeras.assembly import compile_task
from mmkeras.data import dataset
from mmkeras.preprocessing import Features, Preprocessor
from mmkeras.preprocessing.field import is_missing
from mmkeras.task import Task


def split_frozen(task, name="image"):
    """Cut a Task behind the frozen network that encodes one of its inputs.

    The second part shares its layers with the task: to train it is to train the task. Its input
    `name` takes the frozen network's output, which `frozen` computes once per photo.

    Args:
        task: A Task whose input `name` goes through a frozen network, see `pretrained`.
        name: The input.

    Returns:
        `frozen`, a `keras.Model` from the input's tensor to the network's output, and `rest`, a
        compiled Task whose field `name` is a `Features` of that output's shape.

    Raises:
        ValueError: if no frozen network is behind the input.

    Example:

    ```python
    import mmkeras as mm

    frozen, rest = mm.split_frozen(model)
    computed = mm.precompute(frozen, train, model.preprocessor.inputs["image"])
    rest.fit(mm.dataset({**train, "image": computed}, rest.preprocessor, 64), epochs=20)
    model.infer({"image": ["photo.jpg"]})
    ```
    """
    backbones = [
        layer for layer in task.layers if getattr(layer, "frozen", False) and not layer.trainable
    ]
    output = next(
        (x for layer in backbones if (x := _output_for(task, layer, name)) is not None), None
    )
    if output is None:
        raise ValueError(
            f"The input {name!r} should go through a frozen network, as "
            f"`mm.pretrained(backbone, trainable=False)` makes it. Found none in {task.name!r}"
        )
    frozen = keras.Model(task.input[name], output, name=f"{name}_frozen")
    # Calling the layers again on new inputs leaves the task's own graph as it is; a Model from a
    # tensor within it would rewire the inputs that both share, and the task could not be saved.
    behind = keras.Function({**task.input, name: output}, task.output)
    optional = task.preprocessor.inputs[name].optional
    fields = {**task.preprocessor.inputs, name: Features(tuple(output.shape[1:]), optional)}
    inputs = {
        key: keras.Input(x.shape[1:], dtype=x.dtype, name=key) for key, x in task.input.items()
    }
    inputs[name] = fields[name].input(name)
    preprocessor = Preprocessor(fields, task.preprocessor.targets)
    rest = Task(inputs, behind.call(inputs), preprocessor=preprocessor, name=f"{task.name}_rest")
    compile_task(rest)
    return frozen, rest


def _output_for(task, layer, name):
    """The output of `layer` in this task if it depends on the input `name` alone."""
    for node in layer._inbound_nodes:
        output = node.outputs[0]
        try:
            keras.Model(task.input[name], output)
        except ValueError:
            continue
        return output
    return None


def precompute(frozen, values, field, batch_size=32, mirrored=False, cache=None):
    """Run the frozen network over raw values once, with a progress bar.

    Args:
        frozen: As `split_frozen` gives it.
        values: Raw values of the input, such as paths of photos.
        field: The input's field, such as `Image`.
        batch_size: Values at once.
        mirrored: Whether the mirror image of every photo follows, after all of them.
        cache: A folder that keeps the result for the next time, in a file named by what it was
            made of (weights, field, values); or None. The array is then read from the file as it
            is needed, so that it may be larger than memory.

    Returns:
        A float16 array `(values, ...)` or, mirrored, `(2 * values, ...)`; NaN for a missing value.
    """
    shape = ((1 + mirrored) * len(values), *frozen.output.shape[1:])
    if cache is None:
        return _compute(frozen, values, field, batch_size, np.empty(shape, "float16"))
    file = Path(cache) / f"{_fingerprint(frozen, values, field, mirrored)}.npy"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        array = np.lib.format.open_memmap(part, "w+", "float16", shape)
        _compute(frozen, values, field, batch_size, array).flush()
        os.replace(part, file)
    return np.load(file, mmap_mode="r")


def _compute(frozen, values, field, batch_size, computed):
    there = np.array([row for row, value in enumerate(values) if not is_missing(value)])
    computed[:] = np.nan
    passes = [None, {"raw": _mirror}] if len(computed) > len(values) else [None]
    bar = keras.utils.Progbar(len(passes) * len(there))
    run = tf.function(lambda x: frozen(x, training=False), reduce_retracing=True, autograph=False)
    for turn, augment in enumerate(passes):
        preprocessor = Preprocessor({"raw": field}, {})
        data = dataset(
            {"raw": [values[row] for row in there]}, preprocessor, batch_size, augment=augment
        )
        for start, batch in zip(range(0, len(there), batch_size), data, strict=True):
            rows = there[start : start + batch_size]
            computed[turn * len(values) + rows] = run(batch["raw"]).numpy()
            bar.add(len(rows))
    return computed


def _mirror(image, seed):
    return tf.reverse(image, [1])


def _fingerprint(frozen, values, field, mirrored):
    made_of = hashlib.sha256()
    for weight in frozen.get_weights():
        made_of.update(weight.tobytes())
    field = {name: value for name, value in field.get_config().items() if name != "name"}
    made_of.update(repr((sorted(field.items(), key=str), mirrored)).encode())
    for value in values:
        made_of.update(value if isinstance(value, bytes) else str(value).encode())
    return made_of.hexdigest()[:32]
