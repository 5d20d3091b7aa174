"""Blocks of speech encoders, whole or in chunks: Conformer and Transformer over rotary positions.

Each has `forward(x, padding_mask, state=None) -> (x, state)` and `initial_state(batch)`. Without
a state the sequence is a whole utterance; with one it is what comes next, in as many chunks as
there are, and only the last of them may be short.
"""

import functools

import keras
import numpy as np
from keras import ops

from mmkeras.layers.attention import mask_bias
from mmkeras.layers.dropout import ByteDropout
from mmkeras.layers.linear import LayerNorm, Linear
from mmkeras.layers.subsampling import hide
from mmkeras.layers.transformer import FeedForward

SLOWEST_TURN = 10000.0
# Queries that look at once, where it is not for training: an hour of sound would have scores of
# 32 GB a head, and so has scores of 360 MB.
AT_ONCE = 1024


@keras.saving.register_keras_serializable("mmkeras")
class RotaryAttention(keras.layers.Layer):
    """Self-attention that knows how far apart two frames are, and not where they stand.

    Su et al. 2021, "RoFormer": queries and keys are turned by angles that grow with the position.
    Against the relative positions of Transformer-XL in the first Conformer it has no product more
    than plain attention (Li et al. 2021, "Conformer-based End-to-end Speech Recognition With
    Rotary Position Embedding").

    Args:
        heads: Number of heads; the width is a multiple of twice it.
        chunk: Frames in a chunk. A frame sees its own chunk and `left` chunks before; with None
            every frame sees all.
        left: How many chunks before its own a frame sees.

    Shapes: `x` `(batch, length, width)`, `padding_mask` `(batch, length)` -> like `x`.
    """

    def __init__(self, heads, chunk=None, left=4, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads
        self.chunk = chunk
        self.left = left

    def build(self, x_shape, padding_mask_shape=None):
        width = x_shape[-1]
        if width % (2 * self.heads):
            raise ValueError(
                f"`heads` should divide half of the width {width}. Received: heads={self.heads}"
            )
        self._head_width = width // self.heads
        self.query_key_value = Linear(3 * width, name="query_key_value")
        self.query_key_value.build(x_shape)
        self.out = Linear(width, name="out")
        self.out.build(x_shape)

    def initial_state(self, batch):
        """The keys, not yet turned, and values of the `left` chunks before, and which exist."""
        past = self.left * self.chunk
        shape = (batch, self.heads, past, self._head_width)
        keys = ops.zeros(shape, self.compute_dtype)
        return {"keys": keys, "values": keys, "seen": ops.zeros((batch, past), "bool")}

    def forward(self, x, padding_mask, state=None, training=None):
        length = ops.shape(x)[1]
        x = ops.reshape(self.query_key_value(x), (-1, length, 3, self.heads, self._head_width))
        query, keys, values = ops.unstack(ops.transpose(x, (2, 0, 3, 1, 4)))
        mask = padding_mask
        if state is not None:
            keys = ops.concatenate([state["keys"], keys], axis=2)
            values = ops.concatenate([state["values"], values], axis=2)
            mask = ops.concatenate([state["seen"], mask], axis=1)
            state = {
                "keys": keys[:, :, length:],
                "values": values[:, :, length:],
                "seen": mask[:, length:],
            }
        turns = self._turns(ops.shape(keys)[2])
        scale = self._head_width**-0.5
        query = _turn(query, [turn[-length:] * scale for turn in turns])
        places = ops.arange(ops.shape(keys)[2])[-length:]
        look = functools.partial(self._look, _turn(keys, turns), values, mask)
        if training:
            result = look(query, places)
        else:
            result = ops.cond(
                length <= AT_ONCE,
                lambda: look(query, places),
                lambda: self._in_parts(look, query, places),
            )
        result = ops.transpose(result, (0, 2, 1, 3))
        return self.out(ops.reshape(result, (-1, length, self.heads * self._head_width))), state

    def _look(self, keys, values, mask, query, places):
        """What queries `(batch, heads, queries, depth)` at these places `(queries,)` find."""
        scores = ops.einsum("bhqd,bhkd->bhqk", query, keys)
        return ops.matmul(ops.softmax(scores + self._bias(mask, places, scores.dtype)), values)

    def _in_parts(self, look, query, places):
        """As `look`, some queries after the others."""
        length = ops.shape(query)[2]
        missing = -length % AT_ONCE
        places = ops.reshape(ops.pad(places, [(0, missing)]), (-1, AT_ONCE))
        query = ops.pad(query, [(0, 0), (0, 0), (0, missing), (0, 0)])
        shape = (-1, self.heads, ops.shape(places)[0], AT_ONCE, self._head_width)
        query = ops.transpose(ops.reshape(query, shape), (2, 0, 1, 3, 4))
        found = ops.map(lambda part: look(*part), (query, places))
        found = ops.transpose(found, (1, 2, 0, 3, 4))
        found = ops.reshape(found, (-1, self.heads, length + missing, self._head_width))
        return found[:, :, :length]

    def _turns(self, length):
        """Cosines and sines of every position's angles, each `(length, head width)`."""
        pairs = self._head_width // 2
        speeds = SLOWEST_TURN ** -(np.arange(pairs, dtype="float32") / pairs)
        angles = ops.cast(ops.arange(length), "float32")[:, None] * speeds
        cosine, sine = ops.cos(angles), ops.sin(angles)
        turns = ops.concatenate([cosine, cosine], -1), ops.concatenate([-sine, sine], -1)
        return [ops.cast(turn, self.compute_dtype) for turn in turns]

    def _bias(self, mask, places, dtype):
        """`(batch, 1, queries or 1, keys)`: hides padding, and chunks too early or too late."""
        shown = mask[:, None, None, :]
        if self.chunk is not None:
            chunk = ops.arange(ops.shape(mask)[1]) // self.chunk
            apart = (places // self.chunk)[:, None] - chunk
            shown = ops.logical_and(shown, ops.logical_and(apart >= 0, apart <= self.left))
        return mask_bias(shown, dtype)

    def call(self, x, padding_mask, training=None):
        return self.forward(x, padding_mask, training=training)[0]

    def get_config(self):
        return {
            **super().get_config(),
            "heads": self.heads,
            "chunk": self.chunk,
            "left": self.left,
        }


def _turn(x, turns):
    """Turns the two halves of the last axis against each other, as pairs."""
    cosine, sine = turns
    one, other = ops.split(x, 2, axis=-1)
    return x * cosine + ops.concatenate([other, one], axis=-1) * sine


@keras.saving.register_keras_serializable("mmkeras")
class GatedConvolution(keras.layers.Layer):
    """The Conformer's convolution: a gated projection, one filter per channel, a projection.

    It normalises each frame by itself where the paper takes batch normalisation, so neither the
    other utterances of a batch nor padding change a result.

    Args:
        kernel: Frames that a filter covers.
        causal: Whether they all lie at or before the frame, or around it.

    Shapes: `x` `(batch, length, width)`, `padding_mask` `(batch, length)` -> like `x`.
    """

    def __init__(self, kernel=15, causal=False, **kwargs):
        super().__init__(**kwargs)
        self.kernel = kernel
        self.causal = causal

    def build(self, x_shape, padding_mask_shape=None):
        self._width = x_shape[-1]
        self.gated = Linear(2 * self._width, name="gated")
        self.gated.build(x_shape)
        self.filters = keras.layers.DepthwiseConv1D(self.kernel, name="filters")
        self.filters.build(x_shape)
        self.norm = LayerNorm(name="norm")
        self.norm.build(x_shape)
        self.out = Linear(self._width, name="out")
        self.out.build(x_shape)

    def initial_state(self, batch):
        return ops.zeros((batch, self.kernel - 1, self._width), self.compute_dtype)

    def forward(self, x, padding_mask, state=None):
        x, gate = ops.split(self.gated(x), 2, axis=-1)
        x = hide(x * ops.sigmoid(gate), padding_mask)
        if state is None:
            after = 0 if self.causal else self.kernel // 2
            x = ops.pad(x, [(0, 0), (self.kernel - 1 - after, after), (0, 0)])
        else:
            x = ops.concatenate([state, x], axis=1)
            state = x[:, ops.shape(x)[1] - self.kernel + 1 :]
        return self.out(ops.silu(self.norm(self.filters(x)))), state

    def call(self, x, padding_mask):
        return self.forward(x, padding_mask)[0]

    def get_config(self):
        return {**super().get_config(), "kernel": self.kernel, "causal": self.causal}


@keras.saving.register_keras_serializable("mmkeras")
class ConformerBlock(keras.layers.Layer):
    """Half a feed-forward, self-attention, convolution, the other half, normalisation.

    Gulati et al. 2020, "Conformer: Convolution-augmented Transformer for Speech Recognition".

    Args:
        heads: Attention heads, see `RotaryAttention`.
        units: Inner width of each feed-forward half; 4 times the width if None.
        kernel: Frames that a filter of the convolution covers.
        dropout: Rate on what each part adds.
        chunk: As in `RotaryAttention`; where given, the convolution sees no frame ahead.
        left: As in `RotaryAttention`.

    Shapes: `x` `(batch, length, width)`, `padding_mask` `(batch, length)` -> like `x`.
    """

    def __init__(self, heads, units=None, kernel=15, dropout=0.0, chunk=None, left=4, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads
        self.units = units
        self.kernel = kernel
        self.dropout = dropout
        self.chunk = chunk
        self.left = left

    def build(self, x_shape, padding_mask_shape=None):
        units = self.units or 4 * x_shape[-1]
        self.first = FeedForward(units, "silu", name="first")
        self.attention = RotaryAttention(self.heads, self.chunk, self.left, name="attention")
        self.convolution = GatedConvolution(self.kernel, self.chunk is not None, name="convolution")
        self.second = FeedForward(units, "silu", name="second")
        for part in (self.first, self.attention, self.convolution, self.second):
            part.build(x_shape)
        self.norms = [LayerNorm(name=f"norm{i}") for i in range(5)]
        for norm in self.norms:
            norm.build(x_shape)
        self.drop = ByteDropout(self.dropout)

    def initial_state(self, batch):
        return {
            "attention": self.attention.initial_state(batch),
            "convolution": self.convolution.initial_state(batch),
        }

    def forward(self, x, padding_mask, state=None, training=None):
        state = state or {"attention": None, "convolution": None}
        norms = self.norms
        x = x + 0.5 * self.drop(self.first(norms[0](x)), training=training)
        added, attention = self.attention.forward(
            norms[1](x), padding_mask, state["attention"], training
        )
        x = x + self.drop(added, training=training)
        added, past = self.convolution.forward(norms[2](x), padding_mask, state["convolution"])
        x = x + self.drop(added, training=training)
        x = x + 0.5 * self.drop(self.second(norms[3](x)), training=training)
        return norms[4](x), {"attention": attention, "convolution": past}

    def call(self, x, padding_mask, training=None):
        return self.forward(x, padding_mask, training=training)[0]

    def compute_output_shape(self, x_shape, padding_mask_shape=None):
        return x_shape

    def get_config(self):
        return {
            **super().get_config(),
            "heads": self.heads,
            "units": self.units,
            "kernel": self.kernel,
            "dropout": self.dropout,
            "chunk": self.chunk,
            "left": self.left,
        }


@keras.saving.register_keras_serializable("mmkeras")
class RotaryBlock(keras.layers.Layer):
    """A Transformer's block, normalised first, over rotary positions.

    Args:
        heads: Attention heads, see `RotaryAttention`.
        units: Inner width of the feed-forward part; 4 times the width if None.
        dropout: Rate on what each part adds.
        chunk, left: As in `RotaryAttention`.

    Shapes: `x` `(batch, length, width)`, `padding_mask` `(batch, length)` -> like `x`.
    """

    def __init__(self, heads, units=None, dropout=0.0, chunk=None, left=4, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads
        self.units = units
        self.dropout = dropout
        self.chunk = chunk
        self.left = left

    def build(self, x_shape, padding_mask_shape=None):
        self.attention_norm = LayerNorm(name="attention_norm")
        self.attention_norm.build(x_shape)
        self.attention = RotaryAttention(self.heads, self.chunk, self.left, name="attention")
        self.attention.build(x_shape)
        self.feed_norm = LayerNorm(name="feed_norm")
        self.feed_norm.build(x_shape)
        self.feed = FeedForward(self.units or 4 * x_shape[-1], name="feed")
        self.feed.build(x_shape)
        self.drop = ByteDropout(self.dropout)

    def initial_state(self, batch):
        return self.attention.initial_state(batch)

    def forward(self, x, padding_mask, state=None, training=None):
        added, state = self.attention.forward(self.attention_norm(x), padding_mask, state, training)
        x = x + self.drop(added, training=training)
        return x + self.drop(self.feed(self.feed_norm(x)), training=training), state

    def call(self, x, padding_mask, training=None):
        return self.forward(x, padding_mask, training=training)[0]

    def compute_output_shape(self, x_shape, padding_mask_shape=None):
        return x_shape

    def get_config(self):
        return {
            **super().get_config(),
            "heads": self.heads,
            "units": self.units,
            "dropout": self.dropout,
            "chunk": self.chunk,
            "left": self.left,
        }
