"""Texts that tell what is where in the built-in world, and questions on them, as records."""

import numpy as np

from mmkeras.data.world.composing import HELD_OUT_LOOKS, SPLITS, pick
from mmkeras.data.world.scene import COLORS, SHAPES, SIZES, TEXTURES, check_whole

_PLACES = (
    *("in the middle", "at the top", "at the bottom", "on the left", "on the right"),
    *("in the top left corner", "in the top right corner"),
    *("in the bottom left corner", "in the bottom right corner"),
)
# The name comes first or last, so that an answer may begin with a capital or not.
_SENTENCES = (
    "{name} is {place}.",
    "There is {name} {place}.",
    "{place} there is {name}.",
    "{place}, we see {name}.",
)
_QUESTIONS = {
    "color": ("What color is the {shape}?", "Which color does the {shape} have?"),
    "size": ("What size is the {shape}?", "How large is the {shape}?"),
    "texture": ("What pattern does the {shape} have?", "What is the pattern of the {shape}?"),
    "place": ("Where is the {shape}?", "Where do we see the {shape}?"),
    "name": ("What is {place}?", "What do we see {place}?"),
}
_LACKING = 0.15  # of the questions; more have no answer because a text does not tell all


def world_texts(count, seed=0, split="train"):
    """Short texts on two to five things, each with a question whose answer stands in it, or not.

    No two things of a text have one shape, or one place. Size and pattern are not always told, and
    some questions are about a thing or a place that the text lacks: about a fifth have no answer.
    A record depends on `seed`, `split` and its own number alone; the test split alone tells of
    `HELD_OUT_LOOKS`.

    Args:
        count: number of texts.
        seed: whole number, 0 or more.
        split: `"train"`, `"valid"` or `"test"`.

    Returns:
        Records as `read_squad` gives them, with the columns `question`, `context`, `answer` and
        `answer_start`.

    Raises:
        ValueError: an argument is out of its range.

    Example:

    >>> records = world_texts(8)
    >>> records["context"][7]
    'A large plain purple square is at the bottom. At the top there is a small purple star.'
    >>> records["question"][7], records["answer"][7], records["answer_start"][7]
    ('What pattern does the square have?', ['plain'], [8])
    """
    check_whole("count", count, 1)
    check_whole("seed", seed, 0)
    if split not in SPLITS:
        raise ValueError(f"`split` should be one of {list(SPLITS)}. Received: split={split!r}")
    records = {"question": [], "context": [], "answer": [], "answer_start": []}
    for index in range(count):
        rng = np.random.default_rng([seed, SPLITS.index(split), index])
        things = _things(rng, split == "test")
        context, starts = _tell(things, rng)
        question, part, thing = _ask(things, rng)
        found = [starts[thing, part]] if (thing, part) in starts else []
        records["question"].append(question)
        records["context"].append(context)
        records["answer"].append([context[at : at + len(things[thing][part])] for at in found])
        records["answer_start"].append(found)
    return records


def read_world_texts(root=None, train=4000, valid=500, test=500, seed=0):
    """The three splits of the texts of the built-in world.

    Args:
        root: `None`; here because every reader takes one, while this one reads no files.
        train: number of texts to train on.
        valid: number of texts to validate on.
        test: number of texts to test on.
        seed: whole number, 0 or more.

    Returns:
        Tuple `(train, valid, test)` of records as `world_texts` gives them.

    Raises:
        ValueError: an argument is out of its range.

    Example:

    >>> train, valid, test = read_world_texts(train=4, valid=2, test=2)
    >>> len(train["question"])
    4
    """
    if root is not None:
        raise ValueError(f"`root` should be None: the world is made, not read. Received: {root=}")
    counts = {"train": train, "valid": valid, "test": test}
    return tuple(world_texts(count, seed, split) for split, count in counts.items())


def _things(rng, novel):
    """Words by kind of each thing; what is not told is empty."""
    count = 2 + int(4 * rng.random())
    shapes, places = rng.permutation(list(SHAPES))[:count], rng.permutation(_PLACES)[:count]
    things = []
    for shape, place in zip(map(str, shapes), map(str, places), strict=True):
        colors = [color for color in COLORS if novel or (shape, color) not in HELD_OUT_LOOKS]
        thing = {"shape": shape, "place": place, "color": pick(colors, rng)}
        for kind, words in (("size", tuple(SIZES)), ("texture", TEXTURES)):
            thing[kind] = pick((pick(words, rng),) * 5 + ("",), rng)
        words = [word for kind in ("size", "texture", "color", "shape") if (word := thing[kind])]
        thing["name"] = " ".join(["an" if words[0][0] in "aeiou" else "a", *words])
        things.append(thing)
    return things


def _tell(things, rng):
    """The text, and where in it each part of each thing begins: `{(thing, part): place}`."""
    text, starts = "", {}
    for number, thing in enumerate(things):
        sentence = pick(_SENTENCES, rng).format(**thing)
        for part in ("name", "place", "color", "size", "texture"):
            # A word may stand in another one, as red does in checkered.
            place = f" {sentence} ".find(f" {thing[part]}")
            if thing[part]:
                starts[number, part] = len(text) + place
        text += f"{sentence[0].upper()}{sentence[1:]} "
    return text.rstrip(), starts


def _ask(things, rng):
    """A question, the part of a thing that it asks for and the thing's number, or None for none."""
    part = pick(tuple(_QUESTIONS), rng)
    number = int(rng.random() * len(things))
    about = {kind: things[number][kind] for kind in ("shape", "place")}
    if rng.random() < _LACKING:
        known = [thing[kind] for thing in things for kind in about]
        about["shape"] = pick([shape for shape in SHAPES if shape not in known], rng)
        about["place"] = pick([place for place in _PLACES if place not in known], rng)
        number = None
    return pick(_QUESTIONS[part], rng).format(**about), part, number
