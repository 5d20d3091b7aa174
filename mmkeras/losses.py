"""Losses that Keras lacks."""

import keras
from keras import ops

from mmkeras import replicas

# Beyond every product of two embeddings.
FAR = 1e9


@keras.saving.register_keras_serializable("mmkeras")
class TokenCrossentropy(keras.losses.Loss):
    """Cross-entropy of token ids against logits, with label smoothing, from integer labels.

    Keras's `SparseCategoricalCrossentropy` has no label smoothing, and one-hot labels of a large
    vocabulary do not fit in memory. Padding is left out by a sample weight of 0, and by default
    the mean is over what is left: every token counts the same in whatever batch it stands.

    Args:
        label_smoothing: Share of the probability that is spread over all ids (Szegedy et al.
            2016, "Rethinking the Inception Architecture", section 7).
        reduction: As in `keras.losses.Loss`.

    Shapes: labels `(batch, length)`, logits `(batch, length, vocabulary)`.

    Example:

    ```python
    import mmkeras as mm

    model.compile("adam", loss={"caption": mm.TokenCrossentropy(label_smoothing=0.1)})
    ```
    """

    def __init__(
        self,
        label_smoothing=0.0,
        reduction="mean_with_sample_weight",
        name="token_crossentropy",
        **kwargs,
    ):
        super().__init__(name=name, reduction=reduction, **kwargs)
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(
                "`label_smoothing` should be at least 0 and below 1. "
                f"Received: label_smoothing={label_smoothing}"
            )
        self.label_smoothing = label_smoothing

    def call(self, labels, logits):
        return _smoothed_crossentropy(ops.cast(labels, "int32"), logits, self.label_smoothing)

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


def _smoothed_crossentropy(labels, logits, smoothing):
    """`(...)` from labels `(...)` and logits `(..., classes)`, in few passes over the logits."""
    classes = ops.shape(logits)[-1]
    labels = ops.reshape(labels, (-1,))
    # Where the right classes stand among all logits in a row.
    places = ops.arange(ops.shape(labels)[0], dtype="int32") * classes + labels

    @ops.custom_gradient
    def crossentropy(logits):
        shifted = logits - ops.max(logits, axis=-1, keepdims=True)
        exponents = ops.exp(shifted)
        total = ops.sum(exponents, axis=-1)
        right = ops.take(ops.reshape(shifted, (-1,)), places)
        loss = ops.log(total) - (1.0 - smoothing) * ops.reshape(right, ops.shape(total))
        if smoothing:
            loss = loss - smoothing * ops.mean(shifted, axis=-1)

        def gradient(upstream):
            everywhere = ops.expand_dims(upstream / total, -1) * exponents
            if smoothing:
                everywhere = everywhere - ops.expand_dims(
                    upstream * (smoothing / ops.cast(classes, logits.dtype)), -1
                )
            flat = ops.reshape(everywhere, (-1,))
            right = ops.take(flat, places) - (1.0 - smoothing) * ops.reshape(upstream, (-1,))
            flat = ops.scatter_update(flat, ops.expand_dims(places, -1), right)
            return ops.reshape(flat, ops.shape(everywhere))

        return loss, gradient

    return crossentropy(logits)


@keras.saving.register_keras_serializable("mmkeras")
class CreditCrossentropy(keras.losses.Loss):
    """Cross-entropy of classes of which several may be right, each to its share of the credit.

    Args:
        label_smoothing: Share of the probability that is spread over all classes.
        reduction: As in `keras.losses.Loss`.

    Shapes: credits `(batch, classes)`, as `Labels` gives them, logits `(batch, classes)`.

    Example:

    ```python
    model.compile("adam", loss={"answer": mm.CreditCrossentropy(label_smoothing=0.1)})
    ```
    """

    def __init__(
        self,
        label_smoothing=0.0,
        reduction="mean_with_sample_weight",
        name="credit_crossentropy",
        **kwargs,
    ):
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.label_smoothing = label_smoothing

    def call(self, credits, logits):
        log_probs = ops.log_softmax(ops.cast(logits, "float32"))
        credits = ops.cast(credits, "float32")
        shares = credits / ops.maximum(ops.sum(credits, axis=-1, keepdims=True), 1e-6)
        smoothed = (1 - self.label_smoothing) * shares + self.label_smoothing / credits.shape[-1]
        return -ops.sum(smoothed * log_probs, axis=-1)

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable("mmkeras")
class SelfCriticalLoss(keras.losses.Loss):
    """Cross-entropy of a model's own samples, weighted by their advantage, beside true texts.

    Rows come example by example, as `self_critical` gives them: its samples, then a true text.
    What was sampled at a temperature is learnt at that temperature.

    Args:
        samples: Samples per example.
        temperature: That they were drawn at.

    Shapes: labels `(examples * (samples + 1), length)`, logits with `vocabulary` behind.
    """

    def __init__(self, samples=5, temperature=0.6, name="self_critical", **kwargs):
        super().__init__(name=name, **{"reduction": "sum_over_batch_size", **kwargs})
        self.samples = samples
        self.temperature = temperature

    def call(self, labels, logits):
        examples = ops.shape(labels)[0] // (self.samples + 1)
        divisors = ops.tile(ops.array([self.temperature] * self.samples + [1.0]), [examples])
        logits = logits / ops.reshape(ops.cast(divisors, logits.dtype), (-1, 1, 1))
        labels = ops.cast(labels, "int32")
        return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)

    def get_config(self):
        return {**super().get_config(), "samples": self.samples, "temperature": self.temperature}


class PairLoss(keras.losses.Loss):
    """A loss of pairs of embeddings, both ways. A subclass writes `directed(logits, same)`.

    Every pair of the batch is held against every other, over all replicas. Labels say which belong
    together: those with the same number do, such as five captions of one photo, and no two of them
    are taken for a mismatch. A label below 0 says that one of the two is missing: it costs nothing,
    and is no stranger to any other.

    Attributes:
        temperature, bias: Of the `EmbeddingPair` that it wants.

    Shapes: labels `(batch,)`, whole numbers below 2 ** 24; pairs `(batch, 2, width)` as
    `EmbeddingPair` gives them -> `(batch,)`.
    """

    temperature = 0.07
    bias = None

    def directed(self, logits, same, stranger):
        """Loss per row of `(batch, all)` logits, given which are partners and which are not.

        Where a pair is missing neither is true, and the logit is far below all others.
        """
        raise NotImplementedError

    def call(self, labels, pairs):
        pairs = ops.cast(pairs, "float32")
        labels = real_labels(labels)
        all_labels, everyone = replicas.gather(labels), replicas.gather(pairs)
        there = ops.expand_dims(all_labels >= 0, 0)
        equal = ops.equal(ops.expand_dims(labels, 1), ops.expand_dims(all_labels, 0))
        same, stranger = (ops.logical_and(x, there) for x in (equal, ops.logical_not(equal)))
        ways = []
        for side in (0, 1):
            logits = ops.matmul(pairs[:, side], ops.transpose(everyone[:, 1 - side]))
            ways.append(self.directed(ops.where(there, logits, -FAR), same, stranger))
        return ops.where(labels >= 0, sum(ways) / 2, 0.0)


def real_labels(labels):
    """`(batch,)`, with -1 for what only stands in, see `mmkeras.replicas.standing_in`."""
    labels = ops.reshape(labels, (-1,))
    return ops.where(replicas.is_real(labels) > 0, labels, -1)


@keras.saving.register_keras_serializable("mmkeras")
class InfoNCE(PairLoss):
    """Cross-entropy of finding an embedding's partner among all of the batch, both ways.

    van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding"; both
    ways and with a learned temperature Radford et al. 2021, "CLIP". Several partners share the
    target equally.

    Shapes: as `PairLoss`: labels `(batch,)`, pairs `(batch, 2, width)`.

    Example:

    ```python
    model.compile("adam", loss={"answer": "mse", "pair": mm.InfoNCE()}, loss_weights=[1.0, 0.1])
    ```
    """

    def __init__(self, name="info_nce", **kwargs):
        super().__init__(name=name, **kwargs)

    def directed(self, logits, same, stranger):
        same = ops.cast(same, logits.dtype)
        target = same / ops.maximum(ops.sum(same, axis=-1, keepdims=True), 1.0)
        return -ops.sum(target * ops.log_softmax(logits), axis=-1)


@keras.saving.register_keras_serializable("mmkeras")
class SigLIP(PairLoss):
    """For every two embeddings of the batch by itself, whether they are a pair.

    Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training". Wants
    `EmbeddingPair(temperature=0.1, bias=-10.0)`, as most pairs are none.

    Shapes: as `PairLoss`: labels `(batch,)`, pairs `(batch, 2, width)`.
    """

    temperature = 0.1
    bias = -10.0

    def __init__(self, name="siglip", **kwargs):
        super().__init__(name=name, **kwargs)

    def directed(self, logits, same, stranger):
        return -ops.sum(ops.log_sigmoid(ops.where(same, logits, -logits)), axis=-1)


@keras.saving.register_keras_serializable("mmkeras")
class Triplet(PairLoss):
    """A partner should be nearer than a stranger by a margin; strangers are semi-hard.

    Schroff et al. 2015, "FaceNet": of the strangers of the batch that are farther than the partner
    the nearest is taken, or, where none is farther, the farthest. Here near is a large product of
    the two embeddings, which is the cosine with `EmbeddingPair(temperature=None)`. Of several
    partners the farthest counts. A batch without strangers costs nothing.

    Args:
        margin: In units of the product.

    Shapes: as `PairLoss`: labels `(batch,)`, pairs `(batch, 2, width)`.
    """

    temperature = None

    def __init__(self, margin=0.2, name="triplet", **kwargs):
        super().__init__(name=name, **kwargs)
        self.margin = margin

    def directed(self, logits, same, stranger):
        partner = ops.min(ops.where(same, logits, FAR), axis=-1, keepdims=True)
        farther = ops.logical_and(stranger, logits < partner)
        semi_hard = ops.max(ops.where(farther, logits, -FAR), axis=-1)
        farthest = ops.min(ops.where(stranger, logits, FAR), axis=-1)
        chosen = ops.where(ops.any(farther, axis=-1), semi_hard, farthest)
        loss = ops.relu(self.margin + chosen - ops.squeeze(partner, -1))
        return ops.where(ops.any(stranger, axis=-1), loss, 0.0)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}


PAIR_LOSSES = {"info_nce": InfoNCE, "siglip": SigLIP, "triplet": Triplet}


def pair_loss(loss):
    """A `PairLoss` by name, from its config, or as it is."""
    if isinstance(loss, dict):
        return keras.losses.deserialize(loss)
    if isinstance(loss, str) and loss in PAIR_LOSSES:
        return PAIR_LOSSES[loss]()
    if not isinstance(loss, PairLoss):
        raise ValueError(
            f"`loss` should be one of {list(PAIR_LOSSES)} or a PairLoss. Received: loss={loss!r}"
        )
    return loss
