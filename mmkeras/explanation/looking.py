"""Where a task looked for its answers."""

from mmkeras.explanation.answers import whole_answer
from mmkeras.explanation.captions import each_word
from mmkeras.explanation.drawing import (
    draw_answer,
    draw_words,
    picture_files,
    png,
    write_whole,
)
from mmkeras.explanation.places import attention_grid, named_inputs, picture_grid, text_input


def explain(task, records, path=None, batch_size=32, **options):
    """Tells where on the picture, and on which words of a question, the answers rest.

    A text about a picture, such as a caption, is explained word by word: the weights are those of
    the decoder's attention over the context (the cross-attention of a Transformer is averaged over
    its layers and heads as the decoder gives it). A word of several tokens looked where these did
    on average.

    An answer to a text (a question, or what is classified), and a class, are explained as a whole:
    the head's attention over the context is followed back through the fusion to the places of
    every input, by the fusion's method `attention` (of `cross_attention`, `co_attention`, `early`,
    `bottleneck` and `perceiver`) or, of `concatenate`, one to one. What attention does not tell,
    as other fusions mix all places, gradients do: Grad-CAM, see `grad_cam`, over the picture, and
    the gradient times the encoded words.

    Attention shows what was read, not why.

    Args:
        task: A Task with one target, and a text as input or an `Image` whose encoder keeps a grid.
        records: Columns of its inputs; others are ignored.
        path: Where to write pictures: a folder, which gets `000.png` and so on, one per record,
            or a `.png` file for one record. None writes none.
        batch_size: Records at once.
        **options: Of the search, such as `beam_width=4`, see `mmkeras.decoders.search.search`;
            not `n_best` or `samples`, as one answer is explained.

    Returns:
        A list of one dict per record. In all: the target's name (such as `"caption"`) -> the
        answer; `"score"`; `"words"`, a list of str; `"photo"`, uint8 `(height, width, 3)`, the
        picture as the model saw it.

        Word by word, where `"words"` are those of the answer: `"share"`, float32 `(words,)`, how
        much of its attention a word spent on the picture and not on other inputs; `"maps"`,
        float32 `(words, grid height, grid width)`, which sum to 1 per word (to 0 where the share
        is 0).

        As a whole, where `"words"` are those of the text that is read, none without one:
        `"weights"`, float32 `(words,)`, and `"map"`, float32 `(grid height, grid width)`, which
        each sum to 1, or to 0 where nothing weighs; `"map"` and `"photo"` are None where there is
        no picture; `"best"`, pairs of the likeliest answers and their scores, which are
        probabilities of classes; `"method"`, `"attention"` or `"gradient"`; and `"shares"`, how
        the weight is spread over the inputs, a dict, empty for gradients. In each block of a
        fusion what comes in and what attention adds count half each, so compare shares of records
        and not of fusions.

    Raises:
        ValueError: if the task has neither, or `path` does not fit the records.

    Example:

    ```python
    import mmkeras as mm

    (found,) = mm.explain(captioner, {"image": ["photo.jpg"]}, "looked.png", beam_width=4)
    print(found["words"], found["maps"].shape)
    asked = {"image": ["photo.jpg"], "question": ["what is red?"]}
    (found,) = mm.explain(answerer, asked, "looked.png")
    print(found["answer"], dict(zip(found["words"], found["weights"])), found["map"])
    ```
    """
    words, whole = ways(task)
    if not (words or whole):
        raise ValueError(
            "`task` should have one target, a text or a class, and a text input or an Image input "
            "whose encoder gives a grid (a FlattenGrid layer): attention is laid over these. "
            f"Received: inputs {sorted(task.preprocessor.inputs)}, targets "
            f"{sorted(task.preprocessor.targets)}"
        )
    several = sorted({"n_best", "samples"} & set(options))
    if several:
        raise ValueError(f"`{several[0]}` should not be given: one answer is explained")
    (target,) = task.preprocessor.targets
    explained, draw = (each_word, draw_words) if words else (whole_answer, draw_answer)
    columns = task.preprocessor.load(named_inputs(task, records))
    rows = len(next(iter(columns.values())))
    files = picture_files(path, rows)
    found = []
    for start in range(0, rows, batch_size):
        part = {name: values[start : start + batch_size] for name, values in columns.items()}
        found += explained(task, part, options)
    for file, each in zip(files, found, strict=False):
        write_whole(file, png(draw(each, each[target])))
    return found


def ways(task):
    """Whether `explain` can tell of a task where each word looked, and what whole answers read."""
    fields = list(task.preprocessor.targets.values())
    # A span says itself where it comes from, and a match is no answer.
    if len(fields) != 1 or getattr(fields[0], "scored_as", None) in ("retrieval", "spans"):
        return False, False
    reads = text_input(task) is not None
    return attention_grid(task) is not None and not reads, reads or picture_grid(task) is not None
