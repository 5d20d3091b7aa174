"""The next token of a text."""

import keras

from mmkeras.assembly import compile_task
from mmkeras.decoders import LSTMLanguageModel
from mmkeras.encoders import check_size
from mmkeras.preprocessing import Preprocessor, Text
from mmkeras.task import Task

# size: (width and number of LSTMs)
SIZES = {"tiny": (128, 1), "small": (256, 2), "base": (512, 2)}


def language_model(tokenizer, size="small", sequence_length=200, dropout=0.3):
    """Text -> how likely it is, to be added to the search of a head that writes texts.

    Args:
        tokenizer: That of the model whose head it is for.
        size: `"tiny"`, `"small"` or `"base"`.
        sequence_length: Longest text in tokens to train on; longer ones are cut.
        dropout: Rate between the LSTMs.

    Returns:
        A compiled `Task` with the target `text` and no input. It answers nothing by itself: its
        layer `text`, an `LSTMLanguageModel`, goes into a head.

    Raises:
        ValueError: naming the argument that is not one of these.

    Example:

    ```python
    import mmkeras as mm

    language = mm.language_model(letters, size="tiny", sequence_length=80)
    texts = {"text": train["transcript"]}
    language.fit(mm.dataset(texts, language.preprocessor, 64, shuffle=True), epochs=20)
    model.get_layer("transcript").set_language_model(language.get_layer("text"))
    model.infer({"audio": ["talk.flac"]}, beam_width=16, language_weight=0.5)
    ```
    """
    width, depth = check_size(size, SIZES)
    text = Text(tokenizer, sequence_length)
    ids = text.target_input("text")
    head = LSTMLanguageModel(
        tokenizer.vocabulary_size,
        width,
        depth,
        dropout,
        start_id=tokenizer.start_id,
        end_id=tokenizer.end_id,
        name="text",
    )
    task = Task(
        {"text_input": ids},
        {"text": head(ids)},
        preprocessor=Preprocessor({}, {"text": text}),
        name="language_model",
    )
    # Texts to learn from are often few, and a slow start would be most of it.
    compile_task(task, keras.optimizers.Adam(2e-3, clipnorm=1.0))
    return task
