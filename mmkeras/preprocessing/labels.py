"""The labels field: one of a closed set of classes or answers."""

import collections

import keras
import tensorflow as tf

from mmkeras.preprocessing.field import Field

# So many of an example's answers have to agree for full credit (Antol et al. 2015, "VQA").
AGREEING = 3


@keras.saving.register_keras_serializable("mmkeras")
class Labels(Field):
    """A closed set of classes as a target; an example may have several answers to it.

    A target `(batch, classes)` says how right each class is, 0 to 1: for a string 1 at that class;
    for a list of the answers of several people how many gave it, three of them (or all, where
    there are fewer) being enough for 1, as VQA scores it (Antol et al. 2015).

    Args:
        classes: List of str, see `most_common`.
        unknown: `"raise"` refuses an example with no answer among the classes; `"ignore"` takes
            it without a weight, so that it teaches nothing.

    Raises:
        ValueError: if classes are none, empty or doubled, or `unknown` is none of these.

    Example:

    ```python
    import mmkeras as mm

    colours = mm.Labels(["red", "green"])
    colours.target("label", colours.column([["red"], ["red", "green", "red"]]))
    ```
    """

    whole_lists = True
    scored_as = "labels"

    def __init__(self, classes, unknown="raise", **kwargs):
        super().__init__(**kwargs)
        self.classes = _check_classes(classes)
        if unknown not in ("raise", "ignore"):
            raise ValueError(
                f'`unknown` should be "raise" or "ignore". Received: unknown={unknown!r}'
            )
        self.unknown = unknown
        with tf.init_scope():
            self._table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(
                    tf.constant(self.classes), tf.range(len(self.classes))
                ),
                default_value=-1,
            )

    def load(self, value):
        """A string, or a list of the strings of several people -> a list of str."""
        answers = list(value) if isinstance(value, (list, tuple)) else [value]
        if not answers or not all(isinstance(answer, str) for answer in answers):
            raise ValueError(f"A label should be a string or a list of these. Received: {value!r}")
        return answers

    def column(self, values):
        """Lists of str -> a RaggedTensor of strings, `(examples, answers)`."""
        flat = tf.constant([answer for value in values for answer in value], tf.string)
        return tf.RaggedTensor.from_row_lengths(flat, [len(value) for value in values])

    def target(self, name, raw):
        """Answers `(batch, any)` -> no inputs, credits `(batch, classes)`, weights `(batch,)`."""
        ids = self._table.lookup(raw.values)
        places = tf.stack([tf.cast(raw.value_rowids(), tf.int32), ids], axis=1)
        places = tf.boolean_mask(places, ids >= 0)
        rows = tf.cast(raw.nrows(), tf.int32)
        counts = tf.scatter_nd(places, tf.ones(tf.shape(places)[:1]), [rows, len(self.classes)])
        enough = tf.minimum(raw.row_lengths(), AGREEING)
        credits = tf.minimum(counts / tf.cast(enough, tf.float32)[:, tf.newaxis], 1.0)
        return {}, credits, tf.cast(tf.reduce_any(credits > 0, axis=1), tf.float32)

    def faults(self, raws, lengths):
        """Examples without an answer among the classes: `{position: what is wrong}`."""
        if self.unknown == "ignore":
            return {}
        known = set(self.classes)
        said = f"is none of the {len(known)} classes, such as {self.classes[:5]}: "
        return {i: f"{said}{raw}" for i, raw in enumerate(raws) if not known & set(raw)}

    def decode(self, ids):
        """Class numbers `(..., 1)` -> strings `(...)`."""
        return tf.gather(tf.constant(self.classes), tf.cast(ids, tf.int32)[..., 0])

    def get_config(self):
        return {**super().get_config(), "classes": self.classes, "unknown": self.unknown}


def most_common(answers, limit=None, minimum_count=1):
    """The strings that are the answer most often, to make a closed set of.

    Args:
        answers: A column of records: strings, or lists of the answers of several people, of which
            the commonest one counts.
        limit: How many at most; None for all.
        minimum_count: Of the examples whose answer it is.

    Returns:
        A list of str, the commonest first, equally common ones in the order they come.

    Example:

    >>> most_common(["red", ["green", "red", "green"], "green"])
    ['green', 'red']
    """
    answers = (
        a if isinstance(a, str) else collections.Counter(a).most_common(1)[0][0] for a in answers
    )
    counts = collections.Counter(answers).most_common(limit)
    return [answer for answer, count in counts if count >= minimum_count]


def _check_classes(classes):
    classes = list(classes)
    named = all(isinstance(each, str) and each for each in classes)
    if not classes or not named or len(set(classes)) < len(classes):
        raise ValueError(
            "`classes` should be different strings, at least one and none of them empty. "
            f"Received: classes={classes!r:.200}"
        )
    return classes
