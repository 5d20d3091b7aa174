"""Records with their answers: which are shown in a report, and how one looks."""

import collections

import numpy as np

from mmkeras.explanation import (
    explain,
    grad_cam,
    overlay,
    picture_grid,
    seen,
    text_input,
    ways,
)
from mmkeras.preprocessing.field import is_missing
from mmkeras.report.media import image, player
from mmkeras.report.page import escaped, section

_SHOWN = 8  # right ones and wrong ones
_TILE = 176  # pixels
_NUMBERS = 24  # readings
_LEAST = 0.0005  # of a probability


def samples(task, records, answers, worth, options):
    """Sections of records that were answered right and wrong.

    Args:
        task: A Task with one target.
        records: Columns of its inputs, and maybe of its target.
        answers: List of str.
        worth: How right each answer is, 0 to 1, or None.
        options: Of the search.

    Yields:
        HTML, whose page wants `STYLE`.
    """
    rows = np.arange(len(answers))
    groups = {"Samples": rows}
    if worth is not None:
        groups = {"Answered right": rows[worth >= 0.5], "Answered wrong": rows[worth < 0.5]}
    for title, group in groups.items():
        chosen = [group[round(i)] for i in np.linspace(0, len(group) - 1, min(len(group), _SHOWN))]
        if chosen:
            found = _explained(task, records, chosen, options)
            cards = [
                _card(task, records, answers[row], row, worth, each)
                for row, each in zip(chosen, found, strict=True)
            ]
            body = f'<div class="asked">\n{chr(10).join(cards)}\n</div>'
            yield section(title, body, _lead(found, len(group)))


def _explained(task, records, rows, options):
    """What `explain` and `grad_cam` tell of some records, where they tell anything."""
    if not any(ways(task)):
        return [{} for _ in rows]
    pictured = picture_grid(task) is not None
    few = {name: [values[row] for row in rows] for name, values in records.items()}
    found = explain(task, few, **options)
    heats = grad_cam(task, few, **options) if pictured else [None for _ in rows]
    return [{**each, "heat": heat} for each, heat in zip(found, heats, strict=True)]


def _lead(found, rows):
    lead = f"Evenly spread over {rows:,}."
    if any(each.get("words") for each in found):
        lead += " The deeper a word is shaded, the more of the answer rests on it."
    if any(each.get("photo") is not None for each in found):
        lead += (
            " Attention shows which places were read, Grad-CAM which of them speak for the answer; "
            "pale yellow is most, each relative to its own most."
        )
    return lead


def _card(task, records, answer, row, worth, found):
    inner = [
        *_text(task, records, row, found),
        *_sounds_and_readings(task, records, row),
        *_answer(task, records, answer, row, worth),
        _best(found.get("best", [])),
        _foot(records, row, found),
    ]
    return (
        f'<article class="card">\n{_pictures(task, records, row, found)}\n'
        f'<div class="told-of">\n{chr(10).join(filter(None, inner))}\n</div></article>'
    )


def _pictures(task, records, row, found):
    tiles = [
        (overlay(photo, side=_TILE), name, f"{name} of record {row}")
        for name, photo in seen(task, records, row).items()
    ]
    photo = found.get("photo")
    if photo is not None:
        if found["method"] == "attention":
            looked = overlay(photo, found["map"], side=_TILE)
            tiles.append((looked, "attention", f"Attention of record {row}"))
        heat = overlay(photo, found["heat"], side=_TILE)
        tiles.append((heat, "Grad-CAM", f"Grad-CAM of record {row}"))
    figures = "\n".join(
        f"<figure>{image(shown, alt)}<figcaption>{escaped(title)}</figcaption></figure>"
        for shown, title, alt in tiles
    )
    return f'<div class="looked">\n{figures}\n</div>' if tiles else ""


def _text(task, records, row, found):
    """The words as the model read them, shaded, and the text where it was another."""
    for name, field in task.preprocessor.inputs.items():
        text = records.get(name, {row: None})[row]
        if not hasattr(field, "tokenizer") or is_missing(text):
            continue
        words = found.get("words", []) if name == text_input(task) else []
        most = max([*found.get("weights", []), 1e-9])
        shaded = [
            f'<span style="--weight: {weight / most:.3f}">{escaped(word)}</span>'
            for word, weight in zip(words, found.get("weights", []), strict=False)
        ]
        if shaded:
            yield f'<p class="read" dir="auto">{" ".join(shaded)}</p>'
        text = field.load(text)
        if "".join(words) != "".join(text.lower().split()):
            yield f'<p class="told" dir="auto">{escaped(text)}</p>'


def _sounds_and_readings(task, records, row):
    for name, field in task.preprocessor.inputs.items():
        value = records.get(name, {row: None})[row]
        if is_missing(value):
            if not hasattr(field, "tokenizer"):
                yield f'<p class="told">no {escaped(name)}</p>'
        elif hasattr(field, "sample_rate"):
            yield player(np.asarray(field.signal(field.load(value))), field.sample_rate)
        elif hasattr(field, "shape"):
            yield _readings(name, field.load(value))


def _readings(name, numbers):
    if numbers.ndim > 1 or numbers.size > _NUMBERS:
        shape = " x ".join(map(str, numbers.shape))
        return f'<p class="told">{escaped(name)}: {shape} numbers</p>'
    cells = "".join(f"<td>{number:.4g}</td>" for number in numbers)
    return (
        f'<div class="wide"><table class="readings"><tbody><tr><th scope="row">{escaped(name)}</th>'
        f"{cells}</tr></tbody></table></div>"
    )


def _answer(task, records, answer, row, worth):
    kind = "" if worth is None else " right" if worth[row] >= 0.5 else " wrong"
    yield f'<p class="answer{kind}" dir="auto">{escaped(answer) or "<i>(empty)</i>"}</p>'
    if worth is not None:
        (target,) = task.preprocessor.targets
        given = records[target][row]
        if not isinstance(given, str):
            counts = collections.Counter(given).most_common()
            told = [f"{text} {count} of {len(given)}" for text, count in counts]
            given = ", ".join(told) or "no answer"
        elif worth[row] == 1:
            return
        yield f'<p class="told" dir="auto">right: {escaped(given)}</p>'


def _best(best):
    best = [(name, share) for name, share in best if share >= _LEAST] if len(best) > 1 else []
    lines = "".join(
        f'<dt dir="auto">{escaped(name)}</dt><dd><i style="width: {100 * share:.1f}%"></i></dd>'
        f"<dd>{100 * share:.1f} %</dd>"
        for name, share in best
    )
    return f'<dl class="best">{lines}</dl>' if lines else ""


def _foot(records, row, found):
    told = [f"record {row}"]
    told += [
        str(records[name][row]) for name in ("question_type", "answer_type") if name in records
    ]
    shares = found.get("shares", {})
    if len(shares) > 1:
        told.append("read " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items()))
    return f'<p class="row">{escaped(" · ".join(told))}</p>'


STYLE = """
.asked {
  display: grid; gap: 1.25rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 460px), 1fr));
}
.looked { display: grid; grid-template-columns: repeat(3, 1fr); gap: 2px; }
.looked figcaption { color: var(--soft); font-size: .75rem; padding: .2rem .5rem 0; }
.told-of {
  display: flex; flex-direction: column; flex: 1; gap: .45rem; padding: .8rem .95rem .75rem;
}
.read { line-height: 1.75; overflow-wrap: anywhere; }
.read span {
  padding: .1rem .22rem; border-radius: 4px;
  background: color-mix(in srgb, var(--valid) calc(var(--weight) * 60%), transparent);
}
.answer.right::before { content: "✓ "; color: var(--train); }
.answer.wrong::before { content: "✗ "; color: var(--valid); }
.best {
  display: grid; grid-template-columns: fit-content(9rem) 1fr 3.6rem; gap: .15rem .6rem;
  margin: 0; font-size: .8125rem; align-items: center;
}
.best dt { overflow-wrap: anywhere; }
.best dd { margin: 0; color: var(--soft); text-align: right; font-variant-numeric: tabular-nums; }
.best i { display: block; height: .6rem; border-radius: 2px; background: var(--train); }
.readings { font-size: .8125rem; }
.readings th, .readings td { padding: .2rem .8rem .2rem 0; border: 0; }
.told-of .row { margin-top: auto; }
"""
