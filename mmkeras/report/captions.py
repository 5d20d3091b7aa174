"""The report of a captioner: scores, photos with their captions, attention."""

from pathlib import Path

import numpy as np

from mmkeras.explanation import attention_grid, explain, overlay, seen, write_whole
from mmkeras.metrics import CiderD, caption_scores
from mmkeras.report.charts import training
from mmkeras.report.media import image
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

_SAMPLES, _RANKED, _LOOKED = 8, 4, 4
_CARD, _TILE = 288, 176
_KEY_SCORES = ("BLEU-4", "CIDEr-D", "ROUGE-L")
_HINTS = {
    "unique": "share of distinct captions",
    "vocabulary": "different words used",
    "CIDEr-D shuffled": "each caption against another record's references: as high as CIDEr-D "
    "if the input is ignored",
}


def write_report(
    path,
    task,
    records,
    answers=None,
    history=None,
    title=None,
    notes=None,
    baselines=None,
    details=None,
    **options,
):
    """Writes a run as a single HTML page: curves, scores, answers, attention, the model, the run.

    The page holds its pictures and styles, and loads nothing. A section for which nothing is given
    is left out.

    Args:
        path: Of the page, such as `runs/captions/report.html`.
        task: A Task with one text target.
        records: Columns of its inputs and, to score the answers, of its target: a list of
            references per record.
        answers: Texts as many as the records; None to let the task answer.
        history: What `fit` returns, or its dict of lists; or a list of these, one per stage.
        title: Heading; None for the task's name.
        notes: Text under the heading; an empty line parts paragraphs.
        baselines: `{name: (scores, answers)}` to stand beside the task's scores, as `mm.baselines`
            gives them.
        details: Dict of further rows for the table of the run, such as `{"seed": 0}`. A row
            `command` stands in place of this process's own.
        **options: Of the search, as `answers` were made with, see
            `mmkeras.decoders.search.search`.

    Returns:
        The path, a `pathlib.Path`.

    Raises:
        ValueError: if there is no record, or the answers or references are not as many.

    Example:

    ```python
    import mmkeras as mm

    history = model.fit(data, epochs=3)
    mm.write_report("report.html", model, test, history=history, details={"seed": 0})
    ```
    """
    if len(task.preprocessor.targets) != 1:
        raise ValueError(
            f"`task` should have one target. Received: targets {sorted(task.preprocessor.targets)}"
        )
    (target,) = task.preprocessor.targets
    inputs = {name: records[name] for name in records if name in task.preprocessor.inputs}
    if not inputs or not len(next(iter(inputs.values()))):
        raise ValueError(
            f"`records` should hold a record at least, with {sorted(task.preprocessor.inputs)}. "
            f"Received: columns {sorted(records)}"
        )
    rows = len(next(iter(inputs.values())))
    if answers is None:
        answers = task.infer(inputs, **options)[target]
    _check_answers(answers, rows)
    references = _references(records, target, rows)
    title = title or task.name.replace("_", " ").capitalize()
    scores = {}
    if references is not None:
        shuffle_seed = 0 if rows > 1 else None
        scores["this model"] = caption_scores(answers, references, shuffle_seed=shuffle_seed)
        scores |= {name: weak for name, (weak, _) in (baselines or {}).items()}
    gallery = _Gallery(task, inputs, answers, references)
    details = {"records": f"{rows:,}", "search": searched(options), **(details or {})}
    sections = [
        header(title, task, notes),
        key_figures(task, _figures(scores)),
        training(history),
        _score_table(scores),
        *gallery.sections(),
        _attention(task, inputs, gallery.samples[:_LOOKED], options),
        model(task),
        run(details),
    ]
    path = Path(path)
    write_whole(path, page(title, "\n".join(sections)).encode("utf-8", "replace"))
    return path


def _check_answers(answers, rows):
    if isinstance(answers, str) or not all(isinstance(text, str) for text in answers):
        raise ValueError(f"`answers` should be a list of str. Received: {answers!r:.80}")
    if len(answers) != rows:
        raise ValueError(
            f"`answers` should hold one text for each of {rows} records. Received: {len(answers)}"
        )


def _references(records, target, rows):
    if target not in records:
        return None
    column = records[target]
    if len(column) != rows:
        raise ValueError(
            f"`records` should hold columns of one length. Received: {rows} inputs and "
            f"{len(column)} of {target!r}"
        )
    return [[texts] if isinstance(texts, str) else list(texts) for texts in column]


def _figures(scores):
    own = next(iter(scores.values()), {})
    return [(name, f"{own[name]:.3f}") for name in _KEY_SCORES if own]


def _score_table(scores):
    if not scores:
        return ""
    own = next(iter(scores.values()))
    head = "".join(f'<th scope="col">{escaped(name)}</th>' for name in scores)
    lines = []
    for metric in (name for name in own if name != "signatures"):
        hint = f"<small>{_HINTS[metric]}</small>" if metric in _HINTS else ""
        cells = "".join(f"<td>{_number(column.get(metric))}</td>" for column in scores.values())
        lines.append(f'<tr><th scope="row">{metric}{hint}</th>{cells}</tr>')
    signatures = "".join(f"<li>{escaped(line)}</li>" for line in own["signatures"])
    return section(
        "Scores",
        f'<div class="wide"><table class="scores">\n<thead><tr><th></th>{head}</tr></thead>\n'
        f"<tbody>\n{chr(10).join(lines)}\n</tbody></table></div>\n"
        f'<ul class="signatures">{signatures}</ul>',
        "BLEU and ROUGE-L go from 0 to 1, CIDEr-D from 0 to 10. Papers often print them times 100.",
    )


def _number(value):
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


# Photos and answers.


class _Gallery:
    """Records with their answers: which are shown, and how one looks."""

    def __init__(self, task, inputs, answers, references):
        self.task, self.inputs = task, inputs
        self.answers, self.references = answers, references
        rows = len(answers)
        self.samples = sorted({round(i) for i in np.linspace(0, rows - 1, min(rows, _SAMPLES))})
        self.cider = None
        if references is not None and rows > 1:
            metric = CiderD()
            metric.update(answers, references)
            self.cider = metric.per_item()["CIDEr-D"]

    def sections(self):
        lead = "Evenly spread over the records."
        if self.references is not None:
            lead += " In bold what the model wrote, under it the references."
        made = [section("Samples", self.cards(self.samples), lead)]
        count = min(_RANKED, len(self.answers) // 2)
        if self.cider is not None and count:
            order = np.argsort(-self.cider, kind="stable").tolist()
            made.append(section("Best by CIDEr-D", self.cards(order[:count])))
            made.append(section("Worst by CIDEr-D", self.cards(order[: -count - 1 : -1])))
        return made

    def cards(self, rows):
        return '<div class="cards">\n' + "\n".join(self.card(row) for row in rows) + "\n</div>"

    def card(self, row):
        answer = self.answers[row]
        pictures = [
            image(overlay(photo, side=_CARD), f"Photo of record {row}: {answer}")
            for photo in seen(self.task, self.inputs, row).values()
        ]
        score = "" if self.cider is None else f" · CIDEr-D {self.cider[row]:.2f}"
        lines = [
            *pictures,
            "<figcaption>",
            f'<p class="answer" dir="auto">{escaped(answer) or "<i>(empty)</i>"}</p>',
        ]
        if self.references is not None:
            lines.append(_listed(self.references[row]))
        lines += [f'<p class="row">record {row}{score}</p>', "</figcaption>"]
        return '<figure class="card">' + "\n".join(lines) + "</figure>"


def _listed(references):
    lines = [f'<li dir="auto">{escaped(text)}</li>' for text in references]
    few, more = "".join(lines[:2]), "".join(lines[2:])
    if more:
        more = f"<details><summary>{len(lines) - 2} more</summary><ul>{more}</ul></details>"
    return f'<div class="references"><ul aria-label="References">{few}</ul>{more}</div>'


def _attention(task, inputs, rows, options):
    if attention_grid(task) is None:
        return ""
    (target,) = task.preprocessor.targets
    few = {name: [values[row] for row in rows] for name, values in inputs.items()}
    strips = []
    for row, found in zip(rows, explain(task, few, **options), strict=True):
        tiles = [
            _tile(
                image(overlay(found["photo"], side=_TILE), f"Photo of record {row}"),
                "<small>photo</small>",
            )
        ]
        for word, weights, share in zip(found["words"], found["maps"], found["share"], strict=True):
            picture = overlay(found["photo"], weights, side=_TILE)
            much = "" if share > 0.995 else f" <small>{share:.0%}</small>"
            tiles.append(_tile(image(picture, f"Where “{word}” looked"), f"{escaped(word)}{much}"))
        strips.append(
            f'<h3 dir="auto">{escaped(found[target])}</h3>\n'
            f'<div class="tiles">\n{chr(10).join(tiles)}\n</div>'
        )
    height, width = attention_grid(task)[2]
    return section(
        "Where each word looked",
        "\n".join(strips),
        f"Attention over a grid of {height} x {width}, relative to the most in each picture: "
        "pale yellow is most, grey is none.",
    )


def _tile(shown, title):
    return f'<figure>{shown}<figcaption dir="auto">{title}</figcaption></figure>'
