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
class FirstOfRuns(keras.layers.Layer):
    """In training, of equal rows that follow each other only the first, see `RowsOfRuns`.

    Shapes: `(batch, ...)` -> `(runs, ...)`, and the run of each row, `(batch,)`.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_jit = False  # how many runs there are depends on the values

    def call(self, x, training=False):
        rows = ops.shape(x)[0]
        if not training:
            return x, ops.arange(rows, dtype="int32")
        flat = ops.reshape(x, (rows, -1))
        starts = ops.any(ops.not_equal(flat[1:], flat[:-1]), axis=1)
        starts = ops.concatenate([ops.ones((ops.minimum(rows, 1),), "bool"), starts])
        (firsts,) = ops.nonzero(starts)
        return ops.take(x, firsts, axis=0), ops.cumsum(ops.cast(starts, "int32")) - 1

    def compute_output_spec(self, x, training=False):
        runs = keras.KerasTensor((x.shape[0],), "int32")
        return keras.KerasTensor((None, *x.shape[1:]), x.dtype), runs


@keras.saving.register_keras_serializable("mmkeras")
class RowsOfRuns(keras.layers.Layer):
    """What is known of each run -> the same of each row: `(runs, ...)` -> `(batch, ...)`."""

    def call(self, x, runs):
        return ops.take(x, runs, axis=0)

    def compute_output_shape(self, x_shape, runs_shape):
        return (runs_shape[0], *x_shape[1:])
