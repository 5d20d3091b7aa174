"""Pictures and texts in one space, to find one by the other."""

from mmkeras.assembly import assemble
from mmkeras.builders import parts
from mmkeras.encoders import check_size
from mmkeras.fusion import side_by_side
from mmkeras.heads import Match
from mmkeras.preprocessing import Features, Image, Pairs


def image_text_retrieval(
    tokenizer,
    image=160,
    encoder="conv",
    text_encoder="bigru",
    loss="info_nce",
    size="small",
    vectors=None,
    dropout=0.2,
):
    """Photo and caption -> how well they match, by an embedding of each.

    All captions of a record belong to its photo, and no two of them are taken for a mismatch.

    Args:
        tokenizer: A trained tokenizer, see `train_tokenizer`, or a `Text` field of your own.
        image: Side of the square that a photo is cropped and resized to, an `Image` field of your
            own, or a `Features` field for features that were computed before.
        encoder: Of the photo: `"conv"`, `"conv_lstm"`, `"grid_transformer"`, `"patch"`, a
            `keras.Model` (taken as `pretrained(encoder)`, frozen), or a function from image to
            `(sequence, mask)`. Of features it is not asked.
        text_encoder: `"bag"` (word vectors alone), `"lstm"`, `"bilstm"`, `"gru"`, `"bigru"`,
            `"transformer"`, or a function from token ids to `(sequence, mask)`.
        loss: `"info_nce"`, `"siglip"`, `"triplet"` or a `PairLoss`.
        size: `"tiny"`, `"small"` or `"base"`: of the parts that are given by name, and of the
            embeddings (128, 256, 512).
        vectors: Word vectors to begin with, see `read_word_vectors`.
        dropout: Rate in the text encoder and before the embeddings.

    Returns:
        A compiled `Task`: inputs `image` and `caption`, target `match`. `infer` gives the cosine of
        the two embeddings as `score`; `Task.embed` gives the embeddings of either by itself, for
        an `Index`.

    Raises:
        ValueError: naming the argument that is not one of these.

    Example:

    ```python
    import mmkeras as mm

    train, valid, test = mm.read("world", train=500, valid=50, test=50)
    words = mm.train_tokenizer(train["caption"], kind="word")
    model = mm.image_text_retrieval(words, image=64, size="tiny")
    model.fit(mm.dataset(train, model.preprocessor, 64, shuffle=True))
    photos = model.embed("image", test["image"])
    print((photos @ model.embed("caption", ["a red ring"]).T).argmax())
    ```
    """
    width, _, _ = check_size(size, parts.SIZES)
    if isinstance(image, Features):
        photo = (image, parts.features_encoder)
    else:
        field = image if isinstance(image, Image) else Image(image)
        photo = (field, parts.image_encoder(encoder, size))
    text = parts.text_field(tokenizer)
    encoder = parts.text_encoder(
        text_encoder, text.tokenizer, size, dropout, "text_encoder", vectors
    )
    return assemble(
        {"image": photo, "caption": (text, encoder)},
        {"match": (Pairs(), Match(loss, name="match"))},
        width,
        dropout,
        fusion=side_by_side,
        name="image_text_retrieval",
    )
