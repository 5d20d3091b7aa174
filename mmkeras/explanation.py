"""Where each word of an answer looked: attention laid over the picture."""

import contextlib
import functools
import io
import os
import re
from pathlib import Path

import keras
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from mmkeras.layers import FlattenGrid
from mmkeras.preprocessing import Image

_TILE, _GAP, _TITLE, _HEADER = 224, 14, 26, 44
_INK, _FAINT, _PAPER = (26, 26, 30), (110, 110, 118), (255, 255, 255)
# From nothing to most: violet, red, orange, pale yellow, of equal steps in lightness.
_HEAT = np.array([(40, 11, 84), (101, 21, 110), (188, 55, 84), (245, 125, 21), (252, 243, 160)])
# Pillow's own font has ASCII only. These are looked for, in this order, for what it lacks.
_FONTS = ("DejaVuSans.ttf", "Arial.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "msyh.ttc")
# A script without spaces has words of one character; elsewhere a word ends at spaces and marks.
_SPACELESS = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_MARKS = r"!-&(-,./:-@\[-`{-~\u2010-\u2027\u3000-\u303f\uff00-\uff0f"
_WORD = re.compile(rf"[{_SPACELESS}]|[^\s{_MARKS}{_SPACELESS}]+|[{_MARKS}]")


def explain(task, records, path=None, batch_size=32, **options):
    """Tells where on the picture each word of an answer looked.

    The weights are those of the decoder's attention over the context (the cross-attention of a
    Transformer is averaged over its layers and heads as the decoder gives it), so that they show
    what the decoder read, not why. A word of several tokens looked where these did on average.

    Args:
        task: A Task with one text target and an `Image` input whose encoder keeps a grid.
        records: Columns of its inputs; others are ignored.
        path: Where to write pictures: a folder, which gets `000.png` and so on, one per record,
            or a `.png` file for one record. None writes none.
        batch_size: Records at once.
        **options: Of the search, such as `beam_width=4`, see `mmkeras.decoders.search.search`;
            not `n_best` or `samples`, as one answer is explained.

    Returns:
        A list of one dict per record: the target's name (such as `"caption"`) -> the answer;
        `"score"`; `"words"`, a list of str; `"share"`, float32 `(words,)`, how much of its
        attention a word spent on the picture and not on other inputs; `"maps"`, float32
        `(words, grid height, grid width)`, which sum to 1 per word (to 0 where the share is 0);
        `"photo"`, uint8 `(height, width, 3)`, the picture as the model saw it.

    Raises:
        ValueError: if the task has no picture to look at, or `path` does not fit the records.

    Example:

    ```python
    import mmkeras as mm

    (found,) = mm.explain(model, {"image": ["photo.jpg"]}, "looked.png", beam_width=4)
    print(found["words"], found["maps"].shape)
    ```
    """
    grid = attention_grid(task)
    if grid is None:
        raise ValueError(
            "`task` should have one text target and an Image input whose encoder gives a grid "
            "(a FlattenGrid layer): attention is laid over the picture by it. Received: inputs "
            f"{sorted(task.preprocessor.inputs)}, targets {sorted(task.preprocessor.targets)}"
        )
    several = sorted({"n_best", "samples"} & set(options))
    if several:
        raise ValueError(f"`{several[0]}` should not be given: one answer is explained")
    (target,) = task.preprocessor.targets
    columns = task.preprocessor.load(_inputs(task, records))
    rows = len(columns[grid[0]])
    files = _files(path, rows)
    found = []
    for start in range(0, rows, batch_size):
        part = {name: values[start : start + batch_size] for name, values in columns.items()}
        found += _explained(task, target, grid, part, options)
    for file, each in zip(files, found, strict=False):
        write_whole(file, png(draw(each, each[target])))
    return found


def attention_grid(task):
    """Which part of the context is a picture.

    Args:
        task: A Task.

    Returns:
        `(input name, first place in the context, (height, width))`, or None without one.
    """
    if len(task.preprocessor.targets) != 1:
        return None
    if not hasattr(task.get_layer(next(iter(task.preprocessor.targets))), "attention"):
        return None
    start, names = 0, {layer.name for layer in task.layers}
    for name, field in task.preprocessor.inputs.items():
        layer = _grid_layer(task, name) if isinstance(field, Image) else None
        if layer is not None:
            return name, start, layer.grid
        # Other fusions than concatenation along time leave nothing in its place.
        if f"{name}_projection" not in names:
            return None
        length = task.get_layer(f"{name}_projection").output.shape[1]
        if length is None:
            return None
        start += length
    return None


def _grid_layer(task, name):
    for layer in task.layers:
        if isinstance(layer, FlattenGrid):
            try:
                keras.Model(task.input[name], layer.output)
            except ValueError:  # it depends on another input
                continue
            return layer
    return None


def seen(task, records, row):
    """The pictures of a record as the model sees them.

    Args:
        task: A Task.
        records: Columns of its inputs.
        row: Which record.

    Returns:
        Dict of uint8 `(height, width, 3)` by name of an `Image` input.
    """
    return {
        name: field(field.load(records[name][row])).numpy()
        for name, field in task.preprocessor.inputs.items()
        if isinstance(field, Image)
    }


def _inputs(task, records):
    if not isinstance(records, dict):
        return records
    return {name: records[name] for name in records if name in task.preprocessor.inputs}


def _files(path, rows):
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


def _explained(task, target, grid, columns, options):
    name, start, (height, width) = grid
    raw = task.raw_tensors(columns)
    answers = {k: v.numpy() for k, v in task.serve_function("explain", **options)(raw).items()}
    photos = [task.preprocessor.inputs[name](value).numpy() for value in columns[name]]
    separator = task.preprocessor.targets[target].tokenizer.separator
    for row, photo in enumerate(photos):
        attention = answers[f"{target}_attention"][row].astype("float32")
        words, tokens = _words(answers[f"{target}_tokens"][row], separator)
        looked = [attention[places].mean(axis=0) for places in tokens]
        looked = np.reshape(looked, (len(words), attention.shape[-1])).astype("float32")
        maps = looked[:, start : start + height * width]
        sums = maps.sum(axis=1, keepdims=True)
        maps = maps / np.maximum(sums, np.finfo("float32").tiny)
        yield {
            target: answers[target][row].decode("utf-8", "replace"),
            "score": float(answers["score"][row]),
            "words": words,
            "maps": maps.reshape(-1, height, width),
            "share": sums[:, 0],
            "photo": photo,
        }


def _words(tokens, separator):
    """Token spellings, empty after the end -> words, and the places of the tokens of each."""
    tokens = tokens[: next((i for i, token in enumerate(tokens) if not token), len(tokens))]
    if separator:
        words = [token.decode("utf-8", "replace") for token in tokens]
        return words, [[place] for place in range(len(words))]
    # Pieces may end within a character: bytes that are no text keep their place as surrogates.
    text = b"".join(tokens).decode("utf-8", "surrogateescape")
    place = np.repeat(np.arange(len(tokens)), [len(token) for token in tokens])
    words, places = [], []
    for match in _WORD.finditer(text):
        first = len(text[: match.start()].encode("utf-8", "surrogateescape"))
        word = match[0].encode("utf-8", "surrogateescape")
        words.append(word.decode("utf-8", "replace"))
        places.append(np.unique(place[first : first + len(word)]))
    return words, places


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


def draw(found, caption):
    """One picture of an explanation: the photo, then a tile per word.

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
    lines = -(-len(tiles) // columns)
    width, height = tiles[0][0].size
    across, down = width + _GAP, height + _GAP + _TITLE
    page = PIL.Image.new(
        "RGB", (max(3, columns) * across + _GAP, _HEADER + lines * down + _GAP // 2), _PAPER
    )
    pen = PIL.ImageDraw.Draw(page)
    _write(pen, (_GAP, _GAP), caption, 20, _INK, page.width - 2 * _GAP)
    for i, (tile, title, ink) in enumerate(tiles):
        x, y = _GAP + i % columns * across, _HEADER + i // columns * down
        _write(pen, (x, y + 4), title, 15, ink, width)
        page.paste(tile, (x, y + _TITLE))
    return page


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
