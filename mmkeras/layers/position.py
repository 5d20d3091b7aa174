"""Where in a sequence something stands."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("mmkeras")
class LearnedPositions(keras.layers.Layer):
    """Adds a learned vector per position.

    Args:
        length: Number of positions.

    Shapes: `(batch, up to length, width)` -> the same. `index` is the one position at which all
    of them stand; by default they stand at the first positions, one after the other.
    """

    def __init__(self, length, **kwargs):
        super().__init__(**kwargs)
        self.length = length

    def build(self, x_shape):
        self.table = self.add_weight(
            shape=(self.length, x_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="table",
        )

    def call(self, x, index=None):
        places = ops.arange(ops.shape(x)[1]) if index is None else index
        return x + ops.cast(ops.take(self.table, places, axis=0), x.dtype)

    def get_config(self):
        return {**super().get_config(), "length": self.length}
