"""Multimodal models in Keras 3 on TensorFlow: build, train, evaluate, explain, serve.

Names are loaded when they are first used, so that `import mmkeras` is quick and quiet.
"""

import importlib

from mmkeras import startup

__version__ = "0.1.0"

_HOMES = {
    "assembly": ("assemble", "compile_task"),
    "builders": ("image_captioning",),
    "data": ("dataset", "read", "read_coco", "read_flickr", "read_manifest", "world"),
    "decoders": ("Decoder", "LSTMDecoder", "TransformerDecoder"),
    "encoders": ("conv", "patch", "pretrained"),
    "evaluation": ("baselines", "evaluate"),
    "explanation": ("explain",),
    "losses": ("TokenCrossentropy",),
    "metrics": ("Bleu", "CiderD", "RougeL", "caption_scores", "format_scores", "tokenize"),
    "preprocessing": (
        "CharacterTokenizer",
        "Features",
        "Image",
        "Preprocessor",
        "SubwordTokenizer",
        "Text",
        "Transcript",
        "WordTokenizer",
        "image_augmentation",
        "train_tokenizer",
    ),
    "report": ("write_report",),
    "serving": ("Export", "export", "verify"),
    "task": ("Task", "load_model"),
    "training": ("StopOnNaN", "precompute", "self_critical", "split_frozen"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME)

startup.prepare()


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'mmkeras' has no attribute {name!r}")
    startup.start()
    value = getattr(importlib.import_module(f"mmkeras.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return [*globals(), *__all__]
