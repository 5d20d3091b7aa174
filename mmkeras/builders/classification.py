"""One class for a text or a picture: the two smallest builders."""

from mmkeras.assembly import assemble
from mmkeras.builders import parts
from mmkeras.encoders import check_size
from mmkeras.preprocessing import Image


def text_classification(
    tokenizer, classes, encoder="bilstm", size="small", vectors=None, dropout=0.5
):
    """Text -> one of some classes.

    Args:
        tokenizer: A trained tokenizer, see `train_tokenizer`, or a `Text` field of your own.
        classes: List of str, see `most_common`, or a `Labels` field.
        encoder: `"lstm"`, `"bilstm"`, `"gru"`, `"transformer"`, or a function from token ids to
            `(sequence, mask)`.
        size: `"tiny"`, `"small"` or `"base"`.
        vectors: Word vectors to begin with, see `read_word_vectors`.
        dropout: Rate everywhere.

    Returns:
        A compiled `Task`: input `text`, target `label`.

    Raises:
        ValueError: naming the argument that is not one of these.

    Example:

    ```python
    import mmkeras as mm

    train, valid, test = mm.read("sst", "path/to/sst")
    words = mm.train_tokenizer(train["text"], kind="word")
    model = mm.text_classification(words, mm.most_common(train["label"]))
    model.fit(mm.dataset(train, model.preprocessor, 50, shuffle=True), epochs=3)
    model.infer({"text": ["what a film"]})                # {"label": ["1"], "score": [...]}
    ```
    """
    width, _, _ = check_size(size, parts.SIZES)
    text = parts.text_field(tokenizer)
    encoder = parts.text_encoder(encoder, text.tokenizer, size, dropout, "text_encoder", vectors)
    targets = {"label": parts.answer(classes, size, dropout, "label")}
    return assemble({"text": (text, encoder)}, targets, width, dropout, name="text_classification")


def image_classification(classes, image_size=64, encoder="conv", size="small", dropout=0.3):
    """Picture -> one of some classes.

    Args:
        classes: List of str, see `most_common`, or a `Labels` field.
        image_size: Side of the square that a picture is cropped and resized to,
            `(height, width)`, or an `Image` field of your own.
        encoder: `"conv"` (Conv2D layers), `"conv_lstm"` (the same, and an LSTM over the rows of
            what they give), `"grid_transformer"`, `"patch"`, a `keras.Model` (taken as
            `pretrained(encoder)`, frozen), or a function from image to `(sequence, mask)`.
        size: `"tiny"`, `"small"` or `"base"`.
        dropout: Rate in fusion and head.

    Returns:
        A compiled `Task`: input `image`, target `label`.

    Raises:
        ValueError: naming the argument that is not one of these.

    Example:

    ```python
    import mmkeras as mm

    train, valid, test = mm.read("image_folder", "path/to/pictures")
    model = mm.image_classification(mm.most_common(train["label"]), 32)
    model.fit(mm.dataset(train, model.preprocessor, 64, shuffle=True), epochs=10)
    ```
    """
    width, _, _ = check_size(size, parts.SIZES)
    field = image_size if isinstance(image_size, Image) else Image(image_size)
    targets = {"label": parts.answer(classes, size, dropout, "label")}
    inputs = {"image": (field, parts.image_encoder(encoder, size))}
    return assemble(inputs, targets, width, dropout, name="image_classification")
