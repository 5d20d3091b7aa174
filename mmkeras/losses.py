"""Losses that Keras lacks."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("mmkeras")
class TokenCrossentropy(keras.losses.Loss):
    """Cross-entropy of token ids against logits, with label smoothing, from integer labels.

    Keras's `SparseCategoricalCrossentropy` has no label smoothing, and one-hot labels of a large
    vocabulary do not fit in memory. Padding is left out by a sample weight of 0, and by default
    the mean is over what is left: every token counts the same in whatever batch it stands.

    Args:
        label_smoothing: Share of the probability that is spread over all ids (Szegedy et al.
            2016, "Rethinking the Inception Architecture", section 7).
        reduction: As in `keras.losses.Loss`.

    Shapes: labels `(batch, length)`, logits `(batch, length, vocabulary)`.

    Example:

    ```python
    import mmkeras as mm

    model.compile("adam", loss={"caption": mm.TokenCrossentropy(label_smoothing=0.1)})
    ```
    """

    def __init__(
        self,
        label_smoothing=0.0,
        reduction="mean_with_sample_weight",
        name="token_crossentropy",
        **kwargs,
    ):
        super().__init__(name=name, reduction=reduction, **kwargs)
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(
                "`label_smoothing` should be at least 0 and below 1. "
                f"Received: label_smoothing={label_smoothing}"
            )
        self.label_smoothing = label_smoothing

    def call(self, labels, logits):
        labels = ops.cast(labels, "int32")
        crossentropy = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        if self.label_smoothing == 0.0:
            return crossentropy
        # Against the uniform distribution the cross-entropy is log Z minus the mean logit.
        uniform = ops.logsumexp(logits, axis=-1) - ops.mean(logits, axis=-1)
        return (1.0 - self.label_smoothing) * crossentropy + self.label_smoothing * uniform

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing}
