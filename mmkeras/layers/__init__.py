"""Layers that encoders, fusions and decoders are made of."""

from mmkeras.layers.alignment import EmbeddingPair, JointEmbedding, Similarity
from mmkeras.layers.attention import AdditiveAttention, Attention, attend
from mmkeras.layers.linear import LayerNorm, Linear
from mmkeras.layers.pooling import AttentionPooling, masked_mean
from mmkeras.layers.position import LearnedPositions
from mmkeras.layers.recurrent import LSTM
from mmkeras.layers.shapes import FirstPlaces, FlattenGrid, Rows, Runs
from mmkeras.layers.spec_augment import SpecAugment
from mmkeras.layers.transformer import FeedForward, TransformerBlock

__all__ = [
    "LSTM",
    "AdditiveAttention",
    "Attention",
    "AttentionPooling",
    "EmbeddingPair",
    "FeedForward",
    "FirstPlaces",
    "FlattenGrid",
    "JointEmbedding",
    "LayerNorm",
    "LearnedPositions",
    "Linear",
    "Rows",
    "Runs",
    "Similarity",
    "SpecAugment",
    "TransformerBlock",
    "attend",
    "masked_mean",
]
