"""A head that classifies."""

import keras
from keras import ops

from mmkeras.layers import AttentionPooling, LayerNorm, Linear
from mmkeras.losses import CreditCrossentropy


@keras.saving.register_keras_serializable("mmkeras")
class Classify(keras.layers.Layer):
    """One class of a closed set, from the whole context.

    The context becomes one vector by attention with a learned query, which goes through one hidden
    layer.

    Args:
        classes: How many.
        dropout: Rate on the vector and on the hidden layer.
        label_smoothing: Of the training loss.

    Shapes: context `(batch, length, width)`, its mask `(batch, length)` or None -> logits
    `(batch, classes)`.

    Example:

    ```python
    import mmkeras as mm

    shapes = ["ring", "disc"]
    inputs = {"image": (mm.Image(64), mm.conv("tiny"))}
    model = mm.assemble(inputs, {"label": (mm.Labels(shapes), mm.Classify(2, name="label"))})
    ```
    """

    # It looks at all classes at once; there is nothing to search.
    searches = False

    def __init__(self, classes, dropout=0.0, label_smoothing=0.0, **kwargs):
        super().__init__(**kwargs)
        self.classes = classes
        self.dropout = dropout
        self.label_smoothing = label_smoothing

    def build(self, context_shape, context_mask_shape=None):
        width = context_shape[-1]
        self.pooling = AttentionPooling(name="pooling")
        self.pooling.build(context_shape)
        self.hidden = Linear(width, name="hidden")
        self.hidden.build((None, width))
        self.norm = LayerNorm(name="norm")
        self.norm.build((None, width))
        self.output_layer = Linear(self.classes, dtype="float32", name="output")
        self.output_layer.build((None, width))
        self.drop = keras.layers.Dropout(self.dropout)

    def call(self, context, context_mask=None, training=None):
        vector, _ = self.pooling(context, context_mask)
        hidden = ops.gelu(self.hidden(self.drop(vector, training=training)))
        return self.output_layer(self.drop(self.norm(hidden), training=training))

    def answer(self, context, context_mask=None, n_best=1, **options):
        """The likeliest classes.

        Args:
            context, context_mask: As in a call.
            n_best: How many, at most as many as there are.

        Returns:
            A dict of `ids` `(batch, n_best, 1)` and their probabilities `scores`
            `(batch, n_best)`, best first.
        """
        if options:
            raise ValueError(f"A class has no option but `n_best`. Received: {sorted(options)}")
        if not 1 <= n_best <= self.classes:
            raise ValueError(
                f"`n_best` should be from 1 to {self.classes}, the number of classes. "
                f"Received: n_best={n_best}"
            )
        probabilities = ops.softmax(self(context, context_mask))
        scores, ids = ops.top_k(probabilities, n_best)
        return {"ids": ops.expand_dims(ops.cast(ids, "int32"), -1), "scores": scores}

    def explain(self, ids, context, context_mask=None):
        """`attention` `(batch, 1, context length)`: which places the vector is made of."""
        return {"attention": ops.expand_dims(self.pooling(context, context_mask)[1], 1)}

    def loss(self):
        """The loss to compile with."""
        return CreditCrossentropy(self.label_smoothing)

    def metrics_to_compile(self):
        """The metrics to compile with."""
        return [CreditAccuracy()]

    def compute_output_shape(self, context_shape, context_mask_shape=None):
        return (context_shape[0], self.classes)

    def get_config(self):
        return {
            **super().get_config(),
            "classes": self.classes,
            "dropout": self.dropout,
            "label_smoothing": self.label_smoothing,
        }


@keras.saving.register_keras_serializable("mmkeras")
class CreditAccuracy(keras.metrics.Mean):
    """Mean credit of the likeliest class: accuracy, where one class has all of it.

    Shapes: credits `(batch, classes)` as `Labels` gives them, logits `(batch, classes)`.
    """

    def __init__(self, name="accuracy", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, credits, logits, sample_weight=None):
        best = ops.expand_dims(ops.argmax(logits, axis=-1), -1)
        super().update_state(ops.take_along_axis(credits, best, axis=-1)[:, 0], sample_weight)
