"""The features field: arrays that another network has computed before."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from mmkeras.preprocessing.field import Field


@keras.saving.register_keras_serializable("mmkeras")
class Features(Field):
    """Precomputed features: a vector, a sequence of vectors, or a grid of them.

    Args:
        shape: Of one example: `(dimensions,)`, `(length, dimensions)` or
            `(height, width, dimensions)`.

    Raises:
        ValueError: if `shape` is none of these, or an array has another shape.

    Example:

    ```python
    import mmkeras as mm
    import numpy as np

    grid = mm.Features((7, 7, 1280))
    grid.load(np.zeros((7, 7, 1280)))     # or the path of an .npy file
    ```
    """

    def __init__(self, shape, **kwargs):
        super().__init__(**kwargs)
        self.shape = tuple(shape)
        if not 1 <= len(self.shape) <= 3 or not all(
            isinstance(n, int) and n > 0 for n in self.shape
        ):
            raise ValueError(
                "`shape` should be (dimensions,), (length, dimensions) or (height, width, "
                f"dimensions). Received: shape={shape}"
            )

    def load(self, value):
        source = ""
        if isinstance(value, (str, Path)):
            source, value = f" in {value}", np.load(value, allow_pickle=False)
        array = np.asarray(value)
        if array.shape != self.shape or array.dtype.kind not in "fiu":
            raise ValueError(
                f"Features should be numbers of shape {self.shape}. "
                f"Received: {array.dtype} of shape {array.shape}{source}"
            )
        return array.astype("float32")

    def call(self, raw):
        return tf.cast(raw, tf.float32)

    def input(self, name):
        return keras.Input(self.shape, dtype="float32", name=name)

    def signature(self, name):
        return {name: tf.TensorSpec([None, *self.shape], tf.float32, name=name)}

    def get_config(self):
        return {**super().get_config(), "shape": self.shape}
