"""Data: readers of standard layouts, the built-in world, and records made into batches."""

from mmkeras.data.computed import read_features
from mmkeras.data.dataset import dataset
from mmkeras.data.holding_out import folds, hold_out
from mmkeras.data.hub import read_huggingface
from mmkeras.data.labelled import (
    read_image_folder,
    read_labelled_text,
    read_mnist,
    read_mr_polarity,
    read_trec,
)
from mmkeras.data.manifest import read_manifest
from mmkeras.data.mixing import mix
from mmkeras.data.questions import read_clevr, read_daquar, read_easy_vqa, read_nlvr
from mmkeras.data.readers import read, read_coco, read_flickr
from mmkeras.data.sharding import write_shards
from mmkeras.data.shards import read_shards
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
from mmkeras.data.squad import read_squad
from mmkeras.data.vqa import read_vqa
from mmkeras.data.world import sort_of_clevr, world, world_questions

__all__ = [
    "dataset",
    "folds",
    "hold_out",
    "mix",
    "read",
    "read_an4",
    "read_clevr",
    "read_coco",
    "read_common_voice",
    "read_daquar",
    "read_easy_vqa",
    "read_features",
    "read_flickr",
    "read_fsdd",
    "read_huggingface",
    "read_image_folder",
    "read_kaldi",
    "read_labelled_text",
    "read_librispeech",
    "read_ljspeech",
    "read_manifest",
    "read_mnist",
    "read_mr_polarity",
    "read_nlvr",
    "read_shards",
    "read_squad",
    "read_timit",
    "read_trec",
    "read_vqa",
    "sort_of_clevr",
    "speak",
    "spoken",
    "world",
    "world_questions",
    "write_shards",
]
