"""Grad-CAM: which places of a picture speak for an answer."""

import keras
import numpy as np
import tensorflow as tf

from mmkeras.explanation.drawing import draw_heat, picture_files, png, write_whole
from mmkeras.explanation.places import named_inputs, photo_of, picture_grid, values_at


def grad_cam(task, records, target=None, path=None, batch_size=32, **options):
    """Tells which places of the picture speak for an answer.

    Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
    Localization": the channels of the encoder's last grid, each weighted by how much the answer's
    score gains from it, and of their sum what is above zero. The score is the logit of a class, or
    the log-probability of a text. It is meant for grids of convolutions.

    Args:
        task: A Task with one target and an `Image` input whose encoder keeps a grid.
        records: Columns of its inputs; others are ignored.
        target: Answers as many as the records, each the one whose heat is wanted; None for what
            the task answers.
        path: Where to write pictures, as in `explain`. None writes none.
        batch_size: Records at once.
        **options: Of the search, for what the task answers.

    Returns:
        float32 `(records, grid height, grid width)`, from 0, in units of the score; 0 where a
        picture is missing.

    Raises:
        ValueError: if the task has no picture with a grid, there are not as many answers, the task
            cannot give one of them, or `path` does not fit the records.

    Example:

    ```python
    import mmkeras as mm

    photos = {"image": ["photo.jpg"]}
    heat = mm.grad_cam(model, photos, path="heat.png")     # (1, 4, 4), for what the model answers
    heat = mm.grad_cam(model, photos, ["ring"])            # for "ring"
    ```
    """
    found = picture_grid(task)
    if found is None or len(task.preprocessor.targets) != 1:
        raise ValueError(
            "`task` should have one target and an Image input whose encoder gives a grid (a "
            f"FlattenGrid layer). Received: inputs {sorted(task.preprocessor.inputs)}, targets "
            f"{sorted(task.preprocessor.targets)}"
        )
    name, layer = found
    field = task.preprocessor.inputs[name]
    columns = task.preprocessor.load(named_inputs(task, records))
    rows = len(columns[name])
    files = picture_files(path, rows)
    if target is not None:
        _check_answers(task, target, rows)
    heat = np.zeros([rows, *layer.grid], "float32")
    for start in range(0, rows, batch_size):
        part = slice(start, start + batch_size)
        raw = task.raw_tensors({key: values[part] for key, values in columns.items()})
        tensors = task.preprocessor.tensors(raw)
        answers = own_answers(task, tensors, options) if target is None else list(target[part])
        maps = heat_of(*gradients(task, tensors, answers, {name: layer.output}), name)
        heat[part] = maps.reshape(-1, *layer.grid)
        photos = [photo_of(field, value) for value in columns[name][part]]
        heat[part] *= np.reshape([photo is not None for photo in photos], (-1, 1, 1))
        for place, file in enumerate(files[part]):
            drawn = draw_heat(photos[place], heat[start + place], answers[place])
            write_whole(file, png(drawn))
    return heat


def own_answers(task, tensors, options):
    """What a task answers to tensors of its inputs, a list of str."""
    (target,) = task.preprocessor.targets
    found = task.get_layer(target).answer(**task.context(tensors)[target], **options)
    texts = task.preprocessor.targets[target].decode(found["ids"][:, 0])
    return [text.decode("utf-8", "replace") for text in texts.numpy().tolist()]


def gradients(task, tensors, answers, within):
    """How much the score of an answer gains from what is within a task.

    Args:
        task: A Task with one target.
        tensors: Of its inputs.
        answers: A str for each row.
        within: Keras tensors of the task by name, none of which depends on another.

    Returns:
        Two dicts as `within`: the values, and the gradient of the score.
    """
    ((target, field),) = task.preprocessor.targets.items()
    own, wanted, weight = field.target(target, field.column([field.load(a) for a in answers]))
    tensors = {**tensors, **own}
    # What lies behind is run again, as the tape would not follow through a frozen network; a layer
    # that gives several tensors is cut off whole.
    cut = {f"{name}/{i}": x for name, each in within.items() for i, x in enumerate(_siblings(each))}
    behind = keras.Function({**task.input, **cut}, task.output[target])
    values = values_at(task, tensors, cut)
    watched = {
        name: values[key] for name, each in within.items() for key, x in cut.items() if x is each
    }
    with tf.GradientTape() as tape:
        tape.watch(watched)
        logits = behind({**tensors, **values})
        score = _score(tf.cast(logits, tf.float32), wanted, weight)
    return watched, tape.gradient(score, watched)


def _siblings(tensor):
    """All that the layer gives which gives a Keras tensor."""
    layer, node, _ = tensor._keras_history
    return layer._inbound_nodes[node].output_tensors


def _score(logits, wanted, weight):
    """The logit of a class, or the log-probability of ids: one number per row, summed."""
    if wanted.dtype.is_integer:
        spent = tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, logits)
        return -tf.reduce_sum(spent * weight)
    return tf.reduce_sum(logits * wanted)


def heat_of(values, gradients, name):
    """Grad-CAM of a sequence `(batch, places, channels)`: float32 `(batch, places)`."""
    activations, slopes = (tf.cast(x[name], tf.float32) for x in (values, gradients))
    importance = tf.reduce_mean(slopes, axis=1, keepdims=True)
    return tf.nn.relu(tf.reduce_sum(importance * activations, axis=-1)).numpy()


def _check_answers(task, answers, rows):
    if isinstance(answers, (str, bytes)) or len(answers) != rows:
        received = repr(answers) if isinstance(answers, (str, bytes)) else len(answers)
        raise ValueError(
            f"`target` should hold an answer for each of {rows} records. Received: {received}"
        )
    ((name, field),) = task.preprocessor.targets.items()
    lengths = {key: [np.inf] * rows for key in task.preprocessor.inputs}
    faults = field.faults([field.load(answer) for answer in answers], lengths)
    for row, fault in sorted(faults.items()):
        raise ValueError(f"`target` should be what {name!r} can be. Received: row {row} {fault}")
