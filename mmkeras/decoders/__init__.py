"""Decoders write a target token by token; search chooses the tokens."""

from mmkeras.decoders.ctc import CTC, CTCLoss
from mmkeras.decoders.decoder import Decoder
from mmkeras.decoders.joint import JointDecoder
from mmkeras.decoders.language_model import NgramLanguageModel
from mmkeras.decoders.lstm import LSTMDecoder
from mmkeras.decoders.lstm_language_model import LSTMLanguageModel
from mmkeras.decoders.spelling import hot_word_ids
from mmkeras.decoders.transformer import TransformerDecoder

__all__ = [
    "CTC",
    "CTCLoss",
    "Decoder",
    "JointDecoder",
    "LSTMDecoder",
    "LSTMLanguageModel",
    "NgramLanguageModel",
    "TransformerDecoder",
    "hot_word_ids",
]
