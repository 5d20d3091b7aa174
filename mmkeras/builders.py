"""One function per named task; each picks parts and assembles them."""

import keras

from mmkeras import encoders
from mmkeras.assembly import assemble
from mmkeras.decoders import LSTMDecoder, TransformerDecoder
from mmkeras.preprocessing import Features, Image, Text

# size: (width, depth and heads of a Transformer decoder)
SIZES = {"tiny": (128, 2, 4), "small": (256, 4, 4), "base": (512, 6, 8)}
IMAGE_ENCODERS = {"conv": encoders.conv, "patch": encoders.patch}


def image_captioning(
    tokenizer,
    image_size=160,
    features=None,
    encoder="conv",
    decoder="transformer",
    size="small",
    sequence_length=24,
    dropout=0.2,
):
    """Photo -> caption.

    Args:
        tokenizer: A trained tokenizer, see `train_tokenizer`.
        image_size: Side of the square that a photo is cropped and resized to, `(height, width)`,
            an `Image` field of your own, or None for no photo but only `features`.
        features: Shape of precomputed features, `(dimensions,)`, `(length, dimensions)` or
            `(height, width, dimensions)`, that come as the input `features`, beside the photo or
            in its place.
        encoder: `"conv"`, `"patch"`, a `keras.Model` (taken as `pretrained(encoder)`, frozen), or
            a function from image to `(sequence, mask)`.
        decoder: `"transformer"`, `"lstm"`, or a `Decoder` layer named `caption`.
        size: `"tiny"`, `"small"` or `"base"`: of encoder and decoder, where they are given by
            name.
        sequence_length: Longest caption in tokens.
        dropout: Rate in fusion and decoder.

    Returns:
        A compiled `Task`: inputs `image` and/or `features`, target `caption`.

    Raises:
        ValueError: naming the argument that is not one of these.

    Example:

    ```python
    import mmkeras as mm

    train, valid, test = mm.read("world", train=500, valid=50, test=50)
    words = mm.train_tokenizer(train["caption"], kind="word")
    model = mm.image_captioning(words, image_size=64, size="tiny")
    model.fit(mm.dataset(train, model.preprocessor, 32, shuffle=True))
    model.infer({"image": test["image"][:3]}, beam_width=4)
    ```
    """
    width, depth, heads = encoders.image.check_size(size, SIZES)
    inputs = {}
    if image_size is not None:
        field = image_size if isinstance(image_size, Image) else Image(image_size)
        inputs["image"] = (field, _image_encoder(encoder, size))
    if features is not None:
        inputs["features"] = (Features(features), _features_encoder)
    if not inputs:
        raise ValueError("`image_size` or `features` should be given. Received: None for both")
    text = Text(tokenizer, sequence_length)
    if isinstance(decoder, str):
        common = {"width": width, "dropout": dropout, "name": "caption"}
        common |= {"start_id": tokenizer.start_id, "end_id": tokenizer.end_id}
        args = (tokenizer.vocabulary_size, sequence_length + 1)
        if decoder == "lstm":
            decoder = LSTMDecoder(*args, **common)
        elif decoder == "transformer":
            decoder = TransformerDecoder(*args, depth=depth, heads=heads, **common)
    if isinstance(decoder, str) or not hasattr(decoder, "answer"):
        raise ValueError(
            "`decoder` should be one of ['lstm', 'transformer'] or a Decoder layer. "
            f"Received: decoder={decoder!r}"
        )
    return assemble(inputs, {"caption": (text, decoder)}, width, dropout, name="image_captioning")


def _image_encoder(encoder, size):
    if isinstance(encoder, str) and encoder in IMAGE_ENCODERS:
        return IMAGE_ENCODERS[encoder](size)
    if isinstance(encoder, keras.Model):
        return encoders.pretrained(encoder)
    if callable(encoder):
        return encoder
    raise ValueError(
        f"`encoder` should be one of {sorted(IMAGE_ENCODERS)}, a keras.Model or a function. "
        f"Received: encoder={encoder!r}"
    )


def _features_encoder(features):
    if len(features.shape) == 2:
        return keras.layers.Reshape((1, -1), name="features_vector")(features), None
    if len(features.shape) == 4:
        return encoders.image.FlattenGrid(name="features_grid")(features), None
    return features, None
