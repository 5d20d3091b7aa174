"""The passage and span fields: a text to read, and where in it an answer stands."""

import collections
import numbers
import warnings

import keras
import numpy as np
import tensorflow as tf

from mmkeras.preprocessing.field import Field
from mmkeras.preprocessing.preprocessor import check_columns
from mmkeras.preprocessing.text import Text
from mmkeras.preprocessing.tokenizers import SPACELESS, WORD

# What parts words from what is between them: white space, so that it is never a part of a word.
_MARK = "\f"
_TEXTS_AT_ONCE = 1024


@keras.saving.register_keras_serializable("mmkeras")
class Passage(Text):
    """A text that is read for an answer: token ids that know where in the text they stand.

    A text is parted into words as `WordTokenizer` does it, and each word is spelled in the tokens
    of the tokenizer. All tokens of a word stand where the word does.

    As an input it gives ids of shape `(batch, length)`, without `[START]` and `[END]`, padded with
    0 to the longest text of the batch, and one place at least. What is longer than
    `sequence_length` is cut off at its end: no answer is found there.

    Args:
        tokenizer, optional: As in `Text`.
        sequence_length: Longest text in tokens.

    Example:

    ```python
    import mmkeras as mm

    words = mm.train_tokenizer(["a dog runs"], kind="word")
    passage = mm.Passage(words)
    passage(["A dog\\u3000runs.", "runs"])   # [[ids of a, dog, runs, [UNK]], [runs, 0, 0, 0]]
    ids, begins, ends = passage.tokens(["A dog\\u3000runs."])
    begins                                 # [[0, 2, 8, 12]], in bytes
    ```
    """

    def __init__(self, tokenizer, sequence_length=512, **kwargs):
        super().__init__(tokenizer, sequence_length, markers=False, **kwargs)

    def tokens(self, raw):
        """Texts `(batch,)` -> the ids of their tokens, and where their words begin and end.

        Returns:
            Three RaggedTensors `(batch, any)`, int32; places count the bytes before them.
        """
        words, begins, ends = _words(tf.convert_to_tensor(raw, tf.string))
        rows, flat = words.value_rowids(), words.flat_values
        if not getattr(self.tokenizer, "separator", ""):
            # A token may begin with the space before its word.
            before = tf.where(rows[1:] == rows[:-1], ends.flat_values[:-1], 0)
            apart = begins.flat_values > tf.pad(before, [[1, 0]])
            flat = tf.where(apart, tf.strings.join([" ", flat]), flat)
        spelled = self.tokenizer.encode(flat)
        of = spelled.value_rowids()

        def by_text(values):
            ragged = tf.RaggedTensor.from_value_rowids(
                values, tf.gather(rows, of), words.nrows(), validate=False
            )
            return ragged[:, : self.sequence_length]

        places = (by_text(tf.gather(each.flat_values, of)) for each in (begins, ends))
        return by_text(spelled.flat_values), *places

    def _ids(self, raw):
        return padded(self.tokens(raw)[0])

    def input(self, name):
        return keras.Input((None,), dtype="int32", name=name)

    def get_config(self):
        config = super().get_config()
        del config["markers"]
        return config


def padded(ragged):
    """A RaggedTensor `(batch, any)` padded with 0, with one place at least."""
    dense = ragged.to_tensor(0)
    return tf.pad(dense, [[0, 0], [0, tf.cast(tf.shape(dense)[1] == 0, tf.int32)]])


def _words(texts):
    """Texts `(batch,)` -> their words, and where each begins and ends, in bytes: all ragged.

    What stands between words is white space alone.
    """
    marked = tf.strings.regex_replace(texts, _MARK, " ")
    for pattern in (SPACELESS, WORD):
        marked = tf.strings.regex_replace(marked, f"({pattern})", rf"{_MARK}\1{_MARK}")
    pieces = tf.strings.split(marked, _MARK)
    sizes = tf.strings.length(pieces.flat_values)
    before = tf.cumsum(tf.strings.length(texts), exclusive=True)
    ends = tf.cumsum(sizes) - tf.gather(before, pieces.value_rowids())
    spoken = ~tf.strings.regex_full_match(pieces.flat_values, r"[\p{Z}\p{Cc}]*")
    spoken = pieces.with_flat_values(spoken)
    flat = (pieces.flat_values, ends - sizes, ends)
    return [tf.ragged.boolean_mask(pieces.with_flat_values(each), spoken) for each in flat]


@keras.saving.register_keras_serializable("mmkeras")
class Span(Field):
    """A part of a passage as a target: where an answer stands in it, or that it has none.

    Records hold an answer `NAME` in the columns `NAME`, a string or a list of the strings of
    several people, empty where the passage has no answer; and `NAME_start`, where each of them
    begins in the passage, in characters. What most of them gave is learnt.

    A target `(batch, 2)` holds the places of the answer's first and last token in the passage,
    which count from 1; both are 0 where it has no answer. An answer that does not end before the
    passage is cut off has no weight, so that it teaches nothing; a warning says how many these are.

    Args:
        passage: The `Passage` field of the input.
        source: Name of the input.

    Example:

    ```python
    import mmkeras as mm

    words = mm.train_tokenizer(["a dog runs"], kind="word")
    span = mm.Span(mm.Passage(words))
    span.decode([[1, 2], [0, 0]], ["A Dog runs.", "A cat."])         # ["A Dog", ""]
    ```
    """

    whole_lists = True
    scored_as = "spans"

    def __init__(self, passage, source="context", **kwargs):
        super().__init__(**kwargs)
        if not isinstance(passage, Passage):
            raise ValueError(f"`passage` should be a Passage field. Received: passage={passage!r}")
        self.passage = passage
        self.source = source

    def build(self, input_shape=None):
        if not self.passage.built:
            self.passage.build(None)
        self.built = True

    def cells(self, name, records):
        """Of each record the passage, its answers and where these begin."""
        names = (self.source, name, f"{name}_start")
        missing = [each for each in names if each not in records]
        if missing:
            raise ValueError(
                f"`records` should hold {missing}, too, to find {name!r} in {self.source!r}. "
                f"Received: columns {list(records)}"
            )
        columns = {each: records[each] for each in names}
        check_columns(columns)
        return list(zip(*columns.values(), strict=True))

    def load(self, value):
        """A passage, answers and where they begin -> the passage and a span of its bytes."""
        passage, answers, starts = value
        if isinstance(answers, str):
            answers, starts = [answers], [starts]
        if not isinstance(passage, str):
            raise ValueError(f"its passage should be a string. Received: {passage!r}")
        if not all(isinstance(each, (list, tuple)) for each in (answers, starts)):
            raise ValueError(
                "answers should be a string or a list of these, with as many places where they "
                f"begin. Received: {answers!r} and {starts!r}"
            )
        if len(answers) != len(starts):
            raise ValueError(
                "there should be as many answers as places where they begin. "
                f"Received: {len(answers)} and {len(starts)}"
            )
        spans = [_bytes(passage, *each) for each in zip(answers, starts, strict=True)]
        return passage, collections.Counter(spans).most_common(1)[0][0] if spans else None

    def column(self, values):
        """What `load` gave -> first and last place and the weight, `(examples, 3)`."""
        found = np.zeros([len(values), 3], "int32")
        rows = collections.defaultdict(list)
        for row, (passage, _) in enumerate(values):
            rows[passage].append(row)
        for passage, *places in self._places(list(rows)):
            for row in rows[passage]:
                found[row] = _touched(values[row][1], *places)
        beyond = np.count_nonzero(found[:, 2] == 0)
        if beyond:
            warnings.warn(
                f"{beyond} of {len(values)} answers do not end within the first "
                f"{self.passage.sequence_length} tokens of their passage and teach nothing",
                stacklevel=2,
            )
        return tf.constant(found)

    def _places(self, passages):
        """Each passage, and where its tokens begin and end; some are parted at once."""
        for start in range(0, len(passages), _TEXTS_AT_ONCE):
            part = passages[start : start + _TEXTS_AT_ONCE]
            _, *places = self.passage.tokens(part)
            cuts = places[0].row_splits.numpy()[1:-1]
            yield from zip(
                part, *(np.split(each.flat_values.numpy(), cuts) for each in places), strict=True
            )

    def target(self, name, raw):
        """Rows of `column` -> no inputs, places `(batch, 2)`, a weight for both of them."""
        return {}, raw[:, :2], tf.repeat(tf.cast(raw[:, 2:], tf.float32), 2, axis=1)

    def beside(self, raw):
        return {"text": raw[self.source]}

    def decode(self, ids, text):
        """Places `(batch, 2)` or `(batch, n, 2)` in texts `(batch,)` -> what stands there.

        Returns:
            Strings `(batch,)` or `(batch, n)`: the bytes of the text as they are, from the begin
            of the first token to the end of the last; nothing where the places are 0.
        """
        ids, text = tf.convert_to_tensor(ids), tf.convert_to_tensor(text, tf.string)
        _, begins, ends = self.passage.tokens(text)
        begins, ends = (tf.pad(padded(each), [[0, 0], [1, 0]]) for each in (begins, ends))
        first = tf.gather(begins, ids[..., 0], batch_dims=1)
        last = tf.gather(ends, ids[..., 1], batch_dims=1)
        if ids.shape.rank == 3:
            text = tf.repeat(text[:, tf.newaxis], tf.shape(ids)[1], axis=1)
        return tf.strings.substr(text, first, last - first)

    def spelled(self, ids, text):
        """The words of the tokens of texts `(batch,)`, whatever the answer: `(batch, length)`."""
        _, begins, ends = self.passage.tokens(text)
        begins, ends = padded(begins), padded(ends)
        text = tf.repeat(text[:, tf.newaxis], tf.shape(begins)[1], axis=1)
        return tf.strings.substr(text, begins, ends - begins)

    @classmethod
    def from_config(cls, config):
        passage = keras.saving.deserialize_keras_object(config["passage"])
        return cls(**{**config, "passage": passage})

    def get_config(self):
        return {
            **super().get_config(),
            "passage": keras.saving.serialize_keras_object(self.passage),
            "source": self.source,
        }


def _bytes(passage, answer, start):
    """Where an answer begins and ends in the bytes of a passage, white space around it left out."""
    if not (isinstance(answer, str) and answer.strip() and isinstance(start, numbers.Integral)):
        raise ValueError(
            "an answer should be a string that is not empty, with a whole number where it begins. "
            f"Received: {answer!r:.80} at {start!r}"
        )
    there = passage[start : start + len(answer)] if start >= 0 else ""
    if there != answer:
        raise ValueError(
            f"the answer {answer!r:.80} should stand in its passage at {start}. "
            f"Received: {there!r:.80} there"
        )
    start += len(answer) - len(answer.lstrip())
    first = len(passage[:start].encode())
    return first, first + len(answer.strip().encode())


def _touched(span, begins, ends):
    """The first and last token that a span of bytes touches, from 1, and whether all are there."""
    if span is None:
        return 0, 0, 1
    first = np.searchsorted(ends, span[0], side="right") + 1
    last = np.searchsorted(begins, span[1], side="left")
    within = first <= last and span[1] <= ends[-1]
    return (first, last, 1) if within else (0, 0, 0)
