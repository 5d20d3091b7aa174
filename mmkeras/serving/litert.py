"""LiteRT (TensorFlow Lite): what a Task computes as one function for phones and small boards."""

import os
import tempfile
import warnings
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError

from mmkeras.serving.archive import without_cudnn
from mmkeras.serving.golden import TOLERANCE


def export_litert(task, path, examples=None, frames=1000):
    """Write a classifier, or speech recognition by CTC, as a LiteRT model: tensors in and out.

    It takes the tensors of one example, under the names that the task's layers take them by, and
    holds operations of LiteRT only, so that its interpreter runs it anywhere. What makes tensors of
    texts, files and sounds, and texts of tensors, is left to the program around it:

    - of a text: its ids `(1, length)`, int32, as the `Text` field gives them
    - of a picture: pixels `(1, height, width, 3)`, uint8, and `NAME_mask` `(1, 1)`, bool, where the
      picture may be missing
    - of a recording: log-mel frames `(1, frames, bands)`, float32, and `NAME_mask` `(1, frames)`,
      bool, false where there is padding

    It gives, under the target's name, `(1, classes)`, the probabilities of the field's classes, or
    `(1, frames / subsampling, vocabulary)`, the log-probabilities of CTC, in which id 0 is the
    blank. LiteRT has no dynamic size for most layers: what is shorter has to be padded.

    The model is asked the examples before it is put in its place, and has to answer as the task.

    Args:
        task: A `Task` with one target, of a closed set or with the head `CTC`.
        path: Of the file, such as `"labels.tflite"`; one that is there gives way to it.
        examples: A dict of lists by input name, to ask it; None for some that the fields make up.
        frames: What recordings are padded to; 100 are a second.

    Returns:
        The file, a `Path`.

    Raises:
        ValueError: if the task does something else, or LiteRT lacks an operation it needs, or
            answers differ from the task's.

    Example:

    ```python
    import mmkeras as mm
    import tensorflow as tf

    task = mm.image_classification(["ring", "disc"], 32)
    path = mm.export_litert(task, "shapes.tflite")
    run = tf.lite.Interpreter(str(path)).get_signature_runner()
    run(image=task.preprocessor.inputs["image"](["photo.jpg"]).numpy())["label"]  # (1, 2)
    ```
    """
    hindrance = what_prevents(task)
    if hindrance:
        raise ValueError(f"`task` should be one function from tensors to tensors: {hindrance}")
    if not (isinstance(frames, int) and frames > 0):
        raise ValueError(
            f"`frames` should be a whole number, at least 1. Received: frames={frames!r}"
        )
    specs = _specs(task, frames)
    contents = _converted(task, specs)
    run = _runner(contents)
    for number, inputs in enumerate(_examples(task, examples, specs)):
        (expected,), (found,) = _computed(task, inputs).values(), run(**inputs).values()
        if not np.allclose(expected, found, rtol=TOLERANCE, atol=TOLERANCE):
            furthest = np.abs(expected - found).max()
            raise ValueError(f"LiteRT differs from Python by {furthest:.2g} in example {number}")
    return _placed(contents, Path(path))


def what_prevents(task):
    """Why a Task is no single function from tensors to tensors, as text; None if it is."""
    heads = {name: task.get_layer(name) for name in task.preprocessor.targets}
    if len(heads) != 1:
        return f"it has the targets {sorted(heads)}, not one"
    ((name, head),) = heads.items()
    if hasattr(head, "step") or hasattr(head, "ctc"):
        return (
            f"its target {name!r} is written token by token, in a search ({type(head).__name__}), "
            "which a SavedModel holds, see `mmkeras.export`, and LiteRT cannot"
        )
    if not (hasattr(head, "classes") or hasattr(head, "search")):
        return f"its target {name!r} is neither a class nor CTC ({type(head).__name__})"
    return None


def _specs(task, frames):
    """What the model takes: a dict of `tf.TensorSpec` by name, of one example."""
    return {
        name: tf.TensorSpec([1, *(size or frames for size in x.shape[1:])], x.dtype, name=name)
        for name, x in task.input.items()
    }


def _computed(task, inputs):
    ((name, given),) = task(inputs, training=False).items()
    return {name: keras.ops.softmax(given) if hasattr(task.get_layer(name), "classes") else given}


def _converted(task, specs):
    # LiteRT's variables are not those of the layers: weights have to be constants of the graph.
    constants = [(weight, weight.numpy()) for weight in task.weights]

    @tf.function(input_signature=[specs], autograph=False)
    def function(inputs):
        with keras.StatelessScope([(weight, tf.constant(v)) for weight, v in constants]):
            return _computed(task, inputs)

    with without_cudnn(task):
        traced = function.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced], tf.Module())
    try:
        return converter.convert()
    except ConverterError as error:
        raise ValueError(f"LiteRT lacks an operation of {task.name!r}: {error}") from None


def _runner(contents):
    with warnings.catch_warnings():
        # TensorFlow points to the same interpreter in a package of its own.
        warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated")
        return tf.lite.Interpreter(model_content=contents).get_signature_runner()


def _examples(task, examples, specs):
    """The tensors of each example, padded, or cut, to what the model takes."""
    fields = task.preprocessor.inputs
    if examples is None:
        examples = {name: [field.example(0)] for name, field in fields.items()}
    columns = task.preprocessor.load(examples)
    for row in range(len(next(iter(columns.values())))):
        raw = task.raw_tensors({name: values[row : row + 1] for name, values in columns.items()})
        tensors = task.preprocessor.tensors(raw)
        yield {name: _sized(tensors[name].numpy(), spec.shape) for name, spec in specs.items()}


def _sized(values, shape):
    sized = np.zeros(shape, values.dtype)
    kept = tuple(slice(min(pair)) for pair in zip(values.shape, shape, strict=True))
    sized[kept] = values[kept]
    return sized


def _placed(contents, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        Path(folder, path.name).write_bytes(contents)
        os.replace(Path(folder, path.name), path)
    return path
