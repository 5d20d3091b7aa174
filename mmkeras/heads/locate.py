"""A head that finds a span of the context."""

import keras
from keras import ops

from mmkeras.layers import AttentionPooling, LayerNorm, Linear
from mmkeras.layers.attention import mask_bias
from mmkeras.losses import TokenCrossentropy

IMPOSSIBLE = -1e9


@keras.saving.register_keras_serializable("mmkeras")
class Locate(keras.layers.Layer):
    """A span of the context, by its first and its last place, or none.

    Every place has a score as the first and one as the last, and so has, before them all, the
    place 0, which stands for none (Devlin et al. 2019, "BERT", section 4.3); here it is scored by
    what attention with a learned query makes of the whole context.

    Args:
        longest: Places in an answer, at most.
        dropout: Rate on the context and on the hidden layer.

    Shapes: context `(batch, length, width)`, its mask `(batch, length)` or None -> logits
    `(batch, 2, 1 + length)` of the first and of the last place.

    Example:

    ```python
    import mmkeras as mm

    words = mm.train_tokenizer(["a dog runs"], kind="word")
    passage = mm.Passage(words)
    inputs = {"context": (passage, mm.text_rnn(words.vocabulary_size, size="tiny"))}
    model = mm.assemble(inputs, {"answer": (mm.Span(passage), mm.Locate(name="answer"))})
    ```
    """

    # It looks at all spans at once; there is nothing to search.
    searches = False

    def __init__(self, longest=30, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(longest, int) or longest < 1:
            raise ValueError(
                f"`longest` should be a whole number from 1. Received: longest={longest!r}"
            )
        self.longest = longest
        self.dropout = dropout

    def build(self, context_shape, context_mask_shape=None):
        width = context_shape[-1]
        self.pooling = AttentionPooling(name="pooling")
        self.hidden = Linear(width, name="hidden")
        self.norm = LayerNorm(name="norm")
        self.output_layer = Linear(2, dtype="float32", name="output")
        for layer in (self.pooling, self.hidden, self.norm, self.output_layer):
            layer.build((None, None, width))
        self.none = Linear(2, dtype="float32", name="none")
        self.none.build((None, width))
        self.drop = keras.layers.Dropout(self.dropout)

    def call(self, context, context_mask=None, training=None):
        context = self.drop(context, training=training)
        whole, _ = self.pooling(context, context_mask)
        hidden = self.norm(ops.gelu(self.hidden(context)))
        logits = self.output_layer(self.drop(hidden, training=training))
        if context_mask is not None:
            logits = logits + ops.expand_dims(mask_bias(context_mask, logits.dtype), -1)
        logits = ops.concatenate([ops.expand_dims(self.none(whole), 1), logits], axis=1)
        return ops.swapaxes(logits, 1, 2)

    def answer(self, context, context_mask=None, n_best=1, **options):
        """The likeliest spans of at most `longest` places.

        Args:
            context, context_mask: As in a call.
            n_best: How many. Where there are fewer the rest is none, of probability 0.

        Returns:
            A dict of `ids` `(batch, n_best, 2)`, first and last place from 1, or 0 and 0 for none,
            and their probabilities `scores` `(batch, n_best)`, best first: those of first and last
            place, multiplied.
        """
        if options:
            raise ValueError(f"A span has no option but `n_best`. Received: {sorted(options)}")
        if not isinstance(n_best, int) or n_best < 1:
            raise ValueError(
                f"`n_best` should be a whole number from 1. Received: n_best={n_best!r}"
            )
        first, last = ops.unstack(ops.log_softmax(self(context, context_mask)), axis=1)
        none = first[:, :1] + last[:, :1]
        length, width = ops.shape(first)[1] - 1, self.longest
        last = ops.pad(last[:, 1:], [[0, 0], [0, width - 1]], constant_values=IMPOSSIBLE)
        reach = ops.expand_dims(ops.arange(length), 1) + ops.arange(width)
        both = ops.expand_dims(first[:, 1:], -1) + ops.take(last, reach, axis=1)
        both = ops.reshape(both, (-1, length * width))
        spans = ops.concatenate([none, both], axis=1)
        spans = ops.pad(spans, [[0, 0], [0, n_best - 1]], constant_values=IMPOSSIBLE)
        scores, found = ops.top_k(spans, n_best)
        found = ops.where(scores > IMPOSSIBLE, found, 0)
        begin = (found - 1) // width
        ids = ops.stack([begin + 1, begin + 1 + (found - 1) % width], axis=-1)
        ids = ops.where(ops.expand_dims(found, -1) == 0, 0, ids)
        return {"ids": ops.cast(ids, "int32"), "scores": ops.exp(scores)}

    def explain(self, ids, context, context_mask=None):
        """`starts` and `ends`, `(batch, length)`: how likely an answer begins and ends there.

        What they lack of 1 is the probability of none.
        """
        starts, ends = ops.unstack(ops.softmax(self(context, context_mask)), axis=1)
        return {"starts": starts[:, 1:], "ends": ends[:, 1:]}

    def loss(self):
        """The loss to compile with."""
        return TokenCrossentropy()

    def metrics_to_compile(self):
        """The metrics to compile with."""
        return [PlaceAccuracy()]

    def compute_output_shape(self, context_shape, context_mask_shape=None):
        length = context_shape[1]
        return (context_shape[0], 2, None if length is None else length + 1)

    def get_config(self):
        return {**super().get_config(), "longest": self.longest, "dropout": self.dropout}


@keras.saving.register_keras_serializable("mmkeras")
class PlaceAccuracy(keras.metrics.Mean):
    """How often both the likeliest first and the likeliest last place are right.

    Shapes: places `(batch, 2)` as `Span` gives them, logits `(batch, 2, 1 + length)`.
    """

    def __init__(self, name="exact", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, places, logits, sample_weight=None):
        right = ops.equal(ops.argmax(logits, axis=-1), ops.cast(places, "int64"))
        weight = None if sample_weight is None else sample_weight[:, 0]
        super().update_state(ops.cast(ops.all(right, axis=1), "float32"), weight)
