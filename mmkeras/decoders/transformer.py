"""The Transformer decoder."""

import keras
from keras import ops

from mmkeras.decoders.decoder import Decoder
from mmkeras.decoders.search import write_cells
from mmkeras.layers.attention import Attention, attend, causal_bias, mask_bias
from mmkeras.layers.linear import LayerNorm, Linear, tied_logits
from mmkeras.layers.position import LearnedPositions
from mmkeras.layers.transformer import FeedForward


@keras.saving.register_keras_serializable("mmkeras")
class TransformerDecoder(Decoder):
    """Causal self-attention and cross-attention to the context, with a key-value cache.

    Vaswani et al. 2017, normalised first. In decoding each step reads one token: the keys and
    values of the past are kept in a buffer that is allocated once and written in place.

    Args:
        vocabulary_size, max_length, start_id, end_id, label_smoothing: As in `Decoder`.
        width: Of the model; a multiple of `heads`.
        depth: Number of blocks.
        heads: Attention heads.
        dropout: Rate on embeddings and on what each part of a block adds.
        tied: Whether the output uses the embedding's weights (Press and Wolf 2017).

    Shapes: ids `(batch, length)`, context `(batch, context length, any width)`, context mask
    `(batch, context length)` -> logits `(batch, length, vocabulary_size)`.

    Example:

    ```python
    import mmkeras as mm
    import numpy as np

    decoder = mm.TransformerDecoder(1000, max_length=20, width=64, depth=2, heads=4)
    decoder(np.ones((2, 20), "int32"), np.zeros((2, 49, 128), "float32"))  # (2, 20, 1000)
    ```
    """

    def __init__(
        self,
        vocabulary_size,
        max_length,
        width=256,
        depth=4,
        heads=4,
        dropout=0.1,
        tied=True,
        **kwargs,
    ):
        super().__init__(vocabulary_size, max_length, **kwargs)
        self.width = width
        self.depth = depth
        self.heads = heads
        self.dropout = dropout
        self.tied = tied

    def build(self, ids_shape, context_shape, context_mask_shape=None):
        if ids_shape[1] is not None and ids_shape[1] > self.max_length:
            raise ValueError(
                f"`max_length` should be at least {ids_shape[1]}, the length of the texts with "
                f"[END]. Received: max_length={self.max_length}"
            )
        shape = (None, None, self.width)
        self.embedding = self.add_weight(
            (self.vocabulary_size, self.width),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="embedding",
        )
        self.positions = LearnedPositions(self.max_length, name="positions")
        self.positions.build(shape)
        self.blocks = [
            TransformerDecoderBlock(self.heads, dropout=self.dropout, name=f"block_{i}")
            for i in range(self.depth)
        ]
        for block in self.blocks:
            block.build(shape, context_shape)
        self.norm = LayerNorm(name="norm")
        self.norm.build(shape)
        if not self.tied:
            self.output_layer = Linear(self.vocabulary_size, name="output")
            self.output_layer.build(shape)
        self.drop = keras.layers.Dropout(self.dropout)

    def initial_state(self, context, context_mask=None, max_length=None, beams=1):
        kept = {"blocks": [block.cross.project_context(context) for block in self.blocks]}
        if context_mask is not None:
            kept["bias"] = ops.expand_dims(mask_bias(context_mask, self.compute_dtype), 1)
        if max_length is None:
            return {"context": kept}
        rows = ops.shape(context)[0]
        cells = ops.zeros(
            (rows, self.heads, max_length * beams, self.width // self.heads), self.compute_dtype
        )
        unwritten = ops.full((rows, max_length), -1, "int32")
        return {"context": kept, "cache": [[cells, cells] for _ in self.blocks], "by": unwritten}

    def forward(self, ids, state, index=None, training=None):
        x = ops.cast(ops.take(self.embedding, ids, axis=0), self.compute_dtype)
        x = self.drop(self.positions(x, index=index), training=training)
        if index is None:
            past, bias = None, causal_bias(ids.shape[1], self.compute_dtype)
        else:
            past, state, bias = self._past(ids, state, index)
        kept, written, weights = state["context"], [], []
        for i, block in enumerate(self.blocks):
            x, cells, looked = block(
                x,
                context=kept["blocks"][i],
                context_bias=kept.get("bias"),
                past=past and past[i],
                bias=bias,
                training=training,
            )
            written.append(cells)
            weights.append(ops.mean(looked, axis=1))
        logits = ops.cast(self._logits(self.norm(x)), "float32")
        if past is not None:
            state = {**state, "cache": written}
        return logits, state, sum(weights) / len(weights)

    def _past(self, ids, state, index):
        """Each block's cells and the first to write to, the new state, and which cells are seen.

        What a beam writes stays where it was written, whichever beams go on from it: `by` says for
        each hypothesis and position which beam's cell holds it, -1 being none.
        """
        beams, length = ids.shape[1], state["by"].shape[1]
        beam = ops.arange(beams, dtype="int32")
        by = ops.reshape(state["by"], (-1, beams, length))
        by = ops.where(ops.arange(length) == index, beam[:, None], by)
        seen = ops.reshape(by[..., None] == beam, (-1, beams, length * beams))
        place = ops.multiply(index, beams)
        past = [(*cells, place) for cells in state["cache"]]
        state = {**state, "by": ops.reshape(by, (-1, length))}
        return past, state, mask_bias(seen, self.compute_dtype)

    def _logits(self, x):
        return tied_logits(x, self.embedding) if self.tied else self.output_layer(x)

    def get_config(self):
        return {
            **super().get_config(),
            "width": self.width,
            "depth": self.depth,
            "heads": self.heads,
            "dropout": self.dropout,
            "tied": self.tied,
        }


@keras.saving.register_keras_serializable("mmkeras")
class TransformerDecoderBlock(keras.layers.Layer):
    """One block: self-attention over the past, attention to the context, feed-forward."""

    def __init__(self, heads, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads
        self.dropout = dropout

    def build(self, x_shape, context_shape):
        self.attention_norm = LayerNorm(name="attention_norm")
        self.attention = Attention(self.heads, name="attention")
        self.cross_norm = LayerNorm(name="cross_norm")
        self.cross = Attention(self.heads, cross=True, name="cross")
        self.feed_norm = LayerNorm(name="feed_norm")
        self.feed = FeedForward(4 * x_shape[-1], name="feed")
        self.drop = keras.layers.Dropout(self.dropout)
        self.cross.build(x_shape, context_shape)
        for layer in (self.attention_norm, self.attention, self.cross_norm):
            layer.build(x_shape)
        for layer in (self.feed_norm, self.feed):
            layer.build(x_shape)

    def call(self, x, context, context_bias, past, bias, training=None):
        query, keys, values = self.attention.project(self.attention_norm(x))
        cells = None
        if past is not None:
            old_keys, old_values, place = past
            keys = write_cells(old_keys, place, keys)
            values = write_cells(old_values, place, values)
            cells = [keys, values]
        added, _ = attend(query, ops.swapaxes(keys, 2, 3), values, bias)
        x = x + self.drop(self.attention.out(added), training=training)
        query = self.cross.project_query(self.cross_norm(x))
        added, weights = attend(query, *context, context_bias)
        x = x + self.drop(self.cross.out(added), training=training)
        x = x + self.drop(self.feed(self.feed_norm(x)), training=training)
        return x, cells, weights

    def get_config(self):
        return {**super().get_config(), "heads": self.heads, "dropout": self.dropout}
