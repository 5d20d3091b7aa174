"""The features field: arrays that someone computed before, as they are."""

import io
import os

import keras
import numpy as np
import tensorflow as tf

from mmkeras.preprocessing.field import Field, read_bytes


@keras.saving.register_keras_serializable("mmkeras")
class Features(Field):
    """Precomputed features as `float32`, of one shape.

    Args:
        shape: shape of one example: `(width,)` for a vector, `(length, width)` or
            `(height, width, channels)` for a grid.
        optional: as in `Field`.

    Raises:
        ValueError: when `shape` is not one of these, or when called on another shape.

    Example:

    ```python
    grid = Features((49, 512))
    batch = grid([grid.load("dog.npy"), grid.load(np.zeros((49, 512)))])  # (2, 49, 512)
    ```
    """

    per_example = False

    def __init__(self, shape, optional=False, **kwargs):
        super().__init__(optional, **kwargs)
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if not 1 <= len(shape) <= 3 or not all(isinstance(n, int) and n > 0 for n in shape):
            raise ValueError(
                "`shape` should be (width,), (length, width) or (height, width, channels). "
                f"Received: shape={shape}"
            )
        self.shape = shape

    def call(self, raw):
        """Numbers `(batch, *shape)` -> the same as `float32`."""
        raw = tf.cast(raw, tf.float32)
        if not raw.shape[1:].is_compatible_with(self.shape):
            raise ValueError(
                f"`raw` should be of shape (batch, {', '.join(map(str, self.shape))}). "
                f"Received: raw of shape {tuple(raw.shape)}"
            )
        raw = tf.ensure_shape(raw, [None, *self.shape])
        return tf.where(tf.math.is_nan(raw), 0.0, raw) if self.optional else raw

    @property
    def absent(self):
        return np.full(self.shape, np.nan, "float32")

    def present(self, raw):
        lacks = tf.math.is_nan(tf.cast(raw, tf.float32))
        return ~tf.reduce_all(lacks, axis=list(range(-len(self.shape), 0)))

    def load(self, value):
        """An array, or the path of a `.npy` file -> a `float32` array of the field's shape.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when it is not a `.npy` file or the array is of another shape, not of
                numbers, or has values that are not finite; names the file.
        """
        name = f"<{type(value).__name__}>"
        if isinstance(value, (str, os.PathLike)):
            name, value = repr(os.fspath(value)), _read_npy(value)
        array = np.asarray(value)
        if array.shape != self.shape or array.dtype.kind not in "fiub":
            raise ValueError(
                f"Features should be numbers of shape {self.shape}. "
                f"Received: {name} of {array.dtype} of shape {array.shape}"
            )
        array = array.astype(np.float32)
        nothing = self.optional and np.isnan(array).all()
        if not (nothing or np.isfinite(array).all()):
            raise ValueError(f"Features should be finite. Received: {name} with NaN or infinity")
        return array

    def input(self, name):
        return keras.Input(self.shape, dtype="float32", name=name)

    def signature(self, name):
        return {name: tf.TensorSpec([None, *self.shape], tf.float32, name=name)}

    def example(self, seed):
        return np.random.default_rng(seed).normal(size=self.shape).astype("float32")

    def get_config(self):
        return {**super().get_config(), "shape": self.shape}


def _read_npy(path):
    file = io.BytesIO(read_bytes(path))
    try:
        return np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"Features should be in a sound .npy file. Received: {os.fspath(path)!r}: {error}"
        ) from None
