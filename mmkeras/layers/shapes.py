"""Grids as sequences, and parts of sequences."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("mmkeras")
class FlattenGrid(keras.layers.Layer):
    """A grid `(batch, height, width, channels)` -> a sequence `(batch, height * width, channels)`.

    Its `grid` tells `explain` how to lay attention back over the picture.
    """

    @property
    def grid(self):
        return self._grid

    def build(self, x_shape):
        self._grid = tuple(x_shape[1:3])
        if None in self._grid:
            raise ValueError(
                f"A grid should have a known height and width. Received: shape={x_shape}"
            )

    def call(self, x):
        return ops.reshape(x, (-1, self._grid[0] * self._grid[1], x.shape[-1]))


@keras.saving.register_keras_serializable("mmkeras")
class FirstPlaces(keras.layers.Layer):
    """Of a sequence `(batch, length, width)` as many places as a mask `(batch, places)` has."""

    def call(self, sequence, padding_mask):
        return sequence[:, : ops.shape(padding_mask)[1]]

    def compute_output_shape(self, sequence_shape, padding_mask_shape):
        return (sequence_shape[0], padding_mask_shape[1], sequence_shape[2])
