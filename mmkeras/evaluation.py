"""How good a task's answers are on records that it was not trained on."""

import collections

import keras
import numpy as np

from mmkeras.data import dataset
from mmkeras.metrics import (
    CiderD,
    answer_scores,
    caption_scores,
    class_scores,
    retrieval_scores,
    span_scores,
    speech_scores,
)
from mmkeras.preprocessing import Preprocessor, most_common


def evaluate(task, records, batch_size=32, progress=True, **options):
    """Answer every record and score the answers against its references.

    Args:
        task: A Task with one text target.
        records: Columns of its inputs, and of its target: a list of references per record, or one
            transcript, answer or label. Scores are also told by `speaker` of transcripts, and by
            `question_type` and `answer_type` of answers, where there are such columns.
        batch_size: Records at once.
        progress: Whether to show a progress bar.
        **options: Of the search, such as `beam_width=4`, see `mmkeras.decoders.search.search`.

    Returns:
        The scores, and the answers, a list. Scores of captions are as `mm.caption_scores` gives
        them, with "CIDEr-D shuffled": the score when each caption is held against another record's
        references. Scores of transcripts are as `mm.speech_scores` gives them, of answers to
        questions as `mm.answer_scores`, of spans of a passage as `mm.span_scores`, of classes as
        `mm.class_scores`. Scores of photos and captions are as `mm.retrieval_scores` gives them;
        the answers are then, for each caption, the number of the record whose photo is nearest.

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
    if task.preprocessor.targets[target].scored_as == "retrieval":
        return _retrieval(task, records, batch_size)
    inputs = {name: records[name] for name in task.preprocessor.inputs if name in records}
    rows = len(records[target])
    bar = keras.utils.Progbar(rows, verbose=int(progress))
    answers = []
    for start in range(0, rows, batch_size):
        part = {name: values[start : start + batch_size] for name, values in inputs.items()}
        answers += task.infer(part, batch_size, **options)[target]
        bar.update(len(answers))
    return SCORES[task.preprocessor.targets[target].scored_as](answers, target, records), answers


def _retrieval(task, records, batch_size):
    one, several = task.embeds
    texts = [[text] if isinstance(text, str) else list(text) for text in records[several]]
    owners = np.repeat(np.arange(len(texts)), [len(own) for own in texts])
    photos = task.embed(one, records[one], batch_size)
    captions = task.embed(several, [text for own in texts for text in own], batch_size)
    nearest = (captions @ photos.T).argmax(axis=1)
    return retrieval_scores(photos, captions, owners), nearest.tolist()


def _as_captions(answers, target, records):
    references = [[text] if isinstance(text, str) else list(text) for text in records[target]]
    return caption_scores(answers, references, shuffle_seed=0 if len(answers) > 1 else None)


def _as_speech(answers, target, records):
    return speech_scores(answers, records[target], records.get("speaker"))


def _as_answers(answers, target, records):
    # Of answers from a text what counts is how much of their words is right.
    if "context" in records:
        return _as_spans(answers, target, records)
    kinds = (records.get(name) for name in ("question_type", "answer_type"))
    return answer_scores(answers, records[target], *kinds)


def _as_labels(answers, target, records):
    # Of questions what counts is which kind of them fails, of classes which class.
    if "question" in records or not all(isinstance(given, str) for given in records[target]):
        return _as_answers(answers, target, records)
    return class_scores(answers, records[target])


def _as_spans(answers, target, records):
    return span_scores(answers, records[target])


SCORES = {
    "answers": _as_answers,
    "captions": _as_captions,
    "labels": _as_labels,
    "spans": _as_spans,
    "speech": _as_speech,
}


def without(task, records, batch_size=32, progress=True, **options):
    """How good a task's answers are with each of its optional inputs removed.

    A score that does not fall tells that the task does not look at that input.

    Args:
        task, records, batch_size, progress, **options: As in `evaluate`.

    Returns:
        `{name: scores}`, first of all inputs, under `""`, then without each input that may be
        missing.

    Raises:
        ValueError: as `evaluate`, or if no input may be missing.

    Example:

    ```python
    import mmkeras as mm

    for name, scores in mm.without(model, test).items():
        print(f"without {name}" if name else "with all", scores["accuracy"])
    ```
    """
    optional = [name for name, field in task.preprocessor.inputs.items() if field.optional]
    if not optional:
        raise ValueError(
            "`task` should have an input that is `optional=True`. "
            f"Received: inputs {sorted(task.preprocessor.inputs)}"
        )
    found = {}
    for name in ("", *optional):
        rest = {key: column for key, column in records.items() if key != name}
        found[name], _ = evaluate(task, rest, batch_size, progress, **options)
    return found


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


def answer_baselines(train, test):
    """What answering without looking reaches on the same test questions.

    Args:
        train, test: Records with `question` and `answer`, a string or those of several people.

    Returns:
        `{name: scores}` as `mm.evaluate` gives them: "most frequent answer" of all training
        questions; "most frequent answer to the question", where training asked the same, or else
        to its `question_type`, where there is such a column.
    """
    kinds = ["question", *["question_type"] * ("question_type" in train)]
    (always,) = most_common(train["answer"], 1)
    usual = {}
    for kind in reversed(kinds):
        asked = collections.defaultdict(list)
        for value, answer in zip(train[kind], train["answer"], strict=True):
            asked[value].append(answer)
        usual[kind] = {value: most_common(answers, 1)[0] for value, answers in asked.items()}
    rows = len(test["question"])
    by_question = [
        next(
            (usual[kind][value] for kind in kinds if (value := test[kind][row]) in usual[kind]),
            always,
        )
        for row in range(rows)
    ]
    answered = {
        "most frequent answer": [always] * rows,
        "most frequent answer to the question": by_question,
    }
    return {name: _as_answers(answers, "answer", test) for name, answers in answered.items()}


def _thumbnails(images, field):
    """Encoded images -> 16 x 16 pixels each, flat: `(images, 768)`."""
    data = dataset({"image": images}, Preprocessor({"image": field}, {}), 64)
    small = [keras.ops.image.resize(x["image"], (16, 16), antialias=True) for x in data]
    return np.concatenate([np.reshape(x, (len(x), -1)) for x in small]) / 255.0
