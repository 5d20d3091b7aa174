"""Data: readers of standard layouts, the built-in world, and records made into batches."""

from mmkeras.data.dataset import dataset
from mmkeras.data.holding_out import hold_out
from mmkeras.data.manifest import read_manifest
from mmkeras.data.readers import read, read_coco, read_flickr
from mmkeras.data.speaking import speak, spoken
from mmkeras.data.speech import (
    read_an4,
    read_common_voice,
    read_fsdd,
    read_kaldi,
    read_librispeech,
    read_ljspeech,
    read_timit,
)
from mmkeras.data.world import world

__all__ = [
    "dataset",
    "hold_out",
    "read",
    "read_an4",
    "read_coco",
    "read_common_voice",
    "read_flickr",
    "read_fsdd",
    "read_kaldi",
    "read_librispeech",
    "read_ljspeech",
    "read_manifest",
    "read_timit",
    "speak",
    "spoken",
    "world",
]
