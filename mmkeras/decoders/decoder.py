"""The contract of all decoders: one forward, explicit state."""

import functools

import keras
from keras import ops

from mmkeras.decoders.search import search
from mmkeras.losses import TokenCrossentropy


class Decoder(keras.layers.Layer):
    """Writes a sequence of ids from a context, one position after the other.

    A subclass writes two methods, and training and decoding are both made of them, so that they
    cannot diverge:

    - `initial_state(context, context_mask, max_length)`: what decoding carries. `max_length` is
      None in training, where a whole sequence passes at once and nothing is carried. Leaves
      under the key `"context"` have one row per example, are the same at every step, and are
      shared by all beams of an example; all other leaves have one row per hypothesis.
    - `forward(ids, state, index=0, beams=1, training=None)`: ids `(rows, length)` that stand at
      position `index` and after -> logits `(rows, length, vocabulary)`, the new state, and the
      attention `(batch, beams * length, context length)`.

    Args:
        vocabulary_size: Number of ids, special ones included.
        max_length: Longest sequence in tokens, `[END]` included.
        start_id, end_id: The special ids; 0 is padding.
        label_smoothing: Of the training loss.
    """

    def __init__(
        self,
        vocabulary_size,
        max_length,
        start_id=1,
        end_id=2,
        label_smoothing=0.1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.max_length = max_length
        self.start_id = start_id
        self.end_id = end_id
        self.label_smoothing = label_smoothing

    def initial_state(self, context, context_mask=None, max_length=None):
        raise NotImplementedError

    def forward(self, ids, state, index=0, beams=1, training=None):
        raise NotImplementedError

    def call(self, ids, context, context_mask=None, training=None):
        """Teacher forcing: ids `(batch, length)` -> logits `(batch, length, vocabulary)`."""
        state = self.initial_state(context, context_mask)
        return self.forward(ids, state, training=training)[0]

    def step(self, ids, state, index, beams=1):
        """Decoding: ids `(rows,)` at position `index` -> logits `(rows, vocabulary)`, state."""
        logits, state, _ = self.forward(ops.expand_dims(ids, 1), state, index, beams)
        return ops.squeeze(logits, 1), state

    def attention(self, ids, context, context_mask=None):
        """Where each position of ids `(batch, length)` looked: `(batch, length, context)`."""
        return self.forward(ids, self.initial_state(context, context_mask))[2]

    def explain(self, ids, context, context_mask=None):
        """Answers `(batch, length)` -> `attention`, where each of their tokens looked."""
        start = ops.full((ops.shape(ids)[0], 1), self.start_id, dtype=ids.dtype)
        read = ops.concatenate([start, ids[:, :-1]], axis=1)
        return {"attention": self.attention(read, context, context_mask)}

    def answer(self, context, context_mask=None, max_length=None, **options):
        """Decode from a context; options as in `mmkeras.decoders.search.search`.

        Returns:
            A dict of `ids` `(batch, n_best, length)`, `scores` `(batch, n_best)`, `lengths`.
        """
        length = self.max_length if max_length is None else max_length
        if not 1 <= length <= self.max_length:
            raise ValueError(
                f"`max_length` should be from 1 to {self.max_length}, the length that the "
                f"decoder was built for. Received: max_length={max_length}"
            )
        rows = options.get("beam_width", 1) * options.get("samples", 1)
        return search(
            functools.partial(self.step, beams=rows),
            self.initial_state(context, context_mask, length),
            ops.shape(context)[0],
            start_id=self.start_id,
            end_id=self.end_id,
            max_length=length,
            **options,
        )

    def loss(self):
        """The loss to compile with."""
        return TokenCrossentropy(self.label_smoothing)

    def metrics_to_compile(self):
        """The metrics to compile with; padding has weight 0."""
        return [keras.metrics.SparseCategoricalAccuracy(name="token_accuracy")]

    def compute_output_shape(self, ids_shape, context_shape, context_mask_shape=None):
        return (*ids_shape, self.vocabulary_size)

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "max_length": self.max_length,
            "start_id": self.start_id,
            "end_id": self.end_id,
            "label_smoothing": self.label_smoothing,
        }


def fold(x, beams):
    """`(batch * beams, length, width)` -> `(batch, beams * length, width)`."""
    if beams == 1:
        return x
    return ops.reshape(x, (-1, beams * x.shape[1], x.shape[2]))


def unfold(x, beams):
    """`(batch, beams * length, width)` -> `(batch * beams, length, width)`."""
    if beams == 1:
        return x
    return ops.reshape(x, (-1, x.shape[1] // beams, x.shape[2]))
