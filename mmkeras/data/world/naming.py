"""Naming the objects of a scene, so that no other can be meant."""

import itertools

from mmkeras.data.world.composing import pick
from mmkeras.data.world.meaning import INVERSE, relation
from mmkeras.data.world.scene import COLORS, SHAPES, SIZES, TEXTURES

KINDS = {"size": tuple(SIZES), "texture": TEXTURES, "color": tuple(COLORS), "shape": tuple(SHAPES)}


def matches(scene, words):
    """The objects that fit words by kind, such as `{"color": "red", "shape": "star"}`."""
    items = words.items()
    return [t for t in scene.objects if all(getattr(t, kind) == word for kind, word in items)]


def referents(scene, thing, without=()):
    """Sets of words that fit an object and no other.

    Args:
        scene: a `Scene`.
        thing: one of its objects.
        without: kinds of word to do without, of `KINDS`.

    Returns:
        List of dicts of words by kind: of one word or two or, where none is enough, of three.

    Example:

    >>> star = Object("star", "red", "small", "plain", x=0.5, y=0.2)
    >>> heart = Object("heart", "red", "small", "dotted", x=0.5, y=0.7)
    >>> referents(Scene((star, heart)), star, without=("size", "color"))
    [{'texture': 'plain'}, {'shape': 'star'}, {'texture': 'plain', 'shape': 'star'}]
    """
    kinds = [kind for kind in KINDS if kind not in without]
    ways = [
        {kind: getattr(thing, kind) for kind in chosen}
        for count in (1, 2, 3)
        for chosen in itertools.combinations(kinds, count)
    ]
    alone = [way for way in ways if len(matches(scene, way)) == 1]
    shortest = min(map(len, alone), default=0)
    return [way for way in alone if len(way) <= max(shortest, 2)]


def nameable(scene, without=()):
    """The objects that `refer` has a name for."""
    return [thing for thing in scene.objects if referents(scene, thing, without)]


def refer(scene, thing, rng, without=()):
    """An object's name with its article, such as `"the red star"`."""
    return f"the {name(pick(referents(scene, thing, without), rng), rng)}"


def name(words, rng, plural=False):
    """Words by kind as they are said: `"small red star"`, `"striped things"`."""
    said = [
        pick(_SAID.get(words[kind], (words[kind],)), rng)
        for kind in ("size", "texture", "color")
        if kind in words
    ]
    noun = words.get("shape") or _noun(rng)
    ending = "" if not plural else "es" if noun.endswith("s") else "s"
    return " ".join([*said, noun + ending])


_SAID = {"small": ("small",) * 4 + ("little",), "large": ("large",) * 4 + ("big",)}


def _noun(rng):
    return pick(("thing", "thing", "object"), rng)


# Where an object is.


def beside(scene, direction, thing):
    """The one object that is above an object, or below and so on; `None` if that is not clear."""
    axis, sign = _AXES[direction]
    found = [
        (other, seen)
        for other in scene.objects
        if other is not thing
        and (seen := relation([other], [thing])) in (direction, None)
        # What is neither clearly there nor clearly elsewhere raises a doubt, if it is on that side.
        and (seen or sign * (getattr(other, axis) - getattr(thing, axis)) > 0)
    ]
    return found[0][0] if len(found) == 1 and found[0][1] else None


_AXES = {"left of": ("x", -1), "right of": ("x", 1), "above": ("y", -1), "below": ("y", 1)}


def direction_words(direction, rng):
    return pick(_DIRECTIONS[direction], rng)


_DIRECTIONS = {
    "left of": ("to the left of", "to the left of", "left of"),
    "right of": ("to the right of", "to the right of", "right of"),
    "above": ("above", "above", "over"),
    "below": ("below", "below", "under"),
}


# All the ways to name the objects of a scene, without a kind of word: pairs of object and name.


def by_words(scene, rng, without):
    """`"the small red star"`"""
    return [(thing, refer(scene, thing, rng, (without,))) for thing in nameable(scene, (without,))]


def by_side(scene, rng, without):
    """`"the leftmost thing"`"""
    found = []
    for side, (axis, sign) in _AXES.items():
        *_, second, last = sorted(scene.objects, key=lambda t: sign * getattr(t, axis))
        if sign * (getattr(last, axis) - getattr(second, axis)) > 0.08:
            found.append((last, f"the {pick(_SIDES[side], rng).format(_noun(rng))}"))
    return found


_SIDES = {
    "left of": ("leftmost {}", "{} on the far left"),
    "right of": ("rightmost {}", "{} on the far right"),
    "above": ("highest {}", "{} at the very top"),
    "below": ("lowest {}", "{} at the very bottom"),
}


def by_neighbor(scene, rng, without):
    """`"the thing to the left of the star"`"""
    return [
        (thing, f"the {_noun(rng)} {direction_words(direction, rng)} {refer(scene, other, rng)}")
        for other in nameable(scene)
        for direction in INVERSE
        if (thing := beside(scene, direction, other))
    ]
