"""Fields: the codecs between what people have (files, strings) and what models see (tensors)."""

from mmkeras.preprocessing.audio import Audio
from mmkeras.preprocessing.audio_augmentation import audio_augmentation
from mmkeras.preprocessing.augmentation import image_augmentation
from mmkeras.preprocessing.features import Features
from mmkeras.preprocessing.field import Field
from mmkeras.preprocessing.hub import HubTokenizer
from mmkeras.preprocessing.image import Image
from mmkeras.preprocessing.labels import Labels, most_common
from mmkeras.preprocessing.pairs import Pairs
from mmkeras.preprocessing.passage import Passage, Span
from mmkeras.preprocessing.preprocessor import Preprocessor
from mmkeras.preprocessing.text import Answer, Text, Transcript
from mmkeras.preprocessing.tokenizers import (
    CharacterTokenizer,
    SubwordTokenizer,
    WordTokenizer,
    train_tokenizer,
)

__all__ = [
    "Answer",
    "Audio",
    "CharacterTokenizer",
    "Features",
    "Field",
    "HubTokenizer",
    "Image",
    "Labels",
    "Pairs",
    "Passage",
    "Preprocessor",
    "Span",
    "SubwordTokenizer",
    "Text",
    "Transcript",
    "WordTokenizer",
    "audio_augmentation",
    "image_augmentation",
    "most_common",
    "train_tokenizer",
]
