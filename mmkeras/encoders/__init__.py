"""Encoders: functions from Keras tensors to (sequence, mask)."""

from mmkeras.encoders.audio import AudioEncoder, conformer, conv_lstm, conv_transformer
from mmkeras.encoders.image import check_size, conv, conv_rows, grid_transformer, patch
from mmkeras.encoders.once import once
from mmkeras.encoders.pretrained import pretrained
from mmkeras.encoders.pretrained_text import HubIds, pretrained_text
from mmkeras.encoders.text import TEXT_ENCODERS, text_bag, text_rnn, text_transformer

__all__ = [
    "TEXT_ENCODERS",
    "AudioEncoder",
    "HubIds",
    "check_size",
    "conformer",
    "conv",
    "conv_lstm",
    "conv_rows",
    "conv_transformer",
    "grid_transformer",
    "once",
    "patch",
    "pretrained",
    "pretrained_text",
    "text_bag",
    "text_rnn",
    "text_transformer",
]
