"""Hot words: phrases that a search prefers, such as names."""

from collections import deque

import numpy as np
import tensorflow as tf

from mmkeras.decoders.prefix_search import BLANK_ID


class HotWords:
    """Adds a bonus for each token of a phrase as it comes, and takes it back if the phrase breaks.

    Where the phrases go on from any text is one table, after Aho and Corasick 1975, "Efficient
    String Matching", so that phrases may overlap. If all phrases begin and end with one token, as
    with the space around words of characters, the beginning and the end of a text count as that
    token too.

    Args:
        phrases: Tuples of token ids, see `mmkeras.decoders.spelling.hot_word_ids`.
        vocabulary_size: Number of token ids.
        bonus: For each token, in natural logarithms.

    Raises:
        ValueError: if a phrase is empty or holds what is no token id.

    Example:

    >>> words = HotWords(((4, 5),), vocabulary_size=6, bonus=2.0)
    >>> state = {"place": words.initial_state(1)["place"][:, None]}
    >>> words.score(state, tf.constant([[3, 4]])).numpy().tolist()
    [[[0.0, 2.0]]]
    """

    def __init__(self, phrases, vocabulary_size, bonus=1.0):
        phrases = [tuple(phrase) for phrase in phrases]
        for phrase in phrases:
            if not phrase or not all(0 < token < vocabulary_size for token in phrase):
                raise ValueError(
                    "`hot_words` should hold phrases of at least one token id from 1 to "
                    f"{vocabulary_size - 1}. Received: {phrase!r}"
                )
        self.bonus = bonus
        self.following, self.open, self.closed = _automaton(phrases, vocabulary_size)
        self.more = (self.open + self.closed)[self.following] - self.open[:, None]
        outer = {token for phrase in phrases for token in (phrase[0], phrase[-1])}
        self.boundary = outer.pop() if len(outer) == 1 else None
        self.start = 0 if self.boundary is None else int(self.following[0, self.boundary])
        end = self.closed.max() + self.open[self.start]
        self.most = abs(bonus) * float(max(np.abs(self.more).max(), end))

    def initial_state(self, batch_size):
        return {"place": tf.fill([batch_size], self.start)}

    def score(self, state, tokens):
        beams, each = state["place"].shape[1], tokens.shape[1]
        place = tf.repeat(state["place"][..., None], each, axis=2)
        tokens = tf.repeat(tokens[:, None], beams, axis=1)
        return self.bonus * tf.gather_nd(self.more, tf.stack([place, tokens], axis=-1))

    def advance(self, state, tokens):
        places = tf.stack([state["place"], tokens], axis=-1)
        return {"place": tf.gather_nd(self.following, places)}

    def end(self, state):
        place = state["place"]
        # The boundary before the text has not been paid for yet.
        more = self.open[self.start] - tf.gather(self.open, place)
        if self.boundary is not None:
            after = tf.gather(self.following[:, self.boundary], place)
            more += tf.gather(self.closed, after)
        return self.bonus * more


def _automaton(phrases, vocabulary_size):
    """The table of places, what each has earned so far, and what it earns for good.

    A place is the longest beginning of a phrase that the text ends with. What it has earned is the
    number of its tokens since a phrase last ended in it.
    """
    children, ends = [{}], set()
    for phrase in phrases:
        place = 0
        for token in phrase:
            if token not in children[place]:
                children[place][token] = len(children)
                children.append({})
            place = children[place][token]
        ends.add(place)
    following = np.zeros([len(children), vocabulary_size], "int32")
    earned, closed = np.zeros([2, len(children)], "float32")
    shorter = [0] * len(children)
    queue = deque([0])
    while queue:
        place = queue.popleft()
        following[place] = following[shorter[place]]
        for token, child in children[place].items():
            shorter[child] = int(following[place, token]) if place else 0
            following[place, token] = child
            earned[child] = 0 if child in ends else earned[place] + 1
            closed[child] = closed[shorter[child]]
            closed[child] += earned[place] + 1 if child in ends else 0
            queue.append(child)
    following[:, BLANK_ID] = np.arange(len(children))
    return following, earned, closed
