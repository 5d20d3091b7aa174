"""Captions of photos."""

from mmkeras.assembly import assemble
from mmkeras.builders import parts
from mmkeras.encoders import check_size
from mmkeras.preprocessing import Features, Image, Text


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
        encoder: `"conv"`, `"conv_lstm"`, `"grid_transformer"`, `"patch"`, a `keras.Model` (taken
            as `pretrained(encoder)`, frozen), or a function from image to `(sequence, mask)`.
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
    width, depth, heads = check_size(size, parts.SIZES)
    inputs = {}
    if image_size is not None:
        field = image_size if isinstance(image_size, Image) else Image(image_size)
        inputs["image"] = (field, parts.image_encoder(encoder, size))
    if features is not None:
        inputs["features"] = (Features(features), parts.features_encoder)
    if not inputs:
        raise ValueError("`image_size` or `features` should be given. Received: None for both")
    text = Text(tokenizer, sequence_length)
    if decoder in ("lstm", "transformer"):
        transformer = decoder == "transformer" and {"depth": depth, "heads": heads}
        decoder = parts.decoder(text, transformer, width=width, dropout=dropout, name="caption")
    parts.check_head(decoder, ["lstm", "transformer"])
    return assemble(inputs, {"caption": (text, decoder)}, width, dropout, name="image_captioning")
