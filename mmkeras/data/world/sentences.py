"""Captions of a scene: sentences that say what is to be seen."""

import itertools

from mmkeras.data.world.meaning import INVERSE, gist, place


def captions(scene, rng):
    """Five true captions of a scene, as five people might write them.

    The first says everything in the plainest words; the others vary the sentence, the words and
    what is left out. No two are the same.

    Args:
        scene: a `Scene`.
        rng: a `numpy.random.Generator`.

    Returns:
        List of five strings: lower-case words parted by single spaces.

    Example:

    >>> star = Object("star", "orange", "small", "striped", x=0.5, y=0.5)
    >>> captions(Scene((star,)), np.random.default_rng(0))[0]
    'a small striped orange star in the middle'
    """
    what = gist(scene)
    told = [_tell(what, lambda choices: choices[0])]
    while len(told) < 5:
        caption = _tell(what, lambda choices: choices[int(rng.random() * len(choices))])
        if caption not in told:
            told.append(caption)
    return told


# Of each set of choices the first is the plainest, and those that stand in it often come often.
_SIZE_WORDS = {
    "small": ("small", "small", "small", "small", "little"),
    "large": ("large", "large", "large", "large", "big"),
}
_NUMBERS = ("", "", "two", "three", "four")
_RELATION_WORDS = {
    "above": ("above", "above", "above", "over"),
    "below": ("below", "below", "below", "under"),
    "left of": ("to the left of", "to the left of", "left of"),
    "right of": ("to the right of", "to the right of", "right of"),
    "between": ("between",),
}
_PLACE_WORDS = {
    "top": ("at the top", "at the top", "near the top"),
    "bottom": ("at the bottom", "at the bottom", "near the bottom"),
    "left": ("on the left", "on the left", "on the left side"),
    "right": ("on the right", "on the right", "on the right side"),
    "middle": ("in the middle", "in the middle", "in the center"),
}


def _tell(what, pick):
    groups = [what.subject, *what.others]
    alike = len({things[0].look[:2] for things in groups}) < len(groups)
    sized = pick((True, True, True, True, False)) or alike
    textured = pick((True, True, True, True, False)) or alike
    contrast = alike and len({things[0].texture for things in groups}) > 1

    def name(things):
        thing = things[0]
        words = [
            *([pick(_SIZE_WORDS[thing.size])] if sized else []),
            *([thing.texture] if textured and (thing.texture != "plain" or contrast) else []),
            thing.color,
            thing.shape if len(things) == 1 else _plural(thing.shape),
        ]
        article = "an" if words[0][0] in "aeiou" else "a"
        return " ".join([article if len(things) == 1 else _NUMBERS[len(things)], *words])

    return _frame(*_clause(what, name, pick), pick)


def _plural(shape):
    return shape + ("es" if shape.endswith("s") else "s")


def _clause(what, name, pick):
    """The subject, what is said of it, the verb after `there` and the verb between the two."""
    if what.relation == "place":
        return _placed(what, name, pick)
    if what.relation in ("row", "column", "group"):
        return _arranged(what, name, pick)
    if what.relation is None:
        names = [name(things) for things in (what.subject, *what.others)]
        return " and ".join(names), "", _verb(what.subject), None
    return _related(what, name, pick)


def _verb(things):
    return "is" if len(things) == 1 else "are"


def _placed(what, name, pick):
    (subject, where), *more = [
        (name([thing]), pick(_PLACE_WORDS.get(place(thing), (f"in the {place(thing)}",))))
        for (thing,) in (what.subject, *what.others)
    ]
    return subject, " and ".join([where, *(" ".join(words) for words in more)]), "is", "is"


def _arranged(what, name, pick):
    subject, how = name(what.subject), what.relation
    if pick((False, False, False, True)):
        return f"a {how} of {subject}", "", "is", None
    return (subject, "", "are", None) if how == "group" else (subject, f"in a {how}", "are", "are")


def _related(what, name, pick):
    subject, others = name(what.subject), " and ".join(name(things) for things in what.others)
    there, verb = _verb(what.others[0]), _verb([*itertools.chain(*what.others)])
    how = pick(_RELATION_WORDS[what.relation])
    turn = pick(("straight",) * 6 + ("with",) * 2 + ("back",) * 2)
    if turn == "back" and what.relation != "between":
        return others, f"{pick(_RELATION_WORDS[INVERSE[what.relation]])} {subject}", there, verb
    if turn != "straight":
        them = "it" if verb == "is" else "them"
        return others, f"with {subject} {how} {them}", there, None
    return subject, f"{how} {others}", _verb(what.subject), _verb(what.subject)


def _frame(subject, rest, there, verb, pick):
    frames = [f"{subject} {rest}"] * 4
    frames += [f"there {there} {subject} {rest}"] * 2
    frames += [f"{subject} {verb} {rest}"] * 2 if verb else []
    frames += [f"the picture shows {subject} {rest}", f"we see {subject} {rest}"]
    return pick(frames).strip()
