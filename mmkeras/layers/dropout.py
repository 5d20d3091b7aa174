"""Dropout that draws few random numbers."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("mmkeras")
class ByteDropout(keras.layers.Layer):
    """`keras.layers.Dropout` that draws a byte per value, not a float.

    Srivastava et al. 2014. Drawing is most of what dropout costs on a CPU, and this draws a
    quarter. Values are scaled by the rate as it comes out in bytes, so their mean is kept.

    Args:
        rate: Share of the values that become zero while training, to the nearest 256th.
        seed: Of the draws; random if None.

    Shapes: `(..., width)` -> the same.
    """

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"`rate` should be from 0 to below 1. Received: rate={rate}")
        self.rate = rate
        self.seed = seed
        self._dropped = min(round(256 * rate), 255)
        if self._dropped:  # as in Keras: a file of a model without dropout has no such state
            self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x, training=None):
        if not training or not self._dropped:
            return x
        width = x.shape[-1]
        shape = (*ops.shape(x)[:-1], -(-width // 4))
        draws = keras.random.randint(shape, -(2**31), 2**31 - 1, seed=self.seed_generator)
        draws = ops.view(draws, "uint8")[..., :width]
        kept = ops.cast(draws >= ops.cast(self._dropped, "uint8"), x.dtype)
        return x * (kept * (256 / (256 - self._dropped)))

    def compute_output_shape(self, x_shape):
        return x_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
