"""The pairs field: which examples belong together."""

import keras
import tensorflow as tf

from mmkeras.preprocessing.field import Field


@keras.saving.register_keras_serializable("mmkeras")
class Pairs(Field):
    """Which examples belong together, as a target: those whose values are equal.

    Records need no such column: the examples of one record, a photo and each of its captions,
    belong together. With one, such as the number of the photo, those of several records may: the
    photo and its mirror image.

    A target `(batch,)` is a number, the same for equal values, as a `PairLoss` wants it.

    Example:

    ```python
    import mmkeras as mm

    pairs = mm.Pairs()
    pairs.column(["a.jpg", "b.jpg", "a.jpg"])            # [0, 1, 0]
    ```
    """

    implied = True
    scored_as = "retrieval"

    def load(self, value):
        """A string or a whole number -> the same, checked."""
        if not isinstance(value, (str, int)):
            raise ValueError(f"should be a string or a whole number. Received: {value!r}")
        return value

    def column(self, values):
        numbers = {}
        return tf.constant([numbers.setdefault(v, len(numbers)) for v in values], tf.int32)

    def target(self, name, raw):
        """Numbers `(batch,)` -> no inputs, the same, weights of 1."""
        return {}, raw, tf.ones(tf.shape(raw))
