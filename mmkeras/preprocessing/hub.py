"""KerasHub's tokenizers in a text field."""

import base64

import keras
import tensorflow as tf

from mmkeras.preprocessing.tokenizers import SPECIAL, Tokenizer


@keras.saving.register_keras_serializable("mmkeras")
class HubTokenizer(Tokenizer):
    """A tokenizer of KerasHub (extra `hub`), with the special ids that all tokenizers here have.

    Its ids are those of KerasHub and three more, behind `[PAD]`, `[START]` and `[END]`;
    `pretrained_text` gives a backbone its own back. Everywhere it runs in the graph, with the
    operations of tensorflow-text, which a stock TF Serving has; a Python process that loads an
    export has to `import tensorflow_text` first.

    Args:
        tokenizer: A KerasHub tokenizer with a token for start, end and padding, such as that of
            BERT, RoBERTa or GPT-2, made without `sequence_length`.

    Raises:
        ValueError: if it lacks one of these tokens or pads by itself.

    Example:

    ```python
    import keras_hub
    import mmkeras as mm

    words = mm.HubTokenizer(keras_hub.tokenizers.Tokenizer.from_preset("bert_base_en_uncased"))
    text = mm.Text(words, sequence_length=62)
    text(["a dog runs"])             # [[1, ids of a, dog, runs, 2, 0, ...]]
    ```
    """

    reserved = tuple(SPECIAL)

    def __init__(self, tokenizer, **kwargs):
        special = [getattr(tokenizer, f"{key}_token_id", None) for key in ("pad", "start", "end")]
        if None in special:
            raise ValueError(
                "`tokenizer` should be a KerasHub tokenizer with tokens for padding, start and "
                f"end. Received: tokenizer={tokenizer!r} with the ids {special} for them"
            )
        if tokenizer.sequence_length:
            raise ValueError(
                "`tokenizer` should be made without `sequence_length`: the text field has it. "
                f"Received: sequence_length={tokenizer.sequence_length}"
            )
        super().__init__([*SPECIAL, *_spellings(tokenizer)], **kwargs)
        self.tokenizer = tokenizer
        self.backbone_ids = special
        if hasattr(tokenizer, "oov_token"):
            self.unknown_id = tokenizer.token_to_id(tokenizer.oov_token) + len(SPECIAL)
        # Outside of a graph KerasHub takes another way, with other types.
        self._tokenize = tf.function(tokenizer.tokenize)
        self._detokenize = tf.function(tokenizer.detokenize)

    def _encode(self, strings):
        return self._tokenize(strings) + len(SPECIAL)

    def decode(self, ids):
        ids = tf.cast(ids, tf.int32)
        ids = tf.ragged.boolean_mask(ids, ids >= len(SPECIAL))
        return self._detokenize(ids - len(SPECIAL))

    def get_config(self):
        config = super().get_config()
        del config["vocabulary"]
        return {**config, "tokenizer": _serialized(self.tokenizer)}

    @classmethod
    def from_config(cls, config):
        tokenizer = keras.saving.deserialize_keras_object(config["tokenizer"])
        return cls(**{**config, "tokenizer": tokenizer})


def _spellings(tokenizer):
    """The spelling of each of KerasHub's ids."""
    vocabulary = tokenizer.get_vocabulary()
    if not hasattr(tokenizer, "merges"):
        return vocabulary
    ids = tokenizer.vocabulary
    spellings = [""] * (max(ids.values()) + 1)
    for spelling, index in ids.items():
        spellings[index] = spelling
    return spellings


def _serialized(tokenizer):
    """The config of a tokenizer with its vocabulary, which KerasHub keeps in files beside it."""
    saved = keras.saving.serialize_keras_object(tokenizer)
    kept = {key: getattr(tokenizer, key, None) for key in ("vocabulary", "merges", "proto")}
    if kept["proto"] is not None:
        kept = {"proto": base64.b64encode(kept["proto"]).decode("ascii")}
    kept = {key: value for key, value in kept.items() if value is not None}
    return {**saved, "config": {**saved["config"], **kept}}
