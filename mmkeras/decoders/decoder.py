"""The contract of all decoders: one forward, explicit state."""

import functools

import keras
from keras import ops

from mmkeras.decoders.choices import Choices
from mmkeras.decoders.scoring import ScoredHead, parted
from mmkeras.decoders.search import count_followed, search
from mmkeras.losses import TokenCrossentropy


class Decoder(ScoredHead):
    """Writes a sequence of ids from a context, one position after the other.

    A subclass writes two methods, and training and decoding are both made of them, so that they
    cannot diverge:

    - `initial_state(context, context_mask, max_length, beams)`: what decoding carries, leaves of
      one row per example. `max_length` is None in training, where a whole sequence passes at once
      and nothing is carried. Search repeats each leaf to one row per hypothesis, `batch * beams`
      rows, and reorders these as it chooses; it leaves alone what stands under `"context"`, the
      same at every step, and under `"cache"`, which holds all hypotheses of an example in one row.
    - `forward(ids, state, index=None, training=None)`: ids `(batch, n)` -> logits `(batch, n,
      vocabulary)`, the new state, and the attention `(batch, n, context length)`. Without an
      `index` the n ids are one sequence, from its first position on; with one they are the ids
      of an example's n hypotheses that all stand at the position `index`.

    Args:
        vocabulary_size: Number of ids, special ones included.
        max_length: Longest sequence in tokens, `[END]` included.
        start_id, end_id: The special ids; 0 is padding.
        label_smoothing: Of the training loss.
        language_model: What search adds, or None, see `set_language_model`.
        choices: Lists of token ids, the only texts that it answers with; None for any. In training
            they say nothing.
    """

    def __init__(
        self,
        vocabulary_size,
        max_length,
        start_id=1,
        end_id=2,
        label_smoothing=0.1,
        language_model=None,
        choices=None,
        **kwargs,
    ):
        super().__init__(vocabulary_size, language_model, **kwargs)
        self.max_length = max_length
        self.start_id = start_id
        self.end_id = end_id
        self.label_smoothing = label_smoothing
        self.choices = choices
        self._trie = None if choices is None else Choices(choices, vocabulary_size)
        if choices is not None:
            self._trie.check(max_length, {})

    def initial_state(self, context, context_mask=None, max_length=None, beams=1):
        raise NotImplementedError

    def forward(self, ids, state, index=None, training=None):
        raise NotImplementedError

    def call(self, ids, context, context_mask=None, training=None):
        """Teacher forcing: ids `(batch, length)` -> logits `(batch, length, vocabulary)`."""
        state = self.initial_state(context, context_mask)
        return self.forward(ids, state, training=training)[0]

    def step(self, ids, state, index, beams=1):
        """Decoding: ids `(batch * beams,)` at `index` -> logits `(..., vocabulary)`, state."""
        logits, state, _ = self.forward(ops.reshape(ids, (-1, beams)), state, index)
        return ops.reshape(logits, (-1, self.vocabulary_size)), state

    def attention(self, ids, context, context_mask=None):
        """Where each position of ids `(batch, length)` looked: `(batch, length, context)`."""
        return self.forward(ids, self.initial_state(context, context_mask))[2]

    def explain(self, ids, context, context_mask=None):
        """Answers `(batch, length)` -> `attention`, where each of their tokens looked."""
        start = ops.full((ops.shape(ids)[0], 1), self.start_id, dtype=ids.dtype)
        read = ops.concatenate([start, ids[:, :-1]], axis=1)
        return {"attention": self.attention(read, context, context_mask)}

    def answer(self, context, context_mask=None, max_length=None, scorers=None, **options):
        """Decode from a context.

        Args:
            context, context_mask: As in `call`.
            max_length: Of the answers; None for the decoder's.
            scorers: A dict of what search adds, see `mmkeras.decoders.scoring`; None for what the
                decoder's language model and the options ask for.
            **options: As in `mmkeras.decoders.search.search` and `ScoredHead.scorers`.

        Returns:
            A dict of `ids` `(batch, n_best, length)`, `scores` `(batch, n_best)`, `lengths`.
        """
        length = self.max_length if max_length is None else max_length
        if not 1 <= length <= self.max_length:
            raise ValueError(
                f"`max_length` should be from 1 to {self.max_length}, the length that the "
                f"decoder was built for. Received: max_length={max_length}"
            )
        if self._trie is not None:
            self._trie.check(length, options)
        scoring, options = parted(options)
        beams = count_followed(options)
        return search(
            functools.partial(self.step, beams=beams),
            self.initial_state(context, context_mask, length, beams),
            ops.shape(context)[0],
            start_id=self.start_id,
            end_id=self.end_id,
            max_length=length,
            scorers=self.scorers(**scoring) if scorers is None else scorers,
            **options,
        )

    def scorers(self, **options):
        found = super().scorers(**options)
        return found if self._trie is None else {**found, "choices": self._trie}

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
            "max_length": self.max_length,
            "start_id": self.start_id,
            "end_id": self.end_id,
            "label_smoothing": self.label_smoothing,
            "choices": self.choices,
        }
