"""A sequence as one vector."""

from keras import ops


def masked_mean(sequence, mask):
    """Mean of the visible positions: `(batch, length, width)` and a mask -> `(batch, width)`."""
    weights = ops.expand_dims(ops.cast(mask, sequence.dtype), -1)
    return ops.sum(sequence * weights, axis=1) / ops.maximum(ops.sum(weights, axis=1), 1)
