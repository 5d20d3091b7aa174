"""N-gram language models as tensors: scored in the graph, added to a search."""

import keras
import numpy as np
import tensorflow as tf

from mmkeras.decoders import ngrams
from mmkeras.decoders.prefix_search import BLANK_ID, IMPOSSIBLE
from mmkeras.decoders.spelling import BEGINS, INSIDE, SEPARATOR, token_names, trie

LOG_10 = float(np.log(10.0))
LARGEST_TABLE = 2**21  # 16 MB


@keras.saving.register_keras_serializable("mmkeras")
class NgramLanguageModel(keras.layers.Layer):
    """The probability of a text by its n-grams, of words or of tokens.

    Made by `train` or `from_arpa`. Of words, it knows how each is spelled in tokens, and a word
    counts when a space or the end comes after it. It takes 16 bytes per n-gram and 8 more per
    shorter one, 12 per character of spelling; a small model of tokens at most 16 MB on top.

    Args:
        words: Its vocabulary: `<unk>`, `<s>`, `</s>`, then words, or tokens as ARPA files spell
            them.
        order: Length of the longest n-gram.
        unit: `"word"` or `"token"`.
        vocabulary_size: Number of token ids.
        sizes: Numbers of n-grams, of contexts and of places in the spellings.

    Example:

    ```python
    import mmkeras as mm

    letters = mm.train_tokenizer(["a dog runs", "a cat runs"], kind="character")
    model = mm.NgramLanguageModel.train(["a dog runs", "a cat runs"], letters, order=2)
    model.perplexity(["a dog runs"], letters)
    model.to_arpa("words.arpa")
    ```
    """

    def __init__(self, words, order, unit, vocabulary_size, sizes, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.words = tuple(words)
        self.order = order
        self.unit = unit
        self.vocabulary_size = vocabulary_size
        self.sizes = tuple(sizes)
        grams, contexts, places = self.sizes
        # An n-gram is a context and a word; both in one number, sorted to be searched.
        self.keys = self._array("keys", grams, "int64")
        self.log_probs = self._array("log_probs", grams, "float32")
        self.following = self._array("following", grams, "int32")
        self.backoff = self._array("backoff", contexts, "float32")
        self.shorter = self._array("shorter", contexts, "int32")
        if unit == "word":
            # A trie: edge i, a place and a token in one number, leads to place i + 1.
            self.edges = self._array("edges", places, "int64")
            self.word_at = self._array("word_at", places + 1, "int32")
            self.kinds = self._array("kinds", vocabulary_size, "int32")
        else:
            self.word_of = self._array("word_of", vocabulary_size, "int32")
            if self._is_dense():
                self.table = self._array("table", contexts * vocabulary_size, "float32")
                self.table_after = self._array("table_after", contexts * vocabulary_size, "int32")
        # Contexts are numbered by length: none, then each word; `<s>` is the second.
        self.start = 2 if order > 1 else 0
        self.built = True

    def _is_dense(self):
        """Whether what every token adds after every context is worked out beforehand."""
        return self.unit == "token" and self.sizes[1] * self.vocabulary_size <= LARGEST_TABLE

    def _array(self, name, size, dtype):
        return self.add_weight(
            (size,), initializer="zeros", dtype=dtype, trainable=False, autocast=False, name=name
        )

    @classmethod
    def train(cls, texts, tokenizer, order=3, unit="word", **kwargs):
        """Estimate a model from texts, see `mmkeras.decoders.ngrams.estimate`.

        Args:
            texts: Iterable of str; the tokenizer's own spelling of them is learned.
            tokenizer: Of the model that will use it.
            order: Length of the longest n-gram, from 1.
            unit: `"word"`, what stands between spaces, or `"token"`.

        Raises:
            ValueError: if there is no text, or an argument is not as above.
        """
        if not isinstance(order, int) or order < 1:
            raise ValueError(f"`order` should be a whole number from 1. Received: order={order!r}")
        sentences = _sentences(list(texts), tokenizer, _checked(unit))
        return cls._from_tables(ngrams.estimate(sentences, order), tokenizer, unit, **kwargs)

    @classmethod
    def from_arpa(cls, path, tokenizer, unit="word", **kwargs):
        """Read an ARPA file, plain or `.gz`.

        Args:
            path: Of the file; of tokens, with a space in a token as `▁` and other bytes that are
                no letters as `<0x0A>`.
            tokenizer: Of the model that will use it.
            unit: `"word"` or `"token"`, what the file's words are.

        Raises:
            ValueError: naming the file and the line at fault.
        """
        return cls._from_tables(ngrams.read_arpa(path), tokenizer, _checked(unit), **kwargs)

    @classmethod
    def _from_tables(cls, tables, tokenizer, unit, **kwargs):
        words = [*ngrams.SPECIAL, *(w for (w,) in tables[0] if w not in ngrams.SPECIAL)]
        arrays = _arrays(tables, words)
        if unit == "word":
            spelling = trie(words[len(ngrams.SPECIAL) :], tokenizer, len(ngrams.SPECIAL))
            places = len(spelling["edges"])
        else:
            number = {word: i for i, word in enumerate(words)}
            names = [number.get(name, 0) for name in token_names(tokenizer)]
            spelling, places = {"word_of": np.array(names, "int32")}, 0
        sizes = len(arrays["keys"]), len(arrays["backoff"]), places
        model = cls(words, len(tables), unit, tokenizer.vocabulary_size, sizes, **kwargs)
        for name, values in {**arrays, **spelling}.items():
            getattr(model, name).assign(values)
        if model._is_dense():
            context, token = np.indices([sizes[1], tokenizer.vocabulary_size], "int32")
            value, after = model.score(context.ravel(), tf.gather(model.word_of, token.ravel()))
            model.table.assign(value)
            model.table_after.assign(after)
        return model

    def score_tokens(self, context, tokens):
        """As `score`, of a model of tokens, for token ids.

        Args:
            context: Numbers of contexts, int32.
            tokens: Token ids, int32; the two broadcast.

        Returns:
            Log-probabilities and numbers of contexts.
        """
        if self._is_dense():
            place = context * self.vocabulary_size + tokens
            return tf.gather(self.table, place), tf.gather(self.table_after, place)
        words = tf.gather(self.word_of, tokens)
        shape = tf.broadcast_dynamic_shape(tf.shape(context), tf.shape(words))
        return self.score(tf.broadcast_to(context, shape), tf.broadcast_to(words, shape))

    def score(self, context, word):
        """How likely words are after contexts, and the contexts after them.

        Args:
            context: Numbers of contexts, int32, of any shape; `start` at the beginning.
            word: Places in `words`, int32, of the same shape.

        Returns:
            Natural log-probabilities and numbers of contexts.
        """
        found = None
        keys, last = tf.convert_to_tensor(self.keys), self.sizes[0] - 1
        wide = tf.cast(word, tf.int64)
        for _ in range(self.order):
            key = tf.cast(context, tf.int64) * len(self.words) + wide
            place = tf.minimum(_searched(keys, key), last)
            hit = tf.gather(keys, place) == key
            more = tf.where(hit, tf.gather(self.log_probs, place), tf.gather(self.backoff, context))
            after = tf.gather(self.following, place)
            if found is None:
                total, following, found = more, after, hit
            else:
                total += tf.where(found, 0.0, more)
                following = tf.where(found, following, after)
                found |= hit
            context = tf.gather(self.shorter, context)
        return total, following

    def scorer(self, weight, bonus=None, unknown=-10.0):
        """What a search adds, see `mmkeras.decoders.scoring`, with the arguments there."""
        if self.unit == "word":
            return _WordScorer(self, weight, 1.0 if bonus is None else bonus, unknown)
        return _TokenScorer(self, weight, bonus or 0.0)

    def perplexity(self, texts, tokenizer):
        """Of the units of texts, in which the end of each text counts as one."""
        number = {word: i for i, word in enumerate(self.words)}
        sentences = _sentences(list(texts), tokenizer, self.unit)
        rows = [[number.get(w, 0) for w in [*words, ngrams.END]] for words in sentences]
        rows = tf.ragged.constant(rows, tf.int32)
        lengths, padded = rows.row_lengths(), rows.to_tensor(0)
        context, total = tf.fill([padded.shape[0]], self.start), 0.0
        for i in range(padded.shape[1]):
            value, context = self.score(context, padded[:, i])
            total += tf.reduce_sum(tf.where(i < lengths, value, 0.0))
        return float(tf.exp(-total / tf.cast(tf.reduce_sum(lengths), tf.float32)))

    def to_arpa(self, path):
        """Write the n-grams as an ARPA file, compressed if its name ends in `.gz`."""
        ngrams.write_arpa(path, self._tables())

    def _tables(self):
        """The n-grams as `ngrams.estimate` gives them."""
        context, word = np.divmod(np.asarray(self.keys), len(self.words))
        log_probs = np.asarray(self.log_probs) / LOG_10
        backoff = np.asarray(self.backoff) / LOG_10
        following = np.asarray(self.following)
        spelled = {0: ()}
        tables = [{} for _ in range(self.order)]
        # N-grams are sorted by context, and contexts by length: each is spelled before it is used.
        for c, w, value, own in zip(context, word, log_probs, following, strict=True):
            gram = (*spelled[c], self.words[w])
            weight = 0.0
            if len(gram) < self.order:
                spelled[own], weight = gram, float(backoff[own])
            tables[len(gram) - 1][gram] = float(value), weight
        return tables

    def get_config(self):
        return {
            **super().get_config(),
            "words": list(self.words),
            "order": self.order,
            "unit": self.unit,
            "vocabulary_size": self.vocabulary_size,
            "sizes": list(self.sizes),
        }


class _TokenScorer:
    """Adds a model of tokens: every token counts as it comes."""

    def __init__(self, model, weight, bonus):
        self.model = model
        self.weight = weight
        self.bonus = bonus
        self.most = max(0.0, bonus)

    def initial_state(self, batch_size):
        return {"context": tf.fill([batch_size], self.model.start)}

    def score(self, state, tokens):
        value, _ = self.model.score_tokens(state["context"][..., None], tokens[:, None])
        return self.weight * value + self.bonus

    def advance(self, state, tokens):
        _, context = self.model.score_tokens(state["context"], tokens)
        return {"context": tf.where(tokens == BLANK_ID, state["context"], context)}

    def end(self, state):
        end = tf.fill(tf.shape(state["context"]), ngrams.SPECIAL.index(ngrams.END))
        return self.weight * self.model.score(state["context"], end)[0]


class _WordScorer:
    """Adds a model of words: each counts when a space, the next word or the end follows it.

    A word begins at the root of the trie and follows its tokens; what leaves the trie is an unknown
    word from there on.
    """

    def __init__(self, model, weight, bonus, unknown):
        self.model = model
        self.weight = weight
        self.bonus = bonus
        self.most = max(0.0, bonus)
        self.unknown = IMPOSSIBLE if unknown is None else unknown
        self.lost = model.sizes[2]

    def initial_state(self, batch_size):
        return {
            "context": tf.fill([batch_size], self.model.start),
            "place": tf.zeros([batch_size], tf.int32),
        }

    def score(self, state, tokens):
        place, kind = state["place"][..., None], tf.gather(self.model.kinds, tokens)[:, None]
        value = self._word(state)[0][..., None]
        added = tf.where((kind != INSIDE) & (place != 0), value, 0.0)
        following = self._following(place, kind, tokens[:, None])
        separates = kind == SEPARATOR
        leaves = ~separates & (following == self.lost)
        leaves &= (kind == BEGINS) | (place != self.lost)
        added += tf.where(leaves, self.unknown, 0.0)
        # Two spaces without a word between them are no text.
        return added + tf.where(separates & (place == 0), IMPOSSIBLE, 0.0)

    def advance(self, state, tokens):
        context, place, kind = state["context"], state["place"], tf.gather(self.model.kinds, tokens)
        ended = (kind != INSIDE) & (place != 0)
        context = tf.where(ended, self._word(state)[1], context)
        following = self._following(place, kind, tokens)
        following = tf.where(kind == SEPARATOR, 0, following)
        return {"context": context, "place": tf.where(tokens == BLANK_ID, place, following)}

    def _following(self, place, kind, tokens):
        """The places in the trie after tokens that are within a word or begin one."""
        key = tf.cast(tf.where(kind == BEGINS, 0, place), tf.int64) * self.model.vocabulary_size
        key += tf.cast(tokens, tf.int64)
        edges = tf.convert_to_tensor(self.model.edges)
        edge = _searched(edges, key)
        return tf.where(tf.gather(edges, edge) == key, edge + 1, self.lost)

    def end(self, state):
        value, context = self._word(state)
        within = state["place"] != 0
        context = tf.where(within, context, state["context"])
        end = tf.fill(tf.shape(context), ngrams.SPECIAL.index(ngrams.END))
        closing = self.weight * self.model.score(context, end)[0]
        return tf.where(within, value, 0.0) + closing

    def _word(self, state):
        """What the word that stands before this place adds, and the context after it."""
        place = state["place"]
        word = tf.gather(self.model.word_at, place)
        value, context = self.model.score(state["context"], word)
        # What left the trie has paid for that when it did.
        unknown = tf.where((word == 0) & (place != self.lost), self.unknown, 0.0)
        return self.weight * value + self.bonus + unknown, context


def _searched(keys, queries):
    """Where each query would stand among sorted keys."""
    return tf.reshape(tf.searchsorted(keys, tf.reshape(queries, [-1])), tf.shape(queries))


def _arrays(tables, words):
    """N-grams as arrays, see `NgramLanguageModel`."""
    number = {word: i for i, word in enumerate(words)}
    first = {(word,): tables[0].get((word,), (ngrams.NEVER, 0.0)) for word in words}
    tables = [first, *tables[1:]]
    contexts = {(): 0}
    for table in tables[:-1]:
        for gram in table:
            contexts[gram] = len(contexts)

    def longest(gram):
        while gram not in contexts:
            gram = gram[1:]
        return contexts[gram]

    rows = [
        (contexts[gram[:-1]] * len(words) + number[gram[-1]], value, longest(gram))
        for table in tables
        for gram, (value, _) in table.items()
    ]
    keys = np.array([key for key, _, _ in rows], "int64")
    order = np.argsort(keys)
    weights = [0.0, *(weight for table in tables[:-1] for _, weight in table.values())]
    return {
        "keys": keys[order],
        "log_probs": np.array([value for _, value, _ in rows], "float32")[order] * LOG_10,
        "following": np.array([after for _, _, after in rows], "int32")[order],
        "backoff": np.array(weights, "float32") * LOG_10,
        "shorter": np.array([longest(gram[1:]) for gram in contexts], "int32"),
    }


def _sentences(texts, tokenizer, unit):
    """Texts as lists of units, in the tokenizer's own spelling."""
    ids = tokenizer.encode(texts)
    if unit == "token":
        names = token_names(tokenizer)
        return [[names[i] for i in row] for row in ids.to_list()]
    return [text.decode("utf-8", "replace").split() for text in tokenizer.decode(ids).numpy()]


def _checked(unit):
    if unit not in ("word", "token"):
        raise ValueError(f'`unit` should be "word" or "token". Received: unit={unit!r}')
    return unit
