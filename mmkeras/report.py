"""What a run came to, as one HTML page that needs nothing else."""

import base64
import datetime
import html
import io
import math
import os
import platform
import shlex
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import mmkeras
from mmkeras.explanation import attention_grid, explain, overlay, seen, write_whole
from mmkeras.metrics import CiderD, caption_scores

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
    details = {"records": f"{rows:,}", **_search(options), **(details or {})}
    sections = [
        _header(title, task, notes),
        _key_figures(task, scores),
        _training(history),
        _score_table(scores),
        *gallery.sections(),
        _attention(task, inputs, gallery.samples[:_LOOKED], options),
        _model(task),
        _run(details),
    ]
    path = Path(path)
    write_whole(path, _page(title, "\n".join(sections)).encode("utf-8", "replace"))
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


def _search(options):
    text = ", ".join(f"{name}={value!r}" for name, value in options.items())
    return {"search": text or "greedy"}


# Everything that comes from outside passes through here.
_text = html.escape


def _page(title, body):
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>{_text(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def _section(title, body, lead=""):
    lead = f'<p class="lead">{lead}</p>\n' if lead else ""
    return f"<section>\n<h2>{title}</h2>\n{lead}{body}\n</section>"


def _header(title, task, notes):
    paragraphs = [part.strip() for part in (notes or "").split("\n\n") if part.strip()]
    return "\n".join(
        [
            "<header>",
            f'<p class="eyebrow">{_text(task.name.replace("_", " "))} · {_today():%d %B %Y}</p>',
            f'<h1 dir="auto">{_text(title)}</h1>',
            *(f'<p class="note" dir="auto">{_text(part)}</p>' for part in paragraphs),
            "</header>",
        ]
    )


def _today():
    return datetime.datetime.now().astimezone()


def _key_figures(task, scores):
    figures = [("parameters", _short(task.count_params()))]
    if scores:
        own = next(iter(scores.values()))
        figures = [(name, f"{own[name]:.3f}") for name in _KEY_SCORES] + figures
    cells = [f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures]
    return '<dl class="figures">\n' + "\n".join(cells) + "\n</dl>"


def _short(count):
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)


def _score_table(scores):
    if not scores:
        return ""
    own = next(iter(scores.values()))
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in scores)
    lines = []
    for metric in (name for name in own if name != "signatures"):
        hint = f"<small>{_HINTS[metric]}</small>" if metric in _HINTS else ""
        cells = "".join(f"<td>{_number(column.get(metric))}</td>" for column in scores.values())
        lines.append(f'<tr><th scope="row">{metric}{hint}</th>{cells}</tr>')
    signatures = "".join(f"<li>{_text(line)}</li>" for line in own["signatures"])
    return _section(
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


# Curves.


def _training(history):
    stages = history if isinstance(history, list) else [history]
    stages = [_charts(getattr(stage, "history", stage) or {}) for stage in stages]
    stages = [charts for charts in stages if charts]
    if len(stages) > 1:
        stages = [f"<h3>Stage {i}</h3>\n{charts}" for i, charts in enumerate(stages, 1)]
    return _section("Training", "\n".join(stages)) if stages else ""


def _charts(history):
    charts = [
        _chart(name, series, history.get(f"val_{name}", []))
        for name, series in history.items()
        if len(series) and not name.startswith("val_")
    ]
    return f'<div class="charts">\n{chr(10).join(charts)}\n</div>' if charts else ""


_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 480, 256, 48, 12, 10, 40


def _chart(name, train, valid):
    epochs = len(train)
    lines = {"train": _points(train, epochs), "valid": _points(valid, epochs)}
    lines = {which: points for which, points in lines.items() if points}
    name = _text(name.replace("_", " "))
    if not lines:
        return f"<figure><figcaption><b>{name}</b> was never finite</figcaption></figure>"
    ticks = _ticks([value for points in lines.values() for _, value in points])

    def x(epoch):
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (
            (epoch - 1) / (epochs - 1) if epochs > 1 else 0.5
        )

    def y(value):
        part = (value - ticks[0]) / (ticks[-1] - ticks[0])
        return _HEIGHT - _BOTTOM - part * (_HEIGHT - _TOP - _BOTTOM)

    drawn = [
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        f'<text x="{_LEFT - 8}" y="{y(t) + 4:.1f}" text-anchor="end">{t:g}</text>'
        for t in ticks
    ]
    drawn += [
        f'<text x="{x(e):.1f}" y="{_HEIGHT - 20}" text-anchor="middle">{e}</text>'
        for e in _epoch_ticks(epochs)
    ]
    drawn.append(f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">epoch</text>')
    legend = []
    for which, points in lines.items():
        path = " ".join(f"{x(epoch):.1f},{y(value):.1f}" for epoch, value in points)
        drawn.append(f'<polyline class="{which}" points="{path}"/>')
        dots = points if len(points) <= 40 else points[-1:]
        drawn += [
            f'<circle class="{which}" cx="{x(epoch):.1f}" cy="{y(value):.1f}" r="3">'
            f"<title>{which}, epoch {epoch:g}: {value:.4g}</title></circle>"
            for epoch, value in dots
        ]
        legend.append(f'<span class="{which}">{which} {points[-1][1]:.4g}</span>')
    said = ", ".join(f"{which} ends at {points[-1][1]:.4g}" for which, points in lines.items())
    return (
        f"<figure><figcaption><b>{name}</b> {' '.join(legend)}</figcaption>\n"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{name} by epoch: {said}">\n{chr(10).join(drawn)}\n</svg></figure>'
    )


def _points(values, epochs):
    """Epoch and value, where it is finite; validated less often, the epochs are spread evenly."""
    return [
        ((i + 1) * epochs / len(values), float(value))
        for i, value in enumerate(values)
        if math.isfinite(value)
    ]


def _ticks(values):
    low, high = min(values), max(values)
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    step = 10 ** math.floor(math.log10(high - low))
    step *= next(nice for nice in (0.2, 0.5, 1, 2) if (high - low) / (nice * step) <= 5)
    return [i * step for i in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _epoch_ticks(epochs):
    step = next(
        nice * scale
        for scale in (1, 10, 100, 1000, 10**4, 10**5, 10**6)
        for nice in (1, 2, 5)
        if epochs / (nice * scale) <= 10
    )
    return [1, *range(step, epochs + 1, step)] if step > 1 else range(1, epochs + 1)


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
        made = [_section("Samples", self.cards(self.samples), lead)]
        count = min(_RANKED, len(self.answers) // 2)
        if self.cider is not None and count:
            order = np.argsort(-self.cider, kind="stable").tolist()
            made.append(_section("Best by CIDEr-D", self.cards(order[:count])))
            made.append(_section("Worst by CIDEr-D", self.cards(order[: -count - 1 : -1])))
        return made

    def cards(self, rows):
        return '<div class="cards">\n' + "\n".join(self.card(row) for row in rows) + "\n</div>"

    def card(self, row):
        answer = self.answers[row]
        pictures = [
            _image(overlay(photo, side=_CARD), f"Photo of record {row}: {answer}")
            for photo in seen(self.task, self.inputs, row).values()
        ]
        score = "" if self.cider is None else f" · CIDEr-D {self.cider[row]:.2f}"
        lines = [
            *pictures,
            "<figcaption>",
            f'<p class="answer" dir="auto">{_text(answer) or "<i>(empty)</i>"}</p>',
        ]
        if self.references is not None:
            lines.append(_listed(self.references[row]))
        lines += [f'<p class="row">record {row}{score}</p>', "</figcaption>"]
        return '<figure class="card">' + "\n".join(lines) + "</figure>"


def _listed(references):
    lines = [f'<li dir="auto">{_text(text)}</li>' for text in references]
    few, more = "".join(lines[:2]), "".join(lines[2:])
    if more:
        more = f"<details><summary>{len(lines) - 2} more</summary><ul>{more}</ul></details>"
    return f'<div class="references"><ul aria-label="References">{few}</ul>{more}</div>'


def _image(picture, alt):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=88, subsampling=0)
    data = base64.b64encode(file.getvalue()).decode()
    return (
        f'<img src="data:image/jpeg;base64,{data}" alt="{_text(alt)}" '
        f'width="{picture.width}" height="{picture.height}">'
    )


def _attention(task, inputs, rows, options):
    if attention_grid(task) is None:
        return ""
    (target,) = task.preprocessor.targets
    few = {name: [values[row] for row in rows] for name, values in inputs.items()}
    strips = []
    for row, found in zip(rows, explain(task, few, **options), strict=True):
        tiles = [
            _tile(
                _image(overlay(found["photo"], side=_TILE), f"Photo of record {row}"),
                "<small>photo</small>",
            )
        ]
        for word, weights, share in zip(found["words"], found["maps"], found["share"], strict=True):
            picture = overlay(found["photo"], weights, side=_TILE)
            much = "" if share > 0.995 else f" <small>{share:.0%}</small>"
            tiles.append(_tile(_image(picture, f"Where “{word}” looked"), f"{_text(word)}{much}"))
        strips.append(
            f'<h3 dir="auto">{_text(found[target])}</h3>\n'
            f'<div class="tiles">\n{chr(10).join(tiles)}\n</div>'
        )
    height, width = attention_grid(task)[2]
    return _section(
        "Where each word looked",
        "\n".join(strips),
        f"Attention over a grid of {height} x {width}, relative to the most in each picture: "
        "pale yellow is most, grey is none.",
    )


def _tile(image, title):
    return f'<figure>{image}<figcaption dir="auto">{title}</figcaption></figure>'


# The model and the run.


def _model(task):
    trainable = sum(math.prod(weight.shape) for weight in task.trainable_weights)
    fields = [
        f'<tr><th scope="row">{_text(name)}</th><td>{kind}</td>'
        f"<td>{_text(_described(field))}</td></tr>"
        for kind, group in (
            ("input", task.preprocessor.inputs),
            ("target", task.preprocessor.targets),
        )
        for name, field in group.items()
    ]
    layers = [
        f'<tr><th scope="row">{_text(layer.name)}</th><td>{type(layer).__name__}</td>'
        f"<td>{layer.count_params():,}</td></tr>"
        for layer in task.layers
        if layer.weights
    ]
    return _section(
        "Model",
        f'<p class="lead">{task.count_params():,} parameters, {trainable:,} of them trained.</p>\n'
        f'<div class="wide"><table>\n<tbody>\n{chr(10).join(fields)}\n</tbody></table></div>\n'
        f"<details><summary>Parameters by layer</summary>\n"
        f'<div class="wide"><table class="layers">\n<tbody>\n{chr(10).join(layers)}\n'
        "</tbody></table></div></details>",
    )


def _described(field):
    """A field by its settings, and its tokenizer by its size."""
    config = {
        name: value
        for name, value in field.get_config().items()
        if name not in ("name", "trainable", "dtype", "tokenizer")
    }
    if hasattr(field, "tokenizer"):
        kind = type(field.tokenizer).__name__
        config = {kind: f"{field.tokenizer.vocabulary_size:,} ids", **config}
    settings = ", ".join(
        f"{name.replace('_', ' ')} {f'{value:,}' if isinstance(value, int) else value}"
        for name, value in config.items()
    )
    return f"{type(field).__name__}: {settings}"


def _run(details):
    devices = tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("CPU")
    kind = devices[0].device_type if devices else "none"
    rows = {
        "command": _command(),
        "date": f"{_today():%Y-%m-%d %H:%M %Z}",
        **details,
        "versions": f"mmkeras {mmkeras.__version__}, Keras {keras.__version__}, "
        f"TensorFlow {tf.__version__}, Python {platform.python_version()}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores, "
        f"{len(devices)} {kind} device{'s' if len(devices) != 1 else ''}",
    }
    listed = [
        f"<dt>{_text(str(name))}</dt><dd>{_text(str(value))}</dd>" for name, value in rows.items()
    ]
    return _section("Run", f'<dl class="run">\n{chr(10).join(listed)}\n</dl>')


def _command():
    program, *arguments = sys.argv
    here, program = Path.cwd(), Path(program)
    # Whole paths tell more of the machine than of the run.
    if program.is_absolute():
        program = program.relative_to(here) if program.is_relative_to(here) else program.name
    return shlex.join(["python", str(program), *arguments])


_STYLE = """
:root {
  --ink: #1b1d22; --soft: #5c6270; --faint: #e4e6eb; --paper: #f7f7f9; --card: #ffffff;
  --train: #2f6fde; --valid: #d9730d;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e8e9ec; --soft: #9aa0ad; --faint: #2c3038; --paper: #14161a; --card: #1c1f25;
    --train: #7aa7ff; --valid: #ffab5c;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
main { max-width: 1120px; margin: 0 auto; padding: 3rem 1.5rem 5rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0; letter-spacing: -0.02em; text-wrap: balance; }
h2 { font-size: 1.25rem; margin: 0 0 .75rem; letter-spacing: -0.01em; }
h3 { font-size: 1rem; font-weight: 600; margin: 1.5rem 0 .6rem; }
section { margin-top: 3rem; }
p { margin: 0; }
.eyebrow { color: var(--soft); font-size: .875rem; margin-bottom: .4rem; }
.note { max-width: 44rem; margin-top: .75rem; }
.lead { color: var(--soft); max-width: 44rem; margin: -.4rem 0 1rem; font-size: .9375rem; }
.figures {
  display: flex; flex-wrap: wrap; gap: 1px;
  margin: 2rem 0 0; background: var(--faint); border: 1px solid var(--faint);
  border-radius: 10px; overflow: hidden;
}
.figures div { flex: 1 1 150px; background: var(--card); padding: .9rem 1.1rem; }
.figures dt { color: var(--soft); font-size: .8125rem; }
.figures dd { margin: 0; font-size: 1.6rem; font-weight: 600; letter-spacing: -0.02em; }
.figures dd, td, svg text { font-variant-numeric: tabular-nums; }
figure { margin: 0; }
img { display: block; width: 100%; height: auto; }
.charts, .cards, .tiles { display: grid; gap: 1.25rem; }
.charts { grid-template-columns: repeat(auto-fill, minmax(min(100%, 420px), 1fr)); }
.charts figure, .card {
  background: var(--card); border: 1px solid var(--faint); border-radius: 10px; overflow: hidden;
}
.charts figure { padding: .9rem 1rem .4rem; }
.charts figcaption { font-size: .875rem; margin-bottom: .4rem; }
.charts figcaption span { color: var(--soft); margin-left: .9rem; white-space: nowrap; }
.charts figcaption span::before {
  content: ""; display: inline-block; width: .9em; height: 3px; border-radius: 2px;
  margin-right: .4em; vertical-align: middle;
}
span.train::before { background: var(--train); }
span.valid::before { background: var(--valid); }
svg { display: block; width: 100%; height: auto; }
svg text { font-size: 12px; fill: var(--soft); }
svg .grid { stroke: var(--faint); }
polyline { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
polyline.train { stroke: var(--train); }
polyline.valid { stroke: var(--valid); }
circle.train { fill: var(--train); }
circle.valid { fill: var(--valid); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9375rem; }
th, td {
  text-align: left; vertical-align: top; padding: .45rem 1.25rem .45rem 0;
  border-bottom: 1px solid var(--faint);
}
th { font-weight: 500; }
thead th { color: var(--soft); font-size: .8125rem; }
.scores td, .scores thead th {
  text-align: right; white-space: nowrap; padding: .45rem 0 .45rem 2rem;
}
.scores td:nth-child(2) { font-weight: 600; }
small { color: var(--soft); font-size: .8125rem; font-weight: 400; }
th small { display: block; min-width: 10rem; max-width: 24rem; }
.signatures { list-style: none; margin: .9rem 0 0; padding: 0; color: var(--soft); }
.layers td:last-child { text-align: right; }
.signatures, .run dd, .layers {
  font: .8125rem/1.6 ui-monospace, "SF Mono", Menlo, Consolas, monospace;
}
.signatures li, .run dd { overflow-wrap: anywhere; }
.cards { grid-template-columns: repeat(auto-fill, minmax(min(100%, 210px), 1fr)); }
.card { display: flex; flex-direction: column; }
.card figcaption { padding: .8rem .95rem .75rem; display: flex; flex-direction: column; flex: 1; }
.answer { font-weight: 600; line-height: 1.35; overflow-wrap: anywhere; }
.references {
  margin: .5rem 0 .6rem; color: var(--soft); font-size: .8125rem; line-height: 1.4;
  overflow-wrap: anywhere;
}
.references ul { margin: 0; padding: 0; list-style: none; }
.references li + li, .references details, .references details ul { margin-top: .25rem; }
.references summary { font-size: .75rem; }
.row {
  margin-top: auto; padding-top: .5rem; border-top: 1px solid var(--faint);
  color: var(--soft); font-size: .75rem;
}
.tiles { grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: .75rem .6rem; }
.tiles img { border-radius: 6px; }
.tiles figcaption {
  font-size: .875rem; line-height: 1.3; margin-top: .25rem; overflow-wrap: anywhere;
}
details { margin-top: 1rem; }
summary { cursor: pointer; color: var(--soft); font-size: .9375rem; }
.run { display: grid; grid-template-columns: max-content 1fr; gap: .4rem 1.5rem; margin: 0; }
.run dt { color: var(--soft); font-size: .875rem; }
.run dd { margin: 0; }
@media print { section { break-inside: avoid; } body { background: #fff; } }
"""
