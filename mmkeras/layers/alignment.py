"""How well two modalities match: embeddings in a joint space, similarities, pairs to train on."""

import math

import keras
from keras import ops

from mmkeras.layers.linear import LayerNorm, Linear
from mmkeras.layers.pooling import AttentionPooling

SIMILARITIES = ("cosine", "dot", "euclidean", "bilinear")
# Squared distances below this have no stable square root.
SMALL = 1e-12
LARGEST_SCALE = 100


@keras.saving.register_keras_serializable("mmkeras")
class Similarity(keras.layers.Layer):
    """How well every part of one modality matches every part of another, `a(i, j)`.

    Args:
        kind: `"cosine"`, `"dot"`, `"euclidean"` (the negative distance) or `"bilinear"`
            (`v W w` with a learned `W`, for parts of different widths too).

    Shapes: `v` `(batch, n, width)` and `w` `(batch, m, width)` -> `(batch, n, m)`, with masks
    `(batch, n)` and `(batch, m)` 0 where one of the two is hidden (before a maximum the masks are
    needed again: 0 is no bad match). Vectors of a batch with those of another, `(n, width)` and
    `(m, width)` -> `(n, m)`.

    Raises:
        ValueError: if `kind` is none of these, or the widths differ.

    Example:

    ```python
    import keras
    import mmkeras as mm

    regions, words = keras.random.normal((2, 49, 64)), keras.random.normal((2, 7, 64))
    match = mm.Similarity("cosine")(regions, words)  # (2, 49, 7)
    ```
    """

    def __init__(self, kind="cosine", **kwargs):
        super().__init__(**kwargs)
        if kind not in SIMILARITIES:
            raise ValueError(f"`kind` should be one of {SIMILARITIES}. Received: kind={kind!r}")
        self.kind = kind

    def build(self, v_shape, w_shape, v_mask_shape=None, w_mask_shape=None):
        if self.kind == "bilinear":
            self.form = Linear(w_shape[-1], use_bias=False, name="form")
            self.form.build(v_shape)
        else:
            _check_widths(v_shape, w_shape)

    def call(self, v, w, v_mask=None, w_mask=None):
        # Before, so that no gradient meets what is hidden either.
        values = self._values(_where(v_mask, -1, v), _where(w_mask, -1, w))
        return _where(w_mask, -2, _where(v_mask, -1, values))

    def _values(self, v, w):
        if self.kind == "cosine":
            v, w = unit(v), unit(w)
        if self.kind == "bilinear":
            v = self.form(v)
        product = ops.matmul(v, ops.swapaxes(w, -1, -2))
        if self.kind != "euclidean":
            return product
        squares = ops.sum(ops.square(v), axis=-1, keepdims=True)
        others = ops.expand_dims(ops.sum(ops.square(w), axis=-1), -2)
        return -ops.sqrt(ops.maximum(squares + others - 2 * product, SMALL))

    def compute_output_shape(self, v_shape, w_shape, v_mask_shape=None, w_mask_shape=None):
        return (*v_shape[:-1], w_shape[-2])

    def get_config(self):
        return {**super().get_config(), "kind": self.kind}


@keras.saving.register_keras_serializable("mmkeras")
class EmbeddingPair(keras.layers.Layer):
    """Two embeddings of each example, side by side, for `InfoNCE`, `SigLIP` or `Triplet`.

    The product of the first of one example with the second of any is `scale * cosine + bias`, so
    that the learned temperature and bias travel with the embeddings, and what a loss needs of
    other replicas is the pairs alone.

    Args:
        temperature: To begin with; the scale is `1 / temperature`, learned as its logarithm and at
            most 100 (Radford et al. 2021, "CLIP"). SigLIP begins with 0.1. None for a scale of 1
            that is not learned, as `Triplet` wants it.
        bias: To begin with; None for none. SigLIP begins with -10.

    Shapes: `v` and `w`, both `(batch, width)` -> `(batch, 2, width)`, one wider with a bias.

    Raises:
        ValueError: if the widths differ, or `temperature` is below 0.01.

    Example:

    ```python
    import keras
    import mmkeras as mm

    image, text = keras.Input((64,)), keras.Input((64,))
    model = keras.Model([image, text], mm.EmbeddingPair(name="pair")(image, text))
    model.compile("adam", loss=mm.InfoNCE())  # as a target: which picture it is, (batch,)
    ```
    """

    def __init__(self, temperature=0.07, bias=None, **kwargs):
        super().__init__(**kwargs)
        if temperature is not None and temperature < 1 / LARGEST_SCALE:
            raise ValueError(
                f"`temperature` should be at least {1 / LARGEST_SCALE} or None. "
                f"Received: temperature={temperature}"
            )
        self.temperature = temperature
        self.bias = bias

    def build(self, v_shape, w_shape):
        _check_widths(v_shape, w_shape)
        if self.temperature is not None:
            self.log_scale = self.add_weight(
                (),
                initializer=keras.initializers.Constant(-math.log(self.temperature)),
                name="log_scale",
            )
        if self.bias is not None:
            self.shift = self.add_weight(
                (), initializer=keras.initializers.Constant(self.bias), name="shift"
            )

    def call(self, v, w):
        v, w = unit(v), unit(w)
        if self.temperature is not None:
            scale = ops.exp(ops.minimum(self.log_scale, math.log(LARGEST_SCALE)))
            v = v * ops.cast(scale, v.dtype)
        if self.bias is not None:
            one = ops.ones_like(v[:, :1])
            v = ops.concatenate([v, one * ops.cast(self.shift, v.dtype)], axis=-1)
            w = ops.concatenate([w, one], axis=-1)
        return ops.stack([v, w], axis=1)

    def compute_output_shape(self, v_shape, w_shape):
        return (v_shape[0], 2, v_shape[-1] + (self.bias is not None))

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature, "bias": self.bias}


@keras.saving.register_keras_serializable("mmkeras")
class JointEmbedding(keras.layers.Layer):
    """A modality as one vector of length 1, in a space that it shares with others.

    A mean of the visible places, weighted by how much each has to say (`AttentionPooling`), is
    normalised and projected. Where nothing is visible the vector says nothing.

    Args:
        width: Of the joint space.
        dropout: Rate on what is projected.

    Shapes: sequence `(batch, length, any)`, padding mask `(batch, length)` or None ->
    `(batch, width)`.

    Example:

    ```python
    import keras
    import mmkeras as mm

    words, mask = keras.random.normal((2, 7, 64)), keras.ops.ones((2, 7), "bool")
    vectors = mm.JointEmbedding(32)(words, mask)  # (2, 32)
    ```
    """

    def __init__(self, width, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.dropout = dropout

    def build(self, sequence_shape, padding_mask_shape=None):
        # Of one place there is no mean to take.
        self.pooling = None if sequence_shape[1] == 1 else AttentionPooling(name="pooling")
        if self.pooling is not None:
            self.pooling.build(sequence_shape)
        self.norm = LayerNorm(name="norm")
        self.norm.build((None, sequence_shape[-1]))
        self.linear = Linear(self.width, name="linear")
        self.linear.build((None, sequence_shape[-1]))
        self.drop = keras.layers.Dropout(self.dropout)

    def call(self, sequence, padding_mask=None, training=None):
        sequence = _where(padding_mask, -1, sequence)
        vector = sequence[:, 0]
        if self.pooling is not None:
            vector, _ = self.pooling(sequence, padding_mask)
        return unit(self.linear(self.drop(self.norm(vector), training=training)))

    def compute_output_shape(self, sequence_shape, padding_mask_shape=None):
        return (sequence_shape[0], self.width)

    def get_config(self):
        return {**super().get_config(), "width": self.width, "dropout": self.dropout}


def unit(x):
    """Vectors along the last axis, of length 1."""
    squares = ops.sum(ops.square(ops.cast(x, "float32")), axis=-1, keepdims=True)
    return x * ops.cast(ops.rsqrt(ops.maximum(squares, SMALL)), x.dtype)


def _where(mask, axis, values):
    """The values, 0 where a mask that lacks an axis hides them."""
    if mask is None:
        return values
    mask = ops.expand_dims(ops.cast(mask, "bool"), axis)
    return ops.where(mask, values, ops.zeros_like(values))


def _check_widths(v_shape, w_shape):
    if v_shape[-1] != w_shape[-1]:
        raise ValueError(
            f"Both modalities should be of one width. Received: {v_shape[-1]} and {w_shape[-1]}"
        )
