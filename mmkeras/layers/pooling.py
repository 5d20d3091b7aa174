"""A sequence as one vector."""

import keras
from keras import ops

from mmkeras.layers.attention import mask_bias
from mmkeras.layers.linear import Linear


def masked_mean(sequence, mask):
    """Mean of the visible positions: `(batch, length, width)` and a mask -> `(batch, width)`."""
    weights = ops.expand_dims(ops.cast(mask, sequence.dtype), -1)
    return ops.sum(sequence * weights, axis=1) / ops.maximum(ops.sum(weights, axis=1), 1)


@keras.saving.register_keras_serializable("mmkeras")
class AttentionPooling(keras.layers.Layer):
    """A mean of the visible places, weighted by how much each has to say.

    Lin et al. 2017, "A Structured Self-Attentive Sentence Embedding", with one map.

    Shapes: sequence `(batch, length, width)`, mask `(batch, length)` or None -> the vector
    `(batch, width)` and the weights `(batch, length)`, which sum to 1.
    """

    def build(self, sequence_shape, padding_mask_shape=None):
        width = sequence_shape[-1]
        self.hidden = Linear(width, name="hidden")
        self.hidden.build(sequence_shape)
        self.score = Linear(1, use_bias=False, name="score")
        self.score.build((None, width))

    def call(self, sequence, padding_mask=None):
        scores = ops.swapaxes(self.score(ops.tanh(self.hidden(sequence))), 1, 2)
        if padding_mask is not None:
            scores = scores + mask_bias(ops.expand_dims(padding_mask, 1), scores.dtype)
        weights = ops.softmax(scores)
        return ops.squeeze(ops.matmul(weights, sequence), 1), ops.squeeze(weights, 1)
