"""Encoding what several examples share once."""

from mmkeras.layers import Rows, Runs


def once(encoder, name="once"):
    """An encoder that in training runs once for equal inputs that follow each other.

    For several questions about one picture, with `dataset(..., shuffle="image")`, which lets them
    follow each other: the result is the same (but of dropout and batch normalization, which count
    such an input once), the time that of one picture.

    Args:
        encoder: A function from an image, or from frames of sound and their mask, to
            `(sequence, mask)`.
        name: Prefix of the layers' names.

    Returns:
        A function as `encoder`.

    Example:

    ```python
    import mmkeras as mm

    train, _, _ = mm.read("sort_of_clevr", train=100)  # 20 questions about each picture
    words = mm.train_tokenizer(train["question"])
    answers = mm.most_common(train["answer"])
    encoder = mm.once(mm.conv("tiny"))
    model = mm.visual_question_answering(words, answers, 75, encoder, size="tiny")
    model.fit(mm.dataset(train, model.preprocessor, 640, shuffle="image"))
    ```
    """

    def encode(x, *mask):
        firsts, runs = Runs(name=f"{name}_runs")(x)
        taken = [Rows(name=f"{name}_first{i}")(each, firsts) for i, each in enumerate((x, *mask))]
        sequence, seen = encoder(*taken)
        sequence = Rows(name=f"{name}_sequence")(sequence, runs)
        return sequence, None if seen is None else Rows(name=f"{name}_mask")(seen, runs)

    return encode
