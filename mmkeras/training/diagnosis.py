"""Which tensor is not finite first: of batch, weights, layers or gradient."""

import keras
import numpy as np
import tensorflow as tf


def diagnose(model, batch, records):
    """What is not finite, when a model meets a batch.

    Args:
        model: a functional model that is compiled.
        batch: `(x, y, sample_weight)` or `(x, y)`.
        records: the number of the record of each example; None if that is not known.

    Returns:
        A sentence; None if all is finite.
    """
    x, y, weights = keras.utils.unpack_x_y_sample_weight(batch)
    given = {"input": x, "target": y, "weight": {} if weights is None else weights}
    for kind, tensors in given.items():
        for name, tensor in tensors.items():
            if not _is_finite(tensor):
                return f"The {kind} {name!r} is not finite{_where(tensor, records)}."
    spoilt = [variable.path for variable in model.weights if not _is_finite(variable)]
    if spoilt:
        more = f" and {len(spoilt) - 1} more" if len(spoilt) > 1 else ""
        return (
            f"The weights {spoilt[0]!r}{more} are not finite: this step or one before spoilt them."
        )
    for name, tensor in _outputs(model, x):
        if not _is_finite(tensor):
            return f"The output of {name!r} is not finite{_where(tensor, records)}."
    return _of_gradient(model, x, y, weights)


def _outputs(model, x):
    """What the layers give, by name, in the order of the graph."""
    depths = sorted(model._nodes_by_depth, reverse=True)
    nodes = [node for depth in depths for node in model._nodes_by_depth[depth]]
    nodes = [node for node in nodes if not node.is_input]
    run = keras.Function(model.input, [node.outputs for node in nodes])
    found = run({name: x[name] for name in model.input})
    for node, outputs in zip(nodes, found, strict=True):
        for tensor in outputs:
            yield node.operation.name, tensor


def _of_gradient(model, x, y, weights):
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x=x, y=y, y_pred=model(x), sample_weight=weights)
    if not _is_finite(loss):
        return f"The loss is {float(loss)}, though all that the model gives is finite."
    variables = model.trainable_variables
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        if gradient is not None and not _is_finite(tf.convert_to_tensor(gradient)):
            return f"The gradient of {variable.path!r} is not finite."
    return None


def _is_finite(value):
    array = keras.ops.convert_to_numpy(value)
    return array.dtype.kind not in "fV" or bool(np.isfinite(array.astype("float32")).all())


def _where(tensor, records):
    """The records of the rows that are not finite."""
    array = keras.ops.convert_to_numpy(tensor).astype("float32")
    if records is None or len(array) != len(records):
        return ""
    rows = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
    return f" in {listed(np.asarray(records)[rows])}"


def listed(records):
    """Numbers of records for people."""
    names = [str(record) for record in dict.fromkeys(int(each) for each in records)]
    shown = ", ".join(names[:16]) + (f" and {len(names) - 16} more" if len(names) > 16 else "")
    return f"record{'s' if len(names) > 1 else ''} {shown}"
