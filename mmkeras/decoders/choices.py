"""Choices: a search that writes one of some texts and nothing else."""

import numpy as np
import tensorflow as tf

from mmkeras.decoders.prefix_search import BLANK_ID, IMPOSSIBLE

# Options of a search that may leave no text to choose.
REFUSED = ("min_length", "no_repeat_ngram")


class Choices:
    """A scorer, see `mmkeras.decoders.scoring`, that rules out all but some texts.

    It walks a trie (Fredkin 1960, "Trie Memory"), which takes 9 bytes for each different beginning
    of a text, whatever the size of the vocabulary. With as many beams as there are texts, or more,
    the search is exact: the best answer is the likeliest text.

    Args:
        texts: Lists of token ids.
        vocabulary_size: Number of token ids.

    Raises:
        ValueError: if there is no text, or one is empty or holds what is no token id.

    Example:

    >>> choices = Choices([[4, 5], [4]], vocabulary_size=6)
    >>> state = {"place": choices.initial_state(1)["place"][:, None]}
    >>> (choices.score(state, tf.constant([[3, 4, 5]])) == 0).numpy().tolist()
    [[[False, True, False]]]
    """

    most = 0.0

    def __init__(self, texts, vocabulary_size):
        texts = {tuple(text) for text in texts}
        for text in texts or [()]:
            if not text or not all(0 < token < vocabulary_size for token in text):
                raise ValueError(
                    "`choices` should hold texts of at least one token id from 1 to "
                    f"{vocabulary_size - 1}. Received: {text!r}"
                )
        begun = {text[: end + 1] for text in texts for end in range(len(text))}
        places = [(), *sorted(begun, key=lambda text: (len(text), text))]
        number = {text: place for place, text in enumerate(places)}
        # Places in this order have sorted edges, a place and a token in one number each, and edge
        # i leads to place i + 1. The last is greater than any, so that each search ends before it.
        edges = [number[text[:-1]] * vocabulary_size + text[-1] for text in places[1:]]
        self.edges = np.array([*edges, np.iinfo("int64").max])
        # Beyond all places is where nothing leads to a text.
        self.whole = np.array([*(text in texts for text in places), False])
        self.vocabulary_size = vocabulary_size
        self.longest = max(map(len, texts))

    def initial_state(self, batch_size):
        return {"place": tf.zeros([batch_size], tf.int32)}

    def score(self, state, tokens):
        following = self._following(state["place"][..., None], tokens[:, None])
        return tf.where(following < len(self.whole) - 1, 0.0, IMPOSSIBLE)

    def advance(self, state, tokens):
        following = self._following(state["place"], tokens)
        return {"place": tf.where(tokens == BLANK_ID, state["place"], following)}

    def end(self, state):
        return tf.where(tf.gather(self.whole, state["place"]), 0.0, IMPOSSIBLE)

    def _following(self, place, tokens):
        """The places after tokens; the two broadcast."""
        key = tf.cast(place, tf.int64) * self.vocabulary_size + tf.cast(tokens, tf.int64)
        edge = tf.reshape(tf.searchsorted(self.edges, tf.reshape(key, [-1])), tf.shape(key))
        found = tf.gather(self.edges, edge) == key
        return tf.where(found, edge + 1, len(self.whole) - 1)

    def check(self, max_length, options):
        """Refuse what would end a text before it is whole.

        Raises:
            ValueError: naming the option.
        """
        if max_length <= self.longest:
            raise ValueError(
                f"`max_length` should be above {self.longest}, the tokens of the longest choice. "
                f"Received: max_length={max_length}"
            )
        given = [name for name in REFUSED if options.get(name)]
        if given:
            raise ValueError(f"`{given[0]}` should not be given where answers are chosen")
