"""Text encoders: token ids to a sequence, in which padding leaves no trace."""

import functools

import keras
import numpy as np
from keras import ops

from mmkeras.encoders.image import check_size
from mmkeras.layers import LayerNorm, Linear
from mmkeras.layers.bidirectional import MaskedLSTM
from mmkeras.layers.conformer import RotaryBlock

# size: (width, depth)
RNN_SIZES = {"tiny": (128, 1), "small": (256, 2), "base": (512, 2)}
# size: (width, depth, heads)
TRANSFORMER_SIZES = {"tiny": (128, 2, 4), "small": (256, 4, 4), "base": (512, 6, 8)}
CELLS = ("gru", "lstm")


def text_rnn(
    vocabulary_size,
    cell="lstm",
    bidirectional=True,
    size="small",
    dropout=0.1,
    vectors=None,
    trainable=True,
    name="text_rnn",
):
    """Word vectors, then a stack of LSTMs or GRUs that read one way or both.

    Hochreiter and Schmidhuber 1997; Cho et al. 2014, "Learning Phrase Representations using RNN
    Encoder-Decoder"; both ways as in Schuster and Paliwal 1997, the second from the last word of
    each text and not from its padding.

    Args:
        vocabulary_size: Of the tokenizer.
        cell: `"lstm"` or `"gru"`.
        bidirectional: Whether half of the units read from the end.
        size: `"tiny"` (width 128, 1 layer), `"small"` (256, 2) or `"base"` (512, 2).
        dropout: Rate on the word vectors and after each layer.
        vectors: Vectors to begin with, `(vocabulary_size, any)`, see `read_word_vectors`; None for
            random ones as wide as the encoder.
        trainable: Whether the word vectors are trained with the rest.
        name: Prefix of the layers' names.

    Returns:
        A function: ids `(batch, length)`, 0 for padding -> sequence `(batch, length, width)`, zero
        where there is padding, and mask `(batch, length)`, false there.

    Raises:
        ValueError: if `size` or `cell` is not one of these, or `vectors` has another shape.

    Example:

    ```python
    import keras
    import mmkeras as mm

    sequence, mask = mm.text_rnn(1000, size="tiny")(keras.Input((20,), dtype="int32"))
    # (None, 20, 128), (None, 20)
    ```
    """
    width, depth = check_size(size, RNN_SIZES)
    if cell not in CELLS:
        raise ValueError(f"`cell` should be one of {list(CELLS)}. Received: cell={cell!r}")
    embed = _embedding(vocabulary_size, width, dropout, vectors, trainable, name)
    make = _lstm if cell == "lstm" else _gru

    def encoder(ids):
        x, mask = embed(ids)
        for i in range(depth):
            x = LayerNorm(name=f"{name}_norm{i}")(x)
            x = make(x, mask, width, bidirectional, f"{name}_{cell}{i}")
            x = keras.layers.Dropout(dropout, name=f"{name}_dropout{i}")(x)
        return x, mask

    return encoder


def _lstm(x, mask, width, bidirectional, name):
    return MaskedLSTM(width // (1 + bidirectional), bidirectional, name=name)(x, mask)


def _gru(x, mask, width, bidirectional, name):
    # cuDNN refuses a text that is nothing but padding, as one that is missing is.
    layer = keras.layers.GRU(
        width // (1 + bidirectional), return_sequences=True, use_cudnn=False, name=name
    )
    layer = keras.layers.Bidirectional(layer, name=name) if bidirectional else layer
    return _hide(layer(x, mask=mask), mask)


def text_transformer(
    vocabulary_size,
    size="small",
    dropout=0.1,
    vectors=None,
    trainable=True,
    name="text_transformer",
):
    """Word vectors, then the blocks of a Transformer over rotary positions.

    Vaswani et al. 2017, "Attention Is All You Need", normalised first; Su et al. 2021, "RoFormer".

    Args:
        vocabulary_size, dropout, vectors, trainable, name: As in `text_rnn`; `dropout` in the
            blocks too. Vectors of another width are projected.
        size: `"tiny"` (width 128, 2 blocks, 4 heads), `"small"` (256, 4, 4) or `"base"`
            (512, 6, 8).

    Returns:
        A function as that of `text_rnn`.

    Example:

    ```python
    import keras
    import mmkeras as mm

    sequence, mask = mm.text_transformer(1000, "tiny")(keras.Input((20,), dtype="int32"))
    # (None, 20, 128), (None, 20)
    ```
    """
    width, depth, heads = check_size(size, TRANSFORMER_SIZES)
    embed = _embedding(vocabulary_size, width, dropout, vectors, trainable, name)

    def encoder(ids):
        x, mask = embed(ids)
        if x.shape[-1] != width:
            x = Linear(width, name=f"{name}_project")(x)
        for i in range(depth):
            x = RotaryBlock(heads, dropout=dropout, name=f"{name}_block{i}")(x, mask)
        return _hide(LayerNorm(name=f"{name}_norm")(x), mask), mask

    return encoder


def text_bag(
    vocabulary_size, size="small", dropout=0.1, vectors=None, trainable=True, name="text_bag"
):
    """Word vectors and nothing more: what reads them gets a bag of words, in no order.

    Iyyer et al. 2015, "Deep Unordered Composition Rivals Syntactic Methods for Text
    Classification". It trains in a fraction of the others' time.

    Args:
        vocabulary_size, dropout, vectors, trainable, name: As in `text_rnn`.
        size: `"tiny"` (width 128), `"small"` (256) or `"base"` (512).

    Returns:
        A function as that of `text_rnn`.

    Example:

    ```python
    import keras
    import mmkeras as mm

    sequence, mask = mm.text_bag(1000, "tiny")(keras.Input((20,), dtype="int32"))
    # (None, 20, 128), (None, 20)
    ```
    """
    width, _ = check_size(size, RNN_SIZES)
    embed = _embedding(vocabulary_size, width, dropout, vectors, trainable, name)

    def encoder(ids):
        x, mask = embed(ids)
        return _hide(x, mask), mask

    return encoder


def _embedding(vocabulary_size, width, dropout, vectors, trainable, name):
    """A function from ids to their vectors, with dropout, and to the mask of what is no padding."""
    if vectors is not None:
        vectors = np.asarray(vectors, "float32")
        if vectors.ndim != 2 or len(vectors) != vocabulary_size:
            raise ValueError(
                f"`vectors` should be ({vocabulary_size}, dimensions), a row per id of the "
                f"vocabulary. Received: shape {vectors.shape}"
            )
        width = vectors.shape[1]
    layer = keras.layers.Embedding(
        vocabulary_size,
        width,
        embeddings_initializer=keras.initializers.RandomNormal(stddev=0.02),
        trainable=trainable,
        name=f"{name}_words",
    )

    def embed(ids):
        x = layer(ids)
        if vectors is not None:
            # Not as an initializer: its config, and so the saved model, would hold them once more.
            layer.embeddings.assign(vectors)
        return keras.layers.Dropout(dropout, name=f"{name}_dropout")(x), ops.not_equal(ids, 0)

    return embed


def _hide(x, mask):
    return x * ops.cast(ops.expand_dims(mask, -1), x.dtype)


def _rnn(cell, bidirectional):
    return functools.partial(text_rnn, cell=cell, bidirectional=bidirectional)


# What builders take by name: functions of the vocabulary's size, and of `size`, `dropout`,
# `vectors`, `trainable` and `name`.
TEXT_ENCODERS = {
    "bag": text_bag,
    "bigru": _rnn("gru", True),
    "bilstm": _rnn("lstm", True),
    "gru": _rnn("gru", False),
    "lstm": _rnn("lstm", False),
    "transformer": text_transformer,
}
