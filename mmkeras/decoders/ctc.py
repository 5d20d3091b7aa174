"""The CTC head: a label per frame or none, its loss and its answers."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from mmkeras.decoders.alignment import align
from mmkeras.decoders.prefix_search import (
    BLANK_ID,
    IMPOSSIBLE,
    GreedySearch,
    PrefixSearch,
    to_left,
)
from mmkeras.decoders.scoring import OPTIONS, ScoredHead, parted
from mmkeras.layers.linear import Linear


@keras.saving.register_keras_serializable("mmkeras")
class CTC(ScoredHead):
    """Says for every frame which label it ends, or none: connectionist temporal classification.

    Graves et al. 2006, "Connectionist Temporal Classification: Labelling Unsegmented Sequence Data
    with Recurrent Neural Networks". Id 0, which pads labels, is the blank. Frames beyond the mask
    have the blank for certain, so that neither loss nor search needs their number.

    Args:
        vocabulary_size: Number of ids, special ones included.
        dropout: Rate on the context.
        language_model: What beam search adds, or None, see `set_language_model`.

    Shapes: context `(batch, frames, any width)`, context mask `(batch, frames)` ->
    log-probabilities `(batch, frames, vocabulary_size)` in float32.

    Example:

    ```python
    import mmkeras as mm
    import numpy as np

    head = mm.CTC(30, name="transcript")
    head(np.zeros((2, 50, 64), "float32"))                        # (2, 50, 30)
    head.answer(np.zeros((2, 50, 64), "float32"), beam_width=4)   # ids, scores, lengths
    ```
    """

    # `explain` tells in which frames a token was said.
    aligns = True

    def __init__(self, vocabulary_size, dropout=0.1, language_model=None, **kwargs):
        if vocabulary_size < 2:
            raise ValueError(
                "`vocabulary_size` should be at least 2, the blank and a label. "
                f"Received: vocabulary_size={vocabulary_size}"
            )
        super().__init__(vocabulary_size, language_model, **kwargs)
        # Neither the kernel of the loss nor the metric's edit distance can be compiled by XLA.
        self.supports_jit = False
        self.dropout = dropout

    def build(self, context_shape, context_mask_shape=None):
        self.output_layer = Linear(self.vocabulary_size, dtype="float32", name="output")
        self.output_layer.build(context_shape)
        self.drop = keras.layers.Dropout(self.dropout)

    def call(self, context, context_mask=None, training=None):
        logits = self.output_layer(self.drop(context, training=training))
        log_probs = ops.log_softmax(logits, axis=-1)
        if context_mask is None:
            return log_probs
        silence = np.full([self.vocabulary_size], IMPOSSIBLE, "float32")
        silence[BLANK_ID] = 0.0
        return ops.where(ops.expand_dims(ops.cast(context_mask, "bool"), -1), log_probs, silence)

    def answer(self, context, context_mask=None, **options):
        """Decode from a context; options as in `search`.

        Returns:
            A dict of `ids` `(batch, n_best, length)` padded with 0, `scores` `(batch, n_best)`,
            `lengths` `(batch, n_best)`, best first.
        """
        search = self.search(**options)
        state = search.initial_state(tf.shape(context)[0])
        return search.finish(search.advance(self(context, context_mask), state))

    def search(self, beam_width=None, n_best=None, **options):
        """The search that the options ask for, see `mmkeras.decoders.prefix_search`.

        Without any it is of the best path, with any it is of prefixes. A text then scores its
        log-probability, plus what scorers add.

        Args:
            beam_width: Texts followed per example; None for 16.
            n_best: Answers per example; None for 1.
            **options: Of language model and hot words, see `ScoredHead.scorers`.

        Returns:
            An object with `initial_state(batch_size)`, `advance(log_probs, state)`,
            `finish(state)` and `stable(state)`, so that frames may also come in chunks.

        Raises:
            ValueError: if an option is unknown or out of its range.
        """
        scoring, unknown = parted(options)
        if unknown:
            raise ValueError(
                f"`options` should be among {['beam_width', 'n_best', *OPTIONS]}. "
                f"Received: options={sorted(unknown)}"
            )
        if beam_width is None and n_best is None and not scoring:
            return GreedySearch()
        return PrefixSearch(
            beam_width or max(16, n_best or 1), n_best or 1, self.scorers(**scoring)
        )

    def explain(self, ids, context, context_mask=None):
        """Answers `(batch, length)` -> when each token was said and how surely.

        Returns:
            `frames` `(batch, length, 2)` and `confidence` `(batch, length)`, see
            `mmkeras.decoders.alignment.align`.
        """
        return align(self(context, context_mask), ids)

    def loss(self):
        """The loss to compile with."""
        return CTCLoss()

    def metrics_to_compile(self):
        """The metrics to compile with."""
        return [TokenErrorRate()]

    def compute_output_shape(self, context_shape, context_mask_shape=None):
        return (*context_shape[:-1], self.vocabulary_size)

    def get_config(self):
        return {**super().get_config(), "dropout": self.dropout}


@keras.saving.register_keras_serializable("mmkeras")
class CTCLoss(keras.losses.Loss):
    """Minus the log-probability of a text, summed over all its alignments to the frames.

    Graves et al. 2006. A text that needs more frames than there are, see `frames_needed`, has no
    alignment: it counts as a loss of 0 without gradient, so that a recording cut short by
    augmentation spoils no batch.

    Args:
        per_token: Whether each example's loss is divided by the length of its text, which keeps
            long utterances from outweighing short ones.
        reduction: As in `keras.losses.Loss`.

    Shapes: labels `(batch, length)` of ids padded with 0, log-probabilities
    `(batch, frames, vocabulary)`, as `CTC` gives them.

    Example:

    ```python
    import mmkeras as mm

    model.compile("adam", loss={"transcript": mm.CTCLoss()})
    ```
    """

    def __init__(self, per_token=False, reduction="sum_over_batch_size", name="ctc_loss", **kwargs):
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.per_token = per_token

    def call(self, labels, log_probs):
        labels = ops.cast(labels, "int32")
        loss = negative_log_likelihood(labels, ops.cast(log_probs, "float32"))
        loss = ops.where(ops.isinf(loss), 0.0, loss)
        if not self.per_token:
            return loss
        lengths = ops.sum(ops.cast(labels != BLANK_ID, "float32"), axis=-1)
        return loss / ops.maximum(lengths, 1.0)

    def get_config(self):
        return {**super().get_config(), "per_token": self.per_token}


def negative_log_likelihood(labels, log_probs):
    """Of each example, `(batch,)`, infinite without an alignment; shapes as in `CTCLoss`."""
    batch, frames = ops.shape(log_probs)[0], ops.shape(log_probs)[1]
    if keras.backend.backend() == "tensorflow":
        loss = _kernel(labels, log_probs, ops.broadcast_to(frames, (batch,)))
    else:
        lengths = ops.sum(ops.cast(labels != BLANK_ID, "int32"), axis=-1)
        frame_counts = ops.broadcast_to(frames, (batch,))
        loss = ops.ctc_loss(labels, log_probs, lengths, frame_counts, mask_index=BLANK_ID)
    # Frames beyond the mask are there, but nothing can be said in them.
    possible = (frames_needed(labels) <= frames) & (loss < -IMPOSSIBLE / 2)
    return ops.where(possible, loss, np.inf)


def _kernel(labels, log_probs, frames):
    """TensorFlow's kernel for sparse labels: twenty times as fast on a CPU as `ops.ctc_loss`."""
    # It refuses an empty text, so another stands in for that.
    empty = tf.reduce_all(labels == BLANK_ID, axis=1)
    labels = tf.concat([tf.cast(empty, tf.int32)[:, None], labels], axis=1)
    places = tf.where(labels != BLANK_ID)
    loss, _ = tf.raw_ops.CTCLoss(
        # Its blank is the last id, and its gradient that of logits: a softmax leaves
        # log-probabilities as they are, and what it would take off sums to zero.
        inputs=tf.roll(tf.transpose(log_probs, [1, 0, 2]), -1, axis=2),
        labels_indices=places,
        labels_values=tf.gather_nd(labels, places) - 1,
        sequence_length=frames,
        ignore_longer_outputs_than_inputs=True,
    )
    return tf.where(empty, -tf.reduce_sum(log_probs[..., BLANK_ID], axis=1), loss)


def frames_needed(labels):
    """The fewest frames that a text can have: one per id, and a blank between equal neighbours.

    Args:
        labels: Ids `(..., length)`, padded with 0.

    Returns:
        Whole numbers `(...)`.

    Example:

    >>> int(frames_needed(np.array([5, 6, 6, 7, 0, 0])))
    5
    """
    written = labels[..., 1:] != BLANK_ID
    repeats = written & (labels[..., 1:] == labels[..., :-1])
    needed = ops.cast(labels[..., :1] != BLANK_ID, "int32")
    needed = ops.concatenate([needed, ops.cast(written, "int32"), ops.cast(repeats, "int32")], -1)
    return ops.sum(needed, axis=-1)


@keras.saving.register_keras_serializable("mmkeras")
class TokenErrorRate(keras.metrics.Metric):
    """Edits between the best path and the text, over the ids of all texts so far.

    Shapes: as in `CTCLoss`; an example of weight 0 is left out.
    """

    def __init__(self, name="token_error_rate", **kwargs):
        super().__init__(name=name, **kwargs)
        self.edits = self.add_weight(shape=(), initializer="zeros", name="edits")
        self.tokens = self.add_weight(shape=(), initializer="zeros", name="tokens")

    def update_state(self, labels, log_probs, sample_weight=None):
        labels = tf.cast(labels, tf.int32)
        found = _best_path(tf.convert_to_tensor(log_probs))
        edits = tf.edit_distance(_sparse(found), _sparse(labels), normalize=False)
        tokens = tf.math.count_nonzero(labels, axis=-1, dtype=tf.float32)
        if sample_weight is not None:
            weight = tf.reshape(tf.cast(sample_weight, tf.float32), [tf.shape(labels)[0], -1])
            weight = tf.reduce_max(weight, axis=1)
            edits, tokens = edits * weight, tokens * weight
        self.edits.assign_add(tf.reduce_sum(edits))
        self.tokens.assign_add(tf.reduce_sum(tokens))

    def result(self):
        return self.edits / ops.maximum(self.tokens, 1.0)


def _best_path(log_probs):
    path = tf.argmax(log_probs, axis=-1, output_type=tf.int32)
    before = tf.pad(path, [[0, 0], [1, 0]])[:, :-1]
    return to_left(tf.where(path != before, path, BLANK_ID)[:, None])[:, 0]


def _sparse(ids):
    places = tf.where(ids != BLANK_ID)
    return tf.SparseTensor(places, tf.gather_nd(ids, places), tf.shape(ids, tf.int64))
