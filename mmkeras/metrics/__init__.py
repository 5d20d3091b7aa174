"""Metrics of captions and transcripts, by the conventions of the official tools."""

from mmkeras.metrics.bleu import Bleu
from mmkeras.metrics.captions import caption_scores, format_scores
from mmkeras.metrics.cider import CiderD, DocumentFrequency
from mmkeras.metrics.rewards import CaptionReward
from mmkeras.metrics.rouge import RougeL
from mmkeras.metrics.speech import (
    CharacterErrorRate,
    WordErrorRate,
    align_words,
    format_speech_scores,
    speech_scores,
)
from mmkeras.metrics.tokenization import tokenize

__all__ = [
    "Bleu",
    "CaptionReward",
    "CharacterErrorRate",
    "CiderD",
    "DocumentFrequency",
    "RougeL",
    "WordErrorRate",
    "align_words",
    "caption_scores",
    "format_scores",
    "format_speech_scores",
    "speech_scores",
    "tokenize",
]
