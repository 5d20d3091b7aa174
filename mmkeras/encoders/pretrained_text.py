"""A pretrained network as a text encoder."""

import keras
from keras import ops

from mmkeras.encoders.pretrained import Inference, set_trainable

BACKBONE_INPUTS = {"padding_mask", "segment_ids", "token_ids"}


def pretrained_text(backbone, tokenizer, trainable=False, dropout=0.0, name="backbone"):
    """Use a KerasHub backbone (extra `hub`) as a text encoder.

    Args:
        backbone: A backbone that reads one text, such as that of BERT, RoBERTa, DeBERTa or GPT-2.
        tokenizer: The `HubTokenizer` of its preset, which the text field has too.
        trainable: False keeps its weights as they are; True trains all; a number trains the last
            so many layers that have weights.
        dropout: Rate on what it gives.
        name: Prefix of the layers' names.

    Returns:
        A function: ids `(batch, length)`, 0 for padding -> sequence `(batch, length, width)` and
        mask `(batch, length)`, false for padding.

    Raises:
        ValueError: if the backbone takes or gives something else, or has fewer words or places
            than the text field.

    Example:

    ```python
    import keras_hub
    import mmkeras as mm

    preset = "bert_small_en_uncased"
    words = mm.HubTokenizer(keras_hub.tokenizers.Tokenizer.from_preset(preset))
    encoder = mm.pretrained_text(keras_hub.models.Backbone.from_preset(preset), words)
    model = mm.text_classification(words, ["bad", "good"], encoder)
    ```
    """
    _check(backbone, tokenizer)
    set_trainable(backbone, trainable)

    def encoder(ids):
        _check_length(backbone, ids.shape[1])
        mask = ops.not_equal(ids, 0)
        ids = HubIds(tokenizer.backbone_ids, name=f"{name}_ids")(ids)
        values = {"token_ids": ids, "padding_mask": ops.cast(mask, "int32")}
        values["segment_ids"] = ops.zeros_like(ids)
        network = backbone if trainable else Inference(backbone, name=f"{name}_inference")
        x = network({key: values[key] for key in backbone.input})
        x = x["sequence_output"] if isinstance(x, dict) else x
        return keras.layers.Dropout(dropout, name=f"{name}_dropout")(x), mask

    return encoder


@keras.saving.register_keras_serializable("mmkeras")
class HubIds(keras.layers.Layer):
    """Ids of a `HubTokenizer` -> the ids that the backbone of its preset knows; shape is kept.

    Args:
        special: The backbone's ids of padding, start and end.
    """

    def __init__(self, special, **kwargs):
        super().__init__(**kwargs)
        self.special = list(special)

    def call(self, ids):
        special = ops.take(ops.convert_to_tensor(self.special, ids.dtype), ops.minimum(ids, 2))
        return ops.where(ids < len(self.special), special, ids - len(self.special))

    def get_config(self):
        return {**super().get_config(), "special": self.special}


def _check(backbone, tokenizer):
    if not isinstance(backbone, keras.Model) or not isinstance(backbone.input, dict):
        raise ValueError(
            "`backbone` should be a backbone of KerasHub. "
            f"Received: backbone={backbone!r} of {type(backbone)}"
        )
    if not hasattr(tokenizer, "backbone_ids"):
        raise ValueError(
            "`tokenizer` should be a `mm.HubTokenizer`, whose ids the backbone knows. "
            f"Received: tokenizer={tokenizer!r}"
        )
    others = sorted(set(backbone.input) - BACKBONE_INPUTS)
    output = backbone.output
    output = output.get("sequence_output") if isinstance(output, dict) else output
    if others or output is None or len(output.shape) != 3:
        raise ValueError(
            f"`backbone` should take {sorted(BACKBONE_INPUTS)} or fewer and give a sequence. "
            f"Received: {type(backbone).__name__} that takes {sorted(backbone.input)} and gives "
            f"{backbone.output}"
        )
    words = tokenizer.vocabulary_size - len(tokenizer.reserved)
    if words > getattr(backbone, "vocabulary_size", words):
        raise ValueError(
            f"`tokenizer` should be that of the backbone's preset, with at most "
            f"{backbone.vocabulary_size} ids. Received: {words}"
        )


def _check_length(backbone, length):
    most = getattr(backbone, "max_sequence_length", None)
    if most is not None and length is not None and length > most:
        raise ValueError(
            f"`sequence_length` should be at most {most - 2}, as the backbone {backbone.name!r} "
            f"has {most} places, two of which are for start and end. Received: {length - 2}"
        )
