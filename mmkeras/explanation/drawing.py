"""Drawings: attention over a picture, words beside it, files that are whole or not there."""

import contextlib
import functools
import io
import math
import os
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

_TILE, _GAP, _TITLE, _HEADER = 224, 14, 26, 44
_LINE, _TEXT = 28, 15
_INK, _FAINT, _PAPER = (26, 26, 30), (110, 110, 118), (255, 255, 255)
_SHADE, _BAR = (255, 176, 92), (90, 140, 230)
# From nothing to most: violet, red, orange, pale yellow, of equal steps in lightness.
_HEAT = np.array([(40, 11, 84), (101, 21, 110), (188, 55, 84), (245, 125, 21), (252, 243, 160)])
# Pillow's own font has ASCII only. These are looked for, in this order, for what it lacks.
_FONTS = ("DejaVuSans.ttf", "Arial.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "msyh.ttc")


def overlay(photo, weights=None, side=_TILE):
    """Lays attention over a picture.

    Args:
        photo: uint8 `(height, width, 3)`.
        weights: Attention `(grid height, grid width)`, shown relative to its largest; None for
            the picture alone.
        side: The longer side of the result in pixels.

    Returns:
        A `PIL.Image.Image`.
    """
    picture = PIL.Image.fromarray(photo)
    scale = side / max(picture.size)
    size = tuple(max(1, round(x * scale)) for x in picture.size)
    picture = picture.resize(size, PIL.Image.Resampling.LANCZOS)
    if weights is None:
        return picture
    smooth = PIL.Image.fromarray(weights.astype("float32"))
    smooth = np.asarray(smooth.resize(size, PIL.Image.Resampling.BICUBIC))
    heat = np.clip(smooth / max(smooth.max(), np.finfo("float32").tiny), 0, 1)
    steps = np.linspace(0, 1, len(_HEAT))
    colour = np.stack([np.interp(heat, steps, channel) for channel in _HEAT.T], axis=-1)
    grey = np.asarray(picture.convert("L"), "float32")[..., None]
    # Less colour and light in the picture, so that the heat is what stands out.
    under = 0.4 * np.asarray(picture, "float32") + 0.45 * grey
    alpha = 0.75 * heat[..., None] ** 0.7
    return PIL.Image.fromarray(np.uint8(under * (1 - alpha) + colour * alpha + 0.5))


def draw_words(found, caption):
    """One picture of an explanation by words: the photo, then a tile per word.

    Args:
        found: As `explain` gives it.
        caption: What stands above the tiles.

    Returns:
        A `PIL.Image.Image`.
    """
    tiles = [(overlay(found["photo"]), "photo", _FAINT)]
    for word, weights, share in zip(found["words"], found["maps"], found["share"], strict=True):
        title = word if share > 0.995 else f"{word}  {share:.0%}"
        tiles.append((overlay(found["photo"], weights), title, _INK))
    columns = min(len(tiles), max(3, round((1.7 * len(tiles)) ** 0.5)))
    return _page(caption, tiles, columns)[0]


def draw_heat(photo, heat, answer):
    """One picture of Grad-CAM: the photo, where there is one, and the heat of an answer over it.

    Args:
        photo: uint8 `(height, width, 3)`, or None.
        heat: `(grid height, grid width)`.
        answer: What stands above.

    Returns:
        A `PIL.Image.Image`.
    """
    return _page(answer, _heated(photo, heat, "Grad-CAM"), 2)[0]


def draw_answer(found, answer):
    """One picture of an explanation as a whole: the photo, the words of the text, the answers.

    Args:
        found: As `explain` gives it.
        answer: What stands above.

    Returns:
        A `PIL.Image.Image`.
    """
    method = {"attention": "attention", "gradient": "Grad-CAM"}[found["method"]]
    tiles = _heated(found["photo"], found["map"], method)
    lines = _lines(found["words"], found["weights"])
    bars = found["best"] if len(found["best"]) > 1 else []
    height = _LINE * (len(lines) + len(bars)) + _GAP * (bool(lines) + bool(bars))
    page, top = _page(answer, tiles, 2, height)
    pen = PIL.ImageDraw.Draw(page)
    for line in lines:
        for x, word, weight in line:
            box = (x - 3, top + 1, x + _wide(word) + 3, top + _LINE - 3)
            pen.rounded_rectangle(box, 4, _shade(weight))
            _write(pen, (x, top + 3), word, _TEXT, _INK, page.width)
        top += _LINE
    top += _GAP * bool(lines)
    left = _GAP + min(_TILE, 8 + max((_wide(name) for name, _ in bars), default=0))
    for name, share in bars:
        _write(pen, (_GAP, top + 3), name, _TEXT, _INK, left - _GAP - 8)
        room = page.width - left - _GAP - 52
        pen.rectangle((left, top + 5, left + room * share, top + _LINE - 8), _BAR)
        _write(pen, (left + room * share + 6, top + 3), f"{share:.1%}", _TEXT, _FAINT, 60)
        top += _LINE
    return page


def _heated(photo, heat, title):
    if photo is None:
        return []
    return [(overlay(photo), "photo", _FAINT), (overlay(photo, heat), title, _INK)]


def _page(caption, tiles, columns, more=0):
    """Tiles `(picture, title, ink)` under a caption, and where so many pixels more begin."""
    lines = -(-len(tiles) // columns)
    width, height = tiles[0][0].size if tiles else (_TILE, 0)
    across, down = width + _GAP, height + _GAP + _TITLE
    top = _HEADER + lines * down
    page = PIL.Image.new("RGB", (max(3, columns) * across + _GAP, top + more + _GAP // 2), _PAPER)
    pen = PIL.ImageDraw.Draw(page)
    _write(pen, (_GAP, _GAP), caption, 20, _INK, page.width - 2 * _GAP)
    for i, (tile, title, ink) in enumerate(tiles):
        x, y = _GAP + i % columns * across, _HEADER + i // columns * down
        _write(pen, (x, y + 4), title, 15, ink, width)
        page.paste(tile, (x, y + _TITLE))
    return page, top


def _lines(words, weights):
    """Words in lines that fit: lists of `(x, word, weight relative to the largest)`."""
    lines, x = [], math.inf
    for word, weight in zip(words, weights / max(weights.max(initial=0), 1e-9), strict=True):
        if x + _wide(word) > 3 * (_TILE + _GAP):
            lines.append([])
            x = _GAP
        lines[-1].append((x, word, weight))
        x += _wide(word) + 10
    return lines


def _wide(text):
    return _font(text, _TEXT).getlength(text)


def _shade(weight):
    return tuple(round(p + weight * (c - p)) for p, c in zip(_PAPER, _SHADE, strict=True))


def _write(pen, place, text, size, ink, room):
    font = _font(text, size)
    if pen.textlength(text, font) > room:
        while text and pen.textlength(text + "…", font) > room:
            text = text[:-1]
        text += "…"
    pen.text(place, text, ink, font)


@functools.lru_cache(maxsize=512)
def _font(text, size):
    """Of the fonts of this machine the first that lacks the fewest letters of a text."""
    fonts = [PIL.ImageFont.load_default(size)]
    for name in () if text.isascii() else _FONTS:
        with contextlib.suppress(OSError):
            fonts.append(PIL.ImageFont.truetype(name, size))
    return min(fonts, key=lambda font: _lacking(font, text))


def _lacking(font, text):
    blank = bytes(font.getmask("\uffff"))
    return sum(bytes(font.getmask(letter)) == blank for letter in set(text) - {" "})


def png(picture):
    """A `PIL.Image.Image` as the bytes of a PNG file."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def write_whole(path, data):
    """Writes a file so that at no moment a part of it stands under its name.

    Args:
        path: Of the file; folders are made where they lack.
        data: bytes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def picture_files(path, rows):
    """Paths of so many pictures: in a folder, or the one `.png` file; none for None."""
    if path is None:
        return []
    path = Path(path)
    if path.suffix.lower() == ".png":
        if rows != 1:
            raise ValueError(
                "`path` should be a folder, as only one record fits in a .png file. "
                f"Received: path={str(path)!r} and {rows} records"
            )
        return [path]
    if path.exists() and not path.is_dir():
        raise ValueError(f"`path` should be a folder or a .png file. Received: path={str(path)!r}")
    digits = max(3, len(str(rows - 1)))
    return [path / f"{row:0{digits}}.png" for row in range(rows)]
