"""Fusions that keep the sequences, without attention."""

import keras
from keras import ops

from mmkeras.fusion.inputs import Fusion, NullEmbedding, check_name
from mmkeras.layers.bidirectional import RecurrentBlock
from mmkeras.layers.linear import LayerNorm, Linear
from mmkeras.layers.pooling import masked_mean


def concatenate(encoded, width, dropout=0.0):
    """Project each modality to one width and join them along time, as layers of the outer model.

    A missing modality is stood in for by a `NullEmbedding` where there is another one.

    Args:
        encoded: `{name: (sequence, mask)}`, each `(batch, length, any)` and `(batch, length)` or
            None.
        width: Of the result.
        dropout: Rate on the result.

    Returns:
        The sequence `(batch, sum of lengths, width)` and its mask, None if no modality has one.
    """
    sequences, masks = [], []
    for name, (x, mask) in encoded.items():
        if mask is not None and len(encoded) > 1:
            x, mask = NullEmbedding(name=f"{name}_null")(x, mask)
        x = Linear(width, name=f"{name}_projection")(x)
        x = LayerNorm(name=f"{name}_projection_norm")(x)
        sequences.append(keras.layers.Dropout(dropout, name=f"{name}_dropout")(x))
        masks.append(mask)
    if len(encoded) == 1:
        return sequences[0], masks[0]
    joined = ops.concatenate(sequences, axis=1)
    if all(mask is None for mask in masks):
        return joined, None
    masks = [
        ops.ones_like(x[:, :, 0], dtype="bool") if mask is None else mask
        for x, mask in zip(sequences, masks, strict=True)
    ]
    return joined, ops.concatenate(masks, axis=1)


def along_time(sequences, masks):
    """Lists of sequences and masks as one of each."""
    return ops.concatenate(sequences, axis=1), ops.concatenate(masks, axis=1)


@keras.saving.register_keras_serializable("mmkeras")
class ConcatenateFusion(Fusion):
    """The modalities one after the other along time: what is to come attends to all of them."""

    def fuse(self, sequences, masks, training):
        return along_time(sequences, masks)


@keras.saving.register_keras_serializable("mmkeras")
class FiLMFusion(Fusion):
    """One modality scales and shifts the channels of the others, which are joined along time.

    Perez et al. 2018, "FiLM: Visual Reasoning with a General Conditioning Layer": blocks of
    `x + relu((1 + scale(c)) norm(W relu(V x)) + shift(c))`, here at every place by itself.

    Args:
        width, dropout: As in `Fusion`.
        condition: Name of the modality that speaks only through the scales and shifts; None for
            the last one.
        blocks: Number of blocks, which the others share.
    """

    fewest = 2

    def __init__(self, width, dropout=0.0, condition=None, blocks=2, **kwargs):
        super().__init__(width, dropout, **kwargs)
        self.condition = condition
        self.blocks = blocks

    def build_parts(self, names):
        self.place = check_name("condition", self.condition, names)
        self.parts = []
        for _ in range(self.blocks):
            linears = [Linear(self.width, "relu"), Linear(self.width), LayerNorm()]
            films = self.built_parts([Linear(2 * self.width)], (None, self.width))
            self.parts.append([*self.built_parts(linears), *films])

    def fuse(self, sequences, masks, training):
        sequences, masks = list(sequences), list(masks)
        condition = masked_mean(sequences.pop(self.place), masks.pop(self.place))
        x, mask = along_time(sequences, masks)
        for inner, outer, norm, film in self.parts:
            scale, shift = ops.split(ops.expand_dims(film(condition), 1), 2, axis=-1)
            x = x + ops.relu((1 + scale) * norm(outer(inner(x))) + shift)
        return x, mask

    def get_config(self):
        return {**super().get_config(), "condition": self.condition, "blocks": self.blocks}


@keras.saving.register_keras_serializable("mmkeras")
class RecurrentFusion(Fusion):
    """An LSTM reads the modalities one after the other, and back.

    Its result is packed: the visible places of all modalities come first, then padding.

    Args:
        width: Of the result, even: half of it for each direction.
        dropout: As in `Fusion`.
    """

    def build_parts(self, names):
        if self.width % 2:
            raise ValueError(f"`width` should be even. Received: width={self.width}")
        self.lstm = RecurrentBlock(self.width // 2, bidirectional=True, name="lstm")
        self.built_parts([self.lstm])

    def fuse(self, sequences, masks, training):
        # The LSTM's state does not outlive padding, of which there is some between modalities.
        x, mask = pack(*along_time(sequences, masks))
        return self.lstm(x, mask, training=training), mask


def pack(sequence, mask):
    """The visible places of each example first, in their order."""
    places = ops.arange(ops.shape(mask)[1])
    hidden = ops.cast(ops.logical_not(mask), places.dtype)
    order = ops.argsort(places + hidden * ops.shape(mask)[1], axis=1)
    count = ops.sum(ops.cast(mask, places.dtype), axis=1, keepdims=True)
    return ops.take_along_axis(sequence, ops.expand_dims(order, -1), axis=1), places < count
