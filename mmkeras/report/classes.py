"""Pictures of scores by class or by kind of question, as SVG: bars and a confusion matrix."""

import numpy as np

from mmkeras.metrics.classes import most_confused
from mmkeras.report.page import escaped, section

_BARS, _CLASSES, _LISTED = 40, 30, 12
_ROW, _WIDTH, _LONGEST = 26, 720, 24  # pixels, pixels, characters
_LETTER = 7  # pixels that a letter of 12 pixels takes, on average


def classes(scores):
    """The section of classes: F1 of each, which is taken for which, the most frequent errors.

    Args:
        scores: dict, as `mm.class_scores` returns it.

    Returns:
        HTML, whose page wants `STYLE`.
    """
    wrong = "".join(
        f"<li><b>{escaped(str(reference))}</b> taken for <b>{escaped(str(answer))}</b> "
        f"{count:,}</li>"
        for reference, answer, count in most_confused(scores, _LISTED)
    )
    signatures = "".join(f"<li>{escaped(line)}</li>" for line in scores["signatures"])
    parts = [
        "<h3>F1</h3>",
        bars(scores["by class"], "F1", "references"),
        "<h3>What is taken for what</h3>",
        confusion_matrix(scores),
        f'<ul class="confused">{wrong}</ul>' if wrong else "",
        f'<ul class="signatures">{signatures}</ul>',
    ]
    accuracy, macro = (told(scores, name) for name in ("accuracy", "macro F1"))
    lead = f"Accuracy {accuracy}, macro-F1 {macro}, of {scores['answers']:,} answers."
    return section("Classes", "\n".join(filter(None, parts)), lead)


def bars(table, measure, count):
    """Horizontal bars of shares, with a whisker over the 95 % interval where there is one.

    Args:
        table: dict of label to dict, such as `scores["by answer type"]`; the 40 with the highest
            count are drawn.
        measure: name of what is drawn, 0 to 1, such as `"accuracy"`.
        count: name of how many there were, such as `"questions"`.

    Returns:
        SVG, whose page wants `STYLE`.
    """
    rows = sorted(table.items(), key=lambda item: -item[1][count])[:_BARS]
    left = _gutter(label for label, _ in rows)
    span, height = _WIDTH - left - 72, _ROW * len(rows) + 24
    drawn = []
    for tick in range(0, 101, 25):
        x = left + span * tick / 100
        drawn.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 20}"/>'
            f'<text x="{x:.1f}" y="{height - 4}" text-anchor="middle">{tick} %</text>'
        )
    for number, (label, row) in enumerate(rows):
        top, share = _ROW * number, row[measure]
        middle = top + _ROW / 2
        drawn.append(
            f'<text class="label" x="{left - 8}" y="{middle + 4}" text-anchor="end">'
            f"{_short(label)}</text>"
            f'<rect class="bar" x="{left}" y="{top + 4}" width="{span * share:.1f}" '
            f'height="{_ROW - 8}"><title>{escaped(str(label))}: {measure} {told(row, measure)}, '
            f"{row[count]:,} {count}</title></rect>"
            f'<text x="{_WIDTH}" y="{middle + 4}" text-anchor="end">{percent(share)}</text>'
        )
        if f"{measure} interval" in row:
            low, high = (left + span * end for end in row[f"{measure} interval"])
            drawn.append(
                f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" '
                f'y1="{middle}" y2="{middle}"/>'
            )
    more = f", the {len(rows)} most frequent of {len(table)}" if len(rows) < len(table) else ""
    said = ", ".join(f"{label} {percent(row[measure])}" for label, row in rows)
    label = escaped(f"{measure}{more}: {said}")
    return (
        f'<div class="wide"><svg class="drawing" viewBox="0 0 {_WIDTH} {height}" '
        f'style="max-width: {_WIDTH}px" role="img" aria-label="{label}">\n'
        f"{chr(10).join(drawn)}\n</svg></div>"
    )


def confusion_matrix(scores):
    """The confusion matrix: a row for each right class, a column for each answer.

    A cell is the fuller, the larger its part of the row. Of more than 30 classes those 29 are
    drawn that take part in the most errors, and the others as if they were one.

    Args:
        scores: dict, as `mm.class_scores` returns it.

    Returns:
        SVG, whose page wants `STYLE`.
    """
    names, counts = scores["classes"], np.array(scores["confusion"])
    single = len(names)
    if single > _CLASSES:
        single = _CLASSES - 1
        names, counts = _pooled(names, counts, single)
    left = _gutter(names)
    side = min(64, max(24, 600 // len(names)))
    edge = side * len(names)
    drawn = []
    for i, row in enumerate(counts):
        middle = side * (i + 0.5)
        x, name = left + middle, _short(names[i])
        drawn.append(
            f'<text class="label" x="{left - 8}" y="{middle + 4}" text-anchor="end">{name}</text>'
            f'<text class="label" x="{x}" y="{edge + 10}" text-anchor="end" '
            f'transform="rotate(-45 {x} {edge + 10})">{name}</text>'
        )
        for j, count in enumerate(row.tolist()):
            kind = "wrong" if i != j else "right" if i < single else "mixed"
            title = f"{names[i]}, answered {names[j]}: {count:,} of {row.sum():,}"
            share = count / max(row.sum(), 1)
            drawn.append(_cell(left + side * j, side * i, side, count, share, kind, title))
    width, height = left + edge + 1, edge + 16 + round(0.75 * left)
    return (
        f'<div class="wide"><svg class="drawing" viewBox="0 0 {width} {height}" '
        f'style="width: {width}px" role="img" aria-label="Confusion matrix, '
        f'{percent(scores["accuracy"])} on the diagonal">\n{chr(10).join(drawn)}\n</svg></div>'
    )


def _cell(x, y, side, count, share, kind, title):
    square = f'x="{x}" y="{y}" width="{side}" height="{side}"'
    number = ""
    if count and _LETTER * len(f"{count}") < side:
        shade = ' class="deep"' if share > 0.55 else ""
        number = (
            f'<text{shade} x="{x + side / 2}" y="{y + side / 2 + 4}" '
            f'text-anchor="middle">{count}</text>'
        )
    return (
        f'<rect class="cell" {square}/><rect class="{kind}" {square} fill-opacity="{share:.3f}">'
        f"<title>{escaped(title)}</title></rect>{number}"
    )


def _pooled(names, counts, single):
    """The classes of the most errors, and all others as if they were one."""
    errors = counts.sum(0) + counts.sum(1) - 2 * np.diag(counts)
    kept = np.sort(np.argsort(-errors, kind="stable")[:single])
    group = np.full(len(names), single)
    group[kept] = np.arange(single)
    pooled = np.zeros((single + 1,) * 2, counts.dtype)
    np.add.at(pooled, (group[:, None], group), counts)
    return [*(names[i] for i in kept), f"{len(names) - single} others"], pooled


def _gutter(labels):
    """Pixels that the longest label takes, with a space after it."""
    longest = max((len(str(label)) for label in labels), default=0)
    return _LETTER * min(longest, _LONGEST) + 16


def _short(label):
    label = str(label)
    return escaped(label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…")


def told(scores, name):
    """A share of scores in percent, with its interval where there is one."""
    ends = scores.get(f"{name} interval")
    between = f" ({percent(ends[0])} to {percent(ends[1])})" if ends else ""
    return f"{percent(scores[name])}{between}"


def percent(share):
    """A share of 0 to 1 as it is shown."""
    return f"{100 * share:.1f} %"


STYLE = """
.drawing { min-width: 20rem; }
.drawing text.label { fill: var(--ink); }
.drawing text.deep { fill: var(--card); }
.drawing rect.bar, .drawing rect.right { fill: var(--train); }
.drawing rect.wrong { fill: var(--valid); }
.drawing rect.mixed { fill: var(--soft); }
.drawing rect.cell { fill: var(--card); }
.drawing rect:not(.bar) { stroke: var(--faint); }
.drawing line.whisker { stroke: var(--ink); stroke-width: 1.5; stroke-opacity: .6; }
.confused { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.5rem; padding: 0; }
.confused { margin: 1rem 0 0; color: var(--soft); font-size: .875rem; }
.confused b { color: var(--ink); font-weight: 600; }
"""
