"""The parts that builders pick by name."""

import keras

from mmkeras import encoders
from mmkeras.decoders import LSTMDecoder, TransformerDecoder
from mmkeras.heads import Classify
from mmkeras.layers import FlattenGrid
from mmkeras.preprocessing import Answer, Audio, Features, Field, Image, Labels, Text

# size: (width, depth and heads of a Transformer decoder)
SIZES = {"tiny": (128, 2, 4), "small": (256, 4, 4), "base": (512, 6, 8)}
IMAGE_ENCODERS = {
    "conv": encoders.conv,
    "conv_lstm": encoders.conv_rows,
    "grid_transformer": encoders.grid_transformer,
    "patch": encoders.patch,
}
AUDIO_ENCODERS = {
    "conformer": encoders.conformer,
    "conv_lstm": encoders.conv_lstm,
    "conv_transformer": encoders.conv_transformer,
}


def image_encoder(encoder, size, name="encoder"):
    """An encoder of pictures by name, of a backbone, or as it is."""
    if isinstance(encoder, keras.Model):
        return encoders.pretrained(encoder)
    if isinstance(encoder, str) and encoder in IMAGE_ENCODERS:
        return IMAGE_ENCODERS[encoder](size)
    return _function(name, encoder, IMAGE_ENCODERS, ", a keras.Model")


def audio_encoder(encoder, size, name="encoder", **options):
    """An encoder of sound by name, or as it is."""
    if isinstance(encoder, str) and encoder in AUDIO_ENCODERS:
        return AUDIO_ENCODERS[encoder](size, **options)
    return _function(name, encoder, AUDIO_ENCODERS)


def text_encoder(encoder, tokenizer, size, dropout, name, vectors=None):
    """An encoder of token ids by name, whose layers are called after `name`, or as it is."""
    if isinstance(encoder, str) and encoder in encoders.TEXT_ENCODERS:
        make = encoders.TEXT_ENCODERS[encoder]
        return make(
            tokenizer.vocabulary_size, size=size, dropout=dropout, vectors=vectors, name=name
        )
    return _function("encoder", encoder, encoders.TEXT_ENCODERS)


def _function(name, encoder, known, more=""):
    if callable(encoder) and not isinstance(encoder, keras.Model):
        return encoder
    raise ValueError(
        f"`{name}` should be one of {sorted(known)}{more} or a function. "
        f"Received: {name}={encoder!r}"
    )


def features_encoder(features):
    """A vector, a sequence or a grid of features as a sequence."""
    name = features.name
    if len(features.shape) == 2:
        return keras.layers.Reshape((1, -1), name=f"{name}_vector")(features), None
    if len(features.shape) == 4:
        return FlattenGrid(name=f"{name}_grid")(features), None
    return features, None


def encoder_of(field, size, dropout):
    """The encoder that a field of this kind goes through where none is given."""
    if isinstance(field, Image):
        return encoders.conv(size)
    if isinstance(field, Audio):
        return encoders.conv_lstm(size, dropout=dropout)
    if isinstance(field, Features):
        return features_encoder
    raise ValueError(
        "An input should be an Image, an Audio or a Features, or a pair of a field and its "
        f"encoder. Received: {field!r}"
    )


def text_field(tokenizer, optional=False):
    """A tokenizer, or a `Text` of one's own, as the field of a text that goes in."""
    return tokenizer if isinstance(tokenizer, Text) else Text(tokenizer, optional=optional)


def answer(answers, size, dropout, name="answer"):
    """A target: a field and its head, of a closed set, or of a decoder.

    Args:
        answers: A list of str, a tokenizer, or a `Labels` or `Text` field of one's own.
    """
    if isinstance(answers, (list, tuple)):
        answers = Labels(answers)
    elif not isinstance(answers, Field):
        answers = Answer(answers)
    if isinstance(answers, Labels):
        return answers, Classify(len(answers.classes), dropout, name=name)
    width, depth, heads = encoders.check_size(size, SIZES)
    transformer = {"depth": depth, "heads": heads}
    return answers, decoder(answers, transformer, width=width, dropout=dropout, name=name)


def decoder(text, transformer, **options):
    """A decoder for a text field: a Transformer of these options, or an LSTM without any."""
    tokenizer = text.tokenizer
    options |= {"start_id": tokenizer.start_id, "end_id": tokenizer.end_id}
    if getattr(text, "choices", None):
        options["choices"] = text.choice_ids()
    args = (tokenizer.vocabulary_size, text.sequence_length + 1)
    if not transformer:
        return LSTMDecoder(*args, **options)
    return TransformerDecoder(*args, **transformer, **options)


def check_head(head, names):
    """Refuse what is no decoder."""
    if isinstance(head, str) or not hasattr(head, "answer"):
        raise ValueError(
            f"`decoder` should be one of {names} or a Decoder layer. Received: decoder={head!r}"
        )
