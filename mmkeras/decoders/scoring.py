"""Scorers: what a search adds to the score of a text as its ids come, such as a language model.

A scorer has

- `initial_state(batch_size)`: a dict of tensors `(batch, ...)`, before the first id.
- `score(state, ids)`: leaves of the state `(batch, beams, ...)`, ids `(batch, candidates)` that may
  come next -> what each adds, `(batch, beams, candidates)`.
- `advance(state, ids)`: ids `(batch, beams)` that came, 0 for none -> the state after them.
- `end(state)`: what the end of the text adds, `(batch, beams)`.
- `most`: a number from 0; neither an id nor the end adds more.

What cannot be adds `IMPOSSIBLE` or less.
"""

import inspect
import numbers

import keras

from mmkeras.decoders.hot_words import HotWords


class ScoredHead(keras.layers.Layer):
    """A head whose answers a language model and hot words may turn.

    Args:
        vocabulary_size: Number of ids, special ones included.
        language_model: What `set_language_model` takes.
    """

    def __init__(self, vocabulary_size, language_model=None, **kwargs):
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.language_model = None
        self.set_language_model(language_model)

    def set_language_model(self, model):
        """Add a language model to the search, or None for none, before or after training.

        It is saved and exported with the head.

        Args:
            model: An `NgramLanguageModel`; or an `LSTMLanguageModel`, of which the head takes a
                copy that is trained no further.

        Raises:
            ValueError: if it is made for other tokens.
        """
        if model is not None and model.vocabulary_size != self.vocabulary_size:
            raise ValueError(
                f"`language_model` should be made for the head's {self.vocabulary_size} token ids. "
                f"Received: language_model with vocabulary_size={model.vocabulary_size}"
            )
        if model is not None:
            model = _copied(model) if model.trainable_weights else model
            # The parts of a layer that was loaded do not know it from the whole, and only a change
            # reaches them.
            model.trainable = True
            model.trainable = False
        # Keras gives a layer that is built no more parts; this one is none of its forward pass.
        self._tracker.unlock()
        self._tracker.untrack(self.language_model)
        self.language_model = model
        if self.built:
            self._tracker.lock()

    def scorers(
        self,
        language_weight=0.5,
        word_bonus=None,
        unknown_penalty=-10.0,
        hot_words=(),
        hot_word_bonus=1.0,
    ):
        """What the search adds to the log-probability of a text: a dict of scorers.

        Args:
            language_weight: Of the head's language model, natural logarithms; 0 for none.
            word_bonus: For each unit of the language model, which else prefers few; None for 1 for
                a word and 0 for a token.
            unknown_penalty: Added for a word that a language model of words lacks; None to allow
                none.
            hot_words: Phrases to prefer, a tuple of tuples of token ids, as
                `mmkeras.decoders.spelling.hot_word_ids` gives them.
            hot_word_bonus: For each token of a hot phrase, in natural logarithms.
        """
        if isinstance(language_weight, numbers.Real) and not language_weight >= 0:
            raise ValueError(
                "`language_weight` should be a number from 0. "
                f"Received: language_weight={language_weight!r}"
            )
        found = {}
        if self.language_model is not None and not _is_zero(language_weight):
            found["language"] = self.language_model.scorer(
                language_weight, word_bonus, unknown_penalty
            )
        if hot_words:
            found["hot"] = HotWords(hot_words, self.vocabulary_size, hot_word_bonus)
        return found

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "language_model": keras.saving.serialize_keras_object(self.language_model),
        }

    @classmethod
    def from_config(cls, config):
        # Of a model that was saved before decoders had one it is not there.
        language = keras.saving.deserialize_keras_object(config.get("language_model"))
        return cls(**{**config, "language_model": language})


OPTIONS = tuple(inspect.signature(ScoredHead.scorers).parameters)[1:]


def parted(options):
    """Options of an answer -> those of `ScoredHead.scorers`, and the others."""
    own = {name: value for name, value in options.items() if name in OPTIONS}
    return own, {name: value for name, value in options.items() if name not in OPTIONS}


def _copied(layer):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    copy.set_weights(layer.get_weights())
    return copy


def _is_zero(weight):
    return isinstance(weight, numbers.Real) and weight == 0
