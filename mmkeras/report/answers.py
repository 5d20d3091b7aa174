"""The report of a task that answers or classifies: scores, what inputs are worth, what it read."""

from pathlib import Path

import numpy as np

from mmkeras.evaluation import SCORES, without
from mmkeras.explanation import write_whole
from mmkeras.metrics import SpanF1, VQAAccuracy, class_scores
from mmkeras.preprocessing import most_common
from mmkeras.report import asked
from mmkeras.report.charts import training
from mmkeras.report.classes import STYLE, bars, classes, percent, told
from mmkeras.report.page import (
    escaped,
    header,
    key_figures,
    model,
    page,
    run,
    searched,
    section,
)


def write_answer_report(
    path,
    task,
    records,
    answers=None,
    history=None,
    title=None,
    notes=None,
    baselines=None,
    removed=None,
    details=None,
    **options,
):
    """Writes a run of a task that answers or classifies as a single HTML page that loads nothing.

    Curves; accuracy with its interval, by type of question and of answer; accuracy with each
    optional input removed, beside the baselines; of a closed set the classes, and which is taken
    for which; records that were answered right and wrong, with what was read of them (see
    `explain` and `grad_cam`); the model and the run. A section for which nothing is given is left
    out.

    Args:
        path: Of the page, such as `runs/answers/report.html`.
        task: A Task whose one target is a `Labels`, an `Answer` or a `Span`.
        records: Columns of its inputs and, to score the answers, of its target: an answer per
            record, or a list of those of several people; maybe also `question_type` and
            `answer_type`.
        answers: Texts as many as the records; None to let the task answer.
        history: What `fit` returns, or its dict of lists; or a list of these, one per stage.
        title: Heading; None for the task's name.
        notes: Text under the heading; an empty line parts paragraphs.
        baselines: `{name: scores}` to stand beside the task's, as `mm.answer_baselines` gives them.
        removed: What `mm.without` gives; None to find it, where there are inputs that may be
            missing beside others that may not.
        details: Dict of further rows for the table of the run, such as `{"seed": 0}`.
        **options: Of the search, as `answers` were made with.

    Returns:
        The path, a `pathlib.Path`.

    Raises:
        ValueError: if the task has another target, there is no record, or the answers or
            references are not as many.

    Example:

    ```python
    import mmkeras as mm

    history = model.fit(data, epochs=10)
    scores, answers = mm.evaluate(model, test)
    mm.write_answer_report("report.html", model, test, answers, history, details={"seed": 0})
    ```
    """
    target, field = _target(task)
    inputs = {name: records[name] for name in records if name in task.preprocessor.inputs}
    if not inputs or not len(next(iter(inputs.values()))):
        raise ValueError(
            f"`records` should hold a record at least, with {sorted(task.preprocessor.inputs)}. "
            f"Received: columns {sorted(records)}"
        )
    rows = len(next(iter(inputs.values())))
    if answers is None:
        answers = task.infer(inputs, **options)[target]
    if len(answers) != rows:
        raise ValueError(
            f"`answers` should hold one text for each of {rows} records. Received: {len(answers)}"
        )
    scores, worth, references = None, None, records.get(target)
    if references is not None:
        scores = SCORES[field.scored_as](answers, target, records)
        worth = _worth(scores, answers, references)
        removed = _removed(task, records, options) if removed is None else removed
    title = title or task.name.replace("_", " ").capitalize()
    details = {"records": f"{rows:,}", "search": searched(options), **(details or {})}
    sections = [
        header(title, task, notes),
        key_figures(task, _figures(scores)),
        training(history),
        _worths(scores, removed, baselines),
        *_kinds(scores),
        _classes(field, scores, answers, references),
        *asked.samples(task, records, answers, worth, options),
        model(task),
        run(details),
    ]
    path = Path(path)
    html = page(title, "\n".join(filter(None, sections)), STYLE + asked.STYLE)
    write_whole(path, html.encode("utf-8", "replace"))
    return path


def _target(task):
    targets = task.preprocessor.targets
    kinds = [field.scored_as for field in targets.values()]
    if len(targets) != 1 or kinds[0] not in ("answers", "labels", "spans"):
        raise ValueError(
            "`task` should have one target, a Labels, an Answer or a Span. Received: targets "
            f"{ {name: type(field).__name__ for name, field in targets.items()} }"
        )
    return next(iter(targets.items()))


def _removed(task, records, options):
    fields = task.preprocessor.inputs
    optional = [name for name, field in fields.items() if field.optional and name in records]
    if not optional or len(optional) == len(fields):
        return {}
    return without(task, records, progress=False, **options)


def _worth(scores, answers, references):
    """How right each answer is, 0 to 1."""
    if "confusion" in scores:
        return np.array(
            [answer == right for answer, right in zip(answers, references, strict=True)]
        )
    if "F1" in scores:
        return SpanF1().judge(answers, references)[:, 1]
    return VQAAccuracy().judge(answers, references)[:, 0]


def _figures(scores):
    if scores is None:
        return []
    names = [name for name in ("accuracy", "macro F1", "EM", "F1") if name in scores]
    return [*((name, percent(scores[name])) for name in names), ("records", f"{_count(scores):,}")]


def _count(scores):
    return scores["questions"] if "questions" in scores else scores["answers"]


def _worths(scores, removed, baselines):
    """What is right in all, and how that falls with each input removed or without the task."""
    if scores is None:
        return ""
    measure = "accuracy" if "accuracy" in scores else "F1"
    rows = {"this model": scores}
    rows |= {f"without {name}": each for name, each in (removed or {}).items() if name}
    rows |= baselines or {}
    table = {
        name: {key: each[key] for key in (measure, f"{measure} interval") if key in each}
        | {"records": _count(scores)}
        for name, each in rows.items()
    }
    if len(table) == 1 and "confusion" in scores:
        return ""  # the classes tell it
    lead = f"{told(scores, measure)} of {_count(scores):,} records."
    if removed:
        lead += " An input without which it does not fall is one that the model does not look at."
    drawn = bars(table, measure, "records") if len(table) > 1 else ""
    signatures = "".join(f"<li>{escaped(line)}</li>" for line in scores["signatures"])
    title = measure[0].upper() + measure[1:]
    return section(title, f'{drawn}<ul class="signatures">{signatures}</ul>', lead)


def _kinds(scores):
    measures = {"question type": "accuracy", "answer type": "accuracy", "answer": "F1"}
    for kind, measure in measures.items():
        if scores is not None and f"by {kind}" in scores:
            yield section(f"By {kind}", bars(scores[f"by {kind}"], measure, "questions"))


def _classes(field, scores, answers, references):
    if scores is None or not hasattr(field, "classes"):
        return ""
    if "confusion" not in scores:
        scores = class_scores(answers, [most_common([given])[0] for given in references])
    return classes(scores)
