"""Where in a sequence something stands."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("mmkeras")
class LearnedPositions(keras.layers.Layer):
    """Adds a learned vector per position.

    Args:
        length: Number of positions.

    Shapes: `(batch, up to length, width)` -> the same; `index` is the position of the first.
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

    def call(self, x, index=0):
        steps = ops.arange(ops.shape(x)[1]) + index
        return x + ops.cast(ops.take(self.table, steps, axis=0), x.dtype)

    def get_config(self):
        return {**super().get_config(), "length": self.length}
