"""Modalities in one space: side by side to be matched, or drawn together beside another task."""

import keras
from keras import ops

from mmkeras.fusion.inputs import mask_of
from mmkeras.layers.alignment import EmbeddingPair, JointEmbedding
from mmkeras.losses import pair_loss


def side_by_side(encoded, width, dropout=0.0):
    """The embedding of each modality by itself, as `fusion=` of a task that matches two of them.

    Args:
        encoded: `{name: (sequence, mask)}`.
        width: Of the embeddings.
        dropout: As in `JointEmbedding`.

    Returns:
        `(batch, modalities, width)`, vectors of length 1, and no mask (None). The layer
        `NAME_embedding` gives each, see `Task.embed`.
    """
    embeddings = [
        JointEmbedding(width, dropout, name=f"{name}_embedding")(sequence, padding_mask=mask)
        for name, (sequence, mask) in encoded.items()
    ]
    return ops.stack(embeddings, axis=1), None


@keras.saving.register_keras_serializable("mmkeras")
class Alignment(keras.layers.Layer):
    """Draws two modalities of each example together in training, and changes neither.

    A loss between their embeddings, in a joint space that only this layer has, is added to that of
    whatever model it stands in. An example that lacks one of the two has no part in it. Each
    example is a pair of its own, so that a batch should hold few that show the same.

    Args:
        weight: Of the loss.
        loss: `"info_nce"`, `"siglip"`, `"triplet"` or a `PairLoss`.
        width: Of the joint space.

    Shapes: `v` `(batch, n, any)` and `w` `(batch, m, any)`, with masks `(batch, n)` and
    `(batch, m)` or None -> `v`, which has to go on to what the model gives.

    Raises:
        ValueError: if `loss` is none of these.

    Example:

    ```python
    image = mm.Alignment(weight=0.2)(image, sound, w_mask=sound_mask)
    context, mask = mm.GatedFusion(256)({"image": (image, None), "sound": (sound, sound_mask)})
    ```
    """

    def __init__(self, weight=0.1, loss="info_nce", width=128, **kwargs):
        super().__init__(**kwargs)
        self.weight = weight
        self.loss = pair_loss(loss)
        self.width = width

    def build(self, v_shape, w_shape, v_mask_shape=None, w_mask_shape=None):
        self.embeddings = [JointEmbedding(self.width, name=name) for name in ("v", "w")]
        for embedding, shape in zip(self.embeddings, (v_shape, w_shape), strict=True):
            embedding.build(shape)
        self.pair = EmbeddingPair(self.loss.temperature, self.loss.bias, name="pair")
        self.pair.build(*[(None, self.width)] * 2)

    def call(self, v, w, v_mask=None, w_mask=None, training=None):
        if training:
            self.add_loss(self.weight * self._loss((v, v_mask), (w, w_mask)))
        return v

    def _loss(self, *modalities):
        """Mean loss of the examples that have both."""
        embedded = [e(*pair) for e, pair in zip(self.embeddings, modalities, strict=True)]
        here = ops.logical_and(*(ops.any(mask_of(*pair), axis=1) for pair in modalities))
        labels = ops.where(here, ops.arange(ops.shape(here)[0]), -1)
        losses = self.loss.call(labels, self.pair(*embedded))
        return ops.sum(losses) / ops.maximum(ops.sum(ops.cast(here, losses.dtype)), 1.0)

    def compute_output_shape(self, v_shape, w_shape, v_mask_shape=None, w_mask_shape=None):
        return v_shape

    def get_config(self):
        return {
            **super().get_config(),
            "weight": self.weight,
            "loss": keras.losses.serialize(self.loss),
            "width": self.width,
        }
