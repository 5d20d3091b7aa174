"""Fusion: several (sequence, mask) become one."""

import keras
from keras import ops

from mmkeras.layers.linear import LayerNorm, Linear


def concatenate(encoded, width, dropout=0.0):
    """Project each modality to one width and join them along time.

    Args:
        encoded: `{name: (sequence, mask)}`, each `(batch, length, any)` and `(batch, length)` or
            None.
        width: Of the result.
        dropout: Rate on the result.

    Returns:
        The sequence `(batch, sum of lengths, width)` and its mask, None if no modality has one.
    """
    sequences = []
    for name, (sequence, _) in encoded.items():
        x = Linear(width, name=f"{name}_projection")(sequence)
        x = LayerNorm(name=f"{name}_projection_norm")(x)
        sequences.append(keras.layers.Dropout(dropout, name=f"{name}_dropout")(x))
    masks = [mask for _, mask in encoded.values()]
    joined = sequences[0] if len(sequences) == 1 else ops.concatenate(sequences, axis=1)
    if all(mask is None for mask in masks):
        return joined, None
    masks = [
        ops.ones_like(x[:, :, 0], dtype="bool") if mask is None else mask
        for x, mask in zip(sequences, masks, strict=True)
    ]
    return joined, masks[0] if len(masks) == 1 else ops.concatenate(masks, axis=1)
