"""One function per named task; each picks parts and assembles them."""

import keras

from mmkeras import encoders
from mmkeras.assembly import assemble
from mmkeras.decoders import CTC, JointDecoder, LSTMDecoder, TransformerDecoder
from mmkeras.preprocessing import Audio, Features, Image, Text, Transcript

# size: (width, depth and heads of a Transformer decoder)
SIZES = {"tiny": (128, 2, 4), "small": (256, 4, 4), "base": (512, 6, 8)}
IMAGE_ENCODERS = {"conv": encoders.conv, "patch": encoders.patch}
AUDIO_ENCODERS = {
    "conformer": encoders.conformer,
    "conv_lstm": encoders.conv_lstm,
    "conv_transformer": encoders.conv_transformer,
}
# size: (width of the context, depth and heads of an attention decoder)
SPEECH_SIZES = {"tiny": (128, 2, 4), "small": (192, 3, 4), "base": (384, 6, 6)}


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
    if decoder in ("lstm", "transformer"):
        transformer = decoder == "transformer" and {"depth": depth, "heads": heads}
        decoder = _decoder(text, transformer, width=width, dropout=dropout, name="caption")
    _check_head(decoder, ["lstm", "transformer"])
    return assemble(inputs, {"caption": (text, decoder)}, width, dropout, name="image_captioning")


def speech_to_text(
    tokenizer,
    audio=16000,
    encoder="conformer",
    decoder="ctc",
    size="small",
    subsampling=4,
    sequence_length=200,
    dropout=0.1,
):
    """Recording -> what is said in it.

    Args:
        tokenizer: A trained tokenizer, see `train_tokenizer`: `"character"` or `"subword"`.
        audio: Samples a second that the model hears, or an `Audio` field of your own.
        encoder: `"conformer"`, `"conv_lstm"`, `"conv_transformer"`, or a function from frames and
            their mask to `(sequence, mask)`, such as `mm.conformer("small", chunk=8)`, with which
            the model can listen to a stream.
        decoder: `"ctc"`, `"attention"`, `"joint"` (both: CTC finds the answers, attention ranks
            them) or a head or Decoder layer named `transcript`.
        size: `"tiny"`, `"small"` or `"base"`: of encoder and decoder, where they are given by
            name.
        subsampling: Frames of the recording for each at which something can be written.
        sequence_length: Longest transcript in tokens.
        dropout: Rate everywhere.

    Returns:
        A compiled `Task`: input `audio`, target `transcript`.

    Raises:
        ValueError: naming the argument that is not one of these.

    Example:

    ```python
    import mmkeras as mm

    train, valid, test = mm.read("fsdd", "free-spoken-digit-dataset")
    letters = mm.train_tokenizer(train["transcript"], kind="character")
    model = mm.speech_to_text(letters, audio=8000, size="tiny")
    model.fit(mm.dataset(train, model.preprocessor, 16, shuffle=True, batch_seconds=60), epochs=30)
    model.infer({"audio": ["seven.wav"]})
    ```
    """
    width, depth, heads = encoders.image.check_size(size, SPEECH_SIZES)
    field = audio if isinstance(audio, Audio) else Audio(audio)
    if isinstance(encoder, str) and encoder in AUDIO_ENCODERS:
        encoder = AUDIO_ENCODERS[encoder](size, subsampling=subsampling, dropout=dropout)
    if not callable(encoder):
        raise ValueError(
            f"`encoder` should be one of {sorted(AUDIO_ENCODERS)} or a function. "
            f"Received: encoder={encoder!r}"
        )
    reads = decoder in ("attention", "joint") or hasattr(decoder, "start_id")
    text = Transcript(tokenizer, sequence_length, "audio", subsampling, markers=reads)
    transformer = {"depth": depth, "heads": heads}
    if decoder == "attention":
        decoder = _decoder(text, transformer, width=width, dropout=dropout, name="transcript")
    elif decoder == "joint":
        attention = _decoder(text, transformer, width=width, dropout=dropout, name="attention")
        ctc = CTC(tokenizer.vocabulary_size, dropout, name="ctc")
        decoder = JointDecoder(ctc, attention, name="transcript")
    elif decoder == "ctc":
        decoder = CTC(tokenizer.vocabulary_size, dropout, name="transcript")
    _check_head(decoder, ["attention", "ctc", "joint"])
    return assemble(
        {"audio": (field, encoder)},
        {"transcript": (text, decoder)},
        width,
        dropout,
        name="speech_to_text",
    )


def _decoder(text, transformer, **options):
    """A decoder for a text field: a Transformer of these options, or an LSTM without any."""
    tokenizer = text.tokenizer
    options |= {"start_id": tokenizer.start_id, "end_id": tokenizer.end_id}
    args = (tokenizer.vocabulary_size, text.sequence_length + 1)
    if not transformer:
        return LSTMDecoder(*args, **options)
    return TransformerDecoder(*args, **transformer, **options)


def _check_head(decoder, names):
    if isinstance(decoder, str) or not hasattr(decoder, "answer"):
        raise ValueError(
            f"`decoder` should be one of {names} or a Decoder layer. Received: decoder={decoder!r}"
        )


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
