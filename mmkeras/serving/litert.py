"""LiteRT (TensorFlow Lite): what a Task computes as one function for phones and small boards."""

import warnings

import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError

from mmkeras.serving.archive import without_cudnn
from mmkeras.serving.tensor_function import TensorFunction, placed


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
    function = TensorFunction(task, 1, frames)
    with without_cudnn(task):
        traced = function.graph().get_concrete_function()
    # Without a trackable it would have no signature.
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced], tf.Module())
    try:
        contents = converter.convert()
    except ConverterError as error:
        raise ValueError(f"LiteRT lacks an operation of {task.name!r}: {error}") from None
    run = _runner(contents)
    function.compare(lambda inputs: next(iter(run(**inputs).values())), examples)
    return placed(contents, path)


def _runner(contents):
    with warnings.catch_warnings():
        # TensorFlow points to the same interpreter in a package of its own.
        warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated")
        return tf.lite.Interpreter(model_content=contents).get_signature_runner()
