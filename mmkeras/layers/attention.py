"""Attention whose keys and values are passed in, so that a decoder computes them once."""

import keras
import numpy as np
from keras import ops

from mmkeras.layers.linear import Linear

# Queries up to this many per example (decoding: one per beam) take the path without transposes.
FEW_QUERIES = 8


def mask_bias(mask, dtype="float32"):
    """A mask `(...)`, true where to look -> what to add to the scores; finite in float16 too."""
    return ops.cast(ops.logical_not(mask), dtype) * -3e4


def causal_bias(length, dtype="float32"):
    """`(1, length, length)`: position i sees the positions up to i."""
    steps = ops.arange(length)
    return mask_bias(steps[None, :, None] >= steps[None, None, :], dtype)


def attend(query, keys, values, heads, bias=None):
    """Scaled dot-product attention over `heads` equal parts of the last axis.

    Vaswani et al. 2017, "Attention Is All You Need".

    Args:
        query: `(batch, queries, width)`.
        keys, values: `(batch, length, width)`.
        heads: Number of heads; divides `width`.
        bias: Added to the scores, `(batch or 1, queries or 1, length)`, see `mask_bias`.

    Returns:
        The result `(batch, queries, width)` and the weights `(batch, heads, queries, length)`.
    """
    if query.shape[1] is not None and query.shape[1] <= FEW_QUERIES:
        return _attend_few(query, keys, values, heads, bias)
    return _attend_many(query, keys, values, heads, bias)


def _attend_many(query, keys, values, heads, bias):
    query = query * (query.shape[-1] // heads) ** -0.5
    query, keys, values = (_split_heads(x, heads) for x in (query, keys, values))
    scores = ops.einsum("bhqd,bhkd->bhqk", query, keys)
    if bias is not None:
        scores = scores + ops.expand_dims(bias, 1)
    weights = ops.softmax(scores)
    result = ops.transpose(ops.matmul(weights, values), (0, 2, 1, 3))
    return ops.reshape(result, (-1, ops.shape(result)[1], heads * result.shape[-1])), weights


def _split_heads(x, heads):
    x = ops.reshape(x, (-1, ops.shape(x)[1], heads, x.shape[-1] // heads))
    return ops.transpose(x, (0, 2, 1, 3))


def _attend_few(query, keys, values, heads, bias):
    """The same without cutting keys and values into heads, which would copy a cache every step.

    Each query is laid out once per head with the other heads' part set to zero. That is `heads`
    times the arithmetic of a few tiny products, and none of the memory traffic.
    """
    queries, width = query.shape[1:]
    own = np.repeat(np.eye(heads), width // heads, axis=1)  # (heads, width)
    scale = ops.convert_to_tensor(own * (width // heads) ** -0.5, query.dtype)
    spread = ops.reshape(ops.expand_dims(query, 2) * scale, (-1, queries * heads, width))
    scores = ops.einsum("bqd,bkd->bqk", spread, keys)
    if bias is not None:
        if bias.shape[1] != 1:
            bias = ops.repeat(bias, heads, axis=1)
        scores = scores + bias
    weights = ops.softmax(scores)
    result = ops.reshape(ops.matmul(weights, values), (-1, queries, heads, width))
    result = ops.sum(result * ops.convert_to_tensor(own, query.dtype), axis=2)
    length = ops.shape(keys)[1]
    weights = ops.reshape(weights, (-1, queries, heads, length))
    return result, ops.transpose(weights, (0, 2, 1, 3))


@keras.saving.register_keras_serializable("mmkeras")
class Attention(keras.layers.Layer):
    """Multi-head attention in three steps that can be taken apart: `project`, `attend`, `out`.

    Args:
        heads: Number of heads; divides the width of the queries.
        cross: Whether keys and values come from a context (two products, of which the context's
            is taken once) or from the queries' own sequence (one fused product).

    Shapes: `call(x, bias=None)` with `x` `(batch, length, width)` for self-attention;
    `call(x, context, bias=None)` with `context` `(batch, context length, any width)` for cross.
    """

    def __init__(self, heads, cross=False, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads
        self.cross = cross

    def build(self, x_shape, context_shape=None):
        width = x_shape[-1]
        if width % self.heads:
            raise ValueError(
                f"`heads` should divide the width {width}. Received: heads={self.heads}"
            )
        if self.cross:
            self.query = Linear(width, name="query")
            self.query.build(x_shape)
            self.key_value = Linear(2 * width, name="key_value")
            self.key_value.build(context_shape)
        else:
            self.query_key_value = Linear(3 * width, name="query_key_value")
            self.query_key_value.build(x_shape)
        self.out = Linear(width, name="out")
        self.out.build(x_shape)

    def project(self, x):
        """Self-attention's queries, keys and values, each `(batch, length, width)`."""
        return ops.split(self.query_key_value(x), 3, axis=-1)

    def project_context(self, context):
        """Cross-attention's keys and values, each `(batch, context length, width)`."""
        return ops.split(self.key_value(context), 2, axis=-1)

    def call(self, x, context=None, bias=None):
        if self.cross:
            query, (keys, values) = self.query(x), self.project_context(context)
        else:
            query, keys, values = self.project(x)
        result, _ = attend(query, keys, values, self.heads, bias)
        return self.out(result)

    def compute_output_shape(self, x_shape, context_shape=None):
        return x_shape

    def get_config(self):
        return {**super().get_config(), "heads": self.heads, "cross": self.cross}


@keras.saving.register_keras_serializable("mmkeras")
class AdditiveAttention(keras.layers.Layer):
    """One attention map per query, scored by a small network.

    Bahdanau et al. 2015, "Neural Machine Translation by Jointly Learning to Align and Translate";
    for pictures Xu et al. 2015, "Show, Attend and Tell".

    Args:
        units: Width of the scoring network.

    Shapes: queries `(batch, queries, any)`, context `(batch, length, width)`, `keys` as
    `project_context(context)` gives them -> the result `(batch, queries, width)` and the weights
    `(batch, queries, length)`.
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, query_shape, context_shape):
        self.query = Linear(self.units, use_bias=False, name="query")
        self.query.build(query_shape)
        self.key = Linear(self.units, name="key")
        self.key.build(context_shape)
        self.score = Linear(1, use_bias=False, name="score")
        self.score.build((None, self.units))

    def project_context(self, context):
        """Keys `(batch, length, units)`, which do not depend on the query."""
        return self.key(context)

    def call(self, query, context, keys=None, bias=None):
        keys = self.project_context(context) if keys is None else keys
        hidden = ops.tanh(ops.expand_dims(self.query(query), 2) + ops.expand_dims(keys, 1))
        scores = ops.squeeze(self.score(hidden), -1)
        if bias is not None:
            scores = scores + bias
        weights = ops.softmax(scores)
        return ops.matmul(weights, context), weights

    def get_config(self):
        return {**super().get_config(), "units": self.units}
