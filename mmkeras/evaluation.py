"""How good a task's answers are on records that it was not trained on."""

import keras
import numpy as np

from mmkeras.data import dataset
from mmkeras.metrics import CiderD, caption_scores, speech_scores
from mmkeras.preprocessing import Preprocessor


def evaluate(task, records, batch_size=32, progress=True, **options):
    """Answer every record and score the answers against its references.

    Args:
        task: A Task with one text target.
        records: Columns of its inputs, and of its target: a list of references per record, or one
            transcript; of transcripts also `speaker`, for a table by speaker.
        batch_size: Records at once.
        progress: Whether to show a progress bar.
        **options: Of the search, such as `beam_width=4`, see `mmkeras.decoders.search.search`.

    Returns:
        The scores, and the answers, a list. Scores of captions are as `mm.caption_scores` gives
        them, with "CIDEr-D shuffled": the score when each caption is held against another record's
        references. Scores of transcripts are as `mm.speech_scores` gives them.

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
    return SCORES[task.preprocessor.targets[target].scored_as](answers, target, records), answers


def _as_captions(answers, target, records):
    references = [[text] if isinstance(text, str) else list(text) for text in records[target]]
    return caption_scores(answers, references, shuffle_seed=0 if len(answers) > 1 else None)


def _as_speech(answers, target, records):
    return speech_scores(answers, records[target], records.get("speaker"))


SCORES = {"captions": _as_captions, "speech": _as_speech}


def baselines(train, test, field, seed=0):
    """What two captioners that do not look properly reach on the same test records.

    Args:
        train, test: Records with `image` and `caption`, lists of references.
        field: The `Image` field that gives pixels.
        seed: Of the captions tried as the constant one.

    Returns:
        `{name: (scores, captions)}`: "ignores the image" always says the one training caption
        that fits the training photos best, of 300 tried; "memorises" gives the first caption of
        the training photo with the nearest pixels.
    """
    scorer = CiderD.from_references(train["caption"])
    random = np.random.default_rng(seed)
    tried = random.choice(len(train["caption"]), min(300, len(train["caption"])), replace=False)
    others = random.choice(len(train["caption"]), min(300, len(train["caption"])), replace=False)
    first = [train["caption"][i][0] for i in tried]
    means = [scorer.rewards([text] * len(others), others).mean() for text in first]
    constant = [first[int(np.argmax(means))]] * len(test["caption"])

    known, asked = (_thumbnails(records["image"], field) for records in (train, test))
    distances = (known**2).sum(1) - 2 * asked @ known.T
    nearest = [train["caption"][i][0] for i in distances.argmin(axis=1)]
    return {
        name: (caption_scores(captions, test["caption"]), captions)
        for name, captions in {"ignores the image": constant, "memorises": nearest}.items()
    }


def _thumbnails(images, field):
    """Encoded images -> 16 x 16 pixels each, flat: `(images, 768)`."""
    data = dataset({"image": images}, Preprocessor({"image": field}, {}), 64)
    small = [keras.ops.image.resize(x["image"], (16, 16), antialias=True) for x in data]
    return np.concatenate([np.reshape(x, (len(x), -1)) for x in small]) / 255.0
