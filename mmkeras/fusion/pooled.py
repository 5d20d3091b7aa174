"""Fusions of one vector per modality into one vector, a sequence of length 1."""

import functools
import operator

import keras
from keras import ops

from mmkeras.fusion.inputs import Fusion
from mmkeras.layers.linear import Linear
from mmkeras.layers.pooling import masked_mean


class PooledFusion(Fusion):
    """The mean of each modality's visible places, joined by `join(vectors)`.

    A subclass writes `join`: from a list of `(batch, width)` to one.
    """

    def join(self, vectors):
        raise NotImplementedError

    def fuse(self, sequences, masks, training):
        joined = self.join([masked_mean(*pair) for pair in zip(sequences, masks, strict=True)])
        return ops.expand_dims(joined, 1), ops.ones_like(joined[:, :1], "bool")

    def vector_layers(self, layers):
        return self.built_parts(layers, (None, self.width))


@keras.saving.register_keras_serializable("mmkeras")
class MeanFusion(PooledFusion):
    """The mean of the pooled modalities."""

    def join(self, vectors):
        return sum(vectors) / len(vectors)


@keras.saving.register_keras_serializable("mmkeras")
class SumFusion(PooledFusion):
    """The sum of the pooled modalities."""

    def join(self, vectors):
        return sum(vectors)


@keras.saving.register_keras_serializable("mmkeras")
class PooledConcatenateFusion(PooledFusion):
    """The pooled modalities side by side, through a dense layer with GELU."""

    def build_parts(self, names):
        self.linear = Linear(self.width, "gelu", name="linear")
        self.linear.build((None, len(names) * self.width))

    def join(self, vectors):
        return self.linear(ops.concatenate(vectors, axis=-1))


@keras.saving.register_keras_serializable("mmkeras")
class WeightedFusion(PooledFusion):
    """The pooled modalities, each with a learned weight; the weights sum to 1."""

    def build_parts(self, names):
        if len(names) > 1:
            self.logits = self.add_weight((len(names),), initializer="zeros", name="logits")

    def join(self, vectors):
        if len(vectors) == 1:
            return vectors[0]
        weights = ops.cast(ops.softmax(self.logits), vectors[0].dtype)
        return ops.einsum("bmw,m->bw", ops.stack(vectors, axis=1), weights)


@keras.saving.register_keras_serializable("mmkeras")
class AttentionFusion(PooledFusion):
    """The pooled modalities, weighted for each example by how a small network scores them.

    Additive attention (Bahdanau et al. 2015) over modalities instead of words.
    """

    def build_parts(self, names):
        if len(names) > 1:
            self.hidden = Linear(self.width, "tanh", name="hidden")
            self.score = Linear(1, use_bias=False, name="score")
            self.vector_layers([self.hidden, self.score])

    def join(self, vectors):
        if len(vectors) == 1:
            return vectors[0]
        vectors = ops.stack(vectors, axis=1)
        weights = ops.softmax(self.score(self.hidden(vectors)), axis=1)
        return ops.sum(weights * vectors, axis=1)


@keras.saving.register_keras_serializable("mmkeras")
class GatedFusion(PooledFusion):
    """The gated multimodal unit: every channel is mixed from the modalities by its own gate.

    Arevalo et al. 2017, "Gated Multimodal Units for Information Fusion": `h = sum_m z_m tanh(W_m
    x_m)`, where the gates `z` see all modalities. Gates of a channel sum to 1, which for two
    modalities is the paper's `z` and `1 - z`.
    """

    def build_parts(self, names):
        self.hidden = self.vector_layers([Linear(self.width, "tanh", name=name) for name in names])
        if len(names) > 1:
            self.gate = Linear(len(names) * self.width, name="gate")
            self.gate.build((None, len(names) * self.width))

    def join(self, vectors):
        hidden = [layer(x) for layer, x in zip(self.hidden, vectors, strict=True)]
        if len(vectors) == 1:
            return hidden[0]
        gates = self.gate(ops.concatenate(vectors, axis=-1))
        gates = ops.softmax(ops.reshape(gates, (-1, len(vectors), self.width)), axis=1)
        return ops.sum(gates * ops.stack(hidden, axis=1), axis=1)


@keras.saving.register_keras_serializable("mmkeras")
class BilinearFusion(PooledFusion):
    """Products of the modalities, channel by channel: a bilinear form of low rank.

    `W sum_r prod_m tanh(U_mr x_m)`. With rank 1 it is MLB (Kim et al. 2017, "Hadamard Product for
    Low-rank Bilinear Pooling"), with more MUTAN's sum (Ben-younes et al. 2017, "MUTAN: Multimodal
    Tucker Fusion for Visual Question Answering").

    Args:
        width, dropout: As in `Fusion`.
        rank: Number of products that are added.
    """

    fewest = 2

    def __init__(self, width, dropout=0.0, rank=4, **kwargs):
        super().__init__(width, dropout, **kwargs)
        self.rank = rank

    def build_parts(self, names):
        self.factors = [Linear(self.rank * self.width, "tanh", name=name) for name in names]
        self.out = Linear(self.width, name="out")
        self.vector_layers([*self.factors, self.out])

    def join(self, vectors):
        factors = [layer(x) for layer, x in zip(self.factors, vectors, strict=True)]
        product = functools.reduce(operator.mul, factors)
        return self.out(ops.sum(ops.reshape(product, (-1, self.rank, self.width)), axis=1))

    def get_config(self):
        return {**super().get_config(), "rank": self.rank}
