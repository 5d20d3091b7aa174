"""The text field: strings <-> token ids."""

import itertools

import keras
import numpy as np
import tensorflow as tf

from mmkeras.preprocessing.field import Field


@keras.saving.register_keras_serializable("mmkeras")
class Text(Field):
    """Strings as token ids, `[START] tokens [END]`, cut and padded with 0 to one length.

    Args:
        tokenizer: A trained tokenizer, see `train_tokenizer`.
        sequence_length: Longest text in tokens, without `[START]` and `[END]`; what is longer is
            cut off at its end.
        markers: Whether ids stand between `[START]` and `[END]`; without them there is no decoder's
            input, as CTC has it: a target `name` is the ids alone, `(batch, sequence_length)`.
        optional: as in `Field`; what is missing has no ids, not even of `[START]`.

    As an input it gives ids of shape `(batch, sequence_length + 2)`; as a target `name` the
    decoder's input `name_input` and the ids to predict, each `(batch, sequence_length + 1)`, the
    second one step ahead, with a weight of 0 where there is padding or an unknown word.

    Example:

    ```python
    import mmkeras as mm

    words = mm.train_tokenizer(["a dog runs", "a cat sleeps"], kind="word")
    text = mm.Text(words, sequence_length=5)
    text(["a dog sleeps"])           # [[1, ids of a, dog, sleeps, 2, 0, 0]]
    ```
    """

    per_example = False
    scored_as = "captions"

    def __init__(self, tokenizer, sequence_length=32, markers=True, **kwargs):
        super().__init__(**kwargs)
        if not (isinstance(sequence_length, int) and sequence_length > 0):
            raise ValueError(
                "`sequence_length` should be a whole number of tokens, at least 1. "
                f"Received: sequence_length={sequence_length!r}"
            )
        if not hasattr(tokenizer, "vocabulary_size"):
            raise ValueError(
                "`tokenizer` should be a tokenizer such as `mm.train_tokenizer` gives. "
                f"Received: tokenizer={tokenizer!r}"
            )
        self.tokenizer = tokenizer
        self.sequence_length = sequence_length
        self.markers = markers

    def build(self, input_shape=None):
        if not self.tokenizer.built:
            self.tokenizer.build(None)
        self.built = True

    # Without ids there is nothing to attend to, so that no mask has to say so.
    flagged = False
    absent = ""

    def call(self, raw):
        raw = tf.convert_to_tensor(raw, tf.string)
        ids = self._ids(raw)
        return tf.where(self.present(raw)[:, tf.newaxis], ids, 0) if self.optional else ids

    def _ids(self, raw):
        ids = self.tokenizer.encode(raw)[:, : self.sequence_length]
        if not self.markers:
            return ids.to_tensor(0, shape=[None, self.sequence_length])
        rows = ids.nrows()
        start = tf.fill([rows, 1], self.tokenizer.start_id)
        end = tf.fill([rows, 1], self.tokenizer.end_id)
        length = self.sequence_length + 2
        return tf.concat([start, ids, end], axis=1).to_tensor(0, shape=[None, length])

    def load(self, value):
        if isinstance(value, bytes):
            value = value.decode("utf-8")
        if not isinstance(value, str):
            raise ValueError(f"A text should be a string. Received: {value!r}")
        return value

    def input(self, name):
        length = self.sequence_length + 2 * self.markers
        return keras.Input((length,), dtype="int32", name=name)

    def signature(self, name):
        return {name: tf.TensorSpec([None], tf.string, name=name)}

    def example(self, seed):
        known = range(self.tokenizer.end_id + 1, self.tokenizer.vocabulary_size)
        ids = np.random.default_rng(seed).choice(known, [1, min(5, self.sequence_length)])
        return self.tokenizer.decode(ids)[0].numpy().decode("utf-8", "replace")

    def target(self, name, raw):
        ids = self(raw)
        if not self.markers:
            return {}, ids, tf.ones([tf.shape(ids)[0]])
        # To predict "some unknown word" would be learnt well and be of no use in an answer.
        unknown = getattr(self.tokenizer, "unknown_id", 0)
        weight = tf.cast((ids[:, 1:] != 0) & (ids[:, 1:] != unknown), "float32")
        return {f"{name}_input": ids[:, :-1]}, ids[:, 1:], weight

    def faults(self, raws, lengths):
        """Texts that teach nothing: `{position: what is wrong}`."""
        found = {i: "is empty" for i, text in enumerate(raws) if not text.strip()}
        unknown = getattr(self.tokenizer, "unknown_id", None)
        for start, ids in self._encoded(raws):
            known = tf.reduce_any(ids != (-1 if unknown is None else unknown), axis=1)
            for i in np.flatnonzero(~known.numpy()):
                text = raws[start + i]
                found.setdefault(
                    int(start + i), f"holds no word that the tokenizer knows: {text!r}"
                )
        return found

    def _encoded(self, raws, chunk=4096):
        """All texts as ids, some at once: `(position of the first, RaggedTensor)`."""
        for start in range(0, len(raws), chunk):
            yield start, self.tokenizer.encode(tf.constant(raws[start : start + chunk]))

    def target_input(self, name):
        if not self.markers:
            return None
        return keras.Input((self.sequence_length + 1,), dtype="int32", name=f"{name}_input")

    def decode(self, ids):
        """Ids `(..., length)` -> strings `(...)`; padding, start and end ids give nothing."""
        ids = tf.convert_to_tensor(ids)
        shape = tf.shape(ids)
        flat = self.tokenizer.decode(tf.reshape(ids, [-1, shape[-1]]))
        return tf.reshape(flat, shape[:-1])

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["tokenizer"] = keras.saving.deserialize_keras_object(config["tokenizer"])
        return cls(**config)

    def get_config(self):
        return {
            **super().get_config(),
            "tokenizer": keras.saving.serialize_keras_object(self.tokenizer),
            "sequence_length": self.sequence_length,
            "markers": self.markers,
        }


@keras.saving.register_keras_serializable("mmkeras")
class Answer(Text):
    """A short text that answers a question: a target that is scored as right or wrong.

    Args:
        tokenizer, sequence_length, markers: As in `Text`.
        choices: List of str, the only answers that a builder's decoder gives; None for any.
            Examples may have others, of which the decoder learns the words.

    Raises:
        ValueError: if choices are none, equal in tokens, too long, or hold words that the
            tokenizer does not know.

    Example:

    ```python
    import mmkeras as mm

    words = mm.train_tokenizer(["what is it", "a dog", "New York"], kind="word")
    answers = mm.Answer(words, choices=["a dog", "New York"])
    model = mm.visual_question_answering(words, answers, image=64)
    ```
    """

    scored_as = "answers"

    def __init__(self, tokenizer, sequence_length=8, markers=True, choices=None, **kwargs):
        super().__init__(tokenizer, sequence_length, markers, **kwargs)
        self.choices = None if choices is None else list(choices)
        if choices is not None:
            spelled = self._check_choices()
            with tf.init_scope():
                self._choice_of = tf.lookup.StaticHashTable(
                    tf.lookup.KeyValueTensorInitializer(spelled, tf.constant(self.choices)), ""
                )

    def choice_ids(self):
        """The choices as a decoder takes them: lists of token ids, or None for any answer."""
        return self.choices and self.tokenizer.encode(self.choices).to_list()

    def _check_choices(self):
        """Refuse what cannot be written, or told apart; gives what the tokenizer makes of each."""
        if not self.choices or not all(isinstance(each, str) for each in self.choices):
            raise ValueError(
                "`choices` should be strings, at least one. "
                f"Received: choices={self.choices!r:.200}"
            )
        unknown, seen = getattr(self.tokenizer, "unknown_id", None), {}
        for choice, ids in zip(self.choices, self.choice_ids(), strict=True):
            if not ids or unknown in ids or len(ids) > self.sequence_length:
                raise ValueError(
                    f"`choices` should have 1 to {self.sequence_length} tokens, `sequence_length`, "
                    f"that the tokenizer knows. Received: {choice!r}, the tokens {ids}"
                )
            if tuple(ids) in seen:
                raise ValueError(
                    "`choices` should differ in their tokens. "
                    f"Received: {seen[tuple(ids)]!r} and {choice!r}"
                )
            seen[tuple(ids)] = choice
        return self.tokenizer.decode(self.tokenizer.encode(self.choices))

    def decode(self, ids):
        """Ids `(..., length)` -> strings `(...)`, a choice as it was given."""
        texts = super().decode(ids)
        if self.choices is None:
            return texts
        choices = self._choice_of.lookup(texts)
        return tf.where(choices == "", texts, choices)

    def spelled(self, ids):
        return super().decode(ids[..., tf.newaxis])

    def get_config(self):
        return {**super().get_config(), "choices": self.choices}


@keras.saving.register_keras_serializable("mmkeras")
class Transcript(Text):
    """What is said in a recording: text that has to fit into the frames of a masked input.

    Args:
        tokenizer, sequence_length, markers: As in `Text`.
        source: Name of the input.
        subsampling: Frames of that input for each at which something can be written.

    Example:

    ```python
    import mmkeras as mm

    letters = mm.train_tokenizer(["yes", "no"], kind="character")
    said = mm.Transcript(letters, sequence_length=10, source="audio", subsampling=4)
    said(["no"])                     # [[ids of n, o, 0, 0, 0, 0, 0, 0, 0, 0]]
    ```
    """

    scored_as = "speech"

    def __init__(
        self,
        tokenizer,
        sequence_length=200,
        source="audio",
        subsampling=4,
        markers=False,
        **kwargs,
    ):
        super().__init__(tokenizer, sequence_length, markers, **kwargs)
        self.source = source
        self.subsampling = subsampling

    def faults(self, raws, lengths):
        """Texts that cannot be learnt from their recordings: `{position: what is wrong}`.

        CTC writes one token a frame at most, and has to leave one out between two equal tokens.
        """
        found = {i: "is empty" for i, text in enumerate(raws) if not text.strip()}
        frames = -(-np.asarray(lengths[self.source]) // self.subsampling)
        unknown = getattr(self.tokenizer, "unknown_id", None)
        for start, ids in self._encoded(raws):
            for i, row in enumerate(ids.to_list(), start):
                needed = len(row) + sum(a == b for a, b in itertools.pairwise(row))
                fault = None
                if unknown in row:
                    lacking = ", ".join(map(repr, self._lacking(raws[i])))
                    fault = f"holds what the tokenizer lacks, {lacking}: {raws[i]!r}"
                elif len(row) > self.sequence_length:
                    fault = f"has {len(row)} tokens, over sequence_length={self.sequence_length}"
                elif needed > frames[i]:
                    fault = f"needs {needed} frames under CTC, and there are {frames[i]}"
                if fault:
                    found.setdefault(i, fault)
        return found

    def _lacking(self, text):
        """The characters or words of a text that the tokenizer does not know, each once."""
        (pieces,) = self.tokenizer.split(tf.constant([text]), self.tokenizer.lowercase)
        (ids,) = self.tokenizer.encode(tf.constant([text])).to_list()
        pairs = zip(pieces.numpy(), ids, strict=True)
        unknown = self.tokenizer.unknown_id
        return dict.fromkeys(piece.decode() for piece, token in pairs if token == unknown)

    def words(self, ids, frames, confidence):
        """Tokens and when they were said -> words and when they were, in TensorFlow ops.

        Args:
            ids: `(batch, length)`, padded with 0.
            frames: `(batch, length, 2)`, first frame of each token and the one after its last.
            confidence: `(batch, length)`.

        Returns:
            A dict of `words` `(batch, words)`, empty strings after the last one, `frames`
            `(batch, words, 2)` and `confidence` `(batch, words)`, the mean of its tokens.
        """
        pieces = self.decode(ids[..., tf.newaxis])
        bare = tf.strings.strip(pieces)
        spaced = tf.strings.substr(pieces, 0, 1) == " "
        # A space by itself belongs to no word, and neither does padding.
        spoken = tf.strings.length(bare) > 0
        first = tf.cumsum(tf.cast(spoken, tf.int32), axis=1) == 1
        spaced |= tf.pad(spaced & ~spoken, [[0, 0], [1, 0]])[:, :-1]
        begins = spoken & (spaced | first | bool(self.tokenizer.separator))
        place = tf.cumsum(tf.cast(begins, tf.int32), axis=1) - 1
        # No rows have no maximum.
        count = tf.maximum(tf.reduce_max(tf.where(spoken, place + 1, 0)), 0)
        place = tf.where(spoken, place, count)
        rows = tf.shape(ids)[0]
        flat = tf.reshape(place + tf.range(rows)[:, tf.newaxis] * (count + 1), [-1])

        def gathered(reduce, x):
            found = reduce(tf.reshape(x, [-1]), flat, rows * (count + 1))
            return tf.reshape(found, [rows, count + 1])[:, :count]

        start = gathered(tf.math.unsorted_segment_min, frames[..., 0])
        end = gathered(tf.math.unsorted_segment_max, frames[..., 1])
        words = gathered(tf.strings.unsorted_segment_join, bare)
        there = tf.strings.length(words) > 0
        return {
            "words": words,
            "frames": tf.where(there[..., tf.newaxis], tf.stack([start, end], axis=-1), 0),
            "confidence": gathered(tf.math.unsorted_segment_mean, confidence),
        }

    def get_config(self):
        return {**super().get_config(), "source": self.source, "subsampling": self.subsampling}
