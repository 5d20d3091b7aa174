"""Encoders: functions from a Keras tensor to (sequence, mask)."""

from mmkeras.encoders.image import conv, patch
from mmkeras.encoders.pretrained import pretrained

__all__ = ["conv", "patch", "pretrained"]
