"""Encoders: functions from Keras tensors to (sequence, mask)."""

from mmkeras.encoders.audio import AudioEncoder, conformer, conv_lstm, conv_transformer
from mmkeras.encoders.image import conv, patch
from mmkeras.encoders.pretrained import pretrained

__all__ = [
    "AudioEncoder",
    "conformer",
    "conv",
    "conv_lstm",
    "conv_transformer",
    "patch",
    "pretrained",
]
