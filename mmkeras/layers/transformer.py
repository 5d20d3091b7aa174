"""The Transformer's blocks, normalised first (Xiong et al. 2020)."""

import keras

from mmkeras.layers.attention import Attention
from mmkeras.layers.dropout import ByteDropout
from mmkeras.layers.linear import LayerNorm, Linear


@keras.saving.register_keras_serializable("mmkeras")
class FeedForward(keras.layers.Layer):
    """Two dense layers, the inner one `units` wide. Shape is kept.

    Args:
        units: Inner width.
        activation: Of the inner layer.
        dropout: Rate on the inner layer's output.
    """

    def __init__(self, units, activation="gelu", dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.activation = activation
        self.dropout = dropout

    def build(self, x_shape):
        self.inner = Linear(self.units, self.activation, name="inner")
        self.inner.build(x_shape)
        self.outer = Linear(x_shape[-1], name="outer")
        self.outer.build((*x_shape[:-1], self.units))
        self.drop = keras.layers.Dropout(self.dropout)

    def call(self, x, training=None):
        return self.outer(self.drop(self.inner(x), training=training))

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "activation": self.activation,
            "dropout": self.dropout,
        }


@keras.saving.register_keras_serializable("mmkeras")
class TransformerBlock(keras.layers.Layer):
    """Self-attention and feed-forward, each normalised first and added to what came in.

    Args:
        heads: Attention heads; divides the width.
        units: Inner width of the feed-forward part; 4 times the width if None.
        dropout: Rate on what each part adds.

    Shapes: `(batch, length, width)` -> the same; `bias` as in `attend`.
    """

    def __init__(self, heads, units=None, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads
        self.units = units
        self.dropout = dropout

    def build(self, x_shape):
        self.attention_norm = LayerNorm(name="attention_norm")
        self.attention_norm.build(x_shape)
        self.attention = Attention(self.heads, name="attention")
        self.attention.build(x_shape)
        self.feed_norm = LayerNorm(name="feed_norm")
        self.feed_norm.build(x_shape)
        self.feed = FeedForward(self.units or 4 * x_shape[-1], name="feed")
        self.feed.build(x_shape)
        self.drop = ByteDropout(self.dropout)

    def call(self, x, bias=None, training=None):
        added = self.attention(self.attention_norm(x), bias=bias)
        x = x + self.drop(added, training=training)
        return x + self.drop(self.feed(self.feed_norm(x)), training=training)

    def attention_weights(self, x, bias=None):
        """Where each place looks, `(batch, length, length)`."""
        return self.attention.attention_weights(self.attention_norm(x), bias=bias)

    def get_config(self):
        return {
            **super().get_config(),
            "heads": self.heads,
            "units": self.units,
            "dropout": self.dropout,
        }
