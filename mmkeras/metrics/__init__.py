"""Metrics of captions, transcripts, answers, classes and retrieval, by the official conventions."""

from mmkeras.metrics.answers import (
    VQAAccuracy,
    answer_scores,
    answer_targets,
    format_answer_scores,
)
from mmkeras.metrics.bleu import Bleu
from mmkeras.metrics.captions import caption_scores, format_scores
from mmkeras.metrics.cider import CiderD, DocumentFrequency
from mmkeras.metrics.classes import ConfusionMatrix, class_scores, format_class_scores
from mmkeras.metrics.retrieval import (
    format_retrieval_scores,
    retrieval_ranks,
    retrieval_scores,
)
from mmkeras.metrics.rewards import CaptionReward
from mmkeras.metrics.rouge import RougeL
from mmkeras.metrics.spans import SpanF1, format_span_scores, span_scores
from mmkeras.metrics.speech import (
    CharacterErrorRate,
    WordErrorRate,
    align_words,
    format_speech_comparison,
    format_speech_scores,
    speech_scores,
)
from mmkeras.metrics.tokenization import tokenize
from mmkeras.metrics.wups import wups

__all__ = [
    "Bleu",
    "CaptionReward",
    "CharacterErrorRate",
    "CiderD",
    "ConfusionMatrix",
    "DocumentFrequency",
    "RougeL",
    "SpanF1",
    "VQAAccuracy",
    "WordErrorRate",
    "align_words",
    "answer_scores",
    "answer_targets",
    "caption_scores",
    "class_scores",
    "format_answer_scores",
    "format_class_scores",
    "format_retrieval_scores",
    "format_scores",
    "format_span_scores",
    "format_speech_comparison",
    "format_speech_scores",
    "retrieval_ranks",
    "retrieval_scores",
    "span_scores",
    "speech_scores",
    "tokenize",
    "wups",
]
