"""Scenes from a seed, with some that only the test split shows."""

import itertools
import math

import numpy as np

from mmkeras.data.world.drawing import png, render
from mmkeras.data.world.meaning import INVERSE, gist, relation, spread
from mmkeras.data.world.scene import (
    COLORS,
    SHAPES,
    SIZES,
    TEXTURES,
    Background,
    Object,
    Scene,
    check_whole,
)
from mmkeras.data.world.sentences import captions

SPLITS = ("train", "valid", "test")

# Seen only in the test split: every shape once, in a colour of its own.
HELD_OUT_LOOKS = {
    ("circle", "purple"),
    ("square", "green"),
    ("triangle", "orange"),
    ("star", "blue"),
    ("cross", "yellow"),
    ("heart", "black"),
}
HELD_OUT_RELATIONS = {
    (first, words, second)
    for words, ring in (
        ("above", ("circle", "star", "heart", "square", "cross", "triangle")),
        ("left of", ("circle", "heart", "cross", "star", "square", "triangle")),
    )
    for first, second in zip(ring, (*ring[1:], ring[0]), strict=True)
}


def held_out(scene):
    """What a scene holds of that which only the test split shows.

    Args:
        scene: a `Scene`.

    Returns:
        Set of members of `HELD_OUT_LOOKS` and `HELD_OUT_RELATIONS`.
    """
    looks = {thing.look[:2] for thing in scene.objects}
    pairs = itertools.permutations(scene.objects, 2)
    seen = {(a.shape, relation([a], [b]), b.shape) for a, b in pairs}
    # What is said of a group need not hold for one of it alone.
    what = gist(scene)
    shape = what.subject[0].shape
    for things in what.others:
        seen |= {
            (shape, what.relation, things[0].shape),
            (things[0].shape, INVERSE.get(what.relation), shape),
        }
    return (looks & HELD_OUT_LOOKS) | (seen & HELD_OUT_RELATIONS)


# How often, how the objects are set out, and how many there are of each look.
_PLANS = [
    (26, "alone", (1,)),
    *[(4, "line", (2,)), (4, "line", (3,)), (2, "line", (4,))],
    *[(3, "loose", (2,)), (4, "loose", (3,)), (2, "loose", (4,))],
    *[(18, "apart", (1, 1)), (8, "apart", (1, 2)), (3, "apart", (1, 3)), (4, "apart", (2, 2))],
    *[(6, "apart", (1, 1, 1)), (2, "apart", (1, 1, 2)), (2, "apart", (2, 1, 1))],
    *[(6, "between", (1, 2)), (5, "between", (1, 1, 1))],
    (4, "corners", (1, 1)),
]
_MEANT = {
    "alone": {"place"},
    "line": {"row", "column"},
    "loose": {"group"},
    "apart": set(INVERSE),
    "between": {"between"},
    "corners": {"place"},
}


def pick(choices, rng):
    return choices[int(rng.random() * len(choices))]


_PLAN_DECK = [plan for weight, *plan in _PLANS for _ in range(weight)]


def _compose(rng, novel):
    # The plan stands whatever is drawn again, so that crowded scenes are not the rarer for it.
    plan, counts = pick(_PLAN_DECK, rng)
    while True:
        looks = [_look(rng) for _ in counts]
        known = HELD_OUT_LOOKS.isdisjoint(look[:2] for look in looks)
        if len(set(looks)) < len(looks) or not (known or novel):
            continue
        looks = [look for look, count in zip(looks, counts, strict=True) for _ in range(count)]
        for _ in range(20):
            things = _set_out(plan, counts, looks, rng)
            if not _is_clear(plan, things):
                continue
            # Any order, so that the order does not tell which is the subject.
            things = tuple(things[i] for i in rng.permutation(len(things)))
            if bool(held_out(Scene(things))) == novel:
                return Scene(things, background(rng))
            break


def _look(rng):
    texture = pick(("plain", *TEXTURES), rng)
    return *(pick(tuple(words), rng) for words in (SHAPES, COLORS, SIZES)), texture


def background(rng):
    start = _tint(rng)
    return Background(
        start=start,
        end=pick((start, _tint(rng)), rng),
        angle=round(rng.uniform(0, 360), 1),
        noise=round(rng.uniform(0, 8), 2),
        seed=int(rng.integers(2**31)),
    )


def _tint(rng):
    return tuple(int(t) for t in np.clip(rng.uniform(150, 250) + rng.uniform(-25, 25, 3), 0, 255))


def vary(rng):
    """How an object differs from what its words say."""
    return {
        "angle": rng.uniform(-14, 14),
        "scale": rng.uniform(0.94, 1.06),
        "shade": rng.uniform(-0.12, 0.12),
    }


def _set_out(plan, counts, looks, rng):
    variety = [vary(rng) for _ in looks]
    reach = [
        SIZES[look[2]] * more["scale"] + 0.01 for look, more in zip(looks, variety, strict=True)
    ]
    zones = _zones(plan, counts, max(reach), rng)
    spots = [
        [_uniform(max(low, r), min(high, 1 - r), rng) for low, high in zone]
        for zone, r in zip(zones, reach, strict=True)
    ]
    swap, *flips = rng.random(3) < 0.5
    spots = [
        [1 - at if flip else at for at, flip in zip(spot, flips, strict=True)] for spot in spots
    ]
    return [
        Object(*look, *(spot[::-1] if swap else spot), **more)
        for look, spot, more in zip(looks, spots, variety, strict=True)
    ]


def _uniform(low, high, rng):
    # A range turned round (no room for what should fit) gives a scene that is not clear.
    return low + (high - low) * rng.random()


def _zones(plan, counts, reach, rng):
    """Where each object's centre may lie: a range along, a range across."""
    count = sum(counts)
    if plan == "alone":
        return [[pick(((0, 0.3), (0.44, 0.56)), rng) for _ in range(2)]]
    if plan == "corners":
        return [((0, 0.3), (0, 0.3)), ((0.7, 1), (0.7, 1))]
    if plan == "line":
        step = _uniform(2 * reach, (1 - 2 * reach) / (count - 1), rng)
        start = _uniform(reach, 1 - reach - step * (count - 1), rng)
        across = _uniform(reach, 1 - reach, rng)
        return [((start + step * i,) * 2, (across - 0.01, across + 0.01)) for i in range(count)]
    if plan == "between":
        middle = rng.uniform(0.15, 0.85)
        band = (middle - 0.07, middle + 0.07)
        return [((0.4, 0.6), band), ((0, 0.28), band), ((0.72, 1), band)]
    if plan == "apart":
        cut, first = rng.uniform(0.35, 0.65), counts[0]
        facing = (0.25, 0.75) if first == 1 < count - 1 else (0, 1)
        return [((0, cut - 0.1), facing)] * first + [((cut + 0.1, 1), (0, 1))] * (count - first)
    return [((0, 1), (0, 1))] * count


def _is_clear(plan, things):
    if not (lie_apart(things) and gist(Scene(tuple(things))).relation in _MEANT[plan]):
        return False
    return plan != "loose" or min(spread(things)) > 0.35 * max(spread(things))


def lie_apart(things):
    """Whether all objects are whole in the picture, and none touches another."""
    inside = all(t.radius < at < 1 - t.radius for t in things for at in (t.x, t.y))
    return inside and all(
        math.hypot(a.x - b.x, a.y - b.y) > a.radius + b.radius + 0.01
        for a, b in itertools.combinations(things, 2)
    )


def world(count, seed=0, size=64, split="train"):
    """Scenes of the built-in world, as records.

    A scene depends on `seed`, `split` and its own number alone, so a longer list begins with the
    shorter. The test split alone shows `HELD_OUT_LOOKS` and `HELD_OUT_RELATIONS`: every second
    scene of it, from the first on, holds one of these or more, and the others hold none.

    Args:
        count: number of scenes.
        seed: whole number, 0 or more.
        size: side of the images in pixels, 8 or more.
        split: `"train"`, `"valid"` or `"test"`.

    Returns:
        Dict of equally long lists: `"image"` (PNG bytes), `"caption"` (lists of five strings) and
        `"scene"` (dicts, for `Scene.from_dict`).

    Raises:
        ValueError: an argument is out of its range.

    Example:

    >>> records = world(2, size=32)
    >>> len(records["image"]), len(records["caption"][0])
    (2, 5)
    """
    check_whole("count", count, 1)
    check_whole("seed", seed, 0)
    check_whole("size", size, 8)
    if split not in SPLITS:
        raise ValueError(f"`split` should be one of {list(SPLITS)}. Received: split={split!r}")
    records = {"image": [], "caption": [], "scene": []}
    for index in range(count):
        rng = np.random.default_rng([seed, SPLITS.index(split), index])
        scene = _compose(rng, novel=split == "test" and index % 2 == 0)
        records["image"].append(png(render(scene, size)))
        records["caption"].append(captions(scene, rng))
        records["scene"].append(scene.to_dict())
    return records


def read_world(root=None, train=4000, valid=500, test=500, seed=0, size=64):
    """The three splits of the built-in world.

    Args:
        root: `None`; here because every reader takes one, while this one reads no files.
        train: number of scenes to train on.
        valid: number of scenes to validate on.
        test: number of scenes to test on.
        seed: whole number, 0 or more.
        size: side of the images in pixels, 8 or more.

    Returns:
        Tuple `(train, valid, test)` of records as `world` gives them.

    Raises:
        ValueError: an argument is out of its range.

    Example:

    >>> train, valid, test = read_world(train=4, valid=2, test=2, size=32)
    >>> len(train["image"])
    4
    """
    if root is not None:
        raise ValueError(f"`root` should be None: the world is made, not read. Received: {root=}")
    counts = {"train": train, "valid": valid, "test": test}
    for split, count in counts.items():
        check_whole(split, count, 1)
    return tuple(world(count, seed, size, split) for split, count in counts.items())
