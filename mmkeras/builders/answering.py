"""Answers to questions about anything."""

from mmkeras.assembly import assemble
from mmkeras.builders import parts
from mmkeras.encoders import check_size
from mmkeras.preprocessing import Features, Image


def visual_question_answering(
    tokenizer,
    answers,
    image=160,
    encoder="conv",
    question_encoder="bilstm",
    fusion="cross_attention",
    size="small",
    dropout=0.2,
):
    """Photo and question -> answer.

    The photo may be missing (None), so that the same model is its own question-only baseline.

    Args:
        tokenizer: Of the question: a trained tokenizer, see `train_tokenizer`, or a `Text` field.
        answers: A list of str, see `most_common`: the answer is one of these. A tokenizer: the
            answer is written, word by word. Or a `Labels`, `Answer` or `Text` field.
        image: Side of the square that a photo is cropped and resized to, an `Image` field of your
            own, or a `Features` field for features that were computed before.
        encoder: Of the photo: `"conv"`, `"conv_lstm"`, `"grid_transformer"`, `"patch"`, a
            `keras.Model` (taken as `pretrained(encoder)`, frozen), or a function from image to
            `(sequence, mask)`. Of features it is not asked.
        question_encoder: `"lstm"`, `"bilstm"`, `"gru"`, `"transformer"`, or a function from token
            ids to `(sequence, mask)`.
        fusion: A name in `mmkeras.fusion.FUSIONS`, a layer or a function, see `fuse`; the inputs
            are `image`, then `question`.
        size: `"tiny"`, `"small"` or `"base"`: of all parts that are given by name.
        dropout: Rate in question encoder, fusion and head.

    Returns:
        A compiled `Task`: inputs `image` and `question`, target `answer`.

    Raises:
        ValueError: naming the argument that is not one of these.

    Example:

    ```python
    import mmkeras as mm

    train, valid, test = mm.read("easy_vqa", "path/to/easy_vqa")
    words = mm.train_tokenizer(train["question"], kind="word")
    model = mm.visual_question_answering(words, mm.most_common(train["answer"]), image=64)
    model.fit(mm.dataset(train, model.preprocessor, 64, shuffle=True), epochs=10)
    model.infer({"image": ["0.png"], "question": ["what shape is this?"]})
    ```
    """
    if isinstance(image, Features):
        photo = (image, parts.features_encoder)
    else:
        field = image if isinstance(image, Image) else Image(image, optional=True)
        photo = (field, parts.image_encoder(encoder, size))
    return _answering(
        "visual_question_answering",
        tokenizer,
        answers,
        {"image": photo},
        question_encoder,
        size,
        dropout,
        fusion=fusion,
    )


def multimodal_question_answering(
    tokenizer,
    answers,
    inputs,
    question_encoder="bilstm",
    fusion="cross_attention",
    size="small",
    modality_dropout=0.1,
    dropout=0.2,
):
    """A question and anything that it may be about -> answer.

    Such as a home assistant that is asked about a room, of which it has a picture, a sound and
    readings of its sensors. Fields that are made `optional=True` may be missing.

    Args:
        tokenizer, answers, question_encoder, size, dropout: As in `visual_question_answering`.
        inputs: `{name: field}` of `Image`, `Audio` and `Features` (readings, or what was computed
            of each frame of a video), or `{name: (field, encoder)}` with encoders of your own.
        fusion: As in `visual_question_answering`; the question is the last input.
        modality_dropout: Probability that training hides an input of an example.

    Returns:
        A compiled `Task`: the inputs and `question`, target `answer`.

    Raises:
        ValueError: naming the argument that is not one of these.

    Example:

    ```python
    import mmkeras as mm

    words = mm.train_tokenizer(["is it warm", "who is calling"], kind="word")
    room = {
        "image": mm.Image(64, optional=True),
        "audio": mm.Audio(8000, optional=True),
        "readings": mm.Features((4,), optional=True),
    }
    model = mm.multimodal_question_answering(words, ["yes", "no"], room, size="tiny")
    model.infer({"readings": [[21.0, 0.4, 1.0, 0.0]], "question": ["is it warm"]})
    ```
    """
    if not isinstance(inputs, dict) or not inputs or "question" in inputs:
        raise ValueError(
            "`inputs` should be a dict of at least one field by name, other than 'question'. "
            f"Received: inputs={inputs!r}"
        )
    encoded = {
        name: each if isinstance(each, tuple) else (each, parts.encoder_of(each, size, dropout))
        for name, each in inputs.items()
    }
    return _answering(
        "multimodal_question_answering",
        tokenizer,
        answers,
        encoded,
        question_encoder,
        size,
        dropout,
        fusion=fusion,
        modality_dropout=modality_dropout,
    )


def _answering(name, tokenizer, answers, inputs, encoder, size, dropout, **options):
    width, _, _ = check_size(size, parts.SIZES)
    question = parts.text_field(tokenizer)
    encoder = parts.text_encoder(encoder, question.tokenizer, size, dropout, "question_encoder")
    inputs = {**inputs, "question": (question, encoder)}
    targets = {"answer": parts.answer(answers, size, dropout)}
    return assemble(inputs, targets, width, dropout, name=name, **options)
