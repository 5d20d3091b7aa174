"""Multimodal models in Keras 3 on TensorFlow: build, train, evaluate, explain, serve.

Names are loaded when they are first used, so that `import mmkeras` is quick and quiet.
"""

import importlib

from mmkeras import startup

__version__ = "0.1.0"

_HOMES = {
    "assembly": ("assemble", "compile_task"),
    "builders": (
        "image_captioning",
        "image_classification",
        "language_model",
        "multimodal_question_answering",
        "question_answering",
        "speech_to_text",
        "text_classification",
        "visual_question_answering",
    ),
    "data": (
        "dataset",
        "folds",
        "hold_out",
        "read",
        "read_an4",
        "read_clevr",
        "read_coco",
        "read_common_voice",
        "read_daquar",
        "read_easy_vqa",
        "read_flickr",
        "read_fsdd",
        "read_image_folder",
        "read_kaldi",
        "read_labelled_text",
        "read_librispeech",
        "read_ljspeech",
        "read_manifest",
        "read_mnist",
        "read_mr_polarity",
        "read_nlvr",
        "read_squad",
        "read_timit",
        "read_trec",
        "read_vqa",
        "sort_of_clevr",
        "speak",
        "spoken",
        "world",
        "world_questions",
    ),
    "decoders": (
        "CTC",
        "CTCLoss",
        "Decoder",
        "JointDecoder",
        "LSTMDecoder",
        "LSTMLanguageModel",
        "NgramLanguageModel",
        "TransformerDecoder",
        "hot_word_ids",
    ),
    "encoders": (
        "conformer",
        "conv",
        "conv_lstm",
        "conv_rows",
        "conv_transformer",
        "patch",
        "pretrained",
        "pretrained_text",
        "text_rnn",
        "text_transformer",
    ),
    "evaluation": ("answer_baselines", "baselines", "evaluate", "without"),
    "explanation": ("explain",),
    "fusion": (
        "Alignment",
        "AttentionFusion",
        "BilinearFusion",
        "BottleneckFusion",
        "CoAttentionFusion",
        "ConcatenateFusion",
        "CrossAttentionFusion",
        "EarlyFusion",
        "FiLMFusion",
        "Fusion",
        "GatedFusion",
        "HybridFusion",
        "LateFusion",
        "LateHead",
        "MeanFusion",
        "ModalityDropout",
        "NullEmbedding",
        "PerceiverFusion",
        "PooledConcatenateFusion",
        "RecurrentFusion",
        "SumFusion",
        "WeightedFusion",
        "aligned",
        "fuse",
        "side_by_side",
    ),
    "heads": ("Classify", "Locate"),
    "index": ("Index",),
    "layers": ("EmbeddingPair", "JointEmbedding", "Similarity"),
    "losses": (
        "CreditCrossentropy",
        "InfoNCE",
        "PairLoss",
        "SelfCriticalLoss",
        "SigLIP",
        "TokenCrossentropy",
        "Triplet",
    ),
    "metrics": (
        "Bleu",
        "CaptionReward",
        "CharacterErrorRate",
        "CiderD",
        "ConfusionMatrix",
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
        "format_speech_scores",
        "retrieval_ranks",
        "retrieval_scores",
        "span_scores",
        "speech_scores",
        "tokenize",
        "wups",
    ),
    "preprocessing": (
        "Answer",
        "Audio",
        "CharacterTokenizer",
        "Features",
        "HubTokenizer",
        "Image",
        "Labels",
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
    ),
    "report": ("write_report", "write_speech_report"),
    "serving": ("Export", "export", "verify"),
    "streaming": ("Stream",),
    "task": ("Task", "load_model"),
    "training": ("StopOnNaN", "precompute", "self_critical", "split_frozen"),
    "word_vectors": (
        "count_tokens",
        "glove",
        "glove_pairs",
        "read_word_vectors",
        "skip_gram",
        "skip_gram_pairs",
        "write_word_vectors",
    ),
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
