"""Whether two inputs belong together."""

import keras
from keras import ops

from mmkeras import replicas
from mmkeras.layers import EmbeddingPair
from mmkeras.losses import FAR, pair_loss, real_labels


@keras.saving.register_keras_serializable("mmkeras")
class Match(keras.layers.Layer):
    """Whether two inputs belong together, from the embeddings of both.

    Args:
        loss: `"info_nce"`, `"siglip"`, `"triplet"` or a `PairLoss`.

    Shapes: context `(batch, 2, width)`, as `side_by_side` gives it -> pairs of embeddings, as
    `EmbeddingPair` makes them.

    Raises:
        ValueError: if `loss` is none of these, or the context is no two embeddings.

    Example:

    ```python
    import mmkeras as mm

    words = mm.train_tokenizer(["a dog barks"], "word")
    inputs = {
        "audio": (mm.Audio(8000), mm.conv_lstm("tiny")),
        "caption": (mm.Text(words), mm.text_rnn(words.vocabulary_size, size="tiny")),
    }
    target = {"match": (mm.Pairs(), mm.Match(name="match"))}
    model = mm.assemble(inputs, target, width=64, fusion=mm.side_by_side)
    ```
    """

    # There is nothing to choose from.
    searches = False

    def __init__(self, loss="info_nce", **kwargs):
        super().__init__(**kwargs)
        self.pair_loss = pair_loss(loss)

    def build(self, context_shape):
        if len(context_shape) != 3 or context_shape[1] != 2:
            raise ValueError(
                "The context should be two embeddings, (batch, 2, width), as the fusion "
                f"`side_by_side` gives it. Received: shape={tuple(context_shape)}"
            )
        self.pair = EmbeddingPair(self.pair_loss.temperature, self.pair_loss.bias, name="pair")
        self.pair.build(*[(None, context_shape[-1])] * 2)

    def call(self, context):
        return self.pair(context[:, 0], context[:, 1])

    def answer(self, context, **options):
        """`scores` `(batch, 1)`: the cosine of the two embeddings, -1 to 1."""
        if options:
            raise ValueError(f"A match has no options. Received: {sorted(options)}")
        return {"scores": ops.sum(context[:, 0] * context[:, 1], axis=-1, keepdims=True)}

    def loss(self):
        """The loss to compile with."""
        return self.pair_loss

    def metrics_to_compile(self):
        """The metrics to compile with."""
        return [PairRecall()]

    def get_config(self):
        return {**super().get_config(), "loss": keras.losses.serialize(self.pair_loss)}


@keras.saving.register_keras_serializable("mmkeras")
class PairRecall(keras.metrics.Mean):
    """How often the nearest of all in the batch belongs to an embedding, both ways.

    A pair of which one is missing is left out.

    Shapes: labels `(batch,)` and pairs `(batch, 2, width)`, as a `PairLoss` takes them.
    """

    def __init__(self, name="recall", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, labels, pairs, sample_weight=None):
        pairs = ops.cast(pairs, "float32")
        labels = real_labels(labels)
        everyone, all_labels = replicas.gather(pairs), replicas.gather(labels)
        for side in (0, 1):
            products = ops.matmul(pairs[:, side], ops.transpose(everyone[:, 1 - side]))
            nearest = ops.argmax(ops.where(all_labels >= 0, products, -FAR), axis=1)
            right = ops.equal(ops.take(all_labels, nearest), labels)
            super().update_state(ops.cast(right, "float32"), ops.cast(labels >= 0, "float32"))
