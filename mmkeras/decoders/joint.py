"""CTC and an attention decoder over one context."""

import keras
import tensorflow as tf
from keras import ops

from mmkeras.decoders.ctc import CTCLoss
from mmkeras.decoders.prefix_search import BLANK_ID
from mmkeras.decoders.scoring import parted


@keras.saving.register_keras_serializable("mmkeras")
class JointDecoder(keras.layers.Layer):
    """Trains CTC and a decoder together; CTC proposes answers, and both judge them.

    Watanabe et al. 2017, "Hybrid CTC/Attention Architecture for End-to-End Speech Recognition";
    the decoder reads the proposals in one pass, as in Yao et al. 2021, "WeNet". The loss is that of
    the decoder, plus `ctc_weight / (1 - ctc_weight)` times that of CTC per token.

    Args:
        ctc: A `CTC`.
        decoder: A `Decoder` such as `TransformerDecoder`, of the same ids.
        ctc_weight: Share of CTC in the loss and in the score of an answer, below 1.

    Shapes: as in `Decoder`.

    Example:

    ```python
    import mmkeras as mm
    import numpy as np

    head = mm.JointDecoder(mm.CTC(30), mm.TransformerDecoder(30, 20, 64, 2), name="transcript")
    head(np.ones((2, 20), "int32"), np.zeros((2, 50, 64), "float32"))   # (2, 20, 30)
    head.answer(np.zeros((2, 50, 64), "float32"), beam_width=4)         # ids, scores, lengths
    ```
    """

    aligns = True

    def __init__(self, ctc, decoder, ctc_weight=0.3, **kwargs):
        super().__init__(**kwargs)
        if ctc.vocabulary_size != decoder.vocabulary_size:
            raise ValueError(
                "`ctc` and `decoder` should have one `vocabulary_size`. "
                f"Received: {ctc.vocabulary_size} and {decoder.vocabulary_size}"
            )
        if not 0.0 <= ctc_weight < 1.0:
            raise ValueError(
                "`ctc_weight` should be at least 0 and below 1. "
                f"Received: ctc_weight={ctc_weight!r}"
            )
        self.supports_jit = False
        self.ctc = ctc
        self.decoder = decoder
        self.ctc_weight = ctc_weight
        self.vocabulary_size = decoder.vocabulary_size
        self.max_length = decoder.max_length
        self.start_id = decoder.start_id
        self.end_id = decoder.end_id

    def build(self, ids_shape, context_shape, context_mask_shape=None):
        # Loading has built the parts already.
        if not self.ctc.built:
            self.ctc.build(context_shape, context_mask_shape)
        if not self.decoder.built:
            self.decoder.build(ids_shape, context_shape, context_mask_shape)

    def call(self, ids, context, context_mask=None, training=None):
        labels = ops.where(ids[:, 1:] == self.end_id, BLANK_ID, ids[:, 1:])
        log_probs = self.ctc(context, context_mask, training=training)
        loss = CTCLoss(per_token=True)(labels, log_probs)
        self.add_loss(self.ctc_weight / (1.0 - self.ctc_weight) * loss)
        return self.decoder(ids, context, training=training, **_given(context_mask=context_mask))

    def answer(self, context, context_mask=None, method="joint", ctc_weight=None, **options):
        """Decode from a context.

        Args:
            context, context_mask: As in `call`.
            method: `"joint"`, `"ctc"` or `"attention"`.
            ctc_weight: Share of CTC in the log-probability of an answer, to which its score adds
                what language model and hot words do; None for the share in training.
            **options: As in `CTC.search`, with 8 for `beam_width`; with `"attention"` as in
                `Decoder.answer`.

        Returns:
            A dict of `ids` `(batch, n_best, length)`, `scores` `(batch, n_best)`, `lengths`.
        """
        if method == "ctc":
            return self.ctc.answer(context, context_mask, **options)
        if method == "attention":
            scoring, options = parted(options)
            scorers = self.ctc.scorers(**scoring)
            return self.decoder.answer(context, context_mask, scorers=scorers, **options)
        if method != "joint":
            raise ValueError(
                f'`method` should be "joint", "ctc" or "attention". Received: method={method!r}'
            )
        n_best = options.pop("n_best", None) or 1
        width = max(options.pop("beam_width", None) or 8, n_best)
        found = self.ctc.answer(context, context_mask, beam_width=width, n_best=width, **options)
        weight = self.ctc_weight if ctc_weight is None else ctc_weight
        read = self.log_probability(found["ids"], context, context_mask)
        scores = weight * found["scores"] + (1.0 - weight) * (read + found["added"])
        # No weight makes an answer out of a place that is empty.
        scores = tf.where(tf.math.is_inf(found["scores"]), found["scores"], scores)
        scores, order = tf.math.top_k(scores, n_best)
        picked = {key: tf.gather(found[key], order, batch_dims=1) for key in ("ids", "lengths")}
        return {**picked, "scores": scores}

    def log_probability(self, ids, context, context_mask=None):
        """The decoder's log-probability of each text `(batch, texts, length)`: `(batch, texts)`.

        Of a text longer than the decoder's `max_length` only the beginning counts.
        """
        batch, texts, length = tf.unstack(tf.shape(ids))
        size = self.max_length - 1
        ids = tf.pad(ids[..., :size], [[0, 0], [0, 0], [0, tf.maximum(size - length, 0)]])
        ids = tf.reshape(ids, [batch * texts, size])
        start = tf.fill([batch * texts, 1], self.start_id)
        end = tf.math.count_nonzero(ids, axis=1, dtype=tf.int32)[:, None]
        following = tf.pad(ids, [[0, 0], [0, 1]])
        following = tf.where(tf.range(self.max_length) == end, self.end_id, following)

        many = {"context": context, **_given(context_mask=context_mask)}
        many = {name: tf.repeat(x, texts, axis=0) for name, x in many.items()}
        logits = self.decoder(tf.concat([start, ids], axis=1), **many)
        values = tf.nn.sparse_softmax_cross_entropy_with_logits(following, logits)
        read = tf.where(following == BLANK_ID, 0.0, -values)
        return tf.reshape(tf.reduce_sum(read, axis=1), [batch, texts])

    def search(self, method="joint", ctc_weight=None, **options):
        """The search of CTC alone, see `CTC.search`: for frames that come in chunks.

        It takes the options of `answer`; the first two say nothing to it.
        """
        return self.ctc.search(**options)

    @property
    def language_model(self):
        """That of all three methods."""
        return self.ctc.language_model

    def set_language_model(self, model):
        """See `ScoredHead.set_language_model`."""
        self.ctc.set_language_model(model)

    def explain(self, ids, context, context_mask=None):
        """Answers `(batch, length)` -> `attention`, `frames` and `confidence` of their tokens.

        Of an answer longer than the decoder's `max_length` only the beginning has attention.
        """
        length = tf.shape(ids)[1]
        read = tf.pad(
            ids[:, : self.max_length], [[0, 0], [0, tf.maximum(self.max_length - length, 0)]]
        )
        read = tf.ensure_shape(read, [None, self.max_length])
        attention = self.decoder.explain(read, context, context_mask)["attention"][:, :length]
        missing = tf.maximum(length - self.max_length, 0)
        attention = tf.pad(attention, [[0, 0], [0, missing], [0, 0]])
        return {"attention": attention, **self.ctc.explain(ids, context, context_mask)}

    def loss(self):
        """The loss to compile with; that of CTC is added to it."""
        return self.decoder.loss()

    def metrics_to_compile(self):
        """The metrics to compile with."""
        return self.decoder.metrics_to_compile()

    def compute_output_shape(self, ids_shape, context_shape, context_mask_shape=None):
        return (*ids_shape, self.vocabulary_size)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "ctc": serialize(self.ctc),
            "decoder": serialize(self.decoder),
            "ctc_weight": self.ctc_weight,
        }

    @classmethod
    def from_config(cls, config):
        deserialize = keras.saving.deserialize_keras_object
        parts = {name: deserialize(config[name]) for name in ("ctc", "decoder")}
        return cls(**{**config, **parts})


def _given(**arguments):
    """Keras takes an argument that ends in `_mask` by its name only, and not if it is None."""
    return {name: value for name, value in arguments.items() if value is not None}
