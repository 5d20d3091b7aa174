"""Attention whose keys and values are passed in, so that a decoder computes them once."""

import keras
from keras import ops

from mmkeras.layers.linear import Linear


def mask_bias(mask, dtype="float32"):
    """A mask `(...)`, true where to look -> what to add to the scores; finite in float16 too."""
    return ops.cast(ops.logical_not(mask), dtype) * -3e4


def causal_bias(length, dtype="float32"):
    """`(1, length, length)`: position i sees the positions up to i."""
    steps = ops.arange(length)
    return mask_bias(steps[None, :, None] >= steps[None, None, :], dtype)


def attend(query, keys, values, bias=None):
    """Scaled dot-product attention, each head on its own.

    Vaswani et al. 2017, "Attention Is All You Need".

    Args:
        query: `(batch, heads, queries, depth)`, see `split_heads`.
        keys: `(batch, heads, depth, length)`, as the product wants them.
        values: `(batch, heads, length, depth)`.
        bias: Added to the scores, `(batch or 1, queries or 1, length)`, see `mask_bias`.

    Returns:
        The result `(batch, queries, heads * depth)` and the weights `(batch, heads, queries,
        length)`.
    """
    scores = ops.matmul(query * query.shape[3] ** -0.5, keys)
    if bias is not None:
        scores = scores + ops.expand_dims(bias, 1)
    weights = ops.softmax(scores)
    return _join_heads(ops.matmul(weights, values)), weights


def split_heads(x, heads):
    """`(batch, length, width)` -> `(batch, heads, length, width / heads)`."""
    length, depth = ops.shape(x)[1], x.shape[2] // heads
    if x.shape[1] == 1:  # a step of decoding, whose time is that of its many small operations
        return ops.reshape(x, (-1, heads, 1, depth))
    return ops.transpose(ops.reshape(x, (-1, length, heads, depth)), (0, 2, 1, 3))


def _join_heads(x):
    _, heads, length, depth = ops.shape(x)
    if x.shape[2] != 1:
        x = ops.transpose(x, (0, 2, 1, 3))
    return ops.reshape(x, (-1, length, heads * depth))


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
        """Self-attention's queries, keys and values, each `(batch, heads, length, depth)`."""
        return self._split(self.query_key_value(x), 3)

    def project_query(self, x):
        """Cross-attention's queries, `(batch, heads, length, depth)`."""
        return split_heads(self.query(x), self.heads)

    def project_context(self, context):
        """Cross-attention's keys and values, laid out as `attend` takes them."""
        keys, values = self._split(self.key_value(context), 2)
        return ops.swapaxes(keys, 2, 3), values

    def _split(self, x, parts):
        return [split_heads(part, self.heads) for part in ops.split(x, parts, axis=-1)]

    def call(self, x, context=None, bias=None):
        return self.out(attend(*self._projected(x, context), bias)[0])

    def attention_weights(self, x, context=None, bias=None):
        """Where each place looks, `(batch, length, context length)`: the mean over the heads."""
        return ops.mean(attend(*self._projected(x, context), bias)[1], axis=1)

    def _projected(self, x, context):
        if self.cross:
            return self.project_query(x), *self.project_context(context)
        query, keys, values = self.project(x)
        return query, ops.swapaxes(keys, 2, 3), values

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
