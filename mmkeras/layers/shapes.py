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


@keras.saving.register_keras_serializable("mmkeras")
class Runs(keras.layers.Layer):
    """In training, which rows are equal to the one before; else each is a run of its own.

    Shapes: `(batch, ...)` -> the first row of each run, `(runs,)`, and the run of each row,
    `(batch,)`: places for `Rows`.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_jit = False  # how many runs there are depends on the values

    def call(self, x, training=False):
        rows = ops.shape(x)[0]
        if not training:
            return ops.arange(rows, dtype="int32"), ops.arange(rows, dtype="int32")
        flat = ops.reshape(x, (rows, -1))
        starts = ops.any(ops.not_equal(flat[1:], flat[:-1]), axis=1)
        starts = ops.concatenate([ops.ones((ops.minimum(rows, 1),), "bool"), starts])
        (firsts,) = ops.nonzero(starts)
        return ops.cast(firsts, "int32"), ops.cumsum(ops.cast(starts, "int32")) - 1

    def compute_output_spec(self, x, training=False):
        return keras.KerasTensor((None,), "int32"), keras.KerasTensor((x.shape[0],), "int32")


@keras.saving.register_keras_serializable("mmkeras")
class Rows(keras.layers.Layer):
    """The rows at some places: `(rows, ...)`, `(places,)` -> `(places, ...)`."""

    def call(self, x, places):
        return ops.take(x, places, axis=0)

    def compute_output_shape(self, x_shape, places_shape):
        return (places_shape[0], *x_shape[1:])
