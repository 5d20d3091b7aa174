"""Questions about what is to be seen in a scene, each with one right answer."""

import dataclasses
import functools
import itertools

from mmkeras.data.world.composing import HELD_OUT_LOOKS, HELD_OUT_RELATIONS, held_out, pick
from mmkeras.data.world.meaning import INVERSE, relation
from mmkeras.data.world.naming import (
    KINDS,
    beside,
    by_neighbor,
    by_side,
    by_words,
    direction_words,
    matches,
    name,
    nameable,
    refer,
)
from mmkeras.data.world.scene import Scene
from mmkeras.data.world.sounds import Call

NUMBERS = ("zero", "one", "two", "three", "four")


@dataclasses.dataclass(frozen=True)
class Room:
    """What is asked about: a scene, what is heard there and what its meters say.

    Args:
        scene: a `Scene`.
        theme: which objects are counted, `(kind, word)` such as `("color", "red")`, or `None`.
        call: a `Call`, or `None`.
        readings: dict of floats by the names of `READINGS`.
    """

    scene: Scene
    theme: tuple[str, str] | None
    call: Call | None
    readings: dict


# Each question is a function of a room and a generator that gives `(question, answer)`, or `None`
# where the room does not allow it. Where some answers are harder to arrange than others, the answer
# is drawn before the room is looked at, so that another room, asked with the same generator, is
# asked for the same: answers stay balanced.


def attribute(room, rng, kind):
    """`"what color is the star?"`"""
    # Small things find room more easily than large ones: of all answers these have to be drawn.
    wanted = pick(KINDS[kind], rng) if kind == "size" else None
    way = pick((by_words, by_words, by_words, by_side, by_neighbor), rng)
    found = [
        (thing, said)
        for thing, said in way(room.scene, rng, kind)
        if wanted in (None, getattr(thing, kind))
    ]
    if not found:
        return None
    thing, said = pick(found, rng)
    return pick(ATTRIBUTES[kind], rng).format(said), getattr(thing, kind)


ATTRIBUTES = {
    "size": ("what size is {}?", "how large is {}?", "is {} small or large?"),
    "texture": (
        "what pattern does {} have?",
        "what is the pattern of {}?",
        "which pattern does {} have?",
    ),
    "color": ("what color is {}?", "what is the color of {}?", "which color does {} have?"),
    "shape": ("what shape is {}?", "what is the shape of {}?", "which shape does {} have?"),
}


def exist(room, rng):
    """`"is there a red star?"` What is not there differs from what is there in one word."""
    kinds, there = pick(_SOUGHT, rng), pick((True, False), rng)
    found = [{kind: getattr(thing, kind) for kind in kinds} for thing in room.scene.objects]
    if not there:
        found = _near_misses(room.scene, found)
    if not found:
        return None
    said = name(pick(found, rng), rng)
    article = "an" if said[0] in "aeiou" else "a"
    return pick(_EXIST, rng).format(f"{article} {said}"), yes(there)


_SOUGHT = (
    *(("shape",), ("color",), ("texture",), ("color", "shape"), ("color", "shape")),
    *(("texture", "shape"), ("size", "shape"), ("size", "color"), ("texture", "color")),
    *(("size", "color", "shape"), ("texture", "color", "shape")),
)
_EXIST = (
    *("is there {}?", "is there {}?", "is there {} in the picture?"),
    *("can you see {}?", "does the picture show {}?"),
)


def _near_misses(scene, found):
    """Words that fit nothing, where there is one with words of another thing that is there."""
    unseen = set() if held_out(scene) else HELD_OUT_LOOKS
    misses = [
        (matches(scene, {kind: word}), words)
        for known, kind in itertools.product(found, found[0])
        for word in KINDS[kind]
        if not matches(scene, words := {**known, kind: word})
        and (words.get("shape"), words.get("color")) not in unseen
    ]
    near = [words for there, words in misses if there]
    return near or [words for _, words in misses]


def yes(true):
    return "yes" if true else "no"


def count(room, rng):
    """`"how many stars are there?"`, of the room's theme."""
    words = dict([room.theme])
    asked = pick(_COUNT, rng).format(name(words, rng, plural=True))
    return asked, NUMBERS[len(matches(room.scene, words))]


_COUNT = (
    *("how many {} are there?", "how many {} are there?", "how many {} can you see?"),
    *("how many {} are in the picture?", "what is the number of {}?"),
)


def more(room, rng):
    """`"are there more stars than hearts?"` Both are there."""
    kind = pick([kind for kind in KINDS if not room.theme or kind != room.theme[0]], rng)
    (how, phrases), true = pick(tuple(_MORE.items()), rng), pick((True, False), rng)
    counts = {word: len(matches(room.scene, {kind: word})) for word in KINDS[kind]}
    pairs = [
        (first, second)
        for first, second in itertools.permutations(filter(counts.get, counts), 2)
        if _MANY[how](counts[first], counts[second]) == true
    ]
    if not pairs:
        return None
    first, second = (name({kind: word}, rng, plural=True) for word in pick(pairs, rng))
    return pick(phrases, rng).format(first, second), yes(true)


_MORE = {
    "more": ("are there more {} than {}?", "do you see more {} than {}?"),
    "fewer": ("are there fewer {} than {}?", "do you see fewer {} than {}?"),
    "as many": ("are there as many {} as {}?", "do you see as many {} as {}?"),
}
_MANY = {
    "more": lambda first, second: first > second,
    "fewer": lambda first, second: first < second,
    "as many": lambda first, second: first == second,
}


def larger(room, rng):
    """`"is the star larger than the heart?"`"""
    (how, phrases), true = pick(tuple(_LARGER.items()), rng), pick((True, False), rng)
    pairs = [
        (first, second)
        for first, second in itertools.permutations(nameable(room.scene, ("size",)), 2)
        if _LARGE[how](first.size, second.size) is true
    ]
    if not pairs:
        return None
    first, second = (refer(room.scene, thing, rng, ("size",)) for thing in pick(pairs, rng))
    return pick(phrases, rng).format(first, second), yes(true)


_LARGER = {
    "larger": ("is {} larger than {}?", "is {} bigger than {}?"),
    "smaller": ("is {} smaller than {}?",),
    "same": ("are {} and {} the same size?", "is {} as large as {}?"),
}
# Which of two things of one size is the larger is not asked.
_LARGE = {
    "larger": lambda first, second: first == "large" if first != second else None,
    "smaller": lambda first, second: first == "small" if first != second else None,
    "same": lambda first, second: first == second,
}


def relate(room, rng):
    """`"is the star above the heart?"` The two lie clearly one way or another."""
    true = pick((True, False), rng)
    found = [
        (first, direction, second)
        for first, second in itertools.permutations(nameable(room.scene), 2)
        for direction in INVERSE
        if (seen := relation([first], [second]))
        and (seen == direction) == true
        and may_ask(room.scene, first, direction, second)
    ]
    if not found:
        return None
    first, direction, second = pick(found, rng)
    first, second = (refer(room.scene, thing, rng) for thing in (first, second))
    return f"is {first} {direction_words(direction, rng)} {second}?", yes(true)


def may_ask(scene, first, direction, second):
    """Whether a relation may be asked for: one that only the test split shows, only there."""
    here = (first.shape, direction, second.shape)
    back = (second.shape, INVERSE[direction], first.shape)
    return HELD_OUT_RELATIONS.isdisjoint((here, back)) or bool(held_out(scene))


def neighbor(room, rng):
    """`"what is above the star?"`"""
    found = [
        (other, direction, thing)
        for thing in nameable(room.scene)
        for direction in INVERSE
        if (other := beside(room.scene, direction, thing))
    ]
    if not found:
        return None
    other, direction, thing = pick(found, rng)
    where = f"{direction_words(direction, rng)} {refer(room.scene, thing, rng)}"
    return pick(_NEIGHBOR, rng).format(where), other.shape


_NEIGHBOR = ("what is {}?", "which thing is {}?", "what do you see {}?")

SEEN = {
    "exist": exist,
    **{kind: functools.partial(attribute, kind=kind) for kind in KINDS},
    "count": count,
    "more": more,
    "larger": larger,
    "relation": relate,
    "neighbor": neighbor,
}
