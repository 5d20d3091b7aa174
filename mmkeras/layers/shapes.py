"""Between grids and sequences."""

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
