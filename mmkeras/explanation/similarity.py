"""How well each of some things matches each of others, and what was found, as one picture."""

import numpy as np
import PIL.Image
import PIL.ImageDraw

from mmkeras.explanation.drawing import (
    _GAP,
    _HEAT,
    _INK,
    _PAPER,
    _font,
    _write,
    overlay,
    png,
    write_whole,
)

# Pixels: room for a text beside a row, and of all columns together.
_TEXT, _ACROSS = 320, 1120
_LARGEST, _SMALLEST = 112, 24
_RIGHT = (40, 150, 80)


def draw_similarity(similarities, rows, columns, path=None):
    """Draws a matrix `a(i, j)`: captions against photos, or words against regions of a picture.

    A cell is the lighter, the greater its value among all; the greatest of each row is framed.

    Args:
        similarities: Array `(rows, columns)`, such as a product of two results of `Task.embed`, or
            what a `Similarity` layer gives of one example.
        rows, columns: What stands at the side and above: strings, or pictures as uint8
            `(height, width, 3)`.
        path: Of a `.png` file to write; None for none.

    Returns:
        A `PIL.Image.Image`.

    Raises:
        ValueError: if there are not as many labels as rows and columns, or a value is not finite.

    Example:

    ```python
    import mmkeras as mm

    field = model.preprocessor.inputs["image"]
    cosines = model.embed("caption", captions) @ model.embed("image", photos).T
    pixels = [field(field.load(photo)).numpy() for photo in photos]
    mm.draw_similarity(cosines, captions, pixels, "matrix.png")
    ```
    """
    values = np.asarray(similarities, "float32")
    if values.shape != (len(rows), len(columns)) or not values.size or not _finite(values):
        raise ValueError(
            f"`similarities` should be finite, of shape ({len(rows)}, {len(columns)}), as the "
            f"labels are, and not empty. Received: shape {values.shape}"
        )
    side = int(np.clip(_ACROSS // len(columns), _SMALLEST, _LARGEST))
    left = _GAP + (_TEXT if any(isinstance(row, str) for row in rows) else side)
    top = _GAP + side
    page = PIL.Image.new(
        "RGB", (left + side * len(columns) + _GAP, top + side * len(rows) + _GAP), _PAPER
    )
    pen = PIL.ImageDraw.Draw(page)
    for j, column in enumerate(columns):
        _label(page, pen, column, (left + side * j, _GAP), side, side)
    low, high = values.min(), values.max()
    for i, row in enumerate(rows):
        y = top + side * i
        _label(page, pen, row, (_GAP, y), left - _GAP, side)
        for j, value in enumerate(values[i]):
            x = left + side * j
            colour = _colour((value - low) / max(high - low, 1e-9))
            pen.rectangle((x, y, x + side - 2, y + side - 2), colour)
            if side > 40:
                ink = _INK if sum(colour) > 330 else _PAPER
                _write(pen, (x + 6, y + side - 24), f"{value:.2f}", 14, ink, side)
        best = left + side * int(values[i].argmax())
        pen.rectangle((best, y, best + side - 2, y + side - 2), outline=_INK, width=3)
    return _written(page, path)


def draw_search(queries, found, path=None):
    """Draws searches: what was sought, then what was found with its score, the best first.

    Args:
        queries: Strings, or pictures as uint8 `(height, width, 3)`.
        found: For each of them a list of `(what, score)`, or of `(what, score, right)`, of which
            the right ones are framed; what was found is a string or a picture.
        path: Of a `.png` file to write; None for none.

    Returns:
        A `PIL.Image.Image`.

    Raises:
        ValueError: if there is no query, or something was found for another number of queries.

    Example:

    ```python
    import mmkeras as mm

    field = model.preprocessor.inputs["image"]
    found = mm.Index(model).add("image", "holiday/").search("caption", ["a dog in the snow"], k=5)
    found = [[(field(field.load(path)).numpy(), score) for path, score in row] for row in found]
    mm.draw_search(["a dog in the snow"], found, "found.png")
    ```
    """
    if not len(queries) or len(found) != len(queries):
        raise ValueError(
            f"`found` should be a list for each of {len(queries)} queries, at least one. "
            f"Received: {len(found)} lists"
        )
    left = _GAP + (_TEXT if any(isinstance(query, str) for query in queries) else _LARGEST + _GAP)
    texts = any(isinstance(what, str) for row in found for what, *_ in row)
    width, height = (_TEXT // 2 if texts else _LARGEST), _LARGEST + 24
    size = (left + width * max(map(len, found)) + _GAP, height * len(queries) + _GAP)
    page = PIL.Image.new("RGB", size, _PAPER)
    pen = PIL.ImageDraw.Draw(page)
    for i, (query, row) in enumerate(zip(queries, found, strict=True)):
        y = _GAP + height * i
        _label(page, pen, query, (_GAP, y), left - _GAP, _LARGEST)
        for j, (what, score, *right) in enumerate(row):
            x = left + width * j
            _label(page, pen, what, (x, y), width, _LARGEST)
            _write(pen, (x, y + _LARGEST), f"{score:.2f}", 14, _INK, width)
            if any(right):
                box = (x - 4, y - 4, x + width - 5, y + _LARGEST + 18)
                pen.rectangle(box, outline=_RIGHT, width=3)
    return _written(page, path)


def _written(page, path):
    if path is not None:
        write_whole(path, png(page))
    return page


def _finite(values):
    return bool(np.isfinite(values).all())


def _label(page, pen, label, place, width, height):
    """A picture as it fits, or a text in as many lines as fit."""
    x, y = place
    if not isinstance(label, str):
        page.paste(overlay(np.asarray(label), side=height - 2), place)
        return
    lines = [""]
    for word in label.split():
        longer = f"{lines[-1]} {word}".strip()
        if pen.textlength(longer, _font(longer, 14)) > width - 8 and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    for i, line in enumerate(lines[: max(1, height // 18)]):
        _write(pen, (x, y + 18 * i), line, 14, _INK, width - 8)


def _colour(share):
    steps = np.linspace(0, 1, len(_HEAT))
    return tuple(round(float(np.interp(share, steps, channel))) for channel in _HEAT.T)
