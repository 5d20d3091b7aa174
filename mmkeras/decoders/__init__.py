"""Decoders write a target token by token; search chooses the tokens."""

from mmkeras.decoders.decoder import Decoder
from mmkeras.decoders.lstm import LSTMDecoder
from mmkeras.decoders.transformer import TransformerDecoder

__all__ = ["Decoder", "LSTMDecoder", "TransformerDecoder"]
