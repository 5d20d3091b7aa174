"""The card of an export: what it is, for people who did not make it."""

import math
from pathlib import Path

from mmkeras import __version__

CARD = Path("assets.extra", "model_card.md")
# What only people can tell, in their order.
TOLD = {
    "data": "Data",
    "scores": "Scores",
    "languages": "Languages",
    "licence": "Licence",
    "limits": "Limits",
}
UNTOLD = "Not told by whoever exported it."


def check_card(card):
    """The card as a dict, with all that can be told.

    Raises:
        ValueError: it is no dict, or tells something else.
    """
    card = card or {}
    if not isinstance(card, dict) or not set(card) <= set(TOLD):
        raise ValueError(f"`card` should be a dict of {list(TOLD)}. Received: card={card!r}")
    return card


def write_card(path, task, signatures, outputs, card, stored):
    """Writes the card of a task into a version directory.

    Args:
        path: The version directory.
        task: The `Task`.
        signatures: What each signature takes, a dict of dicts of specs by name.
        outputs: The names of what each signature gives, a dict of lists.
        card: As `check_card` gives it: `{"data": text, "scores": {name: number}, ...}`.
        stored: Sentences: what weights are stored as, and what that changes.
    """
    fields = task.preprocessor
    weights = sum(math.prod(weight.shape) for weight in task.weights)
    lines = [
        f"# {task.name}",
        "",
        f"A model of mmkeras {__version__}, {weights:,} weights, as a SavedModel for TensorFlow "
        "Serving.",
        "",
        "| | name | kind | |",
        "| --- | --- | --- | --- |",
    ]
    for role, several in (("input", fields.inputs), ("answer", fields.targets)):
        for name, field in several.items():
            optional = "may be missing" if field.optional else ""
            lines.append(f"| {role} | `{name}` | {type(field).__name__} | {optional} |")
    lines += ["", "## Signatures", "", "| signature | takes | gives |", "| --- | --- | --- |"]
    for name, specs in signatures.items():
        lines.append(f"| `{name}` | {_listed(specs)} | {_listed(outputs[name])} |")
    lines += ["", "## Weights", "", " ".join(stored)]
    for key, title in TOLD.items():
        lines += ["", f"## {title}", "", _told(card.get(key))]
    (path / CARD).parent.mkdir(exist_ok=True)
    (path / CARD).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _listed(names):
    return ", ".join(f"`{name}`" for name in names)


def _told(value):
    if isinstance(value, dict):
        rows = (f"| {name} | {_number(number)} |" for name, number in value.items())
        return "\n".join(["| | |", "| --- | --- |", *rows])
    if isinstance(value, (list, tuple)):
        return "\n".join(f"- {each}" for each in value)
    return UNTOLD if value is None else str(value)


def _number(value):
    return f"{value:.4g}" if isinstance(value, float) else value
