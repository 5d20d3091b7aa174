"""Late fusion: every modality by itself to its own decision."""

import keras
from keras import ops

from mmkeras.fusion.attention import EarlyFusion
from mmkeras.fusion.inputs import Fusion, check_encoded, present, stand_in
from mmkeras.layers.attention import mask_bias
from mmkeras.layers.pooling import masked_mean
from mmkeras.layers.transformer import FeedForward

DECISIONS = ("average", "weighted", "vote")


@keras.saving.register_keras_serializable("mmkeras")
class LateFusion(Fusion):
    """One vector per modality, each through a network of its own, as a sequence of that length.

    A linear head on the mean of the result averages the decisions of the modalities (their
    logits); for heads of their own, weights or votes see `LateHead`.

    Args:
        width, dropout: As in `Fusion`.
    """

    def build_parts(self, names):
        self.towers = self.built_parts([FeedForward(self.width, name=name) for name in names])

    def fuse(self, sequences, masks, training):
        vectors = [masked_mean(*pair) for pair in zip(sequences, masks, strict=True)]
        towers = zip(self.towers, vectors, strict=True)
        stacked = ops.stack([tower(x, training=training) for tower, x in towers], axis=1)
        return stacked, ops.ones_like(stacked[:, :, 0], "bool")


@keras.saving.register_keras_serializable("mmkeras")
class HybridFusion(keras.layers.Layer):
    """Early and late together: the mean of `EarlyFusion`, then the vectors of `LateFusion`.

    Args:
        width, dropout, heads, blocks: As in `EarlyFusion`.

    Shapes: as `Fusion`; the result is `(batch, 1 + modalities, width)`.
    """

    def __init__(self, width, dropout=0.0, heads=4, blocks=2, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.dropout = dropout
        self.heads = heads
        self.blocks = blocks

    def build(self, encoded_shape):
        self.early = EarlyFusion(self.width, self.dropout, self.heads, self.blocks, name="early")
        self.late = LateFusion(self.width, self.dropout, name="late")
        self.early.build(encoded_shape)
        self.late.build(encoded_shape)

    def call(self, encoded, training=None):
        joint = ops.expand_dims(masked_mean(*self.early(encoded, training=training)), 1)
        vectors, _ = self.late(encoded, training=training)
        both = ops.concatenate([joint, vectors], axis=1)
        return both, ops.ones_like(both[:, :, 0], "bool")

    def get_config(self):
        return {
            **super().get_config(),
            "width": self.width,
            "dropout": self.dropout,
            "heads": self.heads,
            "blocks": self.blocks,
        }


@keras.saving.register_keras_serializable("mmkeras")
class LateHead(keras.layers.Layer):
    """A head for every modality, and one decision from all of theirs.

    It stands where the head would, and takes what the encoders gave instead of a fused context. A
    missing modality has no say. Give it `{**encoded, "joint": fusion(encoded)}` and it is a
    hybrid: what the modalities say together is one more voice.

    Args:
        head: The head, of which each modality gets a copy with weights of its own. It is called
            as `head(sequence, context_mask=mask)` and gives logits.
        decision: `"average"` of the logits, which is the geometric mean of the probabilities;
            `"weighted"`, with a learned weight per modality; or `"vote"`, which trains as
            the average and then gives the logarithm of each class's share of the votes, a tie
            going to the class that is more likely on average.

    Shapes: `{name: (sequence, mask)}` -> logits as the head's.

    Raises:
        ValueError: if `decision` is none of these.

    Example:

    ```python
    answer = mm.LateHead(Classify(10), "weighted", name="answer")
    logits = answer({"image": (grid, None), "sound": (frames, mask)})
    ```
    """

    def __init__(self, head, decision="average", **kwargs):
        super().__init__(**{"name": head.name, **kwargs})
        if decision not in DECISIONS:
            raise ValueError(
                f"`decision` should be one of {DECISIONS}. Received: decision={decision!r}"
            )
        self.head = head
        self.decision = decision

    def build(self, encoded_shape):
        check_encoded(encoded_shape, receiver=type(self).__name__)
        config = self.head.get_config()
        self.heads = []
        for name, (sequence_shape, mask_shape) in encoded_shape.items():
            head = type(self.head).from_config({**config, "name": f"{self.head.name}_{name}"})
            head.build(tuple(sequence_shape), mask_shape)
            self.heads.append(head)
        if self.decision == "weighted" and len(self.heads) > 1:
            self.importance = self.add_weight(
                (len(self.heads),), initializer="zeros", name="importance"
            )

    def call(self, encoded, training=None):
        logits = [
            _decide(head, *pair) for head, pair in zip(self.heads, encoded.values(), strict=True)
        ]
        logits, here = ops.stack(logits, axis=1), present(encoded)
        if self.decision == "vote" and not training:
            return _vote(logits, here)
        return _mix(logits, here, getattr(self, "importance", None))

    def loss(self):
        """As the head's."""
        return self.head.loss()

    def metrics_to_compile(self):
        """As the head's."""
        return self.head.metrics_to_compile()

    def get_config(self):
        return {
            **super().get_config(),
            "head": keras.saving.serialize_keras_object(self.head),
            "decision": self.decision,
        }

    @classmethod
    def from_config(cls, config):
        head = keras.saving.deserialize_keras_object(config.pop("head"))
        return cls(head, **config)


def _decide(head, sequence, mask):
    if mask is None:
        return head(sequence)
    # What a missing modality says is not counted; it should only be a number.
    sequence, mask = stand_in(sequence, mask, ops.zeros(sequence.shape[-1]))
    return head(sequence, context_mask=mask)


def _mix(values, here, importance=None):
    """Mean over axis 1 of what is there, `(batch, modalities, ...)`, by softmax of importance."""
    scores = mask_bias(here)
    if importance is not None:
        scores = scores + ops.cast(importance, scores.dtype)
    weights = ops.cast(ops.softmax(scores), values.dtype)
    weights = ops.reshape(weights, (-1, values.shape[1], *[1] * (len(values.shape) - 2)))
    return ops.sum(values * weights, axis=1)


def _vote(logits, here):
    votes = ops.one_hot(ops.argmax(logits, axis=-1), logits.shape[-1], dtype=logits.dtype)
    shape = (-1, logits.shape[1], *[1] * (len(logits.shape) - 2))
    counted = ops.reshape(ops.cast(here, logits.dtype), shape)
    voters = ops.sum(counted, axis=1)
    likely = _mix(ops.softmax(logits), here)
    share = (ops.sum(votes * counted, axis=1) + likely) / (voters + 1)
    return ops.log(ops.maximum(share, 1e-7))
