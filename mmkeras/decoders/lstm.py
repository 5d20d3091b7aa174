"""The LSTM decoder with attention."""

import keras
from keras import ops

from mmkeras.decoders.decoder import Decoder
from mmkeras.layers.attention import AdditiveAttention, mask_bias
from mmkeras.layers.linear import LayerNorm, Linear, tied_logits
from mmkeras.layers.recurrent import LSTM


@keras.saving.register_keras_serializable("mmkeras")
class LSTMDecoder(Decoder):
    """Two LSTMs with additive attention over the context between them.

    Attention and its doubly stochastic penalty are those of Xu et al. 2015, "Show, Attend and
    Tell". As in Lu et al. 2017, "Knowing When to Look", it asks with the current hidden state, not
    the one before, so that training is one wide pass and not a loop around the attention; a
    second LSTM then reads what was seen, as in Anderson et al. 2018, "Bottom-Up and Top-Down
    Attention".

    Args:
        vocabulary_size, max_length, start_id, end_id, label_smoothing: As in `Decoder`.
        width: Of the LSTMs, the embedding and the attention.
        dropout: Rate on embeddings and before the output.
        tied: Whether the output uses the embedding's weights (Press and Wolf 2017).
        attention_penalty: Weight of the doubly stochastic penalty, which asks that every place of
            the context be looked at over the whole text.

    Shapes: as in `TransformerDecoder`.

    Example:

    ```python
    import mmkeras as mm
    import numpy as np

    decoder = mm.LSTMDecoder(1000, max_length=20, width=64)
    decoder(np.ones((2, 20), "int32"), np.zeros((2, 49, 128), "float32"))  # (2, 20, 1000)
    ```
    """

    def __init__(
        self,
        vocabulary_size,
        max_length,
        width=256,
        dropout=0.3,
        tied=True,
        attention_penalty=0.0,
        **kwargs,
    ):
        super().__init__(vocabulary_size, max_length, **kwargs)
        self.width = width
        self.dropout = dropout
        self.tied = tied
        self.attention_penalty = attention_penalty

    def build(self, ids_shape, context_shape, context_mask_shape=None):
        width, wide = self.width, (None, None, self.width)
        self.embedding = self.add_weight(
            (self.vocabulary_size, width),
            initializer=keras.initializers.RandomNormal(stddev=width**-0.5),
            name="embedding",
        )
        self.start = Linear(4 * width, "tanh", name="start")
        self.start.build((None, context_shape[-1]))
        self.looking = LSTM(width, name="looking")
        self.looking.build(wide)
        self.attend = AdditiveAttention(width // 2, name="attention")
        self.attend.build(wide, context_shape)
        both = (None, None, width + context_shape[-1])
        self.writing = LSTM(width, name="writing")
        self.writing.build(both)
        self.hidden = Linear(width, name="hidden")
        self.hidden.build(both)
        self.norm = LayerNorm(name="norm")
        self.norm.build(wide)
        if not self.tied:
            self.output_layer = Linear(self.vocabulary_size, name="output")
            self.output_layer.build(wide)
        self.drop = keras.layers.Dropout(self.dropout)

    def initial_state(self, context, context_mask=None, max_length=None, beams=1):
        kept = {"sequence": context, "keys": self.attend.project_context(context)}
        if context_mask is None:
            pooled = ops.mean(context, axis=1)
        else:
            kept["bias"] = ops.expand_dims(mask_bias(context_mask, self.compute_dtype), 1)
            shown = ops.expand_dims(ops.cast(context_mask, context.dtype), -1)
            pooled = ops.sum(context * shown, axis=1) / ops.maximum(ops.sum(shown, axis=1), 1.0)
        return {"context": kept, "past": ops.split(self.start(pooled), 4, axis=-1)}

    def forward(self, ids, state, index=None, training=None):
        kept, past = state["context"], state["past"]
        together, apart = ids.shape[1], ids.shape[1] if index is None else 1
        x = ops.cast(ops.take(self.embedding, ids, axis=0), self.compute_dtype)
        x = _rows_of(self.drop(x, training=training), apart)
        x, first = self.looking(x, state=past[:2])
        seen, weights = self.attend(
            _rows_of(x, together), kept["sequence"], kept["keys"], kept.get("bias")
        )
        seen = _rows_of(seen, apart)
        x, second = self.writing(ops.concatenate([x, seen], -1), state=past[2:])
        x = _rows_of(self.norm(self.hidden(ops.concatenate([x, seen], -1))), together)
        logits = ops.cast(self._logits(self.drop(x, training=training)), "float32")
        if self.attention_penalty and training:
            self.add_loss(self.attention_penalty * _doubly_stochastic(weights, ids))
        return logits, {**state, "past": [*first, *second]}, weights

    def _logits(self, x):
        if self.tied:
            return tied_logits(x, self.embedding)
        return self.output_layer(x)

    def get_config(self):
        return {
            **super().get_config(),
            "width": self.width,
            "dropout": self.dropout,
            "tied": self.tied,
            "attention_penalty": self.attention_penalty,
        }


def _rows_of(x, length):
    """`(batch, n, width)` -> the same as rows of so many."""
    return x if x.shape[1] == length else ops.reshape(x, (-1, length, x.shape[2]))


def _doubly_stochastic(weights, ids):
    """Mean over the context of (1 - attention summed over the text)^2, padding left out."""
    written = ops.expand_dims(ops.cast(ids != 0, weights.dtype), -1)
    return ops.mean(ops.square(1.0 - ops.sum(weights * written, axis=1)))
