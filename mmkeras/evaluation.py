"""How good a task's answers are on records that it was not trained on."""

import keras

from mmkeras.metrics import caption_scores


def evaluate(task, records, batch_size=32, progress=True, **options):
    """Caption every record and score the captions against its references.

    Args:
        task: A Task with one text target.
        records: Columns of its inputs, and of its target: a list of references per record.
        batch_size: Records at once.
        progress: Whether to show a progress bar.
        **options: Of the search, such as `beam_width=4`, see `mmkeras.decoders.search.search`.

    Returns:
        The scores, as `mm.caption_scores` gives them, with "CIDEr-D shuffled": the score when
        each caption is held against another record's references. And the answers, a list.

    Raises:
        ValueError: if the task has not just one target, or there is no record.

    Example:

    ```python
    import mmkeras as mm

    scores, captions = mm.evaluate(model, test, beam_width=4)
    print(mm.format_scores(scores))
    ```
    """
    if len(task.preprocessor.targets) != 1:
        raise ValueError(
            f"`task` should have one target. Received: targets {sorted(task.preprocessor.targets)}"
        )
    (target,) = task.preprocessor.targets
    inputs = {name: records[name] for name in task.preprocessor.inputs}
    rows = len(records[target])
    bar = keras.utils.Progbar(rows, verbose=int(progress))
    answers = []
    for start in range(0, rows, batch_size):
        part = {name: values[start : start + batch_size] for name, values in inputs.items()}
        answers += task.infer(part, batch_size, **options)[target]
        bar.update(len(answers))
    references = [[text] if isinstance(text, str) else list(text) for text in records[target]]
    return caption_scores(answers, references, shuffle_seed=0 if rows > 1 else None), answers
