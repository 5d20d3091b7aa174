"""The report of a recognizer: error rates, what was heard for what was said, recordings."""

import base64
import collections
import math
from pathlib import Path

import numpy as np
import PIL.Image

from mmkeras.explanation import png, write_whole
from mmkeras.metrics import align_words, speech_scores
from mmkeras.report.charts import training
from mmkeras.report.media import player
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

_SAMPLES, _RANKED, _LISTED, _BEST, _FREQUENT, _ROWS = 4, 4, 12, 6, 10, 20
_WIDTH, _LABELS, _HEIGHT, _TIMES = 960, 34, 176, 22
_DYNAMICS = 70  # decibels
_TOP_HERTZ = 8000
# From silence to loudest, of equal steps in lightness.
_COLOURS = [
    (8, 6, 30),
    (51, 18, 94),
    (125, 34, 117),
    (205, 64, 96),
    (248, 135, 92),
    (252, 225, 170),
]


def write_speech_report(
    path,
    task,
    records,
    hypotheses=None,
    history=None,
    alignments=None,
    title=None,
    notes=None,
    details=None,
    unit="word",
    **options,
):
    """Writes a run of a recognizer as a single HTML page that loads nothing.

    Curves; error rates with intervals, by speaker and by length; recordings to listen to, with
    their spectrogram, the alignment over it, and the reference over the hypothesis; the worst and
    the best utterances; the most frequent errors; the model and the run. A section for which
    nothing is given is left out.

    Args:
        path: Of the page, such as `runs/speech/report.html`.
        task: A Task with one recording as input and one text target.
        records: Columns of the input and the target, a string per record, and maybe `speaker`.
        hypotheses: Texts as many as the records; None to let the task answer.
        history: What `fit` returns, or its dict of lists; or a list of these, one per stage.
        alignments: `{record: [(token, weights)]}`: for each token in turn an array `(frames,)` of
            where in the recording it is, 0 or more, such as its probability under CTC or its
            attention. The frames, any number, are spread evenly over the recording. None for
            what the task explains of a few records, if it does.
        title: Heading; None for the task's name.
        notes: Text under the heading; an empty line parts paragraphs.
        details: Dict of further rows for the table of the run, such as `{"seed": 0}`.
        unit: `"word"`, or `"character"` for scripts without spaces: what is laid side by side.
        **options: Of the search, as `hypotheses` were made with.

    Returns:
        The path, a `pathlib.Path`.

    Raises:
        ValueError: if the task has other fields, there is no record, the columns are not equally
            long, or an alignment is not as above.

    Example:

    ```python
    import mmkeras as mm

    heard = model.infer({"audio": test["audio"]})["transcript"]
    mm.write_speech_report("report.html", model, test, heard, history=history)
    ```
    """
    (source, field), target = _names(task)
    recordings, references = _columns(records, source, target)
    if hypotheses is None:
        hypotheses = task.infer({source: recordings}, **options)[target]
    if alignments is None:
        alignments = {
            row: _explained(task, source, target, recordings[row], options)
            for row in _spread(len(recordings))
        }
    _check_alignments(alignments, len(recordings))
    speakers = records.get("speaker")
    scores = speech_scores(hypotheses, references, speakers)
    title = title or task.name.replace("_", " ").capitalize()
    steps = [align_words(*pair, unit=unit) for pair in zip(hypotheses, references, strict=True)]
    utterances = _Utterances(field, recordings, speakers, steps, alignments, unit)
    sections = [
        header(title, task, notes),
        key_figures(task, _figures(scores)),
        training(history),
        _rates(scores),
        *utterances.sections(),
        _table("By speaker", _worst_first(scores.get("by group", {})), "speaker"),
        _table("By length of the reference", scores["by length"], "words"),
        utterances.frequent_errors(),
        model(task),
        run({"records": f"{len(recordings):,}", "search": searched(options), **(details or {})}),
    ]
    path = Path(path)
    write_whole(path, page(title, "\n".join(sections), _STYLE).encode("utf-8", "replace"))
    return path


def _names(task):
    inputs, targets = task.preprocessor.inputs, task.preprocessor.targets
    if len(inputs) != 1 or len(targets) != 1 or not hasattr(next(iter(inputs.values())), "signal"):
        raise ValueError(
            "`task` should have one recording as input and one text target. Received: inputs "
            f"{sorted(inputs)} and targets {sorted(targets)}"
        )
    return next(iter(inputs.items())), next(iter(targets))


def _columns(records, *names):
    missing = sorted(set(names) - set(records))
    lengths = {name: len(column) for name, column in records.items()}
    if missing or len(set(lengths.values())) > 1 or not min(lengths.values()):
        raise ValueError(
            f"`records` should hold equally long columns {list(names)}, of a record at least. "
            f"Received: columns of lengths {lengths}"
        )
    return [list(records[name]) for name in names]


def _spread(rows):
    return sorted({round(i) for i in np.linspace(0, rows - 1, min(rows, _SAMPLES))})


def _explained(task, source, target, recording, options):
    """Tokens of a task's answer with the frames they were said in, or their attention."""
    raw = task.raw_tensors({source: [task.preprocessor.inputs[source].load(recording)]})
    context = task.context(task.preprocessor.tensors(raw))[target]
    head = task.get_layer(target)
    ids = head.answer(**context, **options)["ids"][:, 0]
    if not hasattr(head, "explain"):
        return []
    found = {name: np.asarray(x)[0] for name, x in head.explain(ids, **context).items()}
    if "frames" in found:
        frame = np.arange(context["context"].shape[1])
        said = (frame >= found["frames"][:, :1]) & (frame < found["frames"][:, 1:])
        weights = said * found["confidence"][:, None]
    else:
        weights = found["attention"]
    tokens = np.asarray(task.preprocessor.targets[target].decode(ids[..., None]))[0]
    told = [token.decode("utf-8", "replace") for token in tokens.tolist()]
    return list(zip(told, weights, strict=True))[: int(np.count_nonzero(ids))]


def _check_alignments(alignments, rows):
    for row, tokens in alignments.items():
        if row not in range(rows):
            raise ValueError(f"`alignments` should be of records 0 to {rows - 1}. Received: {row}")
        for token, weights in tokens:
            weights = np.asarray(weights)
            if weights.ndim != 1 or not weights.size or not (weights >= 0).all():
                raise ValueError(
                    "`alignments` should give each token an array (frames,) of numbers 0 or more. "
                    f"Received: record {row}, token {token!r}, shape {weights.shape}"
                )


# Tables.


def _figures(scores):
    return [
        ("word error rate", _percent(scores["WER"])),
        ("character error rate", _percent(scores["CER"])),
        ("utterances right", _percent(1 - scores["wrong utterances"] / scores["utterances"])),
    ]


def _percent(rate):
    return f"{100 * rate:.1f} %" if math.isfinite(rate) else "∞"


def _rates(scores):
    rows = []
    for name in ("WER", "CER"):
        low, high = scores[f"{name} interval"]
        rows.append((name, _percent(scores[name]), f"{_percent(low)} to {_percent(high)}"))
    body = "\n".join(
        f'<tr><th scope="row">{name}</th><td>{rate}</td><td>{interval}</td></tr>'
        for name, rate, interval in rows
    )
    signatures = "".join(f"<li>{escaped(line)}</li>" for line in scores["signatures"])
    return section(
        "Error rates",
        '<div class="wide"><table class="scores">\n<thead><tr><th></th><th scope="col">rate</th>'
        f'<th scope="col">95 % interval</th></tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
        f'\n<ul class="signatures">{signatures}</ul>',
        f"Of {scores['words']:,} words {scores['substitutions']:,} were taken for others, "
        f"{scores['deletions']:,} missed and {scores['insertions']:,} added; "
        f"{scores['wrong utterances']:,} of {scores['utterances']:,} utterances have an error.",
    )


def _worst_first(table):
    return dict(sorted(table.items(), key=lambda item: -item[1]["WER"]))


def _table(title, table, label):
    if not table:
        return ""
    columns = ("utterances", "words", "substitutions", "deletions", "insertions", "CER", "WER")
    head = "".join(f'<th scope="col">{column}</th>' for column in (*columns, ""))
    most = max((row["WER"] for row in table.values() if math.isfinite(row["WER"])), default=0)
    lines = []
    for name, row in table.items():
        cells = "".join(
            f"<td>{_percent(row[column]) if column in ('CER', 'WER') else f'{row[column]:,}'}</td>"
            for column in columns
        )
        share = min(row["WER"] / most, 1) if most else 0
        lines.append(
            f'<tr><th scope="row" dir="auto">{escaped(str(name))}</th>{cells}'
            f'<td class="bar"><i style="width: {7 * share:.2f}rem"></i></td></tr>'
        )
    head = f'<thead><tr><th scope="col">{label}</th>{head}</tr></thead>'
    tables = [
        f'<div class="wide"><table class="scores plain">\n{head}\n<tbody>\n{chr(10).join(part)}\n'
        "</tbody></table></div>"
        for part in (lines[:_ROWS], lines[_ROWS:])
        if part
    ]
    if len(tables) > 1:
        summary = f"<summary>{len(lines) - _ROWS} more</summary>"
        tables[1] = f"<details>{summary}\n{tables[1]}</details>"
    return section(title, "\n".join(tables))


# Utterances.


class _Utterances:
    """Recordings with what was said and heard: which are shown, and how one looks."""

    def __init__(self, field, recordings, speakers, steps, alignments, unit):
        self.field, self.recordings, self.speakers = field, recordings, speakers
        self.steps, self.alignments = steps, alignments
        self.joint = " " if unit == "word" else ""

    def sections(self):
        rows = len(self.recordings)
        shown = [*self.alignments] or _spread(rows)
        lead = (
            "What was said over what was heard: "
            '<span class="edits key"><span class="substitute">taken for another</span> '
            '<span class="delete">missed</span> <span class="insert">added</span></span>.'
        )
        made = [section("Recordings", self.cards(shown), lead)]
        # The worst by share of errors, the best by length.
        order = sorted(range(rows), key=lambda row: (-self.rate(row), -self.errors(row)))
        worst = [row for row in order[:_RANKED] if self.errors(row)]
        if worst:
            made.append(section("Worst", self.cards(worst, brief=shown)))
        more = [row for row in order[_RANKED : _RANKED + _LISTED] if self.errors(row)]
        if more:
            listed = "\n".join(self.line(row) for row in more)
            made.append(f"<details><summary>{len(more)} more</summary>\n{listed}\n</details>")
        best = sorted(order, key=lambda row: (self.rate(row), -len(self.steps[row])))[:_BEST]
        best = [row for row in best if row not in worst][: rows // 2]
        if best:
            made.append(section("Best", "\n".join(self.line(row) for row in best)))
        return made

    def errors(self, row):
        return sum(what != "equal" for what, *_ in self.steps[row])

    def rate(self, row):
        return self.errors(row) / max(1, sum(said is not None for _, said, _ in self.steps[row]))

    def cards(self, rows, brief=()):
        return "\n".join(self.line(row) if row in brief else self.card(row) for row in rows)

    def card(self, row):
        samples, rate = self.samples(row)
        seconds = len(samples) / rate
        return (
            f'<article class="utterance">\n{self.told(row, f"{seconds:.1f} s")}\n'
            f"{player(samples, rate)}\n"
            f"{_spectrogram_figure(samples, rate, self.alignments.get(row, []), row)}\n"
            f"{self.edits(row)}\n</article>"
        )

    def line(self, row):
        return f'<article class="utterance brief">\n{self.told(row)}\n{self.edits(row)}\n</article>'

    def told(self, row, *more):
        speaker = [] if self.speakers is None else [f"speaker {self.speakers[row]}"]
        words = [f"record {row}", *speaker, *more, f"{_percent(self.rate(row))} wrong"]
        return f'<p class="told" dir="auto">{escaped(" · ".join(words))}</p>'

    def edits(self, row):
        spans = [
            f'<span class="{what}"><b>{_shown(said)}</b><i>{_shown(heard)}</i></span>'
            for what, said, heard in self.steps[row]
        ]
        return f'<p class="edits" dir="auto">{self.joint.join(spans) or "<i>(nothing)</i>"}</p>'

    def samples(self, row):
        """Samples of a recording and how many there are a second."""
        raw = self.field.load(self.recordings[row])
        return np.asarray(self.field.signal(raw)), self.field.sample_rate

    def frequent_errors(self):
        counts = collections.Counter(step for steps in self.steps for step in steps)
        columns = []
        for what, title in (
            ("substitute", "taken for another"),
            ("delete", "missed"),
            ("insert", "added"),
        ):
            found = [(step, n) for step, n in counts.most_common() if step[0] == what]
            lines = "".join(
                f'<tr><th scope="row" dir="auto">{" → ".join(map(escaped, filter(None, step[1:])))}'
                f"</th><td>{n:,}</td></tr>"
                for step, n in found[:_FREQUENT]
            )
            if lines:
                columns.append(f"<div><h3>{title}</h3><table>{lines}</table></div>")
        if not columns:
            return ""
        return section("Most frequent errors", f'<div class="columns">{"".join(columns)}</div>')


def _shown(word):
    return "–" if word is None else escaped(word).replace(" ", "␣")


def spectrogram(samples, rate, width=_WIDTH, height=_HEIGHT):
    """A recording as a picture: time to the right, frequency upwards to 8 kHz at most.

    Args:
        samples: float array `(samples,)`.
        rate: samples per second.
        width, height: in pixels.

    Returns:
        A `PIL.Image.Image`; black is 70 dB below the loudest.
    """
    window = 2 ** math.ceil(math.log2(rate * 0.025))
    padded = np.pad(samples, window // 2)
    starts = np.linspace(0, len(samples), min(width, max(2, len(samples) // 8)), dtype=int)
    frames = padded[np.minimum(starts, len(padded) - window)[:, None] + np.arange(window)]
    power = np.abs(np.fft.rfft(frames * np.hanning(window))) ** 2
    power = power[:, : max(2, round(window * min(_TOP_HERTZ / rate, 0.5)))].T[::-1]
    level = 10 * np.log10(np.maximum(power, power.max(initial=0) * 1e-10 + 1e-20))
    level = np.clip((level - level.max()) / _DYNAMICS + 1, 0, 1)
    picture = PIL.Image.fromarray(np.uint8(255 * level))
    picture = picture.resize((width, height), PIL.Image.Resampling.BILINEAR)
    steps = np.linspace(0, 255, len(_COLOURS))
    palette = [np.interp(np.arange(256), steps, channel) for channel in zip(*_COLOURS, strict=True)]
    picture.putpalette(np.uint8(np.stack(palette, axis=1)).tobytes())
    return picture


def _spectrogram_figure(samples, rate, tokens, row):
    data = base64.b64encode(png(spectrogram(samples, rate))).decode()
    top = _LABELS if tokens else 0
    height = top + _HEIGHT + _TIMES
    seconds = max(len(samples) / rate, 1e-3)
    drawn = [
        f'<image x="0" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'preserveAspectRatio="none" href="data:image/png;base64,{data}"/>'
    ]
    drawn += _alignment(tokens, top)
    drawn += [
        f'<text x="{_WIDTH * time / seconds:.1f}" y="{height - 6}" '
        f'text-anchor="{"start" if not time else "middle"}">{time:g} s</text>'
        for time in _time_ticks(seconds)
    ]
    said = " ".join(str(token) for token, _ in tokens)
    said = f", aligned with: {said}" if said else ""
    return (
        f'<div class="wide"><svg viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="Spectrogram of record {row}{escaped(said)}">\n{chr(10).join(drawn)}\n'
        "</svg></div>"
    )


def _alignment(tokens, top):
    """A ridge per token, as high as its weights, and the token above its peak."""
    bottom, drawn, ends = top + _HEIGHT, [], [-math.inf, -math.inf]
    for number, (token, weights) in enumerate(tokens):
        weights = np.asarray(weights, float)
        heights = weights / max(weights.max(), np.finfo(float).tiny)
        peak = (int(np.argmax(heights)) + 0.5) / len(heights) * _WIDTH
        kind = f"ridge t{number % 2}"
        drawn.append(
            f'<line class="{kind}" x1="{peak:.1f}" x2="{peak:.1f}" y1="{top}" y2="{bottom}"/>'
        )
        points = _ridge(heights, bottom)
        if points:
            drawn.append(f'<polygon class="{kind}" points="{points}"/>')
        shown = "␣" if token == " " else str(token).strip() or "␣"
        # Where labels would touch, the next goes to the other line.
        half = 4.2 * len(shown)
        line = min((0, 1), key=lambda line: (ends[line] > peak - half, line))
        ends[line] = peak + half + 2
        drawn.append(
            f'<text class="token" x="{peak:.1f}" y="{top - 5 - 15 * line}" '
            f'text-anchor="middle">{escaped(shown)}</text>'
        )
    return drawn


def _ridge(heights, bottom):
    """Points of a polygon along the frames that weigh something."""
    there = np.flatnonzero(heights > 0.02)
    if not len(there) or not heights.max():
        return ""
    first, last = max(there[0] - 1, 0), min(there[-1] + 1, len(heights) - 1)
    scale = _WIDTH / len(heights)
    along = [
        f"{(frame + 0.5) * scale:.1f},{bottom - 0.92 * _HEIGHT * heights[frame]:.1f}"
        for frame in range(first, last + 1)
    ]
    edges = [(frame + side) * scale for frame, side in ((first, 0), (last, 1))]
    return " ".join([f"{edges[0]:.1f},{bottom}", *along, f"{edges[1]:.1f},{bottom}"])


def _time_ticks(seconds):
    step = next(
        step
        for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 600, math.inf)
        if seconds / step <= 10
    )
    # None so near the end that it would be cut off.
    return [step * i for i in range(math.ceil(0.98 * seconds / step))] if step < math.inf else [0]


_STYLE = """
:root { --sub: #9a5b00; --del: #c02438; --ins: #1f63c9; }
@media (prefers-color-scheme: dark) {
  :root { --sub: #ffb454; --del: #ff7a85; --ins: #7db0ff; }
}
.utterance {
  background: var(--card); border: 1px solid var(--faint); border-radius: 10px;
  padding: .9rem 1.1rem 1rem; margin-top: 1rem;
}
.utterance.brief { padding: .6rem 1.1rem .7rem; margin-top: .6rem; }
.utterance svg { margin-top: .3rem; border-radius: 6px; min-width: 40rem; }
.utterance polygon.ridge { fill-opacity: .22; stroke-width: 1.5; stroke-linejoin: round; }
.utterance .t0 { fill: #ffffff; stroke: #ffffff; }
.utterance .t1 { fill: #7df0ff; stroke: #7df0ff; }
.utterance line.ridge { stroke-width: .75; stroke-opacity: .5; }
svg text.token { font-size: 13px; font-weight: 600; fill: var(--ink); }
.edits { display: flex; flex-wrap: wrap; gap: .35rem .3rem; margin-top: .6rem; line-height: 1.3; }
.edits > span {
  display: inline-flex; flex-direction: column; padding: .1rem .3rem; border-radius: 5px;
}
.edits b { font-weight: 600; }
.edits i { font-style: normal; color: var(--soft); }
.edits .substitute { background: color-mix(in srgb, var(--sub) 14%, transparent); }
.edits .delete { background: color-mix(in srgb, var(--del) 14%, transparent); }
.edits .insert { background: color-mix(in srgb, var(--ins) 14%, transparent); }
.edits .substitute i, .key .substitute { color: var(--sub); }
.edits .delete i, .edits .delete b, .key .delete { color: var(--del); }
.edits .insert i, .edits .insert b, .key .insert { color: var(--ins); }
.edits.key { display: inline-flex; margin: 0; }
.scores.plain td:nth-child(2) { font-weight: 400; }
.scores.plain td:nth-child(8) { font-weight: 600; }
.scores.plain th:first-child { text-align: left; padding-left: 0; }
.scores td.bar { padding-left: 1rem; vertical-align: middle; text-align: left; }
.bar i { display: block; height: .5rem; border-radius: 2px; background: var(--train); }
.columns { display: flex; flex-wrap: wrap; gap: 0 4rem; }
.columns td { text-align: right; }
"""
