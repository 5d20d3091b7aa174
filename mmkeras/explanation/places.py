"""Where in a task its pictures and texts are: grids, places of the context, what is fused."""

import keras

from mmkeras.layers import FlattenGrid
from mmkeras.preprocessing import Image


def attention_grid(task):
    """Which part of the context is a picture that each token of the answer looks at.

    Args:
        task: A Task.

    Returns:
        `(input name, first place in the context, (height, width))`, or None without one.
    """
    if len(task.preprocessor.targets) != 1:
        return None
    if not hasattr(task.get_layer(next(iter(task.preprocessor.targets))), "attention"):
        return None
    start, names = 0, {layer.name for layer in task.layers}
    for name in task.preprocessor.inputs:
        # Other fusions than concatenation along time leave nothing in its place.
        if f"{name}_projection" not in names:
            return None
        length = task.get_layer(f"{name}_projection").output.shape[1]
        layer = grid_layer(task, name)
        if layer is not None:
            height, width = layer.grid
            return (name, start, layer.grid) if length == height * width else None
        if length is None:
            return None
        start += length
    return None


def picture_grid(task):
    """The first input that is a picture whose encoder gives a grid: `(name, layer)`, or None."""
    found = ((name, grid_layer(task, name)) for name in task.preprocessor.inputs)
    return next(((name, layer) for name, layer in found if layer is not None), None)


def grid_layer(task, name):
    """The layer that makes a sequence of the grid of a picture, or None."""
    if not isinstance(task.preprocessor.inputs[name], Image):
        return None
    for layer in task.layers:
        if isinstance(layer, FlattenGrid):
            try:
                keras.Model(task.input[name], layer.output)
            except ValueError:  # it depends on another input
                continue
            return layer
    return None


def text_input(task):
    """The name of the first input that is a text, or None."""
    fields = task.preprocessor.inputs.items()
    return next((name for name, field in fields if hasattr(field, "tokenizer")), None)


def fused(task, target):
    """What makes the context of a target.

    Args:
        task: A Task.
        target: Name of the target.

    Returns:
        The layer that fuses, None where the sequences stand one after the other along time; and
        `{input name: (sequence, mask)}`, the Keras tensors that it fuses, masks may be None. The
        dict is empty if a function of one's own fuses.
    """
    layer, node, _ = task.head_arguments(target)["context"]._keras_history
    given = layer._inbound_nodes[node].arguments.args
    if given and isinstance(given[0], dict):
        return layer, given[0]
    names = {layer.name for layer in task.layers}
    return None, {
        name: (task.get_layer(f"{name}_projection").output, None)
        for name in task.preprocessor.inputs
        if f"{name}_projection" in names
    }


def values_at(task, tensors, wanted):
    """Keras tensors within a task, a dict, as they are for these tensors of its inputs."""
    inputs = {name: x for name, x in task.input.items() if name in tensors}
    return keras.Function(inputs, wanted)(tensors)


def seen(task, records, row):
    """The pictures of a record as the model sees them.

    Args:
        task: A Task.
        records: Columns of its inputs.
        row: Which record.

    Returns:
        Dict of uint8 `(height, width, 3)` by name of an `Image` input that the record has.
    """
    fields = {
        name: field for name, field in task.preprocessor.inputs.items() if isinstance(field, Image)
    }
    photos = {
        name: photo_of(field, field.given(records[name][row]))
        for name, field in fields.items()
        if name in records
    }
    return {name: photo for name, photo in photos.items() if photo is not None}


def photo_of(field, raw):
    """uint8 `(height, width, 3)` of a raw picture as the model sees it, None if it is missing."""
    return field(raw).numpy() if not field.optional or bool(field.present(raw)) else None


def named_inputs(task, records):
    """Of records the columns of a task's inputs."""
    if not isinstance(records, dict):
        return records
    return {name: records[name] for name in records if name in task.preprocessor.inputs}
