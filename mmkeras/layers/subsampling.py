"""Fewer, wider frames, whether an utterance comes whole or piece by piece."""

import keras
from keras import ops

from mmkeras.layers.dropout import ByteDropout
from mmkeras.layers.linear import Linear


def hide(x, mask):
    """Zeros where the mask `(batch, length)` of `x` `(batch, length, ..., any)` is false."""
    shape = (*ops.shape(mask), *[1] * (len(x.shape) - 2))
    return x * ops.reshape(ops.cast(mask, x.dtype), shape)


def shorter(mask, factor):
    """The mask after subsampling: `ceil(length / factor)` of every utterance's own `length`."""
    return mask[:, ::factor]


@keras.saving.register_keras_serializable("mmkeras")
class Subsampling(keras.layers.Layer):
    """Convolutions over time and frequency, each of stride 2, then a projection of each frame.

    Frame `i` of a convolution sees the frames `2i - 1`, `2i` and `2i + 1`, so a piece whose length
    is a multiple of the factor needs nothing that comes after it. What the mask hides counts as
    zero before every convolution, and `shorter` is the rule of the mask.

    Args:
        width: Of the result.
        channels: Of the convolutions.
        factor: How many frames become one: 2, 4 or 8.
        dropout: Rate on the result.

    Shapes: `forward(x, padding_mask, state=None)` with `x` `(batch, frames, bands)` and
    `padding_mask` `(batch, frames)`, true for frames that are there -> `(batch, ceil(frames /
    factor), width)`, its mask and the state after it, None if none was given. `call` is the same
    without states.
    """

    def __init__(self, width, channels=32, factor=4, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        if factor not in (2, 4, 8):
            raise ValueError(f"`factor` should be 2, 4 or 8. Received: factor={factor}")
        self.width = width
        self.channels = channels
        self.factor = factor
        self.dropout = dropout

    def build(self, x_shape, padding_mask_shape=None):
        bands, depth = x_shape[-1], 1
        if bands is None:
            raise ValueError(f"Frames should have a known width. Received: shape={x_shape}")
        self.convolutions, self._past_shapes = [], []
        for i in range(self.factor.bit_length() - 1):
            convolution = keras.layers.Conv2D(
                self.channels, 3, 2, activation="relu", name=f"convolution{i}"
            )
            convolution.build((None, None, bands + 2, depth))
            self.convolutions.append(convolution)
            self._past_shapes.append((1, bands, depth))
            bands, depth = -(-bands // 2), self.channels
        self.project = Linear(self.width, name="project")
        self.project.build((None, None, bands * depth))
        self.drop = ByteDropout(self.dropout)

    def initial_state(self, batch):
        return [ops.zeros((batch, *shape), self.compute_dtype) for shape in self._past_shapes]

    def forward(self, x, padding_mask, state=None, training=None):
        x, mask = ops.expand_dims(x, -1), padding_mask
        last = []
        for i, convolution in enumerate(self.convolutions):
            x = hide(x, mask)
            time = (1, 1) if state is None else (0, 1)
            if state is not None:
                x = ops.concatenate([state[i], x], axis=1)
                last.append(x[:, -1:])
            x = convolution(ops.pad(x, [(0, 0), time, (1, 1), (0, 0)]))
            mask = shorter(mask, 2)
        x = ops.reshape(x, (-1, ops.shape(x)[1], x.shape[2] * x.shape[3]))
        x = self.drop(self.project(x), training=training)
        return x, mask, None if state is None else last

    def call(self, x, padding_mask, training=None):
        return self.forward(x, padding_mask, training=training)[:2]

    def get_config(self):
        return {
            **super().get_config(),
            "width": self.width,
            "channels": self.channels,
            "factor": self.factor,
            "dropout": self.dropout,
        }
