"""Training behind a frozen network without running it again every epoch."""

import warnings

import keras
import numpy as np
import tensorflow as tf

from mmkeras.assembly import compile_task
from mmkeras.data import dataset
from mmkeras.preprocessing import Features, Preprocessor
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
        layer for layer in task.layers if isinstance(layer, keras.Model) and not layer.trainable
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
    inputs = {**task.input, name: output}
    fields = {**task.preprocessor.inputs, name: Features(tuple(output.shape[1:]))}
    preprocessor = Preprocessor(fields, task.preprocessor.targets)
    with warnings.catch_warnings():
        # The input is a tensor inside the task, so its own name is not that of the input.
        warnings.filterwarnings("ignore", message="When providing `inputs` as a dict")
        rest = Task(inputs, task.output, preprocessor=preprocessor, name=f"{task.name}_rest")
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


def precompute(frozen, values, field, batch_size=32, mirrored=False):
    """Run the frozen network over raw values once, with a progress bar.

    Args:
        frozen: As `split_frozen` gives it.
        values: Raw values of the input, such as paths of photos.
        field: The input's field, such as `Image`.
        batch_size: Values at once.
        mirrored: Whether the mirror image of every photo follows, after all of them.

    Returns:
        A float16 array `(values, ...)` or, mirrored, `(2 * values, ...)`.
    """
    passes = [None, {"raw": _mirror}] if mirrored else [None]
    computed = np.empty((len(passes) * len(values), *frozen.output.shape[1:]), "float16")
    bar = keras.utils.Progbar(len(computed))
    run = tf.function(lambda x: frozen(x, training=False), reduce_retracing=True, autograph=False)
    done = 0
    for augment in passes:
        preprocessor = Preprocessor({"raw": field}, {})
        for batch in dataset({"raw": values}, preprocessor, batch_size, augment=augment):
            features = run(batch["raw"]).numpy()
            computed[done : done + len(features)] = features
            done += len(features)
            bar.update(done)
    return computed


def _mirror(image, seed):
    return tf.reverse(image, [1])
