"""Tokenizers: strings to ids and back, in core TensorFlow ops for tf.data and the served graph."""

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import islice, pairwise

import keras
import numpy as np
import tensorflow as tf

SPECIAL = ["[PAD]", "[START]", "[END]"]
UNKNOWN = "[UNK]"

_BYTES = [bytes([value]) for value in range(256)]
_TEXTS_AT_ONCE = 1024
_MOST_DISTINCT = 1_000_000  # words counted at once in training; beyond it the rarest are dropped

# A word of a script that is written without spaces is one character, as in BERT.
SPACELESS = r"[\p{Han}\p{Hiragana}\p{Katakana}ーｰ]"
WORD = "|".join(
    [
        r"['’](?i:s|t|re|ve|ll|m|d)\b",
        r"\p{N}+(?:[.,:]\p{N}+)+",
        r"[\p{L}\p{M}\p{N}\x{200c}\x{200d}]+(?:-[\p{L}\p{M}\p{N}\x{200c}\x{200d}]+)*",
        r"\p{So}(?:[\p{Sk}\p{Mn}]|\x{200d}\p{So})*",  # an emoji with its skin tone and joined parts
        r"\S",
    ]
)

# Pieces are learned inside these runs only: a word keeps the space or apostrophe before it. As \w
# leaves out the vowel signs of many scripts, a word is whatever is no space, digit or ASCII mark.
_ASCII_MARKS = r"!-/:-@\[-`{-~"
_RUNS = re.compile(
    rf"[ ']?[^\s\d{_ASCII_MARKS}]{{1,24}}| ?\d{{1,3}}| ?[{_ASCII_MARKS}]{{1,24}}"
    r"|\s{1,24}(?!\S)|\s{1,24}"
)


class Tokenizer(keras.layers.Layer):
    """What the tokenizers share: special ids, checks, and a vocabulary indexed by id.

    Args:
        vocabulary: list of str, the spelling of every id; it begins with the special tokens.
    """

    pad_id, start_id, end_id = 0, 1, 2
    reserved = tuple(SPECIAL)

    def __init__(self, vocabulary, **kwargs):
        super().__init__(autocast=False, **kwargs)
        # Strings are no tensors to Keras: leave the arguments of `call` as they come.
        self._convert_input_args = False
        self._allow_non_tensor_positional_args = True
        self.supports_jit = False
        self._vocabulary = tuple(vocabulary)
        first = self._vocabulary[: len(self.reserved)]
        if first != self.reserved:
            raise ValueError(
                f"`vocabulary` should begin with {list(self.reserved)}. "
                f"Received: vocabulary that begins with {list(first)}"
            )
        self.built = True

    @property
    def vocabulary(self):
        return list(self._vocabulary)

    @property
    def vocabulary_size(self):
        return len(self._vocabulary)

    def call(self, strings):
        return self.encode(strings)

    def encode(self, strings):
        """The ids of each string.

        Args:
            strings: strings of shape `[batch]`, a tensor or a list.

        Returns:
            A `tf.RaggedTensor` of int32 and shape `[batch, None]`, without start and end ids.
        """
        strings = tf.convert_to_tensor(strings, tf.string)
        if strings.shape.rank not in (None, 1):
            raise ValueError(
                "`strings` should be a batch of strings of shape [batch]. "
                f"Received: strings of shape {strings.shape}"
            )
        return self._encode(strings)

    def decode(self, ids):
        """The string of each row of ids; pad, start and end ids give nothing.

        Args:
            ids: ids of shape `[batch, length]`, dense or ragged.

        Returns:
            Strings of shape `[batch]`.
        """
        ids = tf.cast(ids, tf.int32)
        ids = tf.ragged.boolean_mask(ids, ids >= len(SPECIAL))
        pieces = ids.with_flat_values(tf.gather(self._spellings(), ids.flat_values))
        return tf.strings.reduce_join(pieces, axis=1, separator=self.separator)

    def get_config(self):
        return {**super().get_config(), "vocabulary": self.vocabulary}


class _LookupTokenizer(Tokenizer):
    """A tokenizer that splits a string and looks every part up in a table."""

    unknown_id = 3
    reserved = (*SPECIAL, UNKNOWN)

    def __init__(self, vocabulary, lowercase, **kwargs):
        super().__init__(vocabulary, **kwargs)
        self.lowercase = lowercase
        known = self._vocabulary[len(self.reserved) :]
        repeated = [word for word, count in Counter(known).items() if count > 1]
        if repeated:
            raise ValueError(
                "`vocabulary` should not repeat a word. "
                f"Received: vocabulary with {repeated[:5]} more than once"
            )
        with tf.init_scope():
            self._table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(
                    tf.constant(known, tf.string, [len(known)]),
                    tf.range(len(self.reserved), self.vocabulary_size, dtype=tf.int32),
                ),
                default_value=self.unknown_id,
            )

    def _encode(self, strings):
        parts = self.split(strings, self.lowercase)
        return parts.with_flat_values(self._table.lookup(parts.flat_values))

    def _spellings(self):
        return tf.constant([*SPECIAL, self.unknown, *self._vocabulary[len(self.reserved) :]])

    def get_config(self):
        return {**super().get_config(), "lowercase": self.lowercase}


@keras.saving.register_keras_serializable("mmkeras")
class WordTokenizer(_LookupTokenizer):
    """Words, numbers, emoji and single marks; a word that is not known is `[UNK]`.

    Chinese and Japanese are split into characters. An English ending such as `'s` is a word of its
    own, `t-shirt` and `3.5` are one. `decode` joins with single spaces.

    Args:
        vocabulary: list of str, `["[PAD]", "[START]", "[END]", "[UNK]", ...]`.
        lowercase: whether strings are lower-cased first.

    Example:

    >>> tokenizer = WordTokenizer(["[PAD]", "[START]", "[END]", "[UNK]", "a", "dog"])
    >>> tokenizer.encode(["A red dog"]).to_list()
    [[4, 3, 5]]
    """

    separator = " "
    unknown = UNKNOWN

    def __init__(self, vocabulary, lowercase=True, **kwargs):
        super().__init__(vocabulary, lowercase, **kwargs)

    @staticmethod
    def split(strings, lowercase):
        strings = tf.strings.regex_replace(_valid(strings), r"[\p{Z}\p{Cc}]+", " ")
        strings = _lower(strings) if lowercase else strings
        strings = tf.strings.regex_replace(strings, f"({SPACELESS})", r" \1 ")
        strings = tf.strings.regex_replace(strings, f"({WORD})", r"\1 ")
        return tf.strings.split(strings)


@keras.saving.register_keras_serializable("mmkeras")
class CharacterTokenizer(_LookupTokenizer):
    """Unicode code points; one that is not known, or a byte that is not UTF-8, is U+FFFD.

    Args:
        vocabulary: list of str, `["[PAD]", "[START]", "[END]", "[UNK]", ...]`, then code points.
        lowercase: whether strings are lower-cased first.

    Example:

    >>> tokenizer = CharacterTokenizer(["[PAD]", "[START]", "[END]", "[UNK]", "a", "b"])
    >>> tokenizer.encode(["abc"]).to_list()
    [[4, 5, 3]]
    """

    separator = ""
    unknown = "\ufffd"

    def __init__(self, vocabulary, lowercase=False, **kwargs):
        super().__init__(vocabulary, lowercase, **kwargs)

    @staticmethod
    def split(strings, lowercase):
        strings = _lower(_valid(strings)) if lowercase else _valid(strings)
        return tf.strings.unicode_split(strings, "UTF-8")


@keras.saving.register_keras_serializable("mmkeras")
class SubwordTokenizer(Tokenizer):
    """Bytes and learned pieces of bytes: any string whatever, exactly, and no unknown token.

    Pieces are learned by merging byte pairs (Sennrich et al. 2016, "Neural Machine Translation of
    Rare Words with Subword Units") and chosen by the greedy longest match (Uzan et al. 2024,
    "Greed is All You Need: An Evaluation of Tokenizer Inference Methods").

    Args:
        vocabulary: list of str, `["[PAD]", "[START]", "[END]"]`, the 256 bytes in order, then
            pieces; bytes are spelled as Latin-1 text.

    Example:

    >>> letters = [chr(byte) for byte in range(256)]
    >>> tokenizer = SubwordTokenizer(["[PAD]", "[START]", "[END]", *letters, " dog"])
    >>> tokenizer.encode(["a dog"]).to_list()
    [[100, 259]]
    """

    separator = ""

    def __init__(self, vocabulary, **kwargs):
        super().__init__(vocabulary, **kwargs)
        pieces = _as_bytes(self._vocabulary[len(SPECIAL) :])
        nodes = sorted(
            {piece[: end + 1] for piece in pieces for end in range(len(piece))},
            key=lambda node: (len(node), node),
        )
        number = {node: index + 1 for index, node in enumerate(nodes)}
        # Nodes in this order have sorted edges, and edge i leads to node i + 1.
        self._edges = np.array([number.get(n[:-1], 0) * 256 + n[-1] for n in nodes], np.int32)
        ids = {piece: index for index, piece in enumerate(pieces, len(SPECIAL))}
        longest = {b"": 0}
        for node in nodes:
            longest[node] = ids.get(node, longest[node[:-1]])
        self._longest = np.array(list(longest.values()), np.int32)
        self._sizes = np.array([0] * len(SPECIAL) + [len(piece) for piece in pieces], np.int32)

    def _encode(self, strings):
        sizes = tf.strings.length(strings)
        splits = tf.concat([[0], tf.cumsum(sizes)], 0)
        codes = tf.io.decode_raw(tf.strings.reduce_join(strings), tf.uint8)
        ids = self._longest_pieces(tf.cast(codes, tf.int32), tf.repeat(splits[1:], sizes))
        following = tf.range(tf.size(ids)) + tf.gather(self._sizes, ids)
        visited = _visited(splits, following, tf.reduce_max(tf.concat([[0], sizes], 0)))
        before = tf.cumsum(visited, exclusive=True)
        return tf.RaggedTensor.from_row_splits(
            tf.boolean_mask(ids, visited[:-1] > 0), tf.cast(tf.gather(before, splits), tf.int64)
        )

    def _longest_pieces(self, codes, ends):
        """The longest piece from every byte on; all bytes walk the trie at once."""

        def step(depth, positions, nodes, deepest):
            keys = nodes * 256 + tf.gather(codes, positions + depth)
            edges = tf.searchsorted(self._edges, keys)
            found = tf.gather(self._edges, tf.minimum(edges, len(self._edges) - 1)) == keys
            positions = tf.boolean_mask(positions, found)
            nodes = tf.boolean_mask(edges, found) + 1
            deepest = tf.tensor_scatter_nd_update(deepest, positions[:, None], nodes)
            return (*within(depth + 1, positions, nodes), deepest)

        def within(depth, positions, nodes):
            kept = positions + depth < tf.gather(ends, positions)
            return depth, tf.boolean_mask(positions, kept), tf.boolean_mask(nodes, kept)

        roots = codes + 1  # node 0 has an edge for every byte
        deepest = tf.while_loop(
            lambda depth, positions, nodes, deepest: tf.size(positions) > 0,
            step,
            (*within(1, tf.range(tf.size(codes)), roots), roots),
            shape_invariants=(tf.TensorShape([]), *[tf.TensorShape([None])] * 3),
        )[-1]
        return tf.gather(self._longest, deepest)

    def _spellings(self):
        return tf.constant([b""] * len(SPECIAL) + _as_bytes(self._vocabulary[len(SPECIAL) :]))


def _valid(strings):
    return tf.strings.unicode_transcode(strings, "UTF-8", "UTF-8", errors="replace")


def _lower(strings):
    # Of a string with a NUL, `tf.strings.lower` silently drops all from there on.
    strings = tf.strings.regex_replace(strings, r"\x00", "\ufffd")
    return tf.strings.lower(strings, encoding="utf-8")


def _as_bytes(spellings):
    try:
        pieces = [spelling.encode("latin-1") for spelling in spellings]
    except UnicodeEncodeError as error:
        raise ValueError(
            "`vocabulary` should spell bytes as Latin-1 text. "
            f"Received: vocabulary with {error.object!r}"
        ) from None
    if pieces[:256] != _BYTES or len(set(pieces)) < len(pieces) or b"" in pieces:
        raise ValueError(
            f"`vocabulary` should hold {SPECIAL}, the 256 bytes in order, then pieces that are not "
            f"empty and do not repeat. Received: vocabulary of {len(pieces)} pieces"
        )
    return pieces


def _visited(starts, following, longest):
    """Marks (1) what jumping along `following` from `starts` meets, in log2(longest) rounds."""
    count = tf.size(following) + 1
    jump = tf.concat([following, [count - 1]], 0)
    visited = tf.math.unsorted_segment_max(tf.ones_like(starts), starts, count)

    def step(reach, jump, visited):
        landed = tf.math.unsorted_segment_max(visited, jump, count)
        return reach * 2, tf.gather(jump, jump), tf.maximum(visited, landed)

    visited = tf.while_loop(
        lambda reach, jump, visited: reach < longest,
        step,
        (1, jump, visited),
        shape_invariants=(tf.TensorShape([]), *[tf.TensorShape([None])] * 2),
    )[-1]
    return tf.maximum(visited, 0)


def train_tokenizer(texts, kind="word", vocabulary_size=8000, minimum_count=1, lowercase=None):
    """Learns a vocabulary from a stream of texts and returns the tokenizer that has it.

    The stream is read once and never held: memory grows with distinct words, not with text, and
    past a million of them the rarest are forgotten (lossy counting, Manku and Motwani 2002). The
    same texts give the same vocabulary; ties go by spelling.

    Args:
        texts: iterable of str, or of lists of str (a column of captions).
        kind: `"word"`, `"character"` or `"subword"`.
        vocabulary_size: most ids there may be, special tokens included.
        minimum_count: how often a word, a character or a joined pair has to occur to be learned.
        lowercase: whether the tokenizer lower-cases; `None` is `True` for words and `False`
            otherwise. The subword tokenizer keeps every byte.

    Raises:
        ValueError: there is no text, or an entry is not a str (its position is named).

    Example:

    >>> train_tokenizer(["a dog", "a cat"]).vocabulary
    ['[PAD]', '[START]', '[END]', '[UNK]', 'a', 'cat', 'dog']
    """
    classes = {
        "word": WordTokenizer,
        "character": CharacterTokenizer,
        "subword": SubwordTokenizer,
    }
    if kind not in classes:
        raise ValueError(f"`kind` should be one of {list(classes)}. Received: kind={kind!r}")
    reserved = list(classes[kind].reserved)
    if kind == "subword":
        if lowercase:
            raise ValueError(
                '`lowercase` should be None or False for kind="subword", which keeps every byte. '
                f"Received: lowercase={lowercase}"
            )
        reserved += [piece.decode("latin-1") for piece in _BYTES]
    if vocabulary_size <= len(reserved):
        raise ValueError(
            f'`vocabulary_size` should be above {len(reserved)} for kind="{kind}". '
            f"Received: vocabulary_size={vocabulary_size}"
        )
    room = vocabulary_size - len(reserved)

    if kind == "subword":
        words = _count(_RUNS.findall(text) for text in _each_text(texts))
        pieces = _merge_pairs(words, room, minimum_count)
        return SubwordTokenizer(reserved + [piece.decode("latin-1") for piece in pieces])
    lowercase = kind == "word" if lowercase is None else lowercase
    counts = _count(_split_batches(texts, classes[kind], lowercase))
    if max(counts.values()) < minimum_count:
        raise ValueError(
            f"`minimum_count` should be at most {max(counts.values())}, or nothing is learned. "
            f"Received: minimum_count={minimum_count}"
        )
    kept = sorted((-count, word) for word, count in counts.items() if count >= minimum_count)
    known = [word.decode() for _, word in kept[:room]]
    return classes[kind](reserved + known, lowercase=lowercase)


def _each_text(texts):
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        raise ValueError(
            "`texts` should be an iterable of str or of lists of str. "
            f"Received: texts={texts!r:.80} of type {type(texts).__name__}"
        )
    for index, entry in enumerate(texts):
        if isinstance(entry, (list, tuple)):
            for inner, text in enumerate(entry):
                yield _checked(text, f"texts[{index}][{inner}]")
        else:
            yield _checked(entry, f"texts[{index}]")


def _checked(text, position):
    if not isinstance(text, str):
        raise ValueError(
            "`texts` should hold str only. "
            f"Received: {position}={text!r:.80} of type {type(text).__name__}"
        )
    if not text.isascii() and re.search("[\ud800-\udfff]", text):
        raise ValueError(
            "`texts` should hold valid Unicode without lone surrogates. "
            f"Received: {position}={text!r:.80}"
        )
    return text


def _split_batches(texts, tokenizer, lowercase):
    texts = _each_text(texts)
    while batch := list(islice(texts, _TEXTS_AT_ONCE)):
        yield tokenizer.split(tf.constant(batch), lowercase).flat_values.numpy().tolist()


def _count(parts):
    counts, floor = Counter(), 0
    for part in parts:
        counts.update(part)
        while len(counts) > _MOST_DISTINCT:
            floor += 1
            counts = Counter({word: count for word, count in counts.items() if count > floor})
    if not counts:
        raise ValueError("`texts` should hold at least one text that is not empty. Received: none")
    return counts


def _merge_pairs(words, room, minimum_count):
    """The `room` pieces that come of joining, again and again, the commonest pair of neighbours."""
    words = [(_symbols(word), count) for word, count in words.items()]
    counts, places = Counter(), defaultdict(set)
    for index, (symbols, count) in enumerate(words):
        for pair in pairwise(symbols):
            counts[pair] += count
            places[pair].add(index)
    queue = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(queue)

    pieces = dict.fromkeys(_BYTES)
    while queue and len(pieces) < len(_BYTES) + room:
        count, pair = heapq.heappop(queue)
        if -count < minimum_count:
            break
        if -count != counts[pair]:
            continue  # an older count; the newer one is in the queue too
        pieces[b"".join(pair)] = None
        changes = Counter()
        for index in places.pop(pair):
            symbols, count = words[index]
            joined = _joined(symbols, pair)
            words[index] = joined, count
            for old in pairwise(symbols):
                changes[old] -= count
            for new in pairwise(joined):
                changes[new] += count
                places[new].add(index)
        for each, change in changes.items():
            counts[each] += change
            if change and counts[each] > 0:
                heapq.heappush(queue, (-counts[each], each))
    return list(pieces)[len(_BYTES) :]


def _symbols(word):
    return [bytes([value]) for value in word.encode()]


def _joined(symbols, pair):
    joined = []
    for symbol in symbols:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return joined
