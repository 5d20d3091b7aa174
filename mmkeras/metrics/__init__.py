"""Metrics of generated text, with the conventions of the official tools and without Java."""

from mmkeras.metrics.bleu import Bleu
from mmkeras.metrics.captions import caption_scores, format_scores
from mmkeras.metrics.cider import CiderD, DocumentFrequency
from mmkeras.metrics.rouge import RougeL
from mmkeras.metrics.tokenization import tokenize

__all__ = [
    "Bleu",
    "CiderD",
    "DocumentFrequency",
    "RougeL",
    "caption_scores",
    "format_scores",
    "tokenize",
]
