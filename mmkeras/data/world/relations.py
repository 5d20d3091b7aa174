"""Sort-of-CLEVR: pictures of six objects, and questions that need relations between them."""

import collections

import numpy as np

from mmkeras.data.world.composing import SPLITS
from mmkeras.data.world.drawing import png
from mmkeras.data.world.scene import check_whole

CLEVR_COLORS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "orange": (255, 156, 0),
    "gray": (128, 128, 128),
    "yellow": (255, 255, 0),
}
CLEVR_SHAPES = ("circle", "square")
_RADIUS, _APART = 5 / 75, 0.2  # as shares of the image's side
_CLEAR = 0.01
_EACH = 10


def sort_of_clevr(count, seed=0, split="train", size=75):
    """Pictures and questions as those of Santoro et al. (2017), as records.

    Each picture has one object of each of six colors, a circle or a square, on white. There are
    ten questions about it that look at one object (its shape, left or right, top or bottom) and
    ten that relate it to the others (the shape of the closest and of the furthest, how many have
    its shape, itself among them). They are drawn without repetition, in words; what is too close
    to tell (0.01 of the side) is not asked. Paper: "A simple neural network module for relational
    reasoning", arXiv:1706.01427; there, questions are codes.

    Args:
        count: number of pictures.
        seed: whole number, 0 or more.
        split: `"train"`, `"valid"` or `"test"`.
        size: side of the images in pixels, 8 or more.

    Returns:
        Dict of equally long lists, 20 rows for each picture: `"image"` (PNG bytes), `"question"`,
        `"answer"`, `"question_type"` (`"relational"` or `"non_relational"`) and `"scene"` (lists
        of dicts with the color, shape, x and y of each object).

    Raises:
        ValueError: an argument is out of its range.

    Example:

    >>> records = sort_of_clevr(2)
    >>> len(records["question"]), set(records["question_type"]) == set(TYPES)
    (40, True)
    """
    for name, value, least in (("count", count, 1), ("seed", seed, 0), ("size", size, 8)):
        check_whole(name, value, least)
    if split not in SPLITS:
        raise ValueError(f"`split` should be one of {list(SPLITS)}. Received: split={split!r}")
    records = collections.defaultdict(list)
    for index in range(count):
        rng = np.random.default_rng([seed, SPLITS.index(split), index])
        scene = _compose(rng)
        image = png(draw_objects(scene, size))
        for kind, ask in TYPES.items():
            asked = ask(scene)
            for i in rng.permutation(len(asked))[:_EACH]:
                row = {"image": image, "question": asked[i][0], "answer": asked[i][1]}
                for name, value in {**row, "question_type": kind, "scene": scene}.items():
                    records[name].append(value)
    return dict(records)


def read_sort_of_clevr(root=None, train=9800, valid=200, test=200, seed=0, size=75):
    """The splits of Sort-of-CLEVR: as many pictures as in the paper, and a valid split besides.

    Args:
        root: `None`; here because every reader takes one, while this one reads no files.
        train: number of pictures to train on.
        valid: number of pictures to validate on.
        test: number of pictures to test on.
        seed, size: see `sort_of_clevr`.

    Returns:
        Tuple `(train, valid, test)` of records as `sort_of_clevr` gives them.

    Raises:
        ValueError: an argument is out of its range.

    Example:

    >>> train, valid, test = read_sort_of_clevr(train=4, valid=1, test=1)
    >>> len(train["question"])
    80
    """
    if root is not None:
        raise ValueError(f"`root` should be None: the data is made, not read. Received: {root=}")
    counts = {"train": train, "valid": valid, "test": test}
    for split, count in counts.items():
        check_whole(split, count, 1)
    return tuple(sort_of_clevr(count, seed, split, size) for split, count in counts.items())


def _compose(rng):
    while True:
        spots = []
        for x, y in rng.uniform(_RADIUS * 1.2, 1 - _RADIUS * 1.2, (80, 2)).tolist():
            if all((x - a) ** 2 + (y - b) ** 2 > _APART**2 for a, b in spots):
                spots.append((x, y))
        shapes = rng.integers(len(CLEVR_SHAPES), size=len(CLEVR_COLORS))
        scene = [
            {"color": color, "shape": CLEVR_SHAPES[shape], "x": x, "y": y}
            for color, shape, (x, y) in zip(CLEVR_COLORS, shapes, spots, strict=False)
        ]
        enough = len(scene) == len(CLEVR_COLORS)
        if enough and all(len(ask(scene)) >= _EACH for ask in TYPES.values()):
            return scene


def draw_objects(scene, size):
    """Draws a scene, anti-aliased.

    Args:
        scene: list of dicts with the color, shape, x and y of each object.
        size: side of the image in pixels.

    Returns:
        RGB image, uint8 `(size, size, 3)`.
    """
    pixels = np.full((size, size, 3), 255, np.float32)
    radius = _RADIUS * size
    for it in scene:
        (down, rows), (right, columns) = (_reach(it[axis] * size, radius, size) for axis in "yx")
        if it["shape"] == "circle":
            cover = np.clip(radius + 0.5 - np.hypot(down[:, None], right), 0, 1)
        else:
            down, right = (np.clip(radius + 0.5 - np.abs(away), 0, 1) for away in (down, right))
            cover = down[:, None] * right
        patch = pixels[rows, columns]
        patch += cover[..., None] * (np.float32(CLEVR_COLORS[it["color"]]) - patch)
    return np.round(pixels).astype(np.uint8)


def _reach(center, radius, size):
    """How far the pixels' middles are from a centre, of all that it may reach, and which."""
    span = slice(max(int(center - radius - 1), 0), min(int(center + radius + 2), size))
    return np.arange(span.start, span.stop) + 0.5 - center, span


def _about_one(scene):
    asked = []
    for it in scene:
        named = f"the {it['color']} object"
        asked.append((f"what is the shape of {named}?", it["shape"]))
        if abs(it["x"] - 0.5) > _CLEAR:
            side = "left" if it["x"] < 0.5 else "right"
            asked.append((f"is {named} on the left or on the right?", side))
        if abs(it["y"] - 0.5) > _CLEAR:
            side = "top" if it["y"] < 0.5 else "bottom"
            asked.append((f"is {named} at the top or at the bottom?", side))
    return asked


def _about_several(scene):
    asked = []
    spots = np.array([(it["x"], it["y"]) for it in scene])
    distances = np.hypot(*(spots[:, None] - spots).T)
    for it, row in zip(scene, distances.tolist(), strict=True):
        named = f"the {it['color']} object"
        _, closest, second, *_, other, furthest = np.argsort(row).tolist()
        for words, found, rival in (
            ("closest to", closest, second),
            ("furthest from", furthest, other),
        ):
            if abs(row[found] - row[rival]) > _CLEAR:
                asked.append(
                    (f"what is the shape of the object {words} {named}?", scene[found]["shape"])
                )
        alike = sum(other["shape"] == it["shape"] for other in scene)
        asked.append((f"how many objects have the shape of {named}?", _NUMBERS[alike]))
    return asked


_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")
TYPES = {"non_relational": _about_one, "relational": _about_several}
